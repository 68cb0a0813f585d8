"""Which of a chip's weights a sweep visits: all but those of layers that the prior fixes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pymc as pm
from numpy.typing import NDArray
from pytensor.graph.traversal import ancestors

from bayes_snn.posterior.values import shape_of, value_of
from bayes_snn.samplers.shared.shift import later_columns


class Sites:
    """The weights of all layers, ravelled and joined, and those of them that are swept.

    Parameters
    ----------
    model, variables
        The model, and the value variables of its random layers, in the order of the layers.

    Attributes
    ----------
    shapes
        (n_pre, n_post) of each layer.
    swept
        (n_weights,) places of the random weights among all.
    """

    def __init__(self, model: pm.Model, variables: Sequence[Any]) -> None:
        rvs = [model.values_to_rvs[value] for value in variables]
        random = [not set(rvs).isdisjoint(ancestors([matrix])) for matrix in model.likelihood.weights]
        self.shapes = [shape_of(matrix) for matrix in model.likelihood.weights]
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        self.swept = np.flatnonzero(np.repeat(random, sizes))
        held = [
            np.zeros(size) if moves else value_of(matrix).astype(np.float64).ravel()
            for matrix, moves, size in zip(model.likelihood.weights, random, sizes, strict=True)
        ]
        self._weights = np.concatenate(held)
        self._fixed = np.flatnonzero(np.repeat(~np.array(random), sizes))

    def all_weights(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """All weights, (n_sites,), where the swept ones are q (n_weights,)."""
        if not len(self._fixed):
            return q
        weights = self._weights.copy()
        weights[self.swept] = q
        return weights

    def visits(
        self, bounds: NDArray[np.float64], order: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Bounds and order of a sweep over all weights, (n_sites,), from those of the swept: no fixed one moves."""
        if not len(self._fixed):
            return bounds, order
        whole = np.full(len(self._weights), np.inf)
        whole[self.swept] = bounds
        return whole, np.concatenate([self.swept[order], self._fixed])

    def layers(self) -> list[tuple[int, slice, tuple[int, ...]]]:
        """Of each layer that is swept its number, its place among the swept weights, and its (n_pre, n_post)."""
        found, start = [], 0
        first = np.cumsum([0, *(int(np.prod(shape)) for shape in self.shapes)])
        for layer, shape in enumerate(self.shapes):
            if first[layer] in self.swept:
                found.append((layer, slice(start, start + int(np.prod(shape))), shape))
                start += int(np.prod(shape))
        return found

    def columns(self) -> list[NDArray[np.int64]]:
        """Places, among the swept weights, of those that lead to each neuron behind the first layer."""
        place = np.full(len(self._weights), -1)
        place[self.swept] = np.arange(len(self.swept))
        return [place[column] for column in later_columns(self.shapes) if (place[column] >= 0).all()]
