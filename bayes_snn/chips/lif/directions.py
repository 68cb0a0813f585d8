"""Metropolis moves of a simulated chip's neurons along directions of their weights, re-running only what they touch.

All weights that lead to a neuron move at once, along one direction of an orthonormal basis. To compute a neuron's
current anew costs hardly more than to exchange one term of it, so such a move is as cheap as that of a single weight.
Where inputs are correlated it goes farther: a single weight is held by what its fellows have made of the same input.
"""

from __future__ import annotations

import numpy as np

from bayes_snn.chips.lif.compiled import inlined, inner, kernel
from bayes_snn.chips.lif.current import column_sum, dense_current, driven
from bayes_snn.chips.lif.forward import count_spikes, run_first, steps_of_word
from bayes_snn.chips.lif.labels import group_log_likelihood
from bayes_snn.chips.lif.lanes import GROUP, lacks_bit, load, splat, store, where
from bayes_snn.chips.lif.neuron import Cell, advance
from bayes_snn.chips.lif.rerun import differ, keep_spikes, spread, sum_of_two
from bayes_snn.chips.lif.state import Site
from bayes_snn.chips.rounding import clip_and_round, round_to


@inner
def _follow_column(cell, neuron, column, first_pre, n_steps, trains, proposed, run):  # type: ignore[no-untyped-def]
    """New spikes of a neuron behind the first layer, all weights (n_pre,) of which may have changed.

    The first of the neurons before it is first_pre; run is None on a plain chip.
    """
    all_weights = column_sum(column)
    v, decay, inflow = splat(np.float32(0.0)), splat(cell.decay), splat(cell.inflow)
    for word in range(proposed.shape[0]):
        train = splat(np.uint32(0))
        for step in range(steps_of_word(n_steps, word)):
            bit, current = splat(np.uint32(1 << step)), all_weights
            for i in range(column.shape[0]):
                silent = lacks_bit(load(trains[word, first_pre + i]), bit)
                current = where(silent, current - splat(column[i]), current)
            drive = current * inflow
            if run is not None:
                drive = driven(current, inflow, run.current_table, neuron, run.scratch)
            v, train = advance(v, train, drive, decay, cell.edges, bit)
        store(proposed[word, neuron], train)


@inlined
def _rerun(circuit, state, group, inputs, site, run, deeper):  # type: ignore[no-untyped-def]
    """Re-run a neuron, all weights of which may have changed, and what lies behind it; False where it spikes as before.

    See `rerun.propose`.
    """
    neuron, trains, proposed = site.neuron, state.trains[group], state.proposed[group]
    column = state.columns[circuit.starts[neuron] : circuit.starts[neuron + 1]]
    if site.layer == 0:
        run_first(circuit, neuron, dense_current(inputs, column), run, proposed)
    else:
        edges = circuit.edges[neuron, : circuit.n_edges[neuron]]
        cell, first_pre = Cell(circuit.decay[neuron], circuit.inflow[neuron], edges), circuit.firsts[site.layer - 1]
        _follow_column(cell, neuron, column, first_pre, circuit.n_steps, trains, proposed, run)
    if not differ(trains, proposed, neuron):
        return False
    spread(circuit, state, group, site, run, deeper)
    return True


