"""Metropolis sweeps over the weights and thresholds of a Xylo core that re-run only what each touches.

An input's weight touches its hidden neuron and, where that spikes differently, the outputs; an output's weight that
output alone. Drives are whole numbers, so a changed one equals the one computed anew. Samples lie in groups, the
hardest first, and the rest is not shown once a proposal is lost: as in chips/lif/sweep.py, decisions are those of
full runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bayes_snn.chips.contract import FloatArray, as_matrices
from bayes_snn.chips.sweeper import Charging, Sweep, in_rows
from bayes_snn.chips.xylo.core import (
    GROUP,
    MOST_HIDDEN,
    MOST_OUTPUT,
    add_drive,
    compare,
    count,
    empty_state,
    in_groups,
    of_group,
    peaks_of,
    run_all,
    step_neuron,
)
from bayes_snn.likelihood import Readout, Target, log_p, without_weights


@njit(cache=True, nogil=True, error_model="numpy")
def group_log_likelihood(counts, labels, weights, beta, bias):  # type: ignore[no-untyped-def]
    """Sum over the samples of a group of their weight times log p of their label; label -1 is padding. counts (n_out,
    GROUP)."""
    total = 0.0
    for s in range(GROUP):
        if labels[s] >= 0:
            total += weights[s] * log_p(counts[:, s], labels[s], beta, bias)
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def propose_group(  # type: ignore[no-untyped-def]
    w_1, w_2, thresholds, site, change, events, peaks, d_syn, d_mem, now, then, out
):
    """One group with one parameter changed by `change`, which the matrices hold already: `then` from `now`.

    Only what the change reaches is computed. Returns the hidden neuron that it reaches, -1 for none, and the first
    output and the one behind the last; their entries in `then` are filled, and the counts of all outputs.
    """
    n_hidden, n_out = w_2.shape
    n_first = w_1.size
    n_weights = n_first + w_2.size
    drive_1, hidden, hidden_peaks, drive_2, counts = now
    new_drive_1, new_hidden, new_peaks, new_drive_2, new_counts = then
    is_weight = site < n_weights
    change = change if is_weight else np.int32(0)  # a threshold changes no drive
    for o in range(n_out):
        new_counts[o] = counts[o]
    if n_first <= site < n_weights or site >= n_weights + n_hidden:
        o = (site - n_first) % n_out if is_weight else site - n_weights - n_hidden
        pre = (site - n_first) // n_out if is_weight else 0
        drive, theta = new_drive_2[o], thresholds[n_hidden + o]
        add_drive(drive, drive_2[o], hidden[pre], 1, change)
        step_neuron(drive, hidden, hidden_peaks, -1, out, 1, w_2[:, o], theta, MOST_OUTPUT, d_syn, d_mem, out)
        count(out, new_counts[o])
        return -1, o, o + 1
    k = site % n_hidden if is_weight else site - n_weights
    pre = site // n_hidden if is_weight else 0
    drive, train, theta = new_drive_1[k], new_hidden[k], thresholds[k]
    add_drive(drive, drive_1[k], events[pre], 0, change)
    step_neuron(drive, events, peaks, -1, train, 0, w_1[:, k], theta, MOST_HIDDEN, d_syn, d_mem, train)
    different, peak = compare(train, hidden[k])
    if not different:
        new_peaks[k] = peak
        return k, 0, 0
    new_peaks[:] = hidden_peaks
    new_peaks[k] = peak
    for o in range(n_out):
        drive, theta = new_drive_2[o], thresholds[n_hidden + o]
        add_drive(drive, drive_2[o], hidden[k], 1, np.int32(-w_2[k, o]))
        add_drive(drive, drive, train, 1, w_2[k, o])
        step_neuron(drive, hidden, new_peaks, k, train, 1, w_2[:, o], theta, MOST_OUTPUT, d_syn, d_mem, out)
        count(out, new_counts[o])
    return k, 0, n_out


@njit(cache=True, nogil=True, error_model="numpy")
def keep_group(now, then, k, first, last):  # type: ignore[no-untyped-def]
    """Take over what a proposal has changed; arguments as `propose_group` returns them."""
    if k >= 0:
        now[0][k] = then[0][k]
        now[1][k] = then[1][k]
        now[2][k] = then[2][k]
    for o in range(first, last):
        now[3][o] = then[3][o]
        now[4][o] = then[4][o]


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def set_site(w_1, w_2, thresholds, site, value):  # type: ignore[no-untyped-def]
    """Set one parameter, and give its old value; sites count through w_1, w_2 and the thresholds, row by row."""
    if site < w_1.size:
        place = (site // w_1.shape[1], site % w_1.shape[1])
        old = w_1[place]
        w_1[place] = value
    elif site < w_1.size + w_2.size:
        i = site - w_1.size
        place = (i // w_2.shape[1], i % w_2.shape[1])
        old = w_2[place]
        w_2[place] = value
    else:
        i = site - w_1.size - w_2.size
        old = thresholds[i]
        thresholds[i] = value
    return old


@njit(cache=True, nogil=True, error_model="numpy")
def sweep_sites(  # type: ignore[no-untyped-def]
    w_1,
    w_2,
    thresholds,
    events,
    peaks,
    labels,
    weights,
    beta,
    bias,
    d_syn,
    d_mem,
    state,
    scratch,
    terms,
    order,
    values,
    bounds,
    accepted,
):
    """Visit the sites of `order`, each with a proposed value; returns the number of samples shown.

    A proposal is accepted where log L(new) - log L(old) > bounds[site]; as in `sweep_sites` there groups are shown
    until it is lost. events (n_groups, n_in, n_steps, GROUP), labels and weights (n_groups, GROUP), terms (n_groups,)
    log L of each group; matrices, `state`, `terms` and `accepted` are changed in place.
    """
    n_groups = events.shape[0]
    new_terms, reached = np.empty(n_groups), np.empty((n_groups, 3), np.int64)
    out = np.empty((events.shape[2], GROUP), np.uint8)
    shown = 0
    for site in order:
        threshold = bounds[site]
        for g in range(n_groups):
            threshold += terms[g]
        accepted[site] = False
        if not threshold < 0.0:  # log L <= 0 cannot pass it
            continue
        old, new = set_site(w_1, w_2, thresholds, site, values[site]), values[site]
        if new == old:
            accepted[site] = bounds[site] < 0.0
            continue
        total, passed = 0.0, True
        for g in range(n_groups):
            now, then = of_group(state, g), of_group(scratch, g)
            k, first, last = propose_group(
                w_1, w_2, thresholds, site, np.int32(new - old), events[g], peaks, d_syn, d_mem, now, then, out
            )
            reached[g, 0], reached[g, 1], reached[g, 2] = k, first, last
            new_terms[g] = (
                group_log_likelihood(then[4], labels[g], weights[g], beta, bias) if last > first else terms[g]
            )
            shown += (labels[g] >= 0).sum()
            total += new_terms[g]
            passed = total > threshold
            if not passed:
                break
        if not passed:
            set_site(w_1, w_2, thresholds, site, old)
            continue
        accepted[site] = True
        for g in range(n_groups):
            terms[g] = new_terms[g]
            keep_group(of_group(state, g), of_group(scratch, g), reached[g, 0], reached[g, 1], reached[g, 2])
    return shown


class XyloSweeper(Charging):
    """Site sweeps over all parameters, as `LIFSweeper` makes them; the simulated core is left as the draw has it."""

    def __init__(self, chip: Any, inputs: FloatArray, labels: Target) -> None:
        super().__init__(chip.spec.weight_shapes, len(labels))
        self._chip = chip
        self._labels, self._weights = without_weights(labels)
        self._events = chip.events(inputs)
        n_groups, layers = -(-len(labels) // GROUP), chip.spec.layers
        self._state = empty_state(n_groups, chip.spec.n_steps, *layers[1:])
        self._scratch = empty_state(n_groups, chip.spec.n_steps, *layers[1:])
        self._peaks = peaks_of(self._events)
        self._order = np.arange(len(labels))

    def start(self, weights: Sequence[FloatArray], readout: Readout) -> float:
        """Take these as current parameters and readout, order the samples by their loss, and give log L."""
        self._arrive(weights)
        self._integers = self._chip.integers(weights)
        self._beta, self._bias = float(readout.beta), readout.biases(self._chip.spec.layers[-1])
        self._prepare()
        self._order = np.argsort(readout.log_p(self.counts(), self._labels), kind="stable")
        self._prepare()
        return float(self._terms.sum())

    def counts(self) -> NDArray[np.int64]:
        """Spike counts (1, n_samples, n_classes) of the parameters as the last sweep left them."""
        shown = self._state[4].astype(np.int64).transpose(0, 2, 1).reshape(-1, self._chip.spec.layers[-1])
        counts = np.empty((1, len(self._order), shown.shape[1]), np.int64)
        counts[0, self._order] = shown[: len(self._order)]
        return counts

    def _prepare(self) -> None:
        self._groups = in_groups(self._events[self._order])
        self._group_labels = in_rows(self._labels[self._order], GROUP, -1)
        run_all(*self._integers, self._groups, self._peaks, self._chip.decay_syn, self._chip.decay_mem, self._state)
        self._group_weights = in_rows(self._weights[self._order], GROUP, 0.0)
        each = zip(self._state[4], self._group_labels, self._group_weights, strict=True)
        self._terms = np.array([group_log_likelihood(*parts, self._beta, self._bias) for parts in each])

    def sweep(self, proposals: FloatArray, bounds: NDArray[np.float64], order: NDArray[np.int64]) -> Sweep:
        """Visit all sites in this order; see `Sweeper`."""
        matrices = as_matrices(proposals, self._chip.spec.weight_shapes)
        values = np.concatenate([m.ravel() for m in self._chip.integers(matrices)])
        accepted = np.zeros(len(proposals), np.bool_)
        decays = self._chip.decay_syn, self._chip.decay_mem
        shown = sweep_sites(
            *self._integers,
            self._groups,
            self._peaks,
            self._group_labels,
            self._group_weights,
            self._beta,
            self._bias,
            *decays,
            self._state,
            self._scratch,
            self._terms,
            order,
            values,
            bounds,
            accepted,
        )
        return self._report(proposals, accepted, float(self._terms.sum()), int(shown))
