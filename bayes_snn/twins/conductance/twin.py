"""The family `conductance`: neurons with conductances, refractory time and adaptation that were learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import ChipSpec, FloatArray, check_inputs, check_weights
from bayes_snn.chips.rounding import clip_and_round, level_step
from bayes_snn.chips.sweeper import Sweeper
from bayes_snn.likelihood import Target
from bayes_snn.twins.conductance.forward import GROUP, group_inputs, make_network, run_groups
from bayes_snn.twins.conductance.neuron import FRACTIONS, N_FIRST, N_LATER
from bayes_snn.twins.contract import SPIKES, Learned, spec_of_twin
from bayes_snn.twins.recordings import Recordings
from bayes_snn.twins.writing import SavedTwin

MOST_PARAMETER = 1e3  # no neuron that was learned has larger ones


class ConductanceTwin(SavedTwin):
    """A twin of neurons with conductance synapses; neuron.py has their equations.

    Parameters
    ----------
    spec
        That of the chip.
    parameters
        (n_neurons, n_parameters) of each layer, as neuron.py names them.
    learned
        How they were learned.

    Attributes
    ----------
    recordings
        What the chip has shown: to learn it again from more.
    """

    family = "conductance"
    copyable = True
    subsets = True

    def __init__(
        self, spec: ChipSpec, parameters: Sequence[NDArray[np.float64]], learned: Learned | None = None
    ) -> None:
        self.spec = spec_of_twin(spec)
        self.parameters = tuple(np.array(layer, np.float64) for layer in parameters)
        self.network = make_network(self.spec, list(self.parameters))
        self.learned = Learned(SPIKES) if learned is None else learned
        self.recordings: Recordings | None = None

    def run(self, weights: Sequence[FloatArray], inputs: FloatArray) -> NDArray[np.int32]:
        """Spike counts (n_samples, n_out); see `Chip.run`."""
        return self._run(weights, inputs, False)[0]

    def spikes(self, weights: Sequence[FloatArray], inputs: FloatArray) -> list[NDArray[np.bool_]]:
        """Spikes (n_samples, n_steps, n_neurons) of each layer."""
        fired = self._run(weights, inputs, True)[1]  # (group, neuron, step, sample)
        shown = fired.transpose(0, 3, 2, 1).reshape(-1, self.spec.n_steps, fired.shape[1])[: len(inputs)]
        return np.split(shown.astype(np.bool_), np.cumsum(self.spec.layers[1:-1]), axis=2)

    sweeps_weighted = True  # its sweeper takes samples that do not all count once

    def site_sweeper(self, inputs: FloatArray, labels: Target) -> Sweeper:
        """Metropolis sweeps over single weights that re-run only what a weight touches; see `ConductanceSweeper`."""
        from bayes_snn.twins.conductance.sweep import ConductanceSweeper

        return ConductanceSweeper(self, check_inputs(inputs, self.spec.layers[0]), labels)

    def program(self, weights: Sequence[FloatArray]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Weights as the kernels take them, neuron by neuron: float32, and whole numbers of a unit of their layer."""
        held = held_weights(self.spec, check_weights(weights, self.spec.weight_shapes))
        units = FRACTIONS * self.network.units.astype(np.float64)
        whole = [np.rint(w / unit).astype(np.int32) for w, unit in zip(held, units, strict=True)]
        flat = [np.concatenate([w.T.ravel() for w in each]) for each in (held, whole)]
        return flat[0].astype(np.float32), flat[1]

    def _run(
        self, weights: Sequence[FloatArray], inputs: FloatArray, shows: bool
    ) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        columns = self.program(weights)
        groups = group_inputs(check_inputs(inputs, self.spec.layers[0]))
        counts = np.empty((len(groups) * GROUP, self.spec.layers[-1]), np.int32)
        n_neurons = len(self.network.constants)
        fired = np.empty((len(groups) if shows else 0, n_neurons, self.spec.n_steps, GROUP), np.uint8)
        run_groups(self.network, *columns, groups, fired, counts)
        return counts[: len(inputs)], fired

    def arrays(self) -> dict[str, Any]:
        """All parameters as arrays by name, of which `from_arrays` makes the twin again."""
        return {f"parameters_{number}": layer for number, layer in enumerate(self.parameters, 1)}

    @classmethod
    def from_arrays(cls, spec: ChipSpec, arrays: dict[str, Any], learned: Learned) -> ConductanceTwin:
        """The twin of these parameters; a `ValueError` or `KeyError` where they are none."""
        layers = []
        for number, n in enumerate(spec.layers[1:], 1):
            found = np.asarray(arrays[f"parameters_{number}"], np.float64)
            shape = (n, N_FIRST if number == 1 else N_LATER)
            if found.shape != shape or not (np.abs(found) <= MOST_PARAMETER).all():
                raise ValueError(f"the parameters of layer {number} are none of neurons with conductances")
            layers.append(found)
        return cls(spec, layers, learned)


def held_weights(spec: ChipSpec, matrices: Sequence[NDArray[Any]]) -> list[NDArray[np.float64]]:
    """Weights as the chip's synapses hold them: saturated, and rounded to its bits."""
    low, high = spec.weight_range
    step = np.float64(level_step(spec.weight_range, spec.weight_bits))
    return [np.asarray(clip_and_round(np.asarray(w, np.float64), low, high, step)) for w in matrices]
