"""Firing regions from labelled voltages: the cheapest union of intervals, against all others."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayes_snn.twins.regions import FAR, find_region


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5]))
def test_no_region_costs_less(labels, price):
    voltages, fired = np.arange(len(labels), dtype=float), np.array(labels)
    found = find_region(voltages, fired, price)
    least = np.inf
    for states in itertools.product([0, 1], repeat=len(labels)):
        turns = np.count_nonzero(np.diff([0, *states]))
        least = min(least, turns * price + sum(a != b for a, b in zip(states, labels, strict=True)))
    assert found.cost(price) == pytest.approx(least)
    inside = (found.edges[:, None] <= voltages).sum(axis=0) % 2 == 1
    assert (inside != fired).sum() == found.errors


def test_edges_lie_between_the_innermost_points():
    rng, edges = np.random.default_rng(3), np.array([-1.3, 0.2, 0.25, 2.0])
    voltages = rng.uniform(-3, 3, 4000)
    fired = (edges[:, None] <= voltages).sum(axis=0) % 2 == 1
    found = find_region(voltages, fired, 0.0)
    assert found.errors == 0
    assert len(found.edges) == 4
    assert (np.abs(found.edges - edges) <= 0.5 * found.widths).all()


def test_a_label_that_stands_alone_is_an_error_or_an_interval():
    voltages, fired = np.arange(20.0), np.arange(20) >= 10
    fired[4] = True
    assert find_region(voltages, fired).edges.tolist() == [9.5]
    assert find_region(voltages, fired, 0.0).edges == pytest.approx([3.5, 4.5, 9.5], rel=1e-12)


def test_a_neuron_that_always_fires_and_one_that_never_does():
    assert find_region(np.arange(5.0), np.ones(5, bool)).edges.tolist() == [FAR]
    assert not len(find_region(np.arange(5.0), np.zeros(5, bool)).edges)
    assert not len(find_region(np.zeros(0), np.zeros(0, bool)).edges)
