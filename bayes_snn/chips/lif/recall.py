"""A neuron under a constant drive repeats itself: its spike train is a step function of the drive, drawn up once.

Between resets v_t(d), the voltage after t steps under drive d, is computed by additions and multiplications by a
positive number, which float32 rounding keeps monotone in d. So for each step t and each edge of the neuron's firing
region there is one smallest float32 drive that reaches it, found by bisection. Between two such marks every
comparison falls the same way, and with it the whole train. A train is then looked up by flipping bits at each mark
passed, which is two operations a mark and exact, spike by spike, instead of five a step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.lif.compiled import inlined, inner, kernel
from bayes_snn.chips.lif.lanes import splat, where
from bayes_snn.chips.lif.neuron import integrate

MOST_STEPS = 64  # beyond, marks are too many to be worth it

_ZERO = np.float32(0.0)
_FAR = np.float32(1e30)  # no drive is as large: inputs are at most 1e6


@inner
def _voltage(drive, decay, n_steps):  # type: ignore[no-untyped-def]
    v = _ZERO
    for _ in range(n_steps):
        v = integrate(v, drive, decay)
    return v


@inner
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


@inner
def _train(drive, decay, edges, n_steps, words):  # type: ignore[no-untyped-def]
    """Spike train of a constant drive, step by step, into words (n_words,) uint32."""
    for word in range(words.shape[0]):
        words[word] = 0
    v = _ZERO
    for step in range(n_steps):
        v = integrate(v, drive, decay)
        odd = False
        for e in range(edges.shape[0]):
            odd ^= v >= edges[e]
        if odd:
            words[step // 32] |= np.uint32(1 << (step % 32))
            v = _ZERO


def drive_marks(
    decay: np.float32, edges: NDArray[np.float32], n_steps: int
) -> tuple[NDArray[np.float32], NDArray[np.uint32], NDArray[np.uint32]]:
    """Marks of one neuron: (n_marks,) ascending drives, (n_marks, n_words) bits to flip there, (n_words,) first train.

    edges (n_edges,) float32 are those of the firing region; +inf among them are never reached.
    """
    finite = edges[edges < np.inf]
    drives = np.empty(n_steps * len(finite), np.float32)
    _smallest_drives(finite, decay, n_steps, drives)
    # sorted by NumPy: to compile a sort of Numba's takes two seconds
    marks = np.unique(drives)
    flips, trains = np.empty((len(marks), -(-n_steps // 32)), np.uint32), np.empty((3, -(-n_steps // 32)), np.uint32)
    n_marks = _marks_among(marks, decay, finite, n_steps, flips, trains)
    return marks[:n_marks], flips[:n_marks], trains[0]


@kernel
def _smallest_drives(edges, decay, n_steps, drives):  # type: ignore[no-untyped-def]
    """The smallest drives at which the voltage reaches an edge by a step, (n_edges * n_steps,), filled."""
    for e in range(edges.shape[0]):
        for step in range(n_steps):
            drives[e * n_steps + step] = _smallest_drive(edges[e], decay, step + 1)


@kernel
def _marks_among(marks, decay, finite, n_steps, flips, trains):  # type: ignore[no-untyped-def]
    """Leave at the front of ascending marks those at which the spike train changes; returns how many.

    flips (n_marks, n_words) are filled. trains (3, n_words): that below all marks is left in the first row.
    """
    first, last, now = trains[0], trains[1], trains[2]
    _train(-_FAR, decay, finite, n_steps, first)
    for word in range(first.shape[0]):
        last[word] = first[word]
    n_marks = 0
    for i in range(marks.shape[0]):
        _train(marks[i], decay, finite, n_steps, now)
        differs = False
        for word in range(now.shape[0]):
            differs |= now[word] != last[word]
        if differs:
            marks[n_marks] = marks[i]
            for word in range(now.shape[0]):
                flips[n_marks, word] = now[word] ^ last[word]
                last[word] = now[word]
            n_marks += 1
    return n_marks


@inlined
def recall(drive, marks, flips, first):  # type: ignore[no-untyped-def]
    """One word of the spike train under a constant drive; marks and flips (n_marks,), first the word below all."""
    train = splat(first)
    for m in range(marks.shape[0]):
        train = where(drive >= splat(marks[m]), train ^ splat(flips[m]), train)
    return train
