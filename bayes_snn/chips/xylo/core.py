"""Integer arithmetic of a Xylo core.

A neuron with synaptic current i and membrane v (int16), decays d_s and d_m (bits), threshold theta; each step is

    i <- clip(i + n w)           for each spike of each presynaptic neuron, one after the other
    i <- i - leak(i, d_s)        leak(x, d) = x >> d, but the sign of x where that is 0
    v <- clip(v + clip(i - leak(v, d_m)))
    spikes <- min(v div theta, most), v <- v - spikes theta

clip saturates at 16 bits. Hidden neurons emit at most 31 spikes a step, which reach the outputs in the next step, and
outputs 1. `tests/chips/xylo/test_chip.py` holds all of it to SynSense's simulator, to the last bit.

Arrays lie in groups of GROUP samples, the samples innermost. Drives (sums of n w) are kept, so that a changed weight
is one term more or less. Where a sum could saturate on its way the neuron is stepped spike by spike instead.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

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


def empty_state(n_groups: int, n_steps: int, n_hidden: int, n_out: int) -> tuple[NDArray, ...]:
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


def peaks_of(events: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The most events of each input in a step, (n_in,)."""
    return np.asarray(events.max(axis=(0, 1)))


def in_groups(events: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Events (n_samples, n_steps, n_in) as (n_groups, n_in, n_steps, GROUP), padded with samples without events."""
    n_groups = -(-len(events) // GROUP)
    padded = np.zeros((n_groups * GROUP, *events.shape[1:]), np.uint8)
    padded[: len(events)] = events
    return np.ascontiguousarray(padded.reshape(n_groups, GROUP, *events.shape[1:]).transpose(0, 3, 2, 1))
