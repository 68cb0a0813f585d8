"""Metropolis moves of a simulated chip's neurons along directions of their weights, re-running only what they touch.

All weights that lead to a neuron move at once, along one direction of an orthonormal basis. To compute a neuron's
current anew costs hardly more than to exchange one term of it, so such a move is as cheap as that of a single weight.
Where inputs are correlated it goes farther: a single weight is held by what its fellows have made of the same input.
"""

from __future__ import annotations

import numpy as np

from bayes_snn.chips.lif.compiled import kernel
from bayes_snn.chips.lif.forward import count_spikes
from bayes_snn.chips.lif.lanes import GROUP, store
from bayes_snn.chips.lif.rerun import try_move
from bayes_snn.chips.lif.state import ALL, Site
from bayes_snn.chips.rounding import clip_and_round, round_to


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
    columns, terms, (n_directions, n_pre) = state.columns, state.terms, basis.shape
    low, high, level = saturation[0], saturation[1], saturation[2]
    shown = 0
    for place in order:
        post, k = place // n_directions, place % n_directions
        neuron = circuit.firsts[layer] + post
        start = circuit.starts[neuron]
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
        for group in range(terms.shape[0]):
            current += terms[group]
        bound = bounds[post, k] - prior_power * log_prior
        threshold = current + bound
        passed = threshold < 0.0  # log L <= 0: no proposal can pass a threshold of 0 or more
        if passed and same:  # the chip computes as before
            passed = bound < 0.0
        elif passed:
            site = Site(layer, neuron, ALL, np.float32(0.0), np.float32(0.0))
            passed, seen = try_move(circuit, state, scratch, run, counts, deeper, inputs, labels, site, threshold)
            shown += seen
        accepted[post, k] = passed
        if passed:
            for i in range(n_pre):
                weights[post, i] = new[i]
        else:
            for i in range(n_pre):
                columns[start + i] = old[i]
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
