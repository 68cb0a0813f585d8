"""Numba kernels of the simulated chip: samples lie contiguous, so that every inner loop is a vector loop.

A block of samples passes through the layers one after the other. A neuron's spike train is packed 32 steps to a
word, which is all that the next layer needs. The arithmetic is float32 in a stated order, without fused
multiply-add, so that a plain NumPy loop gives the same spike counts (tests/reference.py):

- first layer: I = (((x_0 w_0 + x_1 w_1) + x_2 w_2) + ...), inputs in order;
- later layers: I[t] = sum of the weights of the neurons that spiked. These weights are multiples of a power of two,
  chosen so that no partial sum needs more than the 24 bits of a float32 (`distortion.current_step`): the sum is
  exact, in any order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numba.extending import register_jitable
from numpy.typing import NDArray

from bayes_snn.bits import count_bits, has_bit
from bayes_snn.lif_neuron import STEPS, follow, hold, mask_bits
from bayes_snn.lif_recall import recall
from bayes_snn.noise import standard_normal

BLOCK = 288  # samples of a block: its buffers stay in the first-level cache
LANES = 32  # a block is a multiple of this: two vectors of 16 samples are advanced together

TABLE_REACH = 64.0  # the current tables reach this far either way, in units of the threshold

_ZERO = np.float32(0.0)


class Circuit(NamedTuple):
    """All that the kernels know of a chip, neurons of all layers in one row (n_neurons = sum of layers[1:]).

    Attributes
    ----------
    layers
        (n_layers + 1,) neurons of each layer, inputs first.
    n_steps
        Time steps of a presentation.
    decay, inflow
        (n_neurons,) alpha and 1 - alpha of each neuron.
    n_edges, edges
        (n_neurons,) and (n_neurons, max_edges): a neuron fires where an odd number of its edges are <= v.
        The ideal neuron has one edge, the threshold; a silent neuron has none.
    current_table
        (n_neurons or 0, n_knots): distortion added to the input current, tabulated; see `bend_current`.
    noise
        (n_neurons,) standard deviation of the noise added to v at each step; an empty array on a noiseless chip.
    n_marks, marks, flips, first_train
        (n_first,), (n_first, max_marks), (n_words, n_first, max_marks) and (n_words, n_first): the trains of the first
        layer as step functions of the drive, see lif_recall.py; n_first is 0 where neurons are stepped instead.
    """

    layers: NDArray[np.int64]
    n_steps: int
    decay: NDArray[np.float32]
    inflow: NDArray[np.float32]
    n_edges: NDArray[np.int64]
    edges: NDArray[np.float32]
    current_table: NDArray[np.float32]
    noise: NDArray[np.float32]
    n_marks: NDArray[np.int64]
    marks: NDArray[np.float32]
    flips: NDArray[np.uint32]
    first_train: NDArray[np.uint32]


@register_jitable
def knot(current, n_knots):  # type: ignore[no-untyped-def]
    """Place of a current in a table over [-TABLE_REACH, TABLE_REACH], in knots, clipped to the table's ends."""
    scale = np.float32((n_knots - 1) / (2.0 * TABLE_REACH))
    place = (current + np.float32(TABLE_REACH)) * scale
    return np.minimum(np.maximum(place, _ZERO), np.float32(n_knots - 1))


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def bend_current(current, table):  # type: ignore[no-untyped-def]
    """I + sigma g(I) of each sample: sigma g from equidistant knots, linear between them, constant outside."""
    last = table.shape[0] - 2
    for s in range(current.shape[0]):
        place = knot(current[s], table.shape[0])
        left = min(np.int64(place), last)
        low = table[left]
        current[s] += low + (place - np.float32(left)) * (table[left + 1] - low)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def dense_current(inputs, start, weights, current):  # type: ignore[no-untyped-def]
    """First layer: current (n,) = sum over inputs, in their order, of weights (n_in,) times inputs (n_in, n_all).

    Samples start, ..., start + n - 1 are taken.
    """
    n_in, n = inputs.shape[0], current.shape[0]
    stop = start + n
    for s in range(n):
        current[s] = _ZERO
    first = n_in % 4
    for i in range(first):
        x, w = inputs[i][start:stop], weights[i]
        for s in range(n):
            current[s] += x[s] * w
    for i in range(first, n_in, 4):
        x0, x1 = inputs[i][start:stop], inputs[i + 1][start:stop]
        x2, x3 = inputs[i + 2][start:stop], inputs[i + 3][start:stop]
        w0, w1, w2, w3 = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        for s in range(n):
            current[s] = (((current[s] + x0[s] * w0) + x1[s] * w1) + x2[s] * w2) + x3[s] * w3


