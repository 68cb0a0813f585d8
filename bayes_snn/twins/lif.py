"""The family `lif`: leaky integrate-and-fire neurons whose leaks, gains and firing regions were learned.

Neurons are those of `bayes_snn.chips.lif`, with parameters of their own, so that a twin of a simulated chip can be
exact, and is swept as fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.lif.circuit import TabulatedLayer
from bayes_snn.chips.lif.circuit_chip import CircuitChip
from bayes_snn.twins.contract import SPIKES, Learned, spec_of_twin
from bayes_snn.twins.recordings import Recordings
from bayes_snn.twins.writing import SavedTwin

MOST_SQUARED = 4 * 10**7  # edges of a neuron squared, of all neurons: to draw up their trains takes up to 9 s at this


class LIFTwin(SavedTwin, CircuitChip):
    """A twin of LIF neurons.

    Parameters
    ----------
    spec
        That of the chip.
    layers
        The parameters of each layer.
    learned
        How they were learned.

    Attributes
    ----------
    recordings
        What the chip has shown, where it was learned from spikes: to learn it again from more.
    n_sought
        How many presentations there were when its gains were sought from nothing last; 0 where that is not known.
    """

    family = "lif"

    def __init__(self, spec: ChipSpec, layers: Sequence[TabulatedLayer], learned: Learned | None = None) -> None:
        super().__init__(spec_of_twin(spec), layers)
        self.layers = tuple(layers)
        self.learned = Learned(SPIKES) if learned is None else learned
        self.recordings: Recordings | None = None
        self.n_sought = 0

    @property
    def bends_currents(self) -> bool:
        """Whether its neurons bend their input currents."""
        return any(layer.current is not None for layer in self.layers)

    def arrays(self) -> dict[str, Any]:
        """All parameters as arrays by name, of which `from_arrays` makes the twin again."""
        named: dict[str, Any] = {}
        for number, layer in enumerate(self.layers, 1):
            most = max([1, *(len(edges) for edges in layer.edges)])
            edges = np.full((len(layer.edges), most), np.inf, np.float32)
            for neuron, each in enumerate(layer.edges):
                edges[neuron, : len(each)] = each
            named |= {f"decay_{number}": layer.decay, f"edges_{number}": edges, f"gain_{number}": layer.gain}
            named[f"grid_{number}"] = np.float32(layer.grid)
            named[f"noise_{number}"] = layer.noise
            if layer.current is not None:
                named[f"current_{number}"] = layer.current
        return named

    @classmethod
    def from_arrays(cls, spec: ChipSpec, arrays: dict[str, Any], learned: Learned) -> LIFTwin:
        """The twin of these parameters; a `ValueError` or `KeyError` where they are none."""
        layers = []
        for number, (n_pre, n_post) in enumerate(spec.weight_shapes, 1):
            decay, gain = (np.asarray(arrays[f"{name}_{number}"], np.float32) for name in ("decay", "gain"))
            edges = np.asarray(arrays[f"edges_{number}"], np.float32)
            noise = np.asarray(arrays[f"noise_{number}"], np.float32)
            current = arrays.get(f"current_{number}")
            current = None if current is None else np.asarray(current, np.float32)
            grid = np.asarray(arrays[f"grid_{number}"], np.float32)
            shapes = decay.shape == (n_post,) and gain.shape == (n_pre, n_post) and grid.shape == ()
            shapes &= noise.shape in ((0,), (n_post,))
            tables = current is None or (current.ndim == 2 and len(current) == n_post and current.shape[1] > 1)
            numbers = all(np.isfinite(each).all() for each in (gain, grid, noise, 0.0 if current is None else current))
            ascend = edges.ndim == 2 and len(edges) == n_post and not (edges[:, 1:] < edges[:, :-1]).any()
            if not (shapes and tables and numbers and ascend and ((decay >= 0) & (decay < 1)).all()):
                raise ValueError(f"the parameters of layer {number} are none of LIF neurons")
            ended = [each[each < np.inf] for each in edges]
            layers.append(TabulatedLayer(decay, ended, gain, np.float32(grid), current, noise))
        # the kernels look a neuron up in one table of all layers: a layer without its part would shift the others
        if len({layer.current is None for layer in layers}) > 1 or len({len(layer.noise) > 0 for layer in layers}) > 1:
            raise ValueError("some layers have a table of currents or a noise, and some have none")
        if sum(len(each) ** 2 for layer in layers for each in layer.edges) > MOST_SQUARED:
            raise ValueError("its neurons have so many edges that they would take minutes to draw up")
        return cls(spec, layers, learned)
