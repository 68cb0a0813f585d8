"""Moves along directions take the decisions that whole runs of the chip would bring, one by one, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.sweeper import DirectionSweeper, Moves
from bayes_snn.likelihood import Readout

READOUT = Readout()
FAULTS = [
    ("comparator", 0.0),
    ("comparator", 2.0),
    ("current", 1.0),
    ("stuck", 0.3),
    ("quantisation", 3),
    (["leak", "gain", "comparator"], [0.5, 0.5, 2.0]),
]
# two classes on flat chips, more on deep ones: kernels are compiled for either
SHAPES = [(2,), (5, 2), (33, 2), (4, 3, 3), (3, 4, 2, 3)]


def by_whole_runs(chip, inputs, labels, weights, layer, moves):
    """Which moves are accepted, and the weights, log L asked of the chip at every step."""

    def log_l():
        return float(READOUT.log_p(chip.run(weights, inputs).astype(np.int64)[None], labels).sum())

    weights = [w.copy() for w in weights]
    current, accepted = log_l(), np.zeros(moves.steps.shape, bool)
    margin = np.inf
    for place in moves.order:
        post, k = divmod(int(place), len(moves.basis))
        old = weights[layer][:, post].copy()
        new = moves.signs[post, k] * old + moves.steps[post, k] * moves.basis[k]
        mean, sd = moves.means[post], moves.sds[post]
        log_prior = 0.5 * float((((old - mean) / sd) ** 2 - ((new - mean) / sd) ** 2).sum())
        weights[layer][:, post] = new
        proposed = log_l()
        gain = proposed - current + moves.prior_power * log_prior - moves.bounds[post, k]
        margin = min(margin, abs(gain))
        accepted[post, k] = gain > 0
        if gain > 0:
            current = proposed
        else:
            weights[layer][:, post] = old
    return accepted, weights, current, margin


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from(SHAPES),
    fault=st.sampled_from(FAULTS),
    n_steps=st.sampled_from([7, 32, 40]),
)
def test_decisions_are_those_of_whole_runs(seed, shape, fault, n_steps):
    rng = np.random.default_rng(seed)
    layers, n_out = (3, *shape), shape[-1]
    chip = LIFChip(layers, *fault, seed=seed % 1000, n_steps=n_steps)
    inputs, labels = rng.normal(size=(45, 3)), rng.integers(n_out, size=45)
    weights = [1.5 * rng.normal(size=shape) for shape in chip.spec.weight_shapes]
    sweeper = chip.site_sweeper(inputs, labels)
    assert isinstance(sweeper, DirectionSweeper)
    sweeper.start(weights, READOUT)
    for layer in rng.permutation(len(weights)):
        n_pre, n_post = weights[layer].shape
        basis, uniform = sweeper.directions(layer)
        assert np.allclose(basis @ basis.T, np.eye(n_pre))
        basis, n = np.concatenate([basis, [uniform]]), n_pre + 1
        moves = Moves(
            rng.normal(size=(n_post, n_pre)),
            rng.uniform(0.5, 2.0, size=(n_post, n_pre)),
            float(rng.uniform(0.5, 2.0)),
            basis,
            rng.choice([-1.0, 1.0], size=(n_post, n)),
            rng.normal(size=(n_post, n)),
            -3.0 * rng.exponential(size=(n_post, n)),
            rng.permutation(n_post * n),
        )
        accepted, expected, current, margin = by_whole_runs(chip, inputs, labels, weights, layer, moves)
        own = weights[layer].T.copy()
        found, log_l = sweeper.sweep_along(layer, own, moves)
        if margin < 1e-6:  # a tie, which rounding decides
            return
        assert np.array_equal(found, accepted)
        assert np.allclose(own.T, expected[layer], rtol=0, atol=1e-12)
        assert log_l == pytest.approx(current, abs=1e-9)
        weights = expected
        counts = chip.run(weights, inputs)
        assert np.array_equal(sweeper.counts()[0], counts)


def test_directions_are_the_principal_ones_of_what_a_layer_receives():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 3)) @ np.diag([3.0, 1.0, 0.2])
    chip = LIFChip((3, 4, 2), "comparator", 2.0, seed=100)
    weights = [rng.normal(size=shape) for shape in chip.spec.weight_shapes]
    sweeper = chip.site_sweeper(inputs, rng.integers(2, size=200))
    sweeper.start(weights, READOUT)
    received = [inputs, chip.spikes(weights, inputs)[0].sum(axis=1).astype(float)]
    for layer, before in enumerate(received):
        turned = before @ sweeper.directions(layer)[0].T
        second = turned.T @ turned
        assert np.allclose(second, np.diag(np.diag(second)), atol=1e-8 * np.trace(second))
        assert (np.diff(np.diag(second)) <= 1e-8 * np.trace(second)).all()


def test_directions_depend_on_no_weight_of_their_layer():
    """Else a move back would not have the direction of the move."""
    rng = np.random.default_rng(1)
    inputs, labels = rng.normal(size=(50, 3)), rng.integers(2, size=50)
    chip = LIFChip((3, 4, 4, 2), "comparator", 2.0, seed=100)
    weights = [rng.normal(size=shape) for shape in chip.spec.weight_shapes]
    sweeper = chip.site_sweeper(inputs, labels)
    for layer in range(3):
        sweeper.start(weights, READOUT)
        before = sweeper.directions(layer)
        others = [w if number < layer else rng.normal(size=w.shape) for number, w in enumerate(weights)]
        sweeper.start(others, READOUT)
        assert all(map(np.array_equal, sweeper.directions(layer), before))


def test_one_direction_moves_all_currents_alike():
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(300, 3))
    chip = LIFChip((3, 40, 2), "comparator", 2.0, seed=100)
    weights = [rng.normal(size=shape) for shape in chip.spec.weight_shapes]
    sweeper = chip.site_sweeper(inputs, rng.integers(2, size=300))
    sweeper.start(weights, READOUT)
    rates = chip.spikes(weights, inputs)[0].mean(axis=1)
    assert np.abs(rates @ sweeper.directions(1)[1] - 1.0).mean() < 0.1
    assert np.allclose(sweeper.directions(0)[1], np.linalg.lstsq(inputs, np.ones(300))[0], atol=1e-2)
