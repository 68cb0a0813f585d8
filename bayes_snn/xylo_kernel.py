"""Integer arithmetic of a Xylo core, and Metropolis sweeps over its weights and thresholds that re-run what they touch.

A neuron with synaptic current i and membrane v (int16), decays d_s and d_m (bits), threshold theta; each step is

    i <- clip(i + n w)           for each spike of each presynaptic neuron, one after the other
    i <- i - leak(i, d_s)        leak(x, d) = x >> d, but the sign of x where that is 0
    v <- clip(v + clip(i - leak(v, d_m)))
    spikes <- min(v div theta, most), v <- v - spikes theta

clip saturates at 16 bits. Hidden neurons emit at most 31 spikes a step, which reach the outputs in the next step, and
outputs 1. `tests/test_xylo.py` holds all of it to SynSense's simulator, to the last bit.

Arrays lie in groups of GROUP samples, the samples innermost. Drives (sums of n w) are kept, so that a changed weight
is one term more or less. Where a sum could saturate on its way the neuron is stepped spike by spike instead.
"""

from __future__ import annotations

import numpy as np
from numba import njit

GROUP = 64
STATE_MAX, STATE_MIN = 32767, -32768
MOST_INPUT, MOST_HIDDEN, MOST_OUTPUT = 15, 31, 1  # spikes of a neuron in a step


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def clip16(x):  # type: ignore[no-untyped-def]
    return np.int32(min(max(np.int32(x), np.int32(STATE_MIN)), np.int32(STATE_MAX)))


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def leak(x, bits):  # type: ignore[no-untyped-def]
    change = np.int32(x >> bits)
    return change if change != 0 else np.int32(x > 0)  # of a negative x the shift is never 0


@njit(cache=True, nogil=True, error_model="numpy")
def step_neuron(  # type: ignore[no-untyped-def]
    drive, pre, peaks, other, train, lag, weights, threshold, most, d_syn, d_mem, spikes
):
    """One neuron over all steps of a group of samples.

    drive
        (n_steps, GROUP) int32: sums of n w that arrive at each step.
    pre, peaks, lag, weights
        (n_pre, n_steps, GROUP) presynaptic spikes, (n_pre,) the most that each has in a step, the steps that they take
        to arrive, and (n_pre,) weights.
    other, train
        A presynaptic neuron that has the spikes `train` (n_steps, GROUP) and not those in `pre`; -1 for none.
    spikes
        (n_steps, GROUP) uint8, filled.
    """
    reach = 1
    for j in range(peaks.shape[0]):
        reach += abs(weights[j]) * np.int64(peaks[j])
    # of a largest input A a step the current comes to (A + 1) 2^d_syn at most
    if reach << d_syn > STATE_MAX:
        for s in range(GROUP):
            _step_one(pre, other, train, lag, weights, threshold, most, d_syn, d_mem, spikes, s)
        return
    current, voltage = np.zeros(GROUP, np.int32), np.zeros(GROUP, np.int32)
    divisor, theta, most_32 = np.float32(threshold), np.int32(threshold), np.int32(most)
    shift_syn, shift_mem, none = np.int32(d_syn), np.int32(d_mem), np.int32(0)
    low, high = np.int32(STATE_MIN), np.int32(STATE_MAX)
    # written out and with a cast each time, so that LLVM makes vectors of it: ten times as fast
    for t in range(drive.shape[0]):
        for s in range(GROUP):
            i, v = np.int32(current[s] + drive[t, s]), voltage[s]
            leak_i, leak_v = np.int32(i >> shift_syn), np.int32(v >> shift_mem)
            i = np.int32(i - (leak_i + np.int32(np.int32(leak_i == none) & np.int32(i > none))))
            change = np.int32(i - (leak_v + np.int32(np.int32(leak_v == none) & np.int32(v > none))))
            v = np.int32(v + min(max(change, low), high))
            v = min(max(v, low), high)
            # exact: the quotient of numbers below 2^16 is not rounded across a whole number
            n = min(max(np.int32(np.float32(v) / divisor), none), most_32)
            current[s], voltage[s], spikes[t, s] = i, np.int32(v - n * theta), n


@njit(cache=True, nogil=True, error_model="numpy")
def _step_one(  # type: ignore[no-untyped-def]
    pre, other, train, lag, weights, threshold, most, d_syn, d_mem, spikes, s
):
    """The same for one sample, spike by spike."""
    i = v = np.int32(0)
    for t in range(spikes.shape[0]):
        if t >= lag:
            for j in range(pre.shape[0]):
                for _ in range(train[t - lag, s] if j == other else pre[j, t - lag, s]):
                    i = clip16(i + weights[j])
        i = np.int32(i - leak(i, d_syn))
        v = clip16(v + clip16(i - leak(v, d_mem)))
        n = 0
        while v >= threshold and n < most:
            v = np.int32(v - threshold)
            n += 1
        spikes[t, s] = n


