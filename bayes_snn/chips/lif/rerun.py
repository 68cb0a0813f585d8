"""Numba kernels that re-run only what one synapse touches: its neuron, and what lies behind it.

Synaptic sums are exact (`distortion.current_step`), so a sum from which one term is taken and another put in is, bit
for bit, the sum computed anew: incremental and full evaluation give the same spikes, always. A chip with noise is never
re-run in part. All arrays are those of one group of samples.
"""

from __future__ import annotations

import numpy as np

from bayes_snn.chips.lif.compiled import inlined, inner
from bayes_snn.chips.lif.current import column_sum, dense_current, driven, spike_currents
from bayes_snn.chips.lif.forward import few_edges, run_first, run_layer, steps_of_word
from bayes_snn.chips.lif.lanes import any_bit, lacks_bit, load, splat, store, where
from bayes_snn.chips.lif.neuron import Cell, advance


@inlined
def exchanged(total, old, new, weight, bit):  # type: ignore[no-untyped-def]
    """A synaptic sum in which one presynaptic neuron spikes as in `new` instead of `old`.

    Its weight is first added where it was silent and then taken away where it is now: the sum between is that of a
    neuron that always spikes.
    """
    always = where(lacks_bit(old, bit), total + weight, total)
    return where(lacks_bit(new, bit), always - weight, always)


@inner
def _follow_exchanged(  # type: ignore[no-untyped-def]
    cell_a, cell_b, a, b, trains, proposed, neuron, rows_a, rows_b, w_a, w_b, n_steps, run
):
    """New spikes of two neurons a and b, a layer behind `neuron`, which now spikes as proposed.

    Their synaptic sums are in rows (n_steps, GROUP), and w are the weights of its synapses. edges are tuples, and run
    None, where currents are not distorted and edges few; else arrays.
    """
    weight_a, weight_b = splat(w_a), splat(w_b)
    v_a = v_b = splat(np.float32(0.0))
    decay_a, decay_b = splat(cell_a.decay), splat(cell_b.decay)
    inflow_a, inflow_b = splat(cell_a.inflow), splat(cell_b.inflow)
    for word in range(proposed.shape[0]):
        before, after = load(trains[word, neuron]), load(proposed[word, neuron])
        train_a = train_b = splat(np.uint32(0))
        for step in range(steps_of_word(n_steps, word)):
            bit = splat(np.uint32(1 << step))
            current_a = exchanged(load(rows_a[32 * word + step]), before, after, weight_a, bit)
            current_b = exchanged(load(rows_b[32 * word + step]), before, after, weight_b, bit)
            drive_a, drive_b = current_a * inflow_a, current_b * inflow_b
            if run is not None:
                drive_a = driven(current_a, inflow_a, run.current_table, a, run.scratch)
                drive_b = driven(current_b, inflow_b, run.current_table, b, run.scratch)
            v_a, train_a = advance(v_a, train_a, drive_a, decay_a, cell_a.edges, bit)
            v_b, train_b = advance(v_b, train_b, drive_b, decay_b, cell_b.edges, bit)
        store(proposed[word, a], train_a)
        store(proposed[word, b], train_b)


@inlined
def _rerun_exchanged(circuit, state, group, site, a, b, run):  # type: ignore[no-untyped-def]
    trains, proposed, steps = state.trains[group], state.proposed[group], circuit.n_steps
    rows_a, rows_b = state.sums[group, a - circuit.layers[1]], state.sums[group, b - circuit.layers[1]]
    neuron, place = site.neuron, site.neuron - circuit.firsts[site.layer]
    w_a, w_b = state.columns[circuit.starts[a] + place], state.columns[circuit.starts[b] + place]
    decay_a, decay_b, inflow_a, inflow_b = circuit.decay[a], circuit.decay[b], circuit.inflow[a], circuit.inflow[b]
    n_edges, e, f = few_edges(circuit, a, b), circuit.edges[a], circuit.edges[b]
    if n_edges == 1:
        one_a, one_b = Cell(decay_a, inflow_a, (e[0],)), Cell(decay_b, inflow_b, (f[0],))
        _follow_exchanged(one_a, one_b, a, b, trains, proposed, neuron, rows_a, rows_b, w_a, w_b, steps, None)
    elif n_edges == 3:
        three_a, three_b = Cell(decay_a, inflow_a, (e[0], e[1], e[2])), Cell(decay_b, inflow_b, (f[0], f[1], f[2]))
        _follow_exchanged(three_a, three_b, a, b, trains, proposed, neuron, rows_a, rows_b, w_a, w_b, steps, None)
    elif n_edges == 5:
        five_a = Cell(decay_a, inflow_a, (e[0], e[1], e[2], e[3], e[4]))
        five_b = Cell(decay_b, inflow_b, (f[0], f[1], f[2], f[3], f[4]))
        _follow_exchanged(five_a, five_b, a, b, trains, proposed, neuron, rows_a, rows_b, w_a, w_b, steps, None)
    else:
        n = max(circuit.n_edges[a], circuit.n_edges[b])
        many_a, many_b = Cell(decay_a, inflow_a, e[:n]), Cell(decay_b, inflow_b, f[:n])
        _follow_exchanged(many_a, many_b, a, b, trains, proposed, neuron, rows_a, rows_b, w_a, w_b, steps, run)