@kernel
def sweep_directions(  # type: ignore[no-untyped-def]
    circuit, state, scratch, run, counts, deeper, inputs, labels, layer, weights, means, sds, prior_power, basis,
    signs, steps, bounds, order, saturation, gain, grid, new, old, accepted
):  # fmt: skip
    """Move neurons of one layer along directions, one at a time; returns the number of samples shown.

    A move leads from w to w' = sign w + step direction. It is accepted where log L gains more than bound - prior_power
    [log p(w') - log p(w)], with p a product of Normals, and bounds and prior_power divided by the likelihood's power.

    Parameters
    ----------
    circuit, state, scratch, run, counts, deeper, inputs, labels
        As for `sweep_sites`.
    layer
        Number of the weight matrix.
    weights, means, sds
        (n_post, n_pre) current weights, which are changed, and mean and standard deviation of each under the prior.
    prior_power
        Of the prior, over that of the likelihood.
    basis
        (n_directions, n_pre) a direction in each row.
    signs, steps, bounds
        (n_post, n_directions) of each neuron's move along each direction.
    order
        (n_post n_directions,) neurons and directions, numbered row by row, in the order in which they are visited.
    saturation
        (3,) range of the weights, and distance of their levels.
    gain, grid
        (n_post, n_pre) factor of each synapse, and resolution of the layer's weights.
    new, old
        (n_pre,) float64 and float32, room.
    accepted
        (n_post, n_directions) bool, filled.
    """
    n_groups, n_samples, (n_directions, n_pre) = inputs.shape[0], labels.labels.shape[0], basis.shape
    columns, terms, new_terms, changed = state.columns, state.terms, scratch.terms, scratch.changed
    low, high, level = saturation[0], saturation[1], saturation[2]
    shown = 0
    for place in order:
        post, k = place // n_directions, place % n_directions
        neuron = circuit.firsts[layer] + post
        start = circuit.starts[neuron]
        accepted[post, k] = False
        log_prior, same = 0.0, True
        for i in range(n_pre):
            new[i] = signs[post, k] * weights[post, i] + steps[post, k] * basis[k, i]
            before, after = (weights[post, i] - means[post, i]) / sds[post, i], (new[i] - means[post, i]) / sds[post, i]
            log_prior += 0.5 * (before * before - after * after)
            programmed = clip_and_round(np.float32(new[i]), low, high, level) * gain[post, i]
            if grid > 0:
                programmed = round_to(programmed, grid)
            old[i] = columns[start + i]
            columns[start + i] = programmed
            same = same and programmed == old[i]
        current = 0.0
        for group in range(n_groups):
            current += terms[group]
        bound = bounds[post, k] - prior_power * log_prior
        threshold = current + bound
        passed = threshold < 0.0  # log L <= 0: no proposal can pass a threshold of 0 or more
        if passed and same:  # the chip computes as before
            passed = bound < 0.0
        elif passed:
            total = 0.0
            site = Site(layer, neuron, 0, np.float32(0.0), np.float32(0.0))
            for group in range(n_groups):
                changed[group] = _rerun(circuit, state, group, inputs[group], site, run, deeper)
                shown += min(GROUP, n_samples - group * GROUP)
                new_terms[group] = terms[group]
                if changed[group]:
                    proposed = state.proposed[group]
                    new_terms[group] = group_log_likelihood(proposed, group, labels, scratch.places, counts)
                total += new_terms[group]
                passed = total > threshold
                if not passed:
                    break
        if not passed:
            for i in range(n_pre):
                columns[start + i] = old[i]
            continue
        accepted[post, k] = True
        for i in range(n_pre):
            weights[post, i] = new[i]
        if same:
            continue
        column, n_steps = columns[start : start + n_pre], circuit.n_steps
        for group in range(n_groups):
            terms[group] = new_terms[group]
            if layer > 0:
                rows, first_pre = state.sums[group, neuron - circuit.layers[1]], circuit.firsts[layer - 1]
                sum_of_two(column, column, first_pre, n_steps, state.trains[group], rows, rows)
            if changed[group]:
                keep_spikes(circuit, state, group, site, deeper)
    return shown


@kernel
def counts_before(circuit, trains, layer, total, counts):  # type: ignore[no-untyped-def]
    """Spike counts (n_samples, n_pre) of the neurons before a layer, from trains (n_groups, n_words, n_neurons, GROUP).

    The samples lie as in the trains; total (GROUP,) uint32 is room.
    """
    first, (n_samples, n_pre) = circuit.firsts[layer - 1], counts.shape
    for group in range(trains.shape[0]):
        for i in range(n_pre):
            store(total, count_spikes(trains[group], first + i))
            for lane in range(min(GROUP, n_samples - group * GROUP)):
                counts[group * GROUP + lane, i] = total[lane]
