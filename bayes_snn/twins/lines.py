"""Gains of synapses from presentations in which one of them alone was driven: a first guess for gains.py.

Under a constant drive d through a synapse of gain g a neuron that fires from theta = 1 on fires first at step t where

    g d (1 - alpha^(t - 1)) < 1 <= g d (1 - alpha^t),

and never where g d (1 - alpha^n_steps) < 1: each presentation is an interval for g. The gain is where most of them
agree, and alpha is the one under which most do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bayes_snn.twins.leaks import DECAYS
from bayes_snn.twins.membrane import Floats, Neuron

FEWEST = 2  # presentations of each synapse, on average, of which a guess is made
DEAD = 0.1  # a synapse that never made its neuron fire, and whose gain is below that, is taken for stuck


def gains_from_lines(neuron: Neuron) -> tuple[Floats, float] | None:
    """Gains (n_pre,) and alpha of a neuron of the first layer; None where too few of its synapses were driven alone."""
    if neuron.u.shape[1] > 1:
        return None
    inputs = neuron.u[:, 0, :]
    alone = np.flatnonzero((inputs != 0).sum(axis=1) == 1)
    synapse = np.abs(inputs[alone]).argmax(axis=1)
    drive = neuron.weights[neuron.programmed[alone], synapse] * inputs[alone, synapse]
    rises = drive > 0  # a fall tells nothing of a neuron that fires from a voltage on
    alone, synapse, drive = alone[rises], synapse[rises], drive[rises]
    n_pre = inputs.shape[1]
    if len(alone) < FEWEST * n_pre:
        return None
    fired = neuron.spikes[alone]
    first = np.where(fired.any(axis=1), fired.argmax(axis=1) + 1, fired.shape[1] + 1)
    best: tuple[int, Floats, float] | None = None
    for decay in DECAYS:
        low, high = _intervals(drive, first, fired.shape[1], decay)
        found = [_where_most_agree(low[synapse == i], high[synapse == i]) for i in range(n_pre)]
        against = sum(n for _, n in found)
        if best is None or against < best[0]:
            best = against, np.array([gain for gain, _ in found]), decay
    assert best is not None
    return best[1], best[2]


def _intervals(drive: Floats, first: NDArray[np.int64], n_steps: int, decay: float) -> tuple[Floats, Floats]:
    """Ends of the intervals of the gain, for drives and the steps of the first spike, n_steps + 1 for none."""
    with np.errstate(divide="ignore"):
        low = np.where(first > n_steps, 0.0, 1.0 / (drive * (1.0 - decay**first)))
        high = 1.0 / (drive * (1.0 - decay ** (first - 1)))
    return low, high


def _where_most_agree(low: Floats, high: Floats) -> tuple[float, int]:
    """A gain in as many intervals as possible, and how many it is outside of; 1 where nothing is known."""
    if not len(low):
        return 1.0, 0
    ends = np.unique(np.concatenate([low, high]))
    ends = ends[np.isfinite(ends)]
    middles = np.append(0.5 * (ends[1:] + ends[:-1]), 1.5 * ends[-1])
    inside = ((low <= middles[:, None]) & (middles[:, None] < high)).sum(axis=1)
    best = np.flatnonzero(inside == inside.max())
    gain = float(middles[best[len(best) // 2]])
    if not low.any() and gain < DEAD:
        gain = 0.0
    elif not low.any():
        gain = min(gain, 1.0)  # drives were too small to tell
    return gain, len(low) - int(inside.max())