@inlined
def reweighed(total, train, w_old, w_new, bit):  # type: ignore[no-untyped-def]
    """A synaptic sum in which one presynaptic neuron has another weight."""
    return where(lacks_bit(train, bit), total, (total - w_old) + w_new)


@inner
def _follow_reweighed(cell, neuron, trains, proposed, place, rows, w_old, w_new, n_steps, run):  # type: ignore[no-untyped-def]
    """New spikes of a neuron behind the first layer whose synapse from the neuron at `place` has a new weight.

    Its synaptic sums are in rows (n_steps, GROUP); run is None on a plain chip.
    """
    old, new = splat(w_old), splat(w_new)
    v, decay, inflow = splat(np.float32(0.0)), splat(cell.decay), splat(cell.inflow)
    for word in range(proposed.shape[0]):
        spikes, train = load(trains[word, place]), splat(np.uint32(0))
        for step in range(steps_of_word(n_steps, word)):
            bit = splat(np.uint32(1 << step))
            current = reweighed(load(rows[32 * word + step]), spikes, old, new, bit)
            drive = current * inflow
            if run is not None:
                drive = driven(current, inflow, run.current_table, neuron, run.scratch)
            v, train = advance(v, train, drive, decay, cell.edges, bit)
        store(proposed[word, neuron], train)


@inlined
def _rerun_reweighed(circuit, state, group, site, run):  # type: ignore[no-untyped-def]
    neuron, place = site.neuron, circuit.firsts[site.layer - 1] + site.pre
    rows, edges = state.sums[group, neuron - circuit.layers[1]], circuit.edges[neuron, : circuit.n_edges[neuron]]
    cell, steps = Cell(circuit.decay[neuron], circuit.inflow[neuron], edges), circuit.n_steps
    trains, proposed = state.trains[group], state.proposed[group]
    _follow_reweighed(cell, neuron, trains, proposed, place, rows, site.w_old, site.w_new, steps, run)


@inlined
def differ(trains, proposed, neuron):  # type: ignore[no-untyped-def]
    difference = splat(np.uint32(0))
    for word in range(trains.shape[0]):
        difference = difference | (load(trains[word, neuron]) ^ load(proposed[word, neuron]))
    return any_bit(difference)


@inlined
def propose(circuit, state, group, inputs, site, run, deeper):  # type: ignore[no-untyped-def]
    """Re-run what lies behind one synapse, on one group; False when its neuron spikes as before.

    `state.columns` has the new weight of the `Site` already; the new spikes go to `state.proposed`. inputs
    (n_in, GROUP) are the group's; run as `new_run` makes it; deeper is None on a chip of at most two weight matrices.
    """
    columns, layer, neuron = state.columns, site.layer, site.neuron
    if layer == 0:
        current = dense_current(inputs, columns[circuit.starts[neuron] : circuit.starts[neuron + 1]])
        run_first(circuit, neuron, current, run, state.proposed[group])
    else:
        _rerun_reweighed(circuit, state, group, site, run)
    if not differ(state.trains[group], state.proposed[group], neuron):
        return False
    spread(circuit, state, group, site, run, deeper)
    return True


@inlined
def spread(circuit, state, group, site, run, deeper):  # type: ignore[no-untyped-def]
    """Re-run what lies behind a site's neuron, whose new spikes are in `state.proposed`, and fill the rest there."""
    layers, firsts, columns = circuit.layers, circuit.firsts, state.columns
    layer, neuron, trains, proposed = site.layer, site.neuron, state.trains[group], state.proposed[group]
    n_layers = firsts.shape[0]
    if layer == n_layers - 1:  # the other outputs stand beside the new one in the likelihood
        for word in range(trains.shape[0]):
            for other in range(firsts[layer], trains.shape[1]):
                if other != neuron:
                    store(proposed[word, other], load(trains[word, other]))
    else:
        first, last = firsts[layer + 1], firsts[layer + 1] + layers[layer + 2] - 1
        for a in range(first, last + 1, 2):  # one neuron before them has changed
            b = min(a + 1, last)
            _rerun_exchanged(circuit, state, group, site, a, b, run)
        if deeper is not None:
            for behind in range(layer + 2, n_layers):  # all neurons before them may have
                run_layer(circuit, behind, columns, run, proposed)


