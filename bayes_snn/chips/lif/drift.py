"""The distortion `drift`: thresholds that walk from run to run.

    theta_n becomes theta_n exp(sigma B_n(a)),     B_n(0) = 0,     B_n(a) = B_n(a - 1) + xi_n(a) / sqrt(1000)

a the age of the chip, its runs so far, this one included; xi standard normal, another in each neuron and run. After
1,000 runs B has a standard deviation of 1. Like noise, xi is a hash of where it is needed (noise.py): a seed and an age
say where the walk stands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.lif.circuit import Circuit, layer_edges, pad_edges
from bayes_snn.chips.lif.compiled import kernel
from bayes_snn.chips.lif.distortion import DRIFT_RUNS, Layer
from bayes_snn.chips.lif.lanes import GROUP, store
from bayes_snn.chips.lif.noise import mix, standard_normals

_FURTHEST = 50.0  # exp(50) thresholds are never reached, exp(-50) always: beyond, nothing changes
_SALT = np.uint64(0xD21F7)  # the walk's numbers are others than the noise's


@kernel
def walk_on(walk, key, age, n_runs, drawn):  # type: ignore[no-untyped-def]
    """Take B of each neuron, (n_neurons,) float64, from an age to another, n_runs later, in place.

    drawn (GROUP,) float32 is room.
    """
    step = 1.0 / np.sqrt(np.float64(DRIFT_RUNS))
    for run in range(age + 1, age + n_runs + 1):
        run_key = mix(key ^ np.uint64(run))
        for first in range(0, walk.shape[0], GROUP):
            store(drawn, standard_normals(run_key, 0, 0, first))
            for n in range(first, min(first + GROUP, walk.shape[0])):
                walk[n] += step * np.float64(drawn[n - first])


class ThresholdDrift:
    """The thresholds of a drifting chip at any age.

    Parameters
    ----------
    sigma
        Strength of the drift.
    layers
        Of the chip as it was made; silent neurons stay silent.
    """

    def __init__(self, sigma: float, layers: Sequence[Layer]) -> None:
        self._sigma = sigma
        self._layers = list(layers)
        self._thresholds = np.concatenate([layer.threshold for layer in layers])
        self._silent = np.concatenate([layer.silent for layer in layers])
        self._ends = np.cumsum([len(layer.threshold) for layer in layers])[:-1]
        self._walk = np.zeros(len(self._thresholds))  # where it stands at a key and an age
        self._key, self._age = np.uint64(0), 0
        self._drawn = np.empty(GROUP, np.float32)

    def thresholds(self, key: np.uint64, age: int) -> NDArray[np.float32]:
        """theta of each neuron, (n_neurons,), on the walk that a key names, at an age."""
        if key != self._key or age < self._age:
            self._walk[:], self._key, self._age = 0.0, key, 0
        walk_on(self._walk, np.uint64(mix(key ^ _SALT)), self._age, age - self._age, self._drawn)
        self._age = age
        exponents = np.clip(self._sigma * self._walk, -_FURTHEST, _FURTHEST)
        return np.asarray((self._thresholds * np.exp(exponents)).astype(np.float32))

    def moved(self, circuit: Circuit, key: np.uint64, age: int) -> Circuit:
        """The circuit with these thresholds; where comparators are distorted, each bends v as it did."""
        thresholds = self.thresholds(key, age)
        if all(layer.comparator is None for layer in self._layers):  # one edge each, at every run: no loop
            return circuit._replace(edges=np.where(self._silent, np.float32(np.inf), thresholds)[:, None])
        edges = []
        for layer, part in zip(self._layers, np.split(thresholds, self._ends), strict=True):
            edges += layer_edges(layer, part)
        n_edges, padded = pad_edges(edges)
        return circuit._replace(n_edges=n_edges, edges=padded)
