"""A chip that is computed by the kernels of this folder, from the parameters of its layers.

The simulated chip draws them (chip.py); a twin has learned them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import ChipSpec, FloatArray, check_inputs
from bayes_snn.chips.lif.circuit import TabulatedLayer, make_circuit, make_programming
from bayes_snn.chips.lif.forward import group_inputs, run_groups
from bayes_snn.chips.lif.lanes import GROUP
from bayes_snn.chips.lif.state import new_run
from bayes_snn.chips.sweeper import Sweeper
from bayes_snn.likelihood import Target

_CACHED_INPUTS = 4  # training and test inputs, and two more


class CircuitChip:
    """Leaky integrate-and-fire neurons with the parameters of these layers.

    Parameters
    ----------
    spec
        What the chip accepts; weights are saturated and rounded as it says.
    layers
        One for each weight matrix.
    """

    copyable = True  # copies in other processes answer alike: chains may run in parallel

    def __init__(self, spec: ChipSpec, layers: Sequence[TabulatedLayer]) -> None:
        self.spec = spec
        self.circuit = make_circuit(spec, layers)
        self._programming = make_programming(spec, layers)
        self._prepared: list[tuple[FloatArray, NDArray[np.float32]]] = []

    def run(self, weights: Sequence[FloatArray], inputs: FloatArray) -> NDArray[np.int32]:
        """Show every input to the chip once: spike counts (n_samples, n_out); see `Chip.run`.

        Inputs set read-only (`inputs.setflags(write=False)`) are checked and prepared once.
        """
        columns = self._program(weights)
        groups = self._groups(inputs)
        return self._show(columns, groups, len(inputs), 1)[1]

    def spikes(self, weights: Sequence[FloatArray], inputs: FloatArray) -> list[NDArray[np.bool_]]:
        """Spikes of every neuron at every step: a (n_samples, n_steps, n_neurons) array for each layer.

        An optional capability: not every chip can show its hidden neurons. Counts as one presentation each sample.
        """
        columns, groups = self._program(weights), self._groups(inputs)
        trains, _ = self._show(columns, groups, len(inputs), len(groups))
        steps = np.arange(self.spec.n_steps)
        # (group, step, neuron, sample) -> (sample, step, neuron)
        fired = (trains[:, steps // 32] >> (steps % 32)[None, :, None, None].astype(np.uint32)) & 1
        fired = fired.transpose(0, 3, 1, 2).reshape(len(groups) * GROUP, len(steps), -1)[: len(inputs)]
        return np.split(fired.astype(np.bool_), np.cumsum(self.spec.layers[1:-1]), axis=2)

    sweeps_weighted = True  # its sweeper takes samples that do not all count once

    def site_sweeper(self, inputs: FloatArray, labels: Target) -> Sweeper | None:
        """Metropolis sweeps over single weights that re-run only what a weight touches; see `LIFSweeper`.

        An optional capability, for training inputs (n_samples, n_in) and labels (n_samples,), with weights or
        without. None on a noisy chip, whose earlier answers cannot be built on.
        """
        if not self.spec.deterministic:
            return None
        from bayes_snn.chips.lif.sweep import LIFSweeper

        checked = check_inputs(inputs, self.spec.layers[0])
        return LIFSweeper(self.circuit, self._programming, checked, labels)

    def effective_weights(self, weights: Sequence[FloatArray]) -> list[NDArray[np.float32]]:
        """The weights that the circuit computes with: saturated, quantised, mismatched, stuck, on its grid."""
        columns, start, matrices = self._program(weights), 0, []
        for n_pre, n_post in self.spec.weight_shapes:
            matrices.append(columns[start : start + n_pre * n_post].reshape(n_post, n_pre).T.copy())
            start += n_pre * n_post
        return matrices

    def _show(
        self, columns: NDArray[np.float32], groups: NDArray[np.float32], n_samples: int, n_kept: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
        """A run: spikes of all groups, or of one where no more are kept, as `run_groups` fills them; and counts."""
        key = self._begin_run()  # before the circuit is read: its thresholds may have drifted
        n_words, n_neurons = -(-self.spec.n_steps // 32), len(self.circuit.decay)
        trains, totals = np.empty((n_kept, n_words, n_neurons, GROUP), np.uint32), np.empty(GROUP, np.uint32)
        counts = np.empty((n_samples, self.spec.layers[-1]), np.int32)
        run_groups(self.circuit, columns, groups, new_run(self.circuit, key), trains, counts, totals)
        return trains, counts

    def _begin_run(self) -> np.uint64:
        """Names the noise of one run; without noise all runs are one."""
        return np.uint64(0)

    def _program(self, weights: Sequence[FloatArray]) -> NDArray[np.float32]:
        """Effective weights, neuron by neuron; see `Circuit.starts`."""
        return self._programming.columns(weights)

    def _groups(self, inputs: FloatArray) -> NDArray[np.float32]:
        """Inputs as (n_groups, n_in, GROUP) float32, the last group padded with zeros."""
        for known, groups in self._prepared:
            if known is inputs:
                return groups
        groups = group_inputs(check_inputs(inputs, self.spec.layers[0]))
        # only an array that owns its data and cannot be written to is sure to be the same next time
        if isinstance(inputs, np.ndarray) and inputs.base is None and not inputs.flags.writeable:
            self._prepared = [(inputs, groups), *self._prepared[: _CACHED_INPUTS - 1]]
        return groups

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_prepared": []}
