"""Metropolis moves of a simulated chip's neurons along directions of their weights, re-running only what they touch.

All weights that lead to a neuron move at once, along one direction of an orthonormal basis. To compute a neuron's
current anew costs hardly more than to exchange one term of it, so such a move is as cheap as that of a single weight.
Where inputs are correlated it goes farther: a single weight is held by what its fellows have made of the same input.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bayes_snn.chips.lif.current import column_sum, dense_current, driven
from bayes_snn.chips.lif.forward import count_spikes, run_first, steps_of_word
from bayes_snn.chips.lif.labels import group_log_likelihood
from bayes_snn.chips.lif.lanes import GROUP, lacks_bit, load, splat, store, where
from bayes_snn.chips.lif.neuron import advance
from bayes_snn.chips.lif.rerun import differ, keep_spikes, spread, sum_two
from bayes_snn.chips.lif.state import Site
from bayes_snn.chips.rounding import clip_and_round, round_to


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _rerun_later(circuit, state, group, site, scratch):  # type: ignore[no-untyped-def]
    """New spikes of the neuron of a site behind the first layer, all weights of which may have changed."""
    neuron, first_pre = site.neuron, circuit.firsts[site.layer - 1]
    trains, proposed = state.trains[group], state.proposed[group]
    column = state.columns[circuit.starts[neuron] : circuit.starts[neuron + 1]]
    edges, all_weights = circuit.edges[neuron, : circuit.n_edges[neuron]], column_sum(column)
    v, decay, inflow = splat(np.float32(0.0)), splat(circuit.decay[neuron]), splat(circuit.inflow[neuron])
    for word in range(proposed.shape[0]):
        train = splat(np.uint32(0))
        for step in range(steps_of_word(circuit, word)):
            bit, current = splat(np.uint32(1 << step)), all_weights
            for i in range(column.shape[0]):
                silent = lacks_bit(load(trains[word, first_pre + i]), bit)
                current = where(silent, current - splat(column[i]), current)
            drive = driven(current, inflow, circuit.current_table, neuron, scratch)
            v, train = advance(v, train, drive, decay, edges, bit)
        store(proposed[word, neuron], train)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _rerun(circuit, state, group, inputs, site, run):  # type: ignore[no-untyped-def]
    """Re-run a neuron, all weights of which may have changed, and what lies behind it; False where it spikes as before.

    See `rerun.propose`.
    """
    neuron = site.neuron
    if site.layer == 0:
        column = state.columns[circuit.starts[neuron] : circuit.starts[neuron + 1]]
        run_first(circuit, neuron, dense_current(inputs, column), run, state.proposed[group])
    else:
        _rerun_later(circuit, state, group, site, run.scratch)
    if not differ(state.trains[group], state.proposed[group], neuron):
        return False
    spread(circuit, state, group, site, run)
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def sweep_directions(  # type: ignore[no-untyped-def]
    circuit, state, scratch, inputs, labels, layer, weights, means, sds, prior_power, basis, signs, steps, bounds,
    order, saturation, gain, grid, accepted
):  # fmt: skip
    """Move neurons of one layer along directions, one at a time; returns the number of samples shown.

    A move leads from w to w' = sign w + step direction. It is accepted where log L gains more than bound - prior_power
    [log p(w') - log p(w)], with p a product of Normals, and bounds and prior_power divided by the likelihood's power.

    Parameters
    ----------
    circuit, state, scratch, inputs, labels
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
    accepted
        (n_post, n_directions) bool, filled.
    """
    n_groups, n_samples, (n_directions, n_pre) = inputs.shape[0], labels.labels.shape[0], basis.shape
    columns, terms, new_terms, changed = state.columns, state.terms, scratch.terms, scratch.changed
    new, old = np.empty(n_pre), np.empty(n_pre, np.float32)
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
                changed[group] = _rerun(circuit, state, group, inputs[group], site, scratch.run)
                shown += min(GROUP, n_samples - group * GROUP)
                new_terms[group] = terms[group]
                if changed[group]:
                    proposed = state.proposed[group]
                    new_terms[group] = group_log_likelihood(proposed, group, labels, scratch.places, scratch.counts)
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
        for group in range(n_groups):
            terms[group] = new_terms[group]
            if layer > 0:
                sum_two(circuit, layer, neuron, neuron, columns, state.trains[group], state.sums[group])
            if changed[group]:
                keep_spikes(circuit, state, group, site)
    return shown


@njit(cache=True, nogil=True, error_model="numpy")
def counts_before(circuit, trains, layer, n_samples):  # type: ignore[no-untyped-def]
    """Spike counts (n_samples, n_pre) of the neurons before a layer, from trains (n_groups, n_words, n_neurons, GROUP).

    The samples lie as in the trains.
    """
    first, n_pre = circuit.firsts[layer - 1], circuit.layers[layer]
    counts, total = np.empty((n_samples, n_pre)), np.empty(GROUP, np.uint32)
    for group in range(trains.shape[0]):
        for i in range(n_pre):
            store(total, count_spikes(trains[group], first + i))
            for lane in range(min(GROUP, n_samples - group * GROUP)):
                counts[group * GROUP + lane, i] = total[lane]
    return counts
