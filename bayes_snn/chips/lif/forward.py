"""Numba kernels of the simulated chip.

Samples pass through the layers in groups of GROUP, one lane of a vector each (lanes.py): a neuron's voltage and its
spike train stay in registers through all steps of a presentation. A train is packed 32 steps to a word, which is all
that the next layer needs. The arithmetic is float32 in a stated order, without fused multiply-add, so that a
plain NumPy loop gives the same spike counts (tests/helpers/reference.py):

- first layer: I = (((x_0 w_0 + x_1 w_1) + x_2 w_2) + ...), inputs in order;
- later layers: I[t] = sum of the weights of the neurons that spiked. These weights are multiples of a power of two,
  chosen so that no partial sum needs more than the 24 bits of a float32 (`distortion.current_step`): the sum is
  exact, in any order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.lif.compiled import inlined, inner, kernel
from bayes_snn.chips.lif.current import column_sum, dense_currents, driven, spike_currents
from bayes_snn.chips.lif.lanes import GROUP, aligned_zeros, count_bits, load, splat, store
from bayes_snn.chips.lif.neuron import advance, cell_of
from bayes_snn.chips.lif.noise import standard_normals
from bayes_snn.chips.lif.recall import recall
from bayes_snn.chips.lif.state import Run


def group_inputs(inputs: NDArray[np.float64]) -> NDArray[np.float32]:
    """Inputs (n_samples, n_in) as (n_groups, n_in, GROUP), the last group padded with zeros."""
    n_samples, n_in = inputs.shape
    padded = np.zeros((-(-n_samples // GROUP) * GROUP, n_in), np.float32)
    padded[:n_samples] = inputs
    groups = aligned_zeros((len(padded) // GROUP, n_in, GROUP), np.float32)
    groups[:] = padded.reshape(-1, GROUP, n_in).transpose(0, 2, 1)
    return groups


@inlined
def steps_of_word(n_steps, word):  # type: ignore[no-untyped-def]
    """How many of a word's 32 steps are shown."""
    return min(32, n_steps - 32 * word)


@inner
def draw_noise(scale, key, neuron, step, first_sample, drawn):  # type: ignore[no-untyped-def]
    """Noise of one neuron at one step for GROUP samples, into drawn (GROUP,)."""
    store(drawn, splat(scale) * standard_normals(key, neuron, step, first_sample))


@inlined
def noisy(neuron, drive, step, run):  # type: ignore[no-untyped-def]
    """A drive with the step's noise, on a noisy chip."""
    if run.noise.shape[0] > 0:
        draw_noise(run.noise[neuron], run.key, neuron, step, run.first_sample, run.scratch)
        drive = drive + load(run.scratch)
    return drive


@inlined
def disturbed(neuron, current, inflow, step, run):  # type: ignore[no-untyped-def]
    """Drive of an input current on a chip whose currents are distorted, or noisy."""
    return noisy(neuron, driven(current, inflow, run.current_table, neuron, run.scratch), step, run)


@inlined
def _follow_held(cell, neuron, n_steps, run, trains):  # type: ignore[no-untyped-def]
    """Spikes of a neuron under a constant drive, that of the run, step by step."""
    v, held, decay = splat(np.float32(0.0)), load(run.drive), splat(cell.decay)
    for word in range(trains.shape[0]):
        train = splat(np.uint32(0))
        for step in range(steps_of_word(n_steps, word)):
            now = noisy(neuron, held, 32 * word + step, run)
            v, train = advance(v, train, now, decay, cell.edges, splat(np.uint32(1 << step)))
        store(trains[word, neuron], train)


@inlined
def run_first(circuit, neuron, current, run, trains):  # type: ignore[no-untyped-def]
    """Spikes of a first-layer neuron under a constant current, to trains (n_words, n_neurons, GROUP)."""
    inflow = splat(circuit.inflow[neuron])
    held = current * inflow
    if run is not None:
        held = driven(current, inflow, run.current_table, neuron, run.scratch)
        if circuit.n_marks.shape[0] == 0:
            store(run.drive, held)
            _follow_held(cell_of(circuit, neuron), neuron, circuit.n_steps, run, trains)
            return
    n_marks = circuit.n_marks[neuron]
    for word in range(trains.shape[0]):
        marks, flips = circuit.marks[neuron, :n_marks], circuit.flips[word, neuron, :n_marks]
        store(trains[word, neuron], recall(held, marks, flips, circuit.first_train[word, neuron]))


