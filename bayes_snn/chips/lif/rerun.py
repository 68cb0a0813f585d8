"""Numba kernels that re-run only what one synapse touches: its neuron, and what lies behind it.

Synaptic sums are exact (`distortion.current_step`), so a sum from which one term is taken and another put in is, bit
for bit, the sum computed anew: incremental and full evaluation give the same spikes, always. A chip with noise is never
re-run in part. All arrays are those of one group of samples.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bayes_snn.chips.lif.current import column_sum, dense_current, driven, spike_currents
from bayes_snn.chips.lif.forward import few_edges, run_first, run_layer, steps_of_word
from bayes_snn.chips.lif.lanes import any_bit, lacks_bit, load, splat, store, where
from bayes_snn.chips.lif.neuron import advance


@njit(inline="always")
def exchanged(total, old, new, weight, bit):  # type: ignore[no-untyped-def]
    """A synaptic sum in which one presynaptic neuron spikes as in `new` instead of `old`.

    Its weight is first added where it was silent and then taken away where it is now: the sum between is that of a
    neuron that always spikes.
    """
    always = where(lacks_bit(old, bit), total + weight, total)
    return where(lacks_bit(new, bit), always - weight, always)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _follow_exchanged(circuit, state, group, site, a, b, edges_a, edges_b, scratch):  # type: ignore[no-untyped-def]
    """New spikes of two neurons, a layer behind the site's neuron, which now spikes as proposed.

    edges are tuples, and scratch None, where currents are not distorted and edges few; else arrays.
    """
    trains, proposed, table = state.trains[group], state.proposed[group], circuit.current_table
    rows_a, rows_b = state.sums[group, a - circuit.layers[1]], state.sums[group, b - circuit.layers[1]]
    place = site.neuron - circuit.firsts[site.layer]
    weight_a = splat(state.columns[circuit.starts[a] + place])
    weight_b = splat(state.columns[circuit.starts[b] + place])
    v_a = v_b = splat(np.float32(0.0))
    decay_a, decay_b = splat(circuit.decay[a]), splat(circuit.decay[b])
    inflow_a, inflow_b = splat(circuit.inflow[a]), splat(circuit.inflow[b])
    for word in range(proposed.shape[0]):
        before, after = load(trains[word, site.neuron]), load(proposed[word, site.neuron])
        train_a = train_b = splat(np.uint32(0))
        for step in range(steps_of_word(circuit, word)):
            bit = splat(np.uint32(1 << step))
            current_a = exchanged(load(rows_a[32 * word + step]), before, after, weight_a, bit)
            current_b = exchanged(load(rows_b[32 * word + step]), before, after, weight_b, bit)
            drive_a, drive_b = current_a * inflow_a, current_b * inflow_b
            if scratch is not None:
                drive_a = driven(current_a, inflow_a, table, a, scratch)
                drive_b = driven(current_b, inflow_b, table, b, scratch)
            v_a, train_a = advance(v_a, train_a, drive_a, decay_a, edges_a, bit)
            v_b, train_b = advance(v_b, train_b, drive_b, decay_b, edges_b, bit)
        store(proposed[word, a], train_a)
        store(proposed[word, b], train_b)


@njit(inline="always")
def _rerun_exchanged(circuit, state, group, site, a, b, scratch):  # type: ignore[no-untyped-def]
    n_edges, e, f = few_edges(circuit, a, b), circuit.edges[a], circuit.edges[b]
    if n_edges == 1:
        _follow_exchanged(circuit, state, group, site, a, b, (e[0],), (f[0],), None)
    elif n_edges == 3:
        _follow_exchanged(circuit, state, group, site, a, b, (e[0], e[1], e[2]), (f[0], f[1], f[2]), None)
    elif n_edges == 5:
        five_a, five_b = (e[0], e[1], e[2], e[3], e[4]), (f[0], f[1], f[2], f[3], f[4])
        _follow_exchanged(circuit, state, group, site, a, b, five_a, five_b, None)
    else:
        n = max(circuit.n_edges[a], circuit.n_edges[b])
        _follow_exchanged(circuit, state, group, site, a, b, e[:n], f[:n], scratch)


@njit(inline="always")
def reweighed(total, train, w_old, w_new, bit):  # type: ignore[no-untyped-def]
    """A synaptic sum in which one presynaptic neuron has another weight."""
    return where(lacks_bit(train, bit), total, (total - w_old) + w_new)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _rerun_reweighed(circuit, state, group, site, scratch):  # type: ignore[no-untyped-def]
    """New spikes of the neuron of a site behind the first layer, with the site's new weight."""
    neuron, place = site.neuron, circuit.firsts[site.layer - 1] + site.pre
    trains, proposed, rows = state.trains[group], state.proposed[group], state.sums[group, neuron - circuit.layers[1]]
    edges = circuit.edges[neuron, : circuit.n_edges[neuron]]
    old, new = splat(site.w_old), splat(site.w_new)
    v, decay, inflow = splat(np.float32(0.0)), splat(circuit.decay[neuron]), splat(circuit.inflow[neuron])
    for word in range(proposed.shape[0]):
        spikes, train = load(trains[word, place]), splat(np.uint32(0))
        for step in range(steps_of_word(circuit, word)):
            bit = splat(np.uint32(1 << step))
            current = reweighed(load(rows[32 * word + step]), spikes, old, new, bit)
            drive = driven(current, inflow, circuit.current_table, neuron, scratch)
            v, train = advance(v, train, drive, decay, edges, bit)
        store(proposed[word, neuron], train)


@njit(inline="always")
def differ(trains, proposed, neuron):  # type: ignore[no-untyped-def]
    difference = splat(np.uint32(0))
    for word in range(trains.shape[0]):
        difference = difference | (load(trains[word, neuron]) ^ load(proposed[word, neuron]))
    return any_bit(difference)


