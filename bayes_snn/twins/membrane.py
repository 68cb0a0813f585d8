"""The voltages of neurons whose spikes are known: between two resets they are linear in the current.

    v[t] = (1 - alpha) sum_{r < k <= t} alpha^(t - k) I[k],    I[k] = sum_i g_i w_i u_i[k]

r the step of the last spike, u the input of the first layer, constant, or the spikes of the layer before. Whether a
neuron fired is a label of its voltage at that step: a point of its firing region, or one outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.lif.compiled import kernel
from bayes_snn.chips.rounding import clip_and_round, level_step
from bayes_snn.twins.recordings import Recordings

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Neuron:
    """What one neuron received and did.

    Attributes
    ----------
    u
        (n_presentations, n_shown, n_pre) float32, inputs or spikes that came in; n_shown is 1 for a constant input.
    weights
        (n_programmings, n_pre), as the synapses hold them.
    programmed
        (n_presentations,) the row of the weights.
    spikes
        (n_presentations, n_steps) its own.
    once
        Whether a presentation is over at the first spike: under a constant current all later ones follow from it.
    """

    u: NDArray[np.float32]
    weights: Floats
    programmed: NDArray[np.int64]
    spikes: NDArray[np.bool_]
    once: bool

    def part(self, rows: Any) -> Neuron:
        """The same of some presentations."""
        return Neuron(self.u[rows], self.weights, self.programmed[rows], self.spikes[rows], self.once)

    def currents(self, gain: Floats) -> Floats:
        """Input currents (n_presentations, n_shown) at gains (n_pre,)."""
        currents = np.empty(self.u.shape[:2])
        _currents(self.u, self.weights * gain, self.programmed, currents)
        return currents

    def traces(self, currents: Floats, decay: float) -> tuple[Floats, NDArray[np.bool_]]:
        """Voltages before a reset and whether they tell something, (n_presentations, n_steps) both."""
        voltages, seen = np.empty(self.spikes.shape), np.empty(self.spikes.shape, np.bool_)
        _voltages(currents, self.spikes, decay, self.once, voltages, seen)
        return voltages, seen

    def points(self, currents: Floats, decay: float) -> tuple[Floats, NDArray[np.bool_]]:
        """Voltages before a reset, and whether the neuron fired there, (n_points,) both."""
        voltages, seen = self.traces(currents, decay)
        return voltages[seen], self.spikes[seen]


def neurons_of(recordings: Recordings, layer: int) -> list[Neuron]:
    """Each neuron of a layer, counted from 0."""
    spec, spikes = recordings.spec, recordings.spikes()
    low, high = spec.weight_range
    step = level_step(spec.weight_range, spec.weight_bits)
    held = clip_and_round(recordings.matrices()[layer], np.float32(low), np.float32(high), step)
    u = recordings.inputs[:, None, :] if layer == 0 else spikes[layer - 1].astype(np.float32)
    once = layer == 0 and spec.deterministic
    return [
        Neuron(
            u,
            np.ascontiguousarray(held[:, :, n], np.float64),
            recordings.programmed,
            np.ascontiguousarray(spikes[layer][:, :, n]),
            once,
        )
        for n in range(spec.layers[layer + 1])
    ]


@kernel
def _currents(u, weights, programmed, currents):  # type: ignore[no-untyped-def]
    for p in range(u.shape[0]):
        column = weights[programmed[p]]
        for t in range(u.shape[1]):
            total = 0.0
            for i in range(u.shape[2]):
                total += column[i] * u[p, t, i]
            currents[p, t] = total


@kernel
def _voltages(currents, spikes, decay, once, voltages, seen):  # type: ignore[no-untyped-def]
    """Fill voltages (n_presentations, n_steps), and where they tell something."""
    n_shown = currents.shape[1]
    for p in range(spikes.shape[0]):
        v, over = 0.0, False
        for t in range(spikes.shape[1]):
            v = decay * v + (1.0 - decay) * currents[p, min(t, n_shown - 1)]
            voltages[p, t], seen[p, t] = v, not over
            if spikes[p, t]:
                v, over = 0.0, once