@njit(inline="always")
def _add_if(total, word, mask, weight):  # type: ignore[no-untyped-def]
    return total + weight if has_bit(word, mask) else total  # one masked addition; adding a zero would be two


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def spike_current(trains, start, weights, bit, current):  # type: ignore[no-untyped-def]
    """Later layers: current (STEPS, n) = sum of the weights (n_pre,) of the neurons whose train (n_pre, n_all) spikes.

    Samples start, ..., start + n - 1 are taken.
    """
    n_pre = trains.shape[0]
    n = current.shape[1]
    stop = start + n
    c0, c1, c2, c3 = current[0], current[1], current[2], current[3]
    bit0, bit1, bit2, bit3 = np.uint32(1 << bit), np.uint32(2 << bit), np.uint32(4 << bit), np.uint32(8 << bit)
    for s in range(n):
        c0[s], c1[s], c2[s], c3[s] = _ZERO, _ZERO, _ZERO, _ZERO
    first = n_pre % 4
    for i in range(first):
        train, w = trains[i][start:stop], weights[i]
        for s in range(n):
            c0[s] = _add_if(c0[s], train[s], bit0, w)
            c1[s] = _add_if(c1[s], train[s], bit1, w)
            c2[s] = _add_if(c2[s], train[s], bit2, w)
            c3[s] = _add_if(c3[s], train[s], bit3, w)
    for i in range(first, n_pre, 4):
        train0, train1 = trains[i][start:stop], trains[i + 1][start:stop]
        train2, train3 = trains[i + 2][start:stop], trains[i + 3][start:stop]
        w0, w1, w2, w3 = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        for s in range(n):
            t0, t1, t2, t3 = train0[s], train1[s], train2[s], train3[s]
            a, b, c, d = c0[s], c1[s], c2[s], c3[s]
            a, b, c, d = (
                _add_if(a, t0, bit0, w0),
                _add_if(b, t0, bit1, w0),
                _add_if(c, t0, bit2, w0),
                _add_if(d, t0, bit3, w0),
            )
            a, b, c, d = (
                _add_if(a, t1, bit0, w1),
                _add_if(b, t1, bit1, w1),
                _add_if(c, t1, bit2, w1),
                _add_if(d, t1, bit3, w1),
            )
            a, b, c, d = (
                _add_if(a, t2, bit0, w2),
                _add_if(b, t2, bit1, w2),
                _add_if(c, t2, bit2, w2),
                _add_if(d, t2, bit3, w2),
            )
            a, b, c, d = (
                _add_if(a, t3, bit0, w3),
                _add_if(b, t3, bit1, w3),
                _add_if(c, t3, bit2, w3),
                _add_if(d, t3, bit3, w3),
            )
            c0[s], c1[s], c2[s], c3[s] = a, b, c, d


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def finish_current(table, neuron, inflow, current):  # type: ignore[no-untyped-def]
    """Turn input currents (rows, n) into drives in place: the distortion of the current, then times 1 - alpha."""
    for row in range(current.shape[0]):
        line = current[row]
        if table.shape[0] > 0:
            bend_current(line, table[neuron])
        for s in range(line.shape[0]):
            line[s] *= inflow


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def add_noise(circuit, neuron, drive, first_step, first_sample, key):  # type: ignore[no-untyped-def]
    """Add each step's noise to the drives (STEPS, n) in place."""
    for row in range(STEPS):
        for s in range(drive.shape[1]):
            xi = standard_normal(key, neuron, first_step + row, first_sample + s)
            drive[row, s] += circuit.noise[neuron] * xi


