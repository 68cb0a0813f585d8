"""What a chip has shown: weights, inputs, and the spikes of every neuron, packed small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import ChipSpec, FloatArray
from bayes_snn.errors import InputError

MOST = 20_000  # presentations that are kept


class Recordings:
    """Presentations of a chip and what its neurons did in them.

    The most recent ones are kept, and of the older ones a fair sample: each of them is as likely to be there.

    Parameters
    ----------
    spec
        Of the chip.
    most
        Presentations that are kept; half of them are the most recent.
    """

    def __init__(self, spec: ChipSpec, most: int = MOST) -> None:
        self.spec, self.most = spec, max(int(most), 2)
        self.weights = np.zeros((0, spec.n_weights), np.float32)  # one row a programming
        self.inputs = np.zeros((0, spec.layers[0]), np.float32)
        self.programmed = np.zeros(0, np.int64)  # (n_presentations,) the row of its weights
        self._packed = np.zeros((0, self._n_bytes()), np.uint8)
        self._ranks = np.zeros(0)  # of two presentations the one of the higher rank stays longer

    def __len__(self) -> int:
        return len(self.inputs)

    def add(self, weights: Sequence[FloatArray], inputs: FloatArray, spikes: Sequence[NDArray[Any]]) -> None:
        """Keep what a chip showed under one programming.

        Parameters: weights, one (n_pre, n_post) array for each layer; inputs (n_samples, n_in); spikes, as `spikes`
        answers them, (n_samples, n_steps, n_neurons) for each layer.
        """
        row = np.concatenate([np.asarray(matrix, np.float32).ravel() for matrix in weights])[None]
        trains = np.concatenate([np.asarray(layer, np.bool_) for layer in spikes], axis=2)
        expected = (len(inputs), self.spec.n_steps, sum(self.spec.layers[1:]))
        if row.shape[1] != self.spec.n_weights or trains.shape != expected:
            raise InputError(
                f"A recording has {row.shape[1]} weights and spikes of shape {trains.shape}, but {self.spec.n_weights} "
                f"and {expected} are expected: record the chip whose spec was given."
            )
        if not len(self.weights) or not np.array_equal(row[0], self.weights[-1]):
            self.weights = np.concatenate([self.weights, row])
        # ranks depend on what came before alone, so that the same recordings keep the same
        ranks = np.random.default_rng([len(self), len(inputs)]).random(len(inputs))
        self.inputs = np.concatenate([self.inputs, np.asarray(inputs, np.float32)])
        self.programmed = np.append(self.programmed, np.full(len(inputs), len(self.weights) - 1))
        self._packed = np.concatenate([self._packed, np.packbits(trains.reshape(len(inputs), -1), axis=1)])
        self._ranks = np.append(self._ranks, ranks)
        if len(self) > self.most:
            self._forget()

    def spikes(self) -> list[NDArray[np.bool_]]:
        """Spikes (n_presentations, n_steps, n_neurons) of each layer."""
        n_steps, sizes = self.spec.n_steps, self.spec.layers[1:]
        bits = np.unpackbits(self._packed, axis=1, count=n_steps * sum(sizes)).astype(np.bool_)
        return np.split(bits.reshape(len(self), n_steps, sum(sizes)), np.cumsum(sizes[:-1]), axis=2)

    def matrices(self) -> list[NDArray[np.float32]]:
        """Weights (n_programmings, n_pre, n_post) of each layer, as they were given to the chip."""
        ends = np.cumsum([n_pre * n_post for n_pre, n_post in self.spec.weight_shapes])[:-1]
        parts = np.split(self.weights, ends, axis=1)
        return [part.reshape(-1, *shape) for part, shape in zip(parts, self.spec.weight_shapes, strict=True)]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it as arrays by name, of which `from_arrays` makes it again."""
        return {
            "weights": self.weights,
            "inputs": self.inputs,
            "programmed": self.programmed,
            "packed": self._packed,
            "ranks": self._ranks,
            "most": np.int64(self.most),  # type: ignore[dict-item]
        }

    @classmethod
    def from_arrays(cls, spec: ChipSpec, arrays: dict[str, Any]) -> Recordings:
        """The recordings of these arrays; a `ValueError` or `KeyError` where they are none."""
        found = cls(spec, int(arrays["most"]))
        found.weights, found.inputs = (np.asarray(arrays[name], np.float32) for name in ("weights", "inputs"))
        found.programmed = np.asarray(arrays["programmed"], np.int64)
        found._packed, found._ranks = np.asarray(arrays["packed"], np.uint8), np.asarray(arrays["ranks"], np.float64)
        n = len(found.inputs)
        shapes = found.weights.shape[1:] == (spec.n_weights,) and found.inputs.shape == (n, spec.layers[0])
        shapes &= found._packed.shape == (n, found._n_bytes()) and found._ranks.shape == found.programmed.shape == (n,)
        if not shapes or (n and not 0 <= found.programmed.min() <= found.programmed.max() < len(found.weights)):
            raise ValueError("the arrays are no recordings of this chip")
        return found

    def _n_bytes(self) -> int:
        return -(-self.spec.n_steps * sum(self.spec.layers[1:]) // 8)

    def _forget(self) -> None:
        """Keep the latest half of `most`, and of the older ones those of the highest ranks."""
        older = np.arange(len(self) - self.most // 2)
        kept = older[np.argsort(-self._ranks[older], kind="stable")[: self.most - self.most // 2]]
        kept = np.append(np.sort(kept), np.arange(len(older), len(self)))
        rows, programmed = np.unique(self.programmed[kept], return_inverse=True)
        self.weights, self.inputs, self.programmed = self.weights[rows], self.inputs[kept], programmed
        self._packed, self._ranks = self._packed[kept], self._ranks[kept]
