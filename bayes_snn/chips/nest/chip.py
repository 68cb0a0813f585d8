"""A chip of neurons that NEST simulates: adaptive or plain integrate-and-fire neurons with conductance synapses.

Its equations are none of this project's (neurons.py has them, NEST solves them), and each neuron has parameters of its
own. Inputs are constant currents: the first weights make of them the current of each neuron of the first layer. Spikes
act through conductances behind it, those of a positive weight excite and those of a negative one inhibit.

NEST is GPL software and comes with the extra `nest`. It runs in a process of its own, and this package ships none of
it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import ChipSpec, FloatArray, check_inputs, check_weights
from bayes_snn.chips.nest.neurons import MODELS, MOST_SPREAD, draw_neurons, units_of
from bayes_snn.chips.nest.simulator import check_installed, simulator
from bayes_snn.errors import InputError, check_whole, unknown_name

MOST_CURRENT = 16.0  # of a neuron, in thresholds: beyond, the source of the current saturates
MOST_NEURONS = 50_000  # that are simulated at once, about 1 kB each


class NestChip:
    """Neurons of NEST with mismatch, fully connected layer by layer.

    Parameters
    ----------
    layers
        Neurons of each layer, inputs first.
    n_steps
        Steps of a presentation, of 1 ms each; a neuron spikes once a step at most.
    model
        "aeif_cond_exp", adaptive exponential integrate-and-fire, or "iaf_cond_exp".
    spread
        Standard deviation of the logarithm of each parameter over the neurons, 0 to 0.5.
    seed
        Of these parameters, which are frozen.
    weight_range
        Lowest and highest weight; what lies outside saturates.

    Raises
    ------
    InputError
        When an argument is out of range, or NEST is not installed.
    """

    copyable = True
    subsets = True

    def __init__(
        self,
        layers: Sequence[int] = (30, 16, 2),
        n_steps: int = 32,
        *,
        model: str = "aeif_cond_exp",
        spread: float = 0.25,
        seed: int = 0,
        weight_range: tuple[float, float] = (-4.0, 4.0),
    ) -> None:
        self.spec = ChipSpec(tuple(layers), n_steps, weight_range)
        if model not in MODELS:
            raise unknown_name("model", model, MODELS)
        if not 0 <= spread <= MOST_SPREAD:
            raise InputError(f"spread was {spread!r}, but a number from 0 to {MOST_SPREAD} is expected: try 0.25.")
        check_whole("The chip's seed", seed, 0, None, 0)
        check_installed()
        self.model, self.spread, self.seed = model, float(spread), int(seed)
        self.units = units_of(model)
        self.neurons = draw_neurons(model, self.spec, self.spread, self.seed)

    def run(self, weights: Sequence[FloatArray], inputs: FloatArray) -> NDArray[np.int32]:
        """Show every input once: spike counts (n_samples, n_out); see `Chip.run`."""
        last = len(self.spec.layers) - 2
        return np.asarray(self._show(weights, inputs, [last])[0].sum(axis=1, dtype=np.int32))

    def spikes(self, weights: Sequence[FloatArray], inputs: FloatArray) -> list[NDArray[np.bool_]]:
        """Spikes (n_samples, n_steps, n_neurons) of each layer; counts as one presentation each sample."""
        return self._show(weights, inputs, range(len(self.spec.layers) - 1))

    def _show(self, weights: Sequence[FloatArray], inputs: FloatArray, shown: Sequence[int]) -> list[NDArray[np.bool_]]:
        """Spikes of these layers, counted from 0."""
        first, *later = self._held(weights)
        currents = check_inputs(inputs, self.spec.layers[0]) @ first
        currents = self.units.current * np.clip(currents, -MOST_CURRENT, MOST_CURRENT)
        conductances = [w * np.where(w > 0, self.units.excitatory, self.units.inhibitory) for w in later]
        size = max(1, MOST_NEURONS // sum(self.spec.layers[1:]))
        parts = [
            simulator().ask(
                model=self.model,
                neurons=self.neurons,
                currents=currents[start : start + size],
                conductances=conductances,
                n_steps=self.spec.n_steps,
                shown=list(shown),
            )
            for start in range(0, len(currents), size)
        ]
        return [np.concatenate(layer) for layer in zip(*parts, strict=True)]

    def _held(self, weights: Sequence[FloatArray]) -> list[NDArray[np.float64]]:
        """Weights as the synapses hold them."""
        return [np.clip(w, *self.spec.weight_range) for w in check_weights(weights, self.spec.weight_shapes)]

    def __repr__(self) -> str:
        layers = "-".join(map(str, self.spec.layers))
        return (
            f"NestChip({layers}, model={self.model!r}, spread={self.spread}, seed={self.seed}, "
            f"n_steps={self.spec.n_steps})"
        )