@inner
def _follow_spikes(cell_a, cell_b, a, b, column_a, column_b, first_pre, n_steps, trains, run):  # type: ignore[no-untyped-def]
    """Spikes of two later neurons from those of the neurons before them; run is None where they are plain."""
    all_a, all_b = column_sum(column_a), column_sum(column_b)
    v_a = v_b = splat(np.float32(0.0))
    decay_a, decay_b = splat(cell_a.decay), splat(cell_b.decay)
    inflow_a, inflow_b = splat(cell_a.inflow), splat(cell_b.inflow)
    edges_a, edges_b = cell_a.edges, cell_b.edges
    for word in range(trains.shape[0]):
        before = trains[word, first_pre:]
        train_a = train_b = splat(np.uint32(0))
        n_shown = steps_of_word(n_steps, word)
        for step in range(0, n_shown, 2):
            bit, next_bit = splat(np.uint32(1 << step)), splat(np.uint32(2 << step))
            current_a, current_b, next_a, next_b = spike_currents(
                before, column_a, column_b, all_a, all_b, bit, next_bit
            )
            drive_a, drive_b = current_a * inflow_a, current_b * inflow_b
            if run is not None:
                drive_a = disturbed(a, current_a, inflow_a, 32 * word + step, run)
                drive_b = disturbed(b, current_b, inflow_b, 32 * word + step, run)
            v_a, train_a = advance(v_a, train_a, drive_a, decay_a, edges_a, bit)
            v_b, train_b = advance(v_b, train_b, drive_b, decay_b, edges_b, bit)
            if step + 1 < n_shown:
                drive_a, drive_b = next_a * inflow_a, next_b * inflow_b
                if run is not None:
                    drive_a = disturbed(a, next_a, inflow_a, 32 * word + step + 1, run)
                    drive_b = disturbed(b, next_b, inflow_b, 32 * word + step + 1, run)
                v_a, train_a = advance(v_a, train_a, drive_a, decay_a, edges_a, next_bit)
                v_b, train_b = advance(v_b, train_b, drive_b, decay_b, edges_b, next_bit)
        store(trains[word, a], train_a)
        store(trains[word, b], train_b)


@inlined
def run_later(circuit, a, b, first_pre, columns, run, trains):  # type: ignore[no-untyped-def]
    """Spikes of two later neurons from those of all neurons before them, the first of them first_pre, in trains.

    Two share the reading of the trains; a and b may be the same one.
    """
    starts = circuit.starts
    column_a, column_b = columns[starts[a] : starts[a + 1]], columns[starts[b] : starts[b + 1]]
    cell_a, cell_b = cell_of(circuit, a), cell_of(circuit, b)
    _follow_spikes(cell_a, cell_b, a, b, column_a, column_b, first_pre, circuit.n_steps, trains, run)


@inlined
def run_layer(circuit, layer, columns, run, trains):  # type: ignore[no-untyped-def]
    """Spikes of a layer behind the first, two neurons at a time."""
    first = circuit.firsts[layer]
    last = first + circuit.layers[layer + 1] - 1
    for neuron in range(first, last + 1, 2):
        other = min(neuron + 1, last)
        run_later(circuit, neuron, other, circuit.firsts[layer - 1], columns, run, trains)


@inlined
def _run_group(circuit, columns, inputs, run, trains):  # type: ignore[no-untyped-def]
    """Show a group of samples (n_in, GROUP) to the chip; trains (n_words, n_neurons, GROUP)."""
    starts, last = circuit.starts, circuit.layers[1] - 1
    for a in range(0, last + 1, 2):
        b = min(a + 1, last)
        column_a, column_b = columns[starts[a] : starts[a + 1]], columns[starts[b] : starts[b + 1]]
        current_a, current_b = dense_currents(inputs, column_a, column_b)
        run_first(circuit, a, current_a, run, trains)
        run_first(circuit, b, current_b, run, trains)
    for layer in range(1, circuit.firsts.shape[0]):
        run_layer(circuit, layer, columns, run, trains)


@inlined
def count_spikes(trains, neuron):  # type: ignore[no-untyped-def]
    """Spikes of one neuron in each sample, from trains (n_words, n_neurons, GROUP)."""
    total = count_bits(load(trains[0, neuron]))
    for word in range(1, trains.shape[0]):
        total = total + count_bits(load(trains[word, neuron]))
    return total


@kernel
def run_groups(circuit, columns, groups, run, trains, counts, totals):  # type: ignore[no-untyped-def]
    """Show groups of inputs to the chip, all those of a run.

    Parameters
    ----------
    circuit, columns
        The chip, and its weights (n_weights,) float32, see `Circuit.starts`.
    groups
        (n_groups, n_in, GROUP) float32, the last group padded.
    run
        As `new_run` makes it.
    trains
        (n_groups, n_words, n_neurons, GROUP) uint32, filled with the spikes of all neurons; or (1, ...), room for those
        of one group.
    counts
        (n_samples, n_out) int32, filled with the spike counts of the outputs.
    totals
        (GROUP,) uint32, room.
    """
    n_neurons, n_out = circuit.decay.shape[0], counts.shape[1]
    for group in range(groups.shape[0]):
        spikes = trains[min(group, trains.shape[0] - 1)]
        first = group * GROUP
        if run is None:
            _run_group(circuit, columns, groups[group], None, spikes)
        else:
            now = Run(first, run.key, run.drive, run.scratch, run.current_table, run.noise)
            _run_group(circuit, columns, groups[group], now, spikes)
        for out in range(n_out):
            store(totals, count_spikes(spikes, n_neurons - n_out + out))
            for s in range(min(GROUP, counts.shape[0] - first)):
                counts[first + s, out] = totals[s]
