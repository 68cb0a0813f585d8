"""The noise of a run: normal, independent from neuron to neuron, step to step and run to run, and cheap to repeat."""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy import stats

from bayes_snn.chips.lif.lanes import GROUP, store
from bayes_snn.chips.lif.noise import mix, standard_normals
from tests.helpers import reference


@njit
def _fill(key, neuron, step, out):
    for group in range(out.shape[0]):
        store(out[group], standard_normals(key, neuron, step, group * GROUP))


def draw(key, neuron, step, n_groups):
    out = np.empty((n_groups, GROUP), np.float32)
    _fill(np.uint64(key), neuron, step, out)
    return out.ravel()


def test_equals_the_reference():
    for key, neuron, step in [(0, 0, 0), (12345, 3, 31), (2**64 - 1, 1000, 77)]:
        expected = reference.standard_normals(np.uint64(key), neuron, step, 3200)
        np.testing.assert_array_equal(draw(key, neuron, step, 100), expected)


def test_is_the_normal_quantile_of_a_uniform_number():
    # 2^24 possible numbers: their quantiles within 2e-6, in the tails too
    state = int(mix(np.uint64(int(mix(np.uint64(7))))))
    words = np.arange(64000, dtype=np.uint32) ^ np.uint32(state & 0xFFFFFFFF)
    words = reference.mixed(reference.mixed(words) + np.uint32(state >> 32))
    uniform = ((words >> 8).astype(float) + 0.5) / 2**24
    np.testing.assert_allclose(draw(7, 0, 0, 2000), stats.norm.ppf(uniform), atol=5e-6)


def test_is_normal_and_independent():
    keys = np.random.default_rng(0).integers(2**63, size=5)
    blocks = np.array([[draw(key, neuron, step, 100) for step in range(3)] for key in keys for neuron in range(4)])
    x = blocks.astype(float).ravel()
    n = len(x)  # 192,000 numbers; limits at 5 standard errors
    assert abs(x.mean()) < 5 / np.sqrt(n)
    assert abs(x.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((x**3).mean()) < 5 * np.sqrt(15 / n)
    assert abs((x**4).mean() - 3) < 5 * np.sqrt(96 / n)
    assert stats.kstest(x, "norm").pvalue > 1e-6
    rows = blocks.reshape(-1, blocks.shape[-1])
    correlations = np.corrcoef(rows)[np.triu_indices(len(rows), 1)] * np.sqrt(rows.shape[1])
    assert abs(correlations).max() < 5.5
    lagged = [np.corrcoef(x[:-lag], x[lag:])[0, 1] * np.sqrt(n) for lag in (1, 2, 4, 8, 16, 32)]
    assert np.abs(lagged).max() < 5
