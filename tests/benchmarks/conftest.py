"""Fixtures that the benchmarks share: the data set and a weight set of the project's default network."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

LAYERS = (30, 16, 2)
# Of seeds 0 to 9 the one whose output neurons spike most: many spikes make a comparison of counts strict.
SEED = 3


@pytest.fixture(scope="session")
def inputs() -> NDArray[np.float64]:
    """All breast cancer samples, standardised, float64 (569, 30).

    Read-only and owner of its memory: only what nobody can change may a chip prepare once and use again.
    """
    array = np.array(StandardScaler().fit_transform(load_breast_cancer().data), dtype=np.float64, order="C")
    array.setflags(write=False)
    return array


def draw_weights(layers: tuple[int, ...], seed: int) -> list[NDArray[np.float32]]:
    """One draw of the default prior, N(0, 1), saturated at the chip's range of +-4."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).clip(-4, 4).astype(np.float32) for shape in pairwise(layers)]


@pytest.fixture(scope="session")
def weights() -> list[NDArray[np.float32]]:
    """Weights of the network 30-16-2, the same in every benchmark."""
    return draw_weights(LAYERS, SEED)
