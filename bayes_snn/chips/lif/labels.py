"""Numba kernels for labels: log L of a group of samples, and the order in which samples are shown."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.lif.compiled import inlined, inner, kernel
from bayes_snn.chips.lif.forward import count_spikes
from bayes_snn.chips.lif.lanes import GROUP, aligned_zeros, load, store
from bayes_snn.likelihood import Readout, log_likelihood, log_p

MOST_IN_PRODUCT = 40.0  # exp(-40)^16 is no smaller than 1e-278


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
        (4 T + 3,) log p of a sample of class 1 by c_y - c_other + T, behind them of class 0, at last a 0 for padding.
    weights
        (n_groups, GROUP) how often each sample counts, 0 for padding.
    loss
        (T + 1,) exp(-beta d).
    odds, log_odds
        (n_classes,) exp(b - max b), and its logarithm.
    in_product
        Whether these are near enough to each other for a product of sixteen sums not to vanish, and every sample counts
        once.
    beta, bias
        Weight of a spike, and bias b of each class, (n_classes,).
    """

    labels: NDArray[np.int64]
    own: NDArray[np.uint32]
    flip: NDArray[np.uint32]
    offset: NDArray[np.uint32]
    log_table: NDArray[np.float64]
    weights: NDArray[np.float64]
    loss: NDArray[np.float64]
    odds: NDArray[np.float64]
    log_odds: NDArray[np.float64]
    in_product: bool
    beta: float
    bias: NDArray[np.float64]


