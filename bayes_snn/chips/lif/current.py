"""Input currents of neurons: sums of weighted inputs or spikes, and their distortion I -> I + sigma g(I), tabulated."""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from bayes_snn.chips.lif.compiled import inlined, inner
from bayes_snn.chips.lif.lanes import GROUP, lacks_bit, load, splat, store, where

TABLE_REACH = 64.0  # the tables reach this far either way, in units of the threshold


@register_jitable
def knot(current, n_knots):  # type: ignore[no-untyped-def]
    """Place of a current in a table over [-TABLE_REACH, TABLE_REACH], in knots, clipped to the table's ends.

    A current that is NaN, as sums of infinite ones are, is at the lower end: every place is one of the table.
    """
    scale, last = np.float32((n_knots - 1) / (2.0 * TABLE_REACH)), np.float32(n_knots - 1)
    place = (current + np.float32(TABLE_REACH)) * scale
    place = place if place > np.float32(0.0) else np.float32(0.0)  # not np.maximum, which hands on a NaN
    return place if place < last else last


@inner
def bend_current(current, table):  # type: ignore[no-untyped-def]
    """I + sigma g(I) of each sample: sigma g from equidistant knots, linear between them, constant outside."""
    last = table.shape[0] - 2
    for s in range(GROUP):
        place = knot(current[s], table.shape[0])
        left = min(np.int64(place), last)
        low = table[left]
        current[s] += low + (place - np.float32(left)) * (table[left + 1] - low)


@inlined
def driven(current, inflow, table, neuron, scratch):  # type: ignore[no-untyped-def]
    """Drive of an input current: the distortion of the current, then times 1 - alpha."""
    if table.shape[0] > 0:
        store(scratch, current)
        bend_current(scratch, table[neuron])
        current = load(scratch)
    return current * inflow


@inlined
def dense_current(inputs, column):  # type: ignore[no-untyped-def]
    """First layer: sum over inputs (n_in, GROUP), in their order, of weights (n_in,) times inputs."""
    current = splat(np.float32(0.0))
    for i in range(column.shape[0]):
        current = current + load(inputs[i]) * splat(column[i])
    return current


@inlined
def dense_currents(inputs, column_a, column_b):  # type: ignore[no-untyped-def]
    """`dense_current` of two neurons, which share the reading of the inputs."""
    a = b = splat(np.float32(0.0))
    for i in range(column_a.shape[0]):
        x = load(inputs[i])
        a, b = a + x * splat(column_a[i]), b + x * splat(column_b[i])
    return a, b


@inlined
def column_sum(column):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for i in range(column.shape[0]):
        total += column[i]
    return splat(total)


@inlined
def spike_currents(trains, column_a, column_b, all_a, all_b, bit, next_bit):  # type: ignore[no-untyped-def]
    """Later layers: sums of the weights (n_pre,) of the neurons whose trains (n_pre, GROUP) have a bit.

    They are the sums of all weights (all_a, all_b) less those of the silent neurons, which is one masked subtraction
    a neuron; exact, like any order. Two neurons and two bits at once share the reading of trains and weights, and hide
    each other's latencies.
    """
    a, b, next_a, next_b = all_a, all_b, all_a, all_b
    for i in range(column_a.shape[0]):
        train, w_a, w_b = load(trains[i]), splat(column_a[i]), splat(column_b[i])
        silent, next_silent = lacks_bit(train, bit), lacks_bit(train, next_bit)
        a, b = where(silent, a - w_a, a), where(silent, b - w_b, b)
        next_a, next_b = where(next_silent, next_a - w_a, next_a), where(next_silent, next_b - w_b, next_b)
    return a, b, next_a, next_b
