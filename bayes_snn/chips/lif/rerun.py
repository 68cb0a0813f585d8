"""Numba kernels that re-run only what new weights of one neuron touch: this neuron, and what lies behind it.

Synaptic sums are exact (`distortion.current_step`), so a sum from which one term is taken and another put in is, bit
for bit, the sum computed anew: incremental and full evaluation give the same spikes, always. A chip with noise is never
re-run in part. All arrays are those of one group of samples.
"""

from __future__ import annotations

import numpy as np

from bayes_snn.chips.lif.compiled import inlined, inner
from bayes_snn.chips.lif.current import column_sum, dense_current, driven, spike_currents
from bayes_snn.chips.lif.forward import run_first, run_layer, steps_of_word
from bayes_snn.chips.lif.labels import group_log_likelihood
from bayes_snn.chips.lif.lanes import GROUP, any_bit, lacks_bit, load, splat, store, where
from bayes_snn.chips.lif.neuron import advance, cell_of
from bayes_snn.chips.lif.state import ALL


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

    Their synaptic sums are in rows (n_steps, GROUP), and w are the weights of its synapses; run is None
    on a plain chip.
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
    cell_a, cell_b = cell_of(circuit, a), cell_of(circuit, b)
    _follow_exchanged(cell_a, cell_b, a, b, trains, proposed, neuron, rows_a, rows_b, w_a, w_b, steps, run)


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
def _rerun_neuron(circuit, state, group, inputs, site, run):  # type: ignore[no-untyped-def]
    """New spikes of a site's neuron to `state.proposed`."""
    neuron, trains, proposed = site.neuron, state.trains[group], state.proposed[group]
    column = state.columns[circuit.starts[neuron] : circuit.starts[neuron + 1]]
    if site.layer == 0:
        run_first(circuit, neuron, dense_current(inputs, column), run, proposed)
        return
    cell, first_pre, n_steps = cell_of(circuit, neuron), circuit.firsts[site.layer - 1], circuit.n_steps
    if site.pre == ALL:
        _follow_column(cell, neuron, column, first_pre, n_steps, trains, proposed, run)
    else:
        rows, pre = state.sums[group, neuron - circuit.layers[1]], first_pre + site.pre
        _follow_reweighed(cell, neuron, trains, proposed, pre, rows, site.w_old, site.w_new, n_steps, run)


@inlined
def _differ(trains, proposed, neuron):  # type: ignore[no-untyped-def]
    difference = splat(np.uint32(0))
    for word in range(trains.shape[0]):
        difference = difference | (load(trains[word, neuron]) ^ load(proposed[word, neuron]))
    return any_bit(difference)


@inlined
def _propose(circuit, state, group, inputs, site, run, deeper):  # type: ignore[no-untyped-def]
    """Re-run a site's neuron and what lies behind it, on one group; False when the neuron spikes as before.

    `state.columns` has the new weights already; the new spikes go to `state.proposed`. inputs (n_in, GROUP) are the
    group's; run as `new_run` makes it; deeper is None on a chip of at most two weight matrices.
    """
    _rerun_neuron(circuit, state, group, inputs, site, run)
    if not _differ(state.trains[group], state.proposed[group], site.neuron):
        return False
    _spread(circuit, state, group, site, run, deeper)
    return True


@inlined
def _spread(circuit, state, group, site, run, deeper):  # type: ignore[no-untyped-def]
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
def _keep_sums(circuit, state, group, site):  # type: ignore[no-untyped-def]
    """Make the synaptic sums of a site's neuron, behind the first layer, those of its new weights."""
    neuron, first_pre, trains = site.neuron, circuit.firsts[site.layer - 1], state.trains[group]
    rows, n_steps = state.sums[group, neuron - circuit.layers[1]], circuit.n_steps
    if site.pre == ALL:
        column = state.columns[circuit.starts[neuron] : circuit.starts[neuron + 1]]
        _sum_of_two(column, column, first_pre, n_steps, trains, rows, rows)
    else:
        _reweigh(rows, trains, first_pre + site.pre, site.w_old, site.w_new, n_steps)


@inlined
def _keep_spikes(circuit, state, group, site, deeper):  # type: ignore[no-untyped-def]
    """Make the new spikes of a site's neuron, and all that `_spread` filled, the current ones."""
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
        _sum_of_two(column_a, column_b, circuit.firsts[layer - 1], circuit.n_steps, trains, rows_a, rows_b)


@inner
def _sum_of_two(column_a, column_b, first_pre, n_steps, trains, rows_a, rows_b):  # type: ignore[no-untyped-def]
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


@inner
def try_move(circuit, state, scratch, run, counts, deeper, inputs, labels, site, threshold):  # type: ignore[no-untyped-def]
    """Accept new weights of a `Site`, which `state.columns` has already, where log L comes out above a threshold.

    Groups are shown as long as their log L, every term of which is <= 0, leaves hope; where it fell too far, columns
    want to be put back, and the rest of the state is as before.

    Parameters
    ----------
    circuit, state, scratch, run, counts, deeper, inputs, labels
        As for `sweep_sites`.

    Returns
    -------
    Whether it was accepted, and the number of samples shown.
    """
    n_groups, n_samples = inputs.shape[0], labels.labels.shape[0]
    terms, new_terms, changed = state.terms, scratch.terms, scratch.changed
    total, shown = 0.0, 0
    for group in range(n_groups):
        changed[group] = _propose(circuit, state, group, inputs[group], site, run, deeper)
        shown += min(GROUP, n_samples - group * GROUP)
        new_terms[group] = terms[group]
        if changed[group]:
            proposed = state.proposed[group]
            new_terms[group] = group_log_likelihood(proposed, group, labels, scratch.places, counts)
        total += new_terms[group]
        if not total > threshold:
            return False, shown
    for group in range(n_groups):
        terms[group] = new_terms[group]
        if site.layer > 0:
            _keep_sums(circuit, state, group, site)
        if changed[group]:
            _keep_spikes(circuit, state, group, site, deeper)
    return True, shown