@njit(cache=True, nogil=True, error_model="numpy")
def run_block(circuit, weights, inputs, first_sample, key, trains):  # type: ignore[no-untyped-def]
    """Show a block of samples to the chip.

    Parameters: weights (n_weights,) float32, each layer's (n_pre, n_post) in a row; inputs (n_in, n) float32;
    trains (n_words, n_neurons, n) uint32, filled with the spike trains of all neurons.
    """
    n_words, _, n = trains.shape
    noisy = circuit.noise.shape[0] > 0
    table = circuit.current_table
    v = np.empty(n, np.float32)
    drive = np.empty((STEPS, n), np.float32)
    held = np.empty((1, n), np.float32)
    odd = np.empty(n, np.uint8)
    neuron = 0
    first_pre = 0
    first_weight = 0
    for layer in range(circuit.layers.shape[0] - 1):
        n_pre, n_post = circuit.layers[layer], circuit.layers[layer + 1]
        matrix = weights[first_weight : first_weight + n_pre * n_post].reshape(n_pre, n_post)
        for post in range(n_post):
            column = matrix[:, post].copy()
            edges = circuit.edges[neuron, : circuit.n_edges[neuron]]
            decay, inflow = circuit.decay[neuron], circuit.inflow[neuron]
            for s in range(n):
                v[s] = _ZERO
            if layer == 0:
                dense_current(inputs, 0, column, held[0])
                finish_current(table, neuron, inflow, held)
            for word in range(n_words):
                n_steps = min(32, circuit.n_steps - 32 * word)
                train = trains[word, neuron]
                if layer == 0 and circuit.n_marks.shape[0] > 0:
                    n_marks = circuit.n_marks[neuron]
                    marks, flips = circuit.marks[neuron][:n_marks], circuit.flips[word, neuron][:n_marks]
                    recall(train, held[0], marks, flips, circuit.first_train[word, neuron])
                    continue
                for s in range(n):
                    train[s] = np.uint32(0)
                if layer == 0 and not noisy:
                    hold(v, train, held, decay, edges, n_steps, odd)
                else:
                    for bit in range(0, n_steps, STEPS):
                        if layer == 0:
                            for row in range(STEPS):
                                for s in range(n):
                                    drive[row, s] = held[0, s]
                        else:
                            spike_current(trains[word, first_pre : first_pre + n_pre], 0, column, bit, drive)
                            finish_current(table, neuron, inflow, drive)
                        if noisy:
                            add_noise(circuit, neuron, drive, 32 * word + bit, first_sample, key)
                        follow(v, train, drive, decay, edges, bit, odd)
                if n_steps % 8 > 0:
                    mask_bits(train, np.uint32((1 << n_steps) - 1))
            neuron += 1
        first_weight += n_pre * n_post
        if layer > 0:
            first_pre += n_pre


@njit(cache=True, nogil=True, error_model="numpy")
def run_blocks(circuit, weights, blocks, first_block, key, counts):  # type: ignore[no-untyped-def]
    """Spike counts (n_samples, n_out) int32 of blocks of inputs (n_blocks, n_in, n), the last one padded.

    `first_block` is the place of blocks[0] among all of a run: noise depends on it.
    """
    n_blocks, _, n = blocks.shape
    n_out = circuit.layers[-1]
    n_neurons = circuit.decay.shape[0]
    n_words = (circuit.n_steps + 31) // 32
    trains = np.empty((n_words, n_neurons, n), np.uint32)
    for block in range(n_blocks):
        run_block(circuit, weights, blocks[block], (first_block + block) * n, key, trains)
        stop = min(n, counts.shape[0] - block * n)
        for out in range(n_out):
            for s in range(stop):
                total = 0
                for word in range(n_words):
                    total += count_bits(trains[word, n_neurons - n_out + out, s])
                counts[block * n + s, out] = total