@inlined
def keep(circuit, state, group, site, changed, deeper):  # type: ignore[no-untyped-def]
    """Make the new spikes and sums of a group the current ones; arguments as for `propose`."""
    if site.layer > 0:
        place, rows = circuit.firsts[site.layer - 1] + site.pre, state.sums[group, site.neuron - circuit.layers[1]]
        _reweigh(rows, state.trains[group], place, site.w_old, site.w_new, circuit.n_steps)
    if changed:
        keep_spikes(circuit, state, group, site, deeper)


@inlined
def keep_spikes(circuit, state, group, site, deeper):  # type: ignore[no-untyped-def]
    """Make the new spikes of a site's neuron, and all that `spread` filled, the current ones."""
    layer, neuron, columns = site.layer, site.neuron, state.columns
    trains, sums, proposed = state.trains[group], state.sums[group], state.proposed[group]
    firsts, layers, n_first = circuit.firsts, circuit.layers, circuit.layers[1]
    n_layers, n_neurons = firsts.shape[0], trains.shape[1]
    if layer + 1 < n_layers:
        for target in range(firsts[layer + 1], firsts[layer + 1] + layers[layer + 2]):
            weight = columns[circuit.starts[target] + neuron - firsts[layer]]
            _exchange(sums[target - n_first], trains, proposed, neuron, weight, circuit.n_steps)
    for word in range(trains.shape[0]):
        store(trains[word, neuron], load(proposed[word, neuron]))
        for behind in range(firsts[layer] + layers[layer + 1], n_neurons):
            store(trains[word, behind], load(proposed[word, behind]))
    if deeper is not None:
        for behind in range(layer + 2, n_layers):  # every neuron before them may have changed
            sum_up(circuit, behind, columns, trains, sums)


@inner
def _reweigh(rows, trains, place, w_old, w_new, n_steps):  # type: ignore[no-untyped-def]
    """Synaptic sums (n_steps, GROUP) of a neuron whose synapse from the neuron at `place` has a new weight."""
    old, new = splat(w_old), splat(w_new)
    for word in range(trains.shape[0]):
        spikes = load(trains[word, place])
        for step in range(steps_of_word(n_steps, word)):
            row = rows[32 * word + step]
            store(row, reweighed(load(row), spikes, old, new, splat(np.uint32(1 << step))))


@inner
def _exchange(rows, trains, proposed, neuron, w, n_steps):  # type: ignore[no-untyped-def]
    """Synaptic sums (n_steps, GROUP) of a neuron a layer behind `neuron`, which now spikes as proposed."""
    weight = splat(w)
    for word in range(trains.shape[0]):
        before, after = load(trains[word, neuron]), load(proposed[word, neuron])
        for step in range(steps_of_word(n_steps, word)):
            row = rows[32 * word + step]
            store(row, exchanged(load(row), before, after, weight, splat(np.uint32(1 << step))))


@inlined
def sum_up(circuit, layer, columns, trains, sums):  # type: ignore[no-untyped-def]
    """Synaptic sums (n_later, n_steps, GROUP) of the neurons of one layer, from all neurons before it."""
    first, last = circuit.firsts[layer], circuit.firsts[layer] + circuit.layers[layer + 1] - 1
    for a in range(first, last + 1, 2):
        b = min(a + 1, last)
        column_a = columns[circuit.starts[a] : circuit.starts[a + 1]]
        column_b = columns[circuit.starts[b] : circuit.starts[b + 1]]
        rows_a, rows_b = sums[a - circuit.layers[1]], sums[b - circuit.layers[1]]
        sum_of_two(column_a, column_b, circuit.firsts[layer - 1], circuit.n_steps, trains, rows_a, rows_b)


@inner
def sum_of_two(column_a, column_b, first_pre, n_steps, trains, rows_a, rows_b):  # type: ignore[no-untyped-def]
    """Synaptic sums (n_steps, GROUP) of two neurons, from all neurons before them, the first of them first_pre."""
    all_a, all_b = column_sum(column_a), column_sum(column_b)
    for step in range(0, n_steps, 2):
        before = trains[step // 32, first_pre:]
        bit, next_bit = splat(np.uint32(1 << (step % 32))), splat(np.uint32(2 << (step % 32)))
        current_a, current_b, next_a, next_b = spike_currents(before, column_a, column_b, all_a, all_b, bit, next_bit)
        store(rows_a[step], current_a)
        store(rows_b[step], current_b)
        if step + 1 < n_steps:
            store(rows_a[step + 1], next_a)
            store(rows_b[step + 1], next_b)
