"""A neuron under a constant drive repeats itself: its spike train is a step function of the drive, drawn up once.

Between resets v_t(d), the voltage after t steps under drive d, is computed by additions and multiplications by a
positive number, which float32 rounding keeps monotone in d. So for each step t and each edge of the neuron's firing
region there is one smallest float32 drive that reaches it, found by bisection. Between two such marks every
comparison falls the same way, and with it the whole train. A train is then looked up by flipping bits at each mark
passed, which is two operations a mark and exact, spike by spike, instead of five a step.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bayes_snn.chips.lif.lanes import splat, where
from bayes_snn.chips.lif.neuron import integrate

MOST_STEPS = 64  # beyond, marks are too many to be worth it

_ZERO = np.float32(0.0)
_FAR = np.float32(1e30)  # no drive is as large: inputs are at most 1e6


@njit(cache=True, error_model="numpy")
def _voltage(drive, decay, n_steps):  # type: ignore[no-untyped-def]
    v = _ZERO
    for _ in range(n_steps):
        v = integrate(v, drive, decay)
    return v


@njit(cache=True, error_model="numpy")
def _smallest_drive(edge, decay, n_steps):  # type: ignore[no-untyped-def]
    """The smallest float32 drive, to one unit in the last place, whose voltage after n_steps is >= edge."""
    low, high = -_FAR, _FAR
    while True:
        middle = np.float32(0.5 * (np.float64(low) + np.float64(high)))
        if middle <= low or middle >= high:
            return high
        if _voltage(middle, decay, n_steps) >= edge:
            high = middle
        else:
            low = middle


@njit(cache=True, error_model="numpy")
def _train(drive, decay, edges, n_steps, words):  # type: ignore[no-untyped-def]
    """Spike train of a constant drive, step by step, into words (n_words,) uint32."""
    words[:] = np.uint32(0)
    v = _ZERO
    for step in range(n_steps):
        v = integrate(v, drive, decay)
        odd = False
        for e in range(edges.shape[0]):
            odd ^= v >= edges[e]
        if odd:
            words[step // 32] |= np.uint32(1 << (step % 32))
            v = _ZERO


def drive_marks(decay, edges, n_steps):  # type: ignore[no-untyped-def]
    """Marks of one neuron: (n_marks,) ascending drives, (n_marks, n_words) bits to flip there, (n_words,) first train.

    edges (n_edges,) float32 are those of the firing region; +inf among them are never reached.
    """
    finite = edges[edges < np.inf]
    # sorted by NumPy: to compile a sort of Numba's takes two seconds
    return _marks_among(np.unique(_smallest_drives(finite, decay, n_steps)), decay, finite, n_steps)


@njit(cache=True, error_model="numpy")
def _smallest_drives(edges, decay, n_steps):  # type: ignore[no-untyped-def]
    """The smallest drives at which the voltage reaches an edge by a step, (n_edges * n_steps,)."""
    drives = np.empty(n_steps * edges.shape[0], np.float32)
    for e in range(edges.shape[0]):
        for step in range(n_steps):
            drives[e * n_steps + step] = _smallest_drive(edges[e], decay, step + 1)
    return drives


@njit(cache=True, error_model="numpy")
def _marks_among(candidates, decay, finite, n_steps):  # type: ignore[no-untyped-def]
    """See `drive_marks`: those of ascending candidates at which the spike train changes."""
    n_words = (n_steps + 31) // 32
    marks = np.empty(candidates.shape[0], np.float32)
    flips = np.empty((candidates.shape[0], n_words), np.uint32)
    first, last, now = np.empty(n_words, np.uint32), np.empty(n_words, np.uint32), np.empty(n_words, np.uint32)
    _train(-_FAR, decay, finite, n_steps, first)
    last[:] = first
    n_marks = 0
    for i in range(candidates.shape[0]):
        _train(candidates[i], decay, finite, n_steps, now)
        differs = False
        for word in range(n_words):
            differs |= now[word] != last[word]
        if differs:
            marks[n_marks] = candidates[i]
            flips[n_marks] = now ^ last
            last[:] = now
            n_marks += 1
    return marks[:n_marks], flips[:n_marks], first


@njit(inline="always")
def recall(drive, marks, flips, first):  # type: ignore[no-untyped-def]
    """One word of the spike train under a constant drive; marks and flips (n_marks,), first the word below all."""
    train = splat(first)
    for m in range(marks.shape[0]):
        train = where(drive >= splat(marks[m]), train ^ splat(flips[m]), train)
    return train
