"""Edges of distorted comparators: every voltage is decided as the formula decides it."""

import numpy as np
import pytest

from bayes_snn.chips.lif.smooth import SmoothFunctions, comparator_edges


@pytest.mark.parametrize("sigma", [0.5, 3.0, 300.0])
def test_a_neuron_fires_between_its_edges(sigma):
    rng = np.random.default_rng(0)
    g = SmoothFunctions.draw(rng, 3, 1.0, sigma)
    edges = comparator_edges(g, np.array([1.0, 0.2, 30.0], np.float32))
    assert (max(map(len, edges)) > 64) == (sigma == 300.0)  # more than are looked for at first
    for neuron, theta in enumerate(np.float32([1.0, 0.2, 30.0])):
        v = rng.uniform(-5 * sigma - 40, 5 * sigma + 40, 2000).astype(np.float32)
        v = np.concatenate([v, edges[neuron], np.nextafter(edges[neuron], np.float32(-np.inf))])
        fires = np.searchsorted(edges[neuron], v, side="right") % 2 == 1
        above = np.float64(v) + g(neuron, v) - np.float64(theta)
        clear = np.abs(above) > 1e-9  # the sum of cosines is rounded in another order here
        np.testing.assert_array_equal(fires[clear], above[clear] >= 0)


def test_a_threshold_out_of_reach_has_no_edges():
    g = SmoothFunctions.draw(np.random.default_rng(0), 2, 1.0, 3.0)
    silent, other = comparator_edges(g, np.array([np.inf, 1.0], np.float32))
    assert len(silent) == 0
    assert len(other) > 0