def empty_labels(n_samples: int, n_steps: int, n_classes: int) -> Labels:
    """`Labels` for spike counts from 0 to n_steps; `put_in_order` fills what depends on the samples."""
    shape = (-(-n_samples // GROUP), GROUP)
    own, flip, offset = (aligned_zeros(shape, np.uint32) for _ in range(3))
    weights = aligned_zeros(shape, np.float64)
    table, loss, zeros = np.zeros(4 * n_steps + 3), np.ones(n_steps + 1), np.zeros(n_classes)
    return Labels(
        np.zeros(n_samples, np.int64), own, flip, offset, table, weights, loss, zeros, zeros, True, 0.0, zeros
    )


def with_readout(labels: Labels, readout: Readout, weighted: bool = False) -> Labels:
    """The same samples with the tables of another readout; `weighted` where they do not all count once."""
    n_steps, bias = len(labels.loss) - 1, readout.biases(len(labels.bias))
    if readout.beta == labels.beta and np.array_equal(bias, labels.bias):
        return labels
    leads = np.arange(-n_steps, n_steps + 1)
    table = labels.log_table
    if len(bias) == 2:
        ahead = np.stack([np.maximum(-leads, 0), np.maximum(leads, 0)], axis=1)  # counts with class 1 ahead by so many
        pairs, classes = np.concatenate([ahead, ahead[:, ::-1]]), np.repeat([1, 0], len(leads))
        table = np.append(log_likelihood(pairs, classes, readout.beta, bias), 0.0)
    log_odds = bias - bias.max()
    return labels._replace(
        log_table=table,
        loss=np.exp(-readout.beta * np.arange(n_steps + 1)),
        odds=np.exp(log_odds),
        log_odds=log_odds,
        in_product=bool(log_odds.min() >= -MOST_IN_PRODUCT) and not weighted,
        beta=float(readout.beta),
        bias=bias,
    )


@inlined
def _log_likelihood_of_two(trains, group, labels, places):  # type: ignore[no-untyped-def]
    """log L of a group for two classes; places (GROUP,) uint32, scratch."""
    first_out = trains.shape[1] - 2
    lead = count_spikes(trains, first_out + 1) - count_spikes(trains, first_out)
    flip = load(labels.flip[group])
    store(places, (((lead & load(labels.own[group])) ^ flip) - flip) + load(labels.offset[group]))
    table, weights = labels.log_table, labels.weights[group]
    a = b = c = d = 0.0  # four sums hide the additions' latencies
    for s in range(0, GROUP, 4):
        a += weights[s] * table[places[s]]
        b += weights[s + 1] * table[places[s + 1]]
        c += weights[s + 2] * table[places[s + 2]]
        d += weights[s + 3] * table[places[s + 3]]
    return (a + b) + (c + d)


@inner
def _log_likelihood_of_many(trains, group, labels, places, counts):  # type: ignore[no-untyped-def]
    """log L of a group for any number of classes; counts (n_classes, GROUP), scratch.

    A sum over samples of beta (c_y - c_max) + b_y - log sum_k exp(beta (c_k - c_max) + b_k), with one logarithm for the
    product of sixteen sums.
    """
    n_out = counts.shape[0]
    for k in range(n_out):
        store(places, count_spikes(trains, trains.shape[1] - n_out + k))
        for s in range(GROUP):
            counts[k, s] = places[s]
    first = group * GROUP
    n = min(GROUP, labels.labels.shape[0] - first)
    if not labels.in_product:
        found = 0.0
        for s in range(n):
            found += labels.weights[group, s] * log_p(counts[:, s], labels.labels[first + s], labels.beta, labels.bias)
        return found
    behind = 0
    logs = odds = 0.0
    product = 1.0
    for s in range(n):
        largest = counts[0, s]
        for k in range(1, n_out):
            largest = max(largest, counts[k, s])
        total = 0.0
        for k in range(n_out):
            total += labels.odds[k] * labels.loss[largest - counts[k, s]]
        product *= total
        behind += largest - counts[labels.labels[first + s], s]
        odds += labels.log_odds[labels.labels[first + s]]
        if s % 16 == 15:
            logs += np.log(product)
            product = 1.0
    return min(0.0, (odds - labels.beta * behind) - (logs + np.log(product)))  # no rounding error makes it positive


@inlined
def group_log_likelihood(trains, group, labels, places, counts):  # type: ignore[no-untyped-def]
    """log L of one group, from its trains (n_words, n_neurons, GROUP); counts None for two classes."""
    if counts is None:
        return _log_likelihood_of_two(trains, group, labels, places)
    return _log_likelihood_of_many(trains, group, labels, places, counts)


def hardest_first(n_out, trains, order, labels, loss, odds):  # type: ignore[no-untyped-def]
    """A new order of samples, by their loss: a permutation of all, for spikes and an order of them that are at hand.

    Samples of equal loss keep their numbers' order, so that the result depends on weights and readout alone.
    """
    # sorted by NumPy: to compile a sort of Numba's takes two seconds
    keys, totals = np.empty(len(order)), np.empty((n_out, GROUP), np.uint32)
    _class_probabilities(trains, order, labels, loss, odds, totals, keys)
    return np.argsort(keys, kind="stable")


@kernel
def _class_probabilities(trains, order, labels, loss, odds, totals, keys):  # type: ignore[no-untyped-def]
    """The probability of each sample's class into keys (n_samples,), but for what all have in common.

    totals (n_classes, GROUP) uint32 is room.
    """
    n_out = totals.shape[0]
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
            total += odds[k] * loss[largest - np.int64(totals[k, lane])]
        own = odds[labels[sample]] * loss[largest - np.int64(totals[labels[sample], lane])]
        keys[sample] = own / total


@kernel
def put_in_order(order, inputs, labels, weights, n_steps, groups, ordered):  # type: ignore[no-untyped-def]
    """Fill groups (n_groups, n_in, GROUP) and `Labels`, but for its tables, with samples in this order.

    inputs (n_samples, n_in) float32, labels (n_samples,) and weights (n_samples,) lie in their own order.
    """
    last = groups.shape[0] - 1
    for lane in range(GROUP):
        ordered.weights[last, lane] = 0.0
        ordered.own[last, lane], ordered.flip[last, lane], ordered.offset[last, lane] = 0, 0, 4 * n_steps + 2
        for i in range(inputs.shape[1]):
            groups[last, i, lane] = 0.0
    for place in range(order.shape[0]):
        group, lane, sample = place // GROUP, place % GROUP, order[place]
        for i in range(inputs.shape[1]):
            groups[group, i, lane] = inputs[sample, i]
        ordered.labels[place], ordered.weights[group, lane] = labels[sample], weights[sample]
        ordered.own[group, lane] = 0xFFFFFFFF
        ordered.flip[group, lane] = 0xFFFFFFFF if labels[sample] == 0 else 0
        ordered.offset[group, lane] = n_steps + (2 * n_steps + 1 if labels[sample] == 0 else 0)


@kernel
def counts_of(trains, order, total, counts):  # type: ignore[no-untyped-def]
    """Fill counts (n_samples, n_classes) with those of all samples, whose spikes lie in this order.

    total (GROUP,) uint32 is room.
    """
    n_out = counts.shape[1]
    for group in range(trains.shape[0]):
        for k in range(n_out):
            store(total, count_spikes(trains[group], trains.shape[2] - n_out + k))
            for lane in range(min(GROUP, order.shape[0] - group * GROUP)):
                counts[order[group * GROUP + lane], k] = total[lane]
