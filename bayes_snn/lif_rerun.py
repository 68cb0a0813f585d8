"""Numba kernels that re-run only what one synapse touches: its neuron, and what lies behind it.

Synaptic sums are exact (`distortion.current_step`), so a sum from which one term is taken and another put in is, bit
for bit, the sum computed anew: incremental and full evaluation give the same spikes, always.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bayes_snn.bits import has_bit
from bayes_snn.lif_kernels import dense_current, finish_current, spike_current
from bayes_snn.lif_neuron import STEPS, advance_step, follow, hold, mask_bits
from bayes_snn.lif_recall import recall

_ZERO = np.float32(0.0)


@njit(inline="always")
def _exchange(total, word_old, word_new, w_old, w_new, bit):  # type: ignore[no-untyped-def]
    """A synaptic sum without the old spike's weight and with the new one's; exact, see above."""
    rest = total - w_old if has_bit(word_old, bit) else total
    return rest + w_new if has_bit(word_new, bit) else rest


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _exchange_rows(sums, rows, old, new, w_old, w_new, bit):  # type: ignore[no-untyped-def]
    """`_exchange` in STEPS rows of sums (., n), written to rows (STEPS, n), which may be the same ones."""
    sums0, sums1, sums2, sums3 = sums[0], sums[1], sums[2], sums[3]
    rows0, rows1, rows2, rows3 = rows[0], rows[1], rows[2], rows[3]
    bit0, bit1, bit2, bit3 = np.uint32(1 << bit), np.uint32(2 << bit), np.uint32(4 << bit), np.uint32(8 << bit)
    for s in range(old.shape[0]):
        a, b = old[s], new[s]
        rows0[s] = _exchange(sums0[s], a, b, w_old, w_new, bit0)
        rows1[s] = _exchange(sums1[s], a, b, w_old, w_new, bit1)
        rows2[s] = _exchange(sums2[s], a, b, w_old, w_new, bit2)
        rows3[s] = _exchange(sums3[s], a, b, w_old, w_new, bit3)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _follow_exchange(v, train, sums, old, new, w_old, w_new, inflow, decay, edges, bit):  # type: ignore[no-untyped-def]
    """`_exchange_rows` and `follow` in one pass, with nothing written but v and train; edges is a tuple."""
    sums0, sums1, sums2, sums3 = sums
    bit0, bit1, bit2, bit3 = np.uint32(1 << bit), np.uint32(2 << bit), np.uint32(4 << bit), np.uint32(8 << bit)
    for s in range(v.shape[0]):
        x, word, a, b = v[s], train[s], old[s], new[s]
        drive0 = _exchange(sums0[s], a, b, w_old, w_new, bit0) * inflow
        drive1 = _exchange(sums1[s], a, b, w_old, w_new, bit1) * inflow
        drive2 = _exchange(sums2[s], a, b, w_old, w_new, bit2) * inflow
        drive3 = _exchange(sums3[s], a, b, w_old, w_new, bit3) * inflow
        x, word = advance_step(x, drive0, decay, edges, word, bit0)
        x, word = advance_step(x, drive1, decay, edges, word, bit1)
        x, word = advance_step(x, drive2, decay, edges, word, bit2)
        x, word = advance_step(x, drive3, decay, edges, word, bit3)
        v[s], train[s] = x, word


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _rerun_first(circuit, neuron, inputs, start, column, proposed, v, odd, held):  # type: ignore[no-untyped-def]
    """New spikes of a first-layer neuron, from its weights (n_in,)."""
    n = v.shape[0]
    for s in range(n):
        v[s] = _ZERO
    dense_current(inputs, start, column, held[0])
    finish_current(circuit.current_table, neuron, circuit.inflow[neuron], held)
    edges = circuit.edges[neuron, : circuit.n_edges[neuron]]
    for word in range(proposed.shape[0]):
        train = proposed[word, neuron][start : start + n]
        if circuit.n_marks.shape[0] > 0:
            n_marks = circuit.n_marks[neuron]
            marks, flips = circuit.marks[neuron][:n_marks], circuit.flips[word, neuron][:n_marks]
            recall(train, held[0], marks, flips, circuit.first_train[word, neuron])
            continue
        for s in range(n):
            train[s] = np.uint32(0)
        n_steps = min(32, circuit.n_steps - 32 * word)
        hold(v, train, held, circuit.decay[neuron], edges, n_steps, odd)
        if n_steps % 8 > 0:
            mask_bits(train, np.uint32((1 << n_steps) - 1))


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _rerun_exchanged(  # type: ignore[no-untyped-def]
    circuit, neuron, sums, start, pre, old, new, w_old, w_new, proposed, v, odd, drive
):
    """New spikes of a later neuron in whose sums (n_rows, n_all) one presynaptic neuron is exchanged.

    That neuron's trains stand in row `pre` of old and new, its weights are w_old and w_new.
    """
    n = v.shape[0]
    stop = start + n
    for s in range(n):
        v[s] = _ZERO
    decay, inflow = circuit.decay[neuron], circuit.inflow[neuron]
    n_edges = circuit.n_edges[neuron]
    e = circuit.edges[neuron]
    bent = circuit.current_table.shape[0] > 0
    for word in range(proposed.shape[0]):
        train = proposed[word, neuron][start:stop]
        a, b = old[word, pre][start:stop], new[word, pre][start:stop]
        for s in range(n):
            train[s] = np.uint32(0)
        n_steps = min(32, circuit.n_steps - 32 * word)
        for bit in range(0, n_steps, STEPS):
            step = 32 * word + bit
            rows = (
                sums[step][start:stop],
                sums[step + 1][start:stop],
                sums[step + 2][start:stop],
                sums[step + 3][start:stop],
            )
            if bent or n_edges > 5:
                _exchange_rows(rows, (drive[0], drive[1], drive[2], drive[3]), a, b, w_old, w_new, bit)
                finish_current(circuit.current_table, neuron, circuit.inflow[neuron], drive)
                follow(v, train, drive, decay, e[:n_edges], bit, odd)
            elif n_edges == 1:
                _follow_exchange(v, train, rows, a, b, w_old, w_new, inflow, decay, (e[0],), bit)
            elif n_edges == 3:
                three = (e[0], e[1], e[2])
                _follow_exchange(v, train, rows, a, b, w_old, w_new, inflow, decay, three, bit)
            elif n_edges == 5:
                five = (e[0], e[1], e[2], e[3], e[4])
                _follow_exchange(v, train, rows, a, b, w_old, w_new, inflow, decay, five, bit)
        if n_steps % STEPS > 0:
            mask_bits(train, np.uint32((1 << n_steps) - 1))


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _rerun_summed(  # type: ignore[no-untyped-def]
    circuit, neuron, column, first_pre, start, trains, proposed, v, odd, drive
):
    """New spikes of a later neuron from the trains (n_words, n_neurons, n_all) of all neurons before it."""
    n = v.shape[0]
    for s in range(n):
        v[s] = _ZERO
    edges = circuit.edges[neuron, : circuit.n_edges[neuron]]
    last_pre = first_pre + column.shape[0]
    for word in range(proposed.shape[0]):
        train = proposed[word, neuron][start : start + n]
        for s in range(n):
            train[s] = np.uint32(0)
        n_steps = min(32, circuit.n_steps - 32 * word)
        for bit in range(0, n_steps, STEPS):
            spike_current(trains[word, first_pre:last_pre], start, column, bit, drive)
            finish_current(circuit.current_table, neuron, circuit.inflow[neuron], drive)
            follow(v, train, drive, circuit.decay[neuron], edges, bit, odd)
        if n_steps % STEPS > 0:
            mask_bits(train, np.uint32((1 << n_steps) - 1))


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _differ(trains, proposed, neuron, start, stop):  # type: ignore[no-untyped-def]
    for word in range(trains.shape[0]):
        a, b = trains[word, neuron], proposed[word, neuron]
        for s in range(start, stop):
            if a[s] != b[s]:
                return True
    return False


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def propose(  # type: ignore[no-untyped-def]
    circuit,
    inputs,
    start,
    columns,
    starts,
    layer,
    neuron,
    before,
    pre,
    w_old,
    w_new,
    trains,
    proposed,
    sums,
    v,
    odd,
    drive,
    held,
):
    """Re-run, on one block, what lies behind one synapse; False when its neuron spikes as before.

    The synapse leads from `pre`, counted in its layer, whose first neuron is `before`, to `neuron`, counted in the
    chip, of `layer`; `columns` has its new weight already. trains and proposed (n_words, n_neurons, n_all) are current
    and new spikes, sums (n_later, n_rows, n_all) the current synaptic sums of the later neurons.
    """
    layers = circuit.layers
    n_first = layers[1]
    stop = start + v.shape[0]
    if layer == 0:
        _rerun_first(
            circuit, neuron, inputs, start, columns[starts[neuron] : starts[neuron + 1]], proposed, v, odd, held
        )
    else:
        rows = sums[neuron - n_first]
        _rerun_exchanged(
            circuit, neuron, rows, start, before + pre, trains, trains, w_old, w_new, proposed, v, odd, drive
        )
    if not _differ(trains, proposed, neuron, start, stop):
        return False
    first_pre = before + layers[layer] if layer > 0 else 0
    if layer == layers.shape[0] - 2:  # the other outputs stand beside the new one in the likelihood
        for word in range(trains.shape[0]):
            for other in range(first_pre, trains.shape[1]):
                if other != neuron:
                    for s in range(start, stop):
                        proposed[word, other, s] = trains[word, other, s]
        return True
    for post_layer in range(layer + 1, layers.shape[0] - 1):
        first_post = first_pre + layers[post_layer]
        for target in range(first_post, first_post + layers[post_layer + 1]):
            column = columns[starts[target] : starts[target + 1]]
            if post_layer == layer + 1:  # one neuron before it has changed
                w = column[neuron - first_pre]
                rows = sums[target - n_first]
                _rerun_exchanged(circuit, target, rows, start, neuron, trains, proposed, w, w, proposed, v, odd, drive)
            else:  # all of them may have
                _rerun_summed(circuit, target, column, first_pre, start, proposed, proposed, v, odd, drive)
        first_pre = first_post
    return True


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _exchange_in_place(sums0, sums1, sums2, sums3, old, new, w_old, w_new, bit):  # type: ignore[no-untyped-def]
    # apart from `_exchange_rows`: written for two arrays that may be one, its loops could not use vectors
    bit0, bit1, bit2, bit3 = np.uint32(1 << bit), np.uint32(2 << bit), np.uint32(4 << bit), np.uint32(8 << bit)
    for s in range(sums0.shape[0]):
        a, b = old[s], new[s]
        sums0[s] = _exchange(sums0[s], a, b, w_old, w_new, bit0)
        sums1[s] = _exchange(sums1[s], a, b, w_old, w_new, bit1)
        sums2[s] = _exchange(sums2[s], a, b, w_old, w_new, bit2)
        sums3[s] = _exchange(sums3[s], a, b, w_old, w_new, bit3)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _exchange_all(circuit, sums, start, stop, pre, old, new, w_old, w_new):  # type: ignore[no-untyped-def]
    """Exchange a presynaptic neuron in all rows of one neuron's sums (n_rows, n_all), in place."""
    for step in range(0, circuit.n_steps, STEPS):
        a, b = old[step // 32, pre][start:stop], new[step // 32, pre][start:stop]
        row0, row1 = sums[step][start:stop], sums[step + 1][start:stop]
        row2, row3 = sums[step + 2][start:stop], sums[step + 3][start:stop]
        _exchange_in_place(row0, row1, row2, row3, a, b, w_old, w_new, step % 32)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def keep(  # type: ignore[no-untyped-def]
    circuit, start, stop, columns, starts, layer, neuron, before, pre, w_old, w_new, changed, trains, proposed, sums
):
    """Make the new spikes and sums of a block the current ones; arguments as for `propose`."""
    layers = circuit.layers
    n_first, n_neurons = layers[1], trains.shape[1]
    if layer > 0:
        _exchange_all(circuit, sums[neuron - n_first], start, stop, before + pre, trains, trains, w_old, w_new)
    if not changed:
        return
    first_pre = before + layers[layer] if layer > 0 else 0
    first_behind = first_pre + layers[layer + 1]
    if first_behind < n_neurons:
        for target in range(first_behind, first_behind + layers[layer + 2]):
            w = columns[starts[target] + neuron - first_pre]
            _exchange_all(circuit, sums[target - n_first], start, stop, neuron, trains, proposed, w, w)
    for word in range(trains.shape[0]):
        for s in range(start, stop):
            trains[word, neuron, s] = proposed[word, neuron, s]
        for behind in range(first_behind, n_neurons):
            for s in range(start, stop):
                trains[word, behind, s] = proposed[word, behind, s]
    # layers further behind: every neuron before them may have changed
    first_pre = first_behind
    for post_layer in range(layer + 2, layers.shape[0] - 1):
        first_post = first_pre + layers[post_layer]
        for target in range(first_post, first_post + layers[post_layer + 1]):
            sum_up(circuit, columns[starts[target] : starts[target + 1]], first_pre, trains, sums[target - n_first])
        first_pre = first_post


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def sum_up(circuit, column, first_pre, trains, sums):  # type: ignore[no-untyped-def]
    """Synaptic sums (n_rows, n_all) of a neuron, from all neurons before it."""
    last_pre = first_pre + column.shape[0]
    for step in range(0, circuit.n_steps, STEPS):
        spike_current(trains[step // 32, first_pre:last_pre], 0, column, step % 32, sums[step : step + STEPS])