@njit(cache=True, nogil=True, error_model="numpy")
def add_drive(drive, old_drive, pre, lag, change):  # type: ignore[no-untyped-def]
    """Drives (n_steps, GROUP) with one weight changed; `pre` (n_steps, GROUP) are the spikes that it weighs."""
    for t in range(lag):
        drive[t] = old_drive[t]
    for t in range(lag, drive.shape[0]):
        for s in range(GROUP):
            drive[t, s] = np.int32(old_drive[t, s] + change * np.int32(pre[t - lag, s]))


@njit(cache=True, nogil=True, error_model="numpy")
def compare(train, old):  # type: ignore[no-untyped-def]
    """Whether two trains (n_steps, GROUP) differ, and the most spikes in a step of the first."""
    different, peak = np.uint8(0), np.uint8(0)
    for t in range(train.shape[0]):
        for s in range(GROUP):
            different = np.uint8(different | (train[t, s] ^ old[t, s]))
            peak = max(peak, train[t, s])
    return different != 0, peak


@njit(cache=True, nogil=True, error_model="numpy")
def count(train, counts):  # type: ignore[no-untyped-def]
    """Spikes of each sample, (n_steps, GROUP) into (GROUP,)."""
    counts[:] = np.int32(0)
    for t in range(train.shape[0]):
        for s in range(GROUP):
            counts[s] = np.int32(counts[s] + np.int32(train[t, s]))


@njit(cache=True, nogil=True, error_model="numpy")
def run_all(w_1, w_2, thresholds, events, peaks, d_syn, d_mem, state):  # type: ignore[no-untyped-def]
    """Both layers, every group of events (n_groups, n_in, n_steps, GROUP), of peaks (n_in,); `state` is filled."""
    n_hidden, n_out = w_2.shape
    out = np.empty((events.shape[2], GROUP), np.uint8)
    for g in range(events.shape[0]):
        drive_1, hidden, hidden_peaks, drive_2, counts = of_group(state, g)
        for k in range(n_hidden):
            drive, train, theta, w = drive_1[k], hidden[k], thresholds[k], w_1[:, k]
            drive[:] = np.int32(0)
            for j in range(events.shape[1]):
                add_drive(drive, drive, events[g, j], 0, w[j])
            step_neuron(drive, events[g], peaks, -1, train, 0, w, theta, MOST_HIDDEN, d_syn, d_mem, train)
            hidden_peaks[k] = compare(train, train)[1]
        for o in range(n_out):
            drive, theta, w = drive_2[o], thresholds[n_hidden + o], w_2[:, o]
            drive[:] = np.int32(0)
            for k in range(n_hidden):
                add_drive(drive, drive, hidden[k], 1, w[k])
            step_neuron(drive, hidden, hidden_peaks, -1, out, 1, w, theta, MOST_OUTPUT, d_syn, d_mem, out)
            count(out, counts[o])


def empty_state(n_groups: int, n_steps: int, n_hidden: int, n_out: int) -> tuple[np.ndarray, ...]:
    """Of each group: drives, spikes and most spikes in a step of hidden neurons, drives and spike counts of outputs."""
    return (
        np.zeros((n_groups, n_hidden, n_steps, GROUP), np.int32),
        np.zeros((n_groups, n_hidden, n_steps, GROUP), np.uint8),
        np.zeros((n_groups, n_hidden), np.uint8),
        np.zeros((n_groups, n_out, n_steps, GROUP), np.int32),
        np.zeros((n_groups, n_out, GROUP), np.int32),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def of_group(state, g):  # type: ignore[no-untyped-def]
    """The state of one group."""
    return state[0][g], state[1][g], state[2][g], state[3][g], state[4][g]


@njit(cache=True, nogil=True, error_model="numpy")
def group_log_likelihood(counts, labels, beta):  # type: ignore[no-untyped-def]
    """Sum over the samples of a group of log softmax(beta c)_y; label -1 is padding. counts (n_out, GROUP)."""
    total = 0.0
    for s in range(GROUP):
        if labels[s] >= 0:
            lost = 0.0
            for k in range(counts.shape[0]):
                lost += np.exp(beta * (counts[k, s] - counts[labels[s], s]))
            total -= np.log(lost)
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
    beta,
    d_syn,
    d_mem,
    state,
    scratch,
    terms,
    order,
    values,
    bounds,
    early,
    accepted,
):
    """Visit the sites of `order`, each with a proposed value; returns the number of samples shown.

    A proposal is accepted where log L(new) - log L(old) > bounds[site]; as in `lif_sweep.sweep_sites` groups are shown
    until it is lost. events (n_groups, n_in, n_steps, GROUP), labels (n_groups, GROUP), terms (n_groups,) log L of each
    group; matrices, `state`, `terms` and `accepted` are changed in place.
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
            new_terms[g] = group_log_likelihood(then[4], labels[g], beta) if last > first else terms[g]
            shown += (labels[g] >= 0).sum()
            total += new_terms[g]
            passed = total > threshold
            if early and not passed:
                break
        if not passed:
            set_site(w_1, w_2, thresholds, site, old)
            continue
        accepted[site] = True
        for g in range(n_groups):
            terms[g] = new_terms[g]
            keep_group(of_group(state, g), of_group(scratch, g), reached[g, 0], reached[g, 1], reached[g, 2])
    return shown