@njit(inline="always")
def propose(circuit, state, group, inputs, site, run):  # type: ignore[no-untyped-def]
    """Re-run what lies behind one synapse, on one group; False when its neuron spikes as before.

    `state.columns` has the new weight of the `Site` already; the new spikes go to `state.proposed`. inputs
    (n_in, GROUP) are the group's, and the run is without noise.
    """
    columns, layer, neuron = state.columns, site.layer, site.neuron
    trains, proposed = state.trains[group], state.proposed[group]
    if layer == 0:
        current = dense_current(inputs, columns[circuit.starts[neuron] : circuit.starts[neuron + 1]])
        run_first(circuit, neuron, current, run, proposed)
    else:
        _rerun_reweighed(circuit, state, group, site, run.scratch)
    if not differ(trains, proposed, neuron):
        return False
    spread(circuit, state, group, site, run)
    return True


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def spread(circuit, state, group, site, run):  # type: ignore[no-untyped-def]
    """Re-run what lies behind a site's neuron, whose new spikes are in `state.proposed`, and fill the rest there."""
    layers, firsts, columns = circuit.layers, circuit.firsts, state.columns
    layer, neuron, trains, proposed = site.layer, site.neuron, state.trains[group], state.proposed[group]
    n_layers = firsts.shape[0]
    if layer == n_layers - 1:  # the other outputs stand beside the new one in the likelihood
        for word in range(trains.shape[0]):
            for other in range(firsts[layer], trains.shape[1]):
                if other != neuron:
                    store(proposed[word, other], load(trains[word, other]))
        return
    first, last = firsts[layer + 1], firsts[layer + 1] + layers[layer + 2] - 1
    for a in range(first, last + 1, 2):  # one neuron before them has changed
        b = min(a + 1, last)
        _rerun_exchanged(circuit, state, group, site, a, b, run.scratch)
    for behind in range(layer + 2, n_layers):  # all neurons before them may have
        run_layer(circuit, behind, columns, run, proposed)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def keep(circuit, state, group, site, changed):  # type: ignore[no-untyped-def]
    """Make the new spikes and sums of a group the current ones; arguments as for `propose`."""
    if site.layer > 0:
        trains, place = state.trains[group], circuit.firsts[site.layer - 1] + site.pre
        rows = state.sums[group, site.neuron - circuit.layers[1]]
        old, new = splat(site.w_old), splat(site.w_new)
        for word in range(trains.shape[0]):
            spikes = load(trains[word, place])
            for step in range(steps_of_word(circuit, word)):
                row = rows[32 * word + step]
                store(row, reweighed(load(row), spikes, old, new, splat(np.uint32(1 << step))))
    if changed:
        keep_spikes(circuit, state, group, site)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def keep_spikes(circuit, state, group, site):  # type: ignore[no-untyped-def]
    """Make the new spikes of a site's neuron, and all that `spread` filled, the current ones."""
    layer, neuron, columns = site.layer, site.neuron, state.columns
    trains, sums, proposed = state.trains[group], state.sums[group], state.proposed[group]
    firsts, layers, n_first = circuit.firsts, circuit.layers, circuit.layers[1]
    n_layers, n_neurons = firsts.shape[0], trains.shape[1]
    if layer + 1 < n_layers:
        for target in range(firsts[layer + 1], firsts[layer + 1] + layers[layer + 2]):
            rows, weight = sums[target - n_first], splat(columns[circuit.starts[target] + neuron - firsts[layer]])
            for word in range(trains.shape[0]):
                before, after = load(trains[word, neuron]), load(proposed[word, neuron])
                for step in range(steps_of_word(circuit, word)):
                    row = rows[32 * word + step]
                    store(row, exchanged(load(row), before, after, weight, splat(np.uint32(1 << step))))
    for word in range(trains.shape[0]):
        store(trains[word, neuron], load(proposed[word, neuron]))
        for behind in range(firsts[layer] + layers[layer + 1], n_neurons):
            store(trains[word, behind], load(proposed[word, behind]))
    for behind in range(layer + 2, n_layers):  # every neuron before them may have changed
        sum_up(circuit, behind, columns, trains, sums)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def sum_up(circuit, layer, columns, trains, sums):  # type: ignore[no-untyped-def]
    """Synaptic sums (n_later, n_steps, GROUP) of the neurons of one layer, from all neurons before it."""
    first, last = circuit.firsts[layer], circuit.firsts[layer] + circuit.layers[layer + 1] - 1
    for a in range(first, last + 1, 2):
        sum_two(circuit, layer, a, min(a + 1, last), columns, trains, sums)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def sum_two(circuit, layer, a, b, columns, trains, sums):  # type: ignore[no-untyped-def]
    """`sum_up` of two neurons of a layer, which may be the same one."""
    column_a = columns[circuit.starts[a] : circuit.starts[a + 1]]
    column_b = columns[circuit.starts[b] : circuit.starts[b + 1]]
    all_a, all_b = column_sum(column_a), column_sum(column_b)
    rows_a, rows_b = sums[a - circuit.layers[1]], sums[b - circuit.layers[1]]
    for step in range(0, circuit.n_steps, 2):
        before = trains[step // 32, circuit.firsts[layer - 1] :]
        bit, next_bit = splat(np.uint32(1 << (step % 32))), splat(np.uint32(2 << (step % 32)))
        current_a, current_b, next_a, next_b = spike_currents(
            before, column_a, column_b, all_a, all_b, bit, next_bit
        )
        store(rows_a[step], current_a)
        store(rows_b[step], current_b)
        if step + 1 < circuit.n_steps:
            store(rows_a[step + 1], next_a)
            store(rows_b[step + 1], next_b)
