"""Numba kernels for labels: log L of a group of samples, and the order in which samples are shown."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bayes_snn.chips.lif.forward import count_spikes
from bayes_snn.chips.lif.lanes import GROUP, aligned_zeros, load, store


class Labels(NamedTuple):
    """What the likelihood kernels know of the labels.

    Attributes
    ----------
    labels
        (n_samples,) class of each sample, in the order of the groups.
    own, flip, offset
        (n_groups, GROUP) words that turn c_1 - c_0, modulo 2^32, into a place in `log_table`:
        ((lead & own) ^ flip) - flip + offset. own is 0 for padding and all ones elsewhere, flip all ones for class 0.
    log_table
        (2 T + 2,) log p of a sample by c_y - c_other + T, and at last a 0 for padding.
    loss
        (T + 1,) exp(-beta d).
    beta
        Weight of a spike.
    """

    labels: NDArray[np.int64]
    own: NDArray[np.uint32]
    flip: NDArray[np.uint32]
    offset: NDArray[np.uint32]
    log_table: NDArray[np.float64]
    loss: NDArray[np.float64]
    beta: float


def empty_labels(n_samples: int, n_steps: int, beta: float) -> Labels:
    """`Labels` for spike counts from 0 to n_steps; `put_in_order` fills what depends on the samples."""
    shape = (-(-n_samples // GROUP), GROUP)
    log_table = np.append(-np.log1p(np.exp(-beta * np.arange(-n_steps, n_steps + 1))), 0.0)
    loss = np.exp(-beta * np.arange(n_steps + 1))
    own, flip, offset = (aligned_zeros(shape, np.uint32) for _ in range(3))
    return Labels(np.zeros(n_samples, np.int64), own, flip, offset, log_table, loss, beta)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False, forceinline=True)
def _log_likelihood_of_two(trains, group, labels, places):  # type: ignore[no-untyped-def]
    """log L of a group for two classes; places (GROUP,) uint32, scratch."""
    first_out = trains.shape[1] - 2
    lead = count_spikes(trains, first_out + 1) - count_spikes(trains, first_out)
    flip = load(labels.flip[group])
    store(places, (((lead & load(labels.own[group])) ^ flip) - flip) + load(labels.offset[group]))
    table = labels.log_table
    a = b = c = d = 0.0  # four sums hide the additions' latencies
    for s in range(0, GROUP, 4):
        a += table[places[s]]
        b += table[places[s + 1]]
        c += table[places[s + 2]]
        d += table[places[s + 3]]
    return (a + b) + (c + d)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _log_likelihood_of_many(trains, group, labels, places, counts):  # type: ignore[no-untyped-def]
    """log L of a group for any number of classes; counts (n_classes, GROUP), scratch.

    A sum over samples of beta (c_y - c_max) - log sum_k exp(beta (c_k - c_max)), with one logarithm for the product of
    sixteen sums.
    """
    n_out = counts.shape[0]
    for k in range(n_out):
        store(places, count_spikes(trains, trains.shape[1] - n_out + k))
        for s in range(GROUP):
            counts[k, s] = places[s]
    first = group * GROUP
    n = min(GROUP, labels.labels.shape[0] - first)
    behind = 0
    logs = 0.0
    product = 1.0
    for s in range(n):
        largest = counts[0, s]
        for k in range(1, n_out):
            largest = max(largest, counts[k, s])
        total = 0.0
        for k in range(n_out):
            total += labels.loss[largest - counts[k, s]]
        product *= total
        behind += largest - counts[labels.labels[first + s], s]
        if s % 16 == 15:
            logs += np.log(product)
            product = 1.0
    return -labels.beta * behind - (logs + np.log(product))


@njit(inline="always")
def group_log_likelihood(trains, group, labels, places, counts):  # type: ignore[no-untyped-def]
    """log L of one group, from its trains (n_words, n_neurons, GROUP)."""
    if counts.shape[0] == 2:
        return _log_likelihood_of_two(trains, group, labels, places)
    return _log_likelihood_of_many(trains, group, labels, places, counts)


@njit(cache=True, nogil=True, error_model="numpy")
def hardest_first(n_out, trains, order, labels, loss):  # type: ignore[no-untyped-def]
    """A new order of samples, by their loss: a permutation of all, for spikes and an order of them that are at hand.

    Samples of equal loss keep their numbers' order, so that the result depends on the weights alone.
    """
    keys, totals = np.empty(order.shape[0]), np.empty((n_out, GROUP), np.uint32)
    for place in range(order.shape[0]):
        group, lane, sample = place // GROUP, place % GROUP, order[place]
        if lane == 0:
            for k in range(n_out):
                store(totals[k], count_spikes(trains[group], trains.shape[2] - n_out + k))
        largest = np.int64(0)
        for k in range(n_out):
            largest = max(largest, np.int64(totals[k, lane]))
        total = 0.0
        for k in range(n_out):
            total += loss[largest - np.int64(totals[k, lane])]
        keys[sample] = loss[largest - np.int64(totals[labels[sample], lane])] / total  # the class's probability
    return np.argsort(keys, kind="mergesort")


@njit(cache=True, nogil=True, error_model="numpy")
def put_in_order(order, inputs, labels, n_steps, groups, ordered):  # type: ignore[no-untyped-def]
    """Fill groups (n_groups, n_in, GROUP) and `Labels`, but for its tables, with samples in this order.

    inputs (n_samples, n_in) float32 and labels (n_samples,) lie in their own order.
    """
    groups[-1] = 0.0
    ordered.own[-1], ordered.flip[-1], ordered.offset[-1] = 0, 0, 2 * n_steps + 1
    for place in range(order.shape[0]):
        group, lane, sample = place // GROUP, place % GROUP, order[place]
        for i in range(inputs.shape[1]):
            groups[group, i, lane] = inputs[sample, i]
        ordered.labels[place] = labels[sample]
        ordered.own[group, lane] = 0xFFFFFFFF
        ordered.flip[group, lane] = 0xFFFFFFFF if labels[sample] == 0 else 0
        ordered.offset[group, lane] = n_steps
