"""Sweeps along directions draw from the posterior that single-weight sweeps draw from, and reversibly."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.posterior.build import build_model, weight_variables
from bayes_snn.samplers.shared.directional import DirectionalMetropolis, why_not_directional
from bayes_snn.samplers.sitewise import SitewiseMetropolis
from bayes_snn.samplers.twin import make_mover
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

RNG = np.random.default_rng(0)
CHIP = LIFChip((2, 3, 2), "comparator", 1.0, seed=101)
SAMPLES = RNG.normal(size=(40, 2)) @ np.array([[1.5, 1.2], [0.0, 0.4]])
CLASSES = (SAMPLES[:, 0] > 0).astype(int)
BATCHES = 24


def uneven(chip):
    """A prior that is no Normal of one width."""
    sigmas = (np.array([[0.5, 1.0, 2.0], [1.5, 1.0, 0.7]]), 1.2)
    pairs = enumerate(zip(chip.spec.weight_shapes, sigmas, strict=True), 1)
    return [pm.Normal(f"w_{k}", 0.3, sigma, shape=shape) for k, (shape, sigma) in pairs]


def statistics(kind, prior=None, power=1.0, n=4800, seed=0):
    """Means over batches, (BATCHES, 6), of what both movers should agree on."""
    model = build_model(CHIP, SAMPLES, CLASSES, prior or "standard_normal")
    with model:
        step = kind(weight_variables(model), model=model)
    step.rng = rng = np.random.default_rng(seed)
    q, found = rng.normal(size=12), []
    for i in range(n + 400):
        q, log_l = step.palindrome(q, (power, 1.0), i < 400, i % 4 == 0)
        if i >= 400:
            found.append([log_l, np.abs(q[:6]).sum(), np.abs(q[6:]).sum(), q[:6].sum(), q[6] * q[8], q[0] * q[9]])
    return np.array(found).reshape(BATCHES, -1, 6).mean(axis=1)


def worst_z(a, b):
    error = np.sqrt(a.var(axis=0, ddof=1) / len(a) + b.var(axis=0, ddof=1) / len(b))
    return float(np.max(np.abs(a.mean(axis=0) - b.mean(axis=0)) / error))


@pytest.mark.parametrize("prior", [None, uneven])
def test_draws_are_those_of_single_weight_sweeps(prior):
    assert worst_z(statistics(DirectionalMetropolis, prior), statistics(SitewiseMetropolis, prior, seed=1)) < 5


def test_another_posterior_is_told_apart():
    """Negative control."""
    assert worst_z(statistics(DirectionalMetropolis, power=0.6), statistics(SitewiseMetropolis, seed=1)) > 5


def test_a_draw_is_reversible():
    """Pairs of draws at stationarity are exchangeable."""
    model = build_model(CHIP, SAMPLES, CLASSES, "standard_normal")
    with model:
        step = DirectionalMetropolis(weight_variables(model), model=model)
    step.rng = rng = np.random.default_rng(2)
    step.log_scales[:] = 0.5
    q, gaps = rng.normal(size=12), []
    for i in range(6000):
        new, _ = step.palindrome(q, (1.0, 1.0), False)
        if i >= 240:
            gaps.append(np.abs(q[:6]).sum() * np.abs(new[6:]).sum() - np.abs(new[:6]).sum() * np.abs(q[6:]).sum())
        q = new
    parts = np.array(gaps).reshape(20, -1).mean(axis=1)
    assert abs(parts.mean()) < 5 * parts.std(ddof=1) / 20**0.5


def test_it_is_chosen_where_chip_and_prior_allow_it():
    def laplace(chip):
        return [pm.Laplace(f"w_{k + 1}", 0, 1, shape=shape) for k, shape in enumerate(chip.spec.weight_shapes)]

    model = build_model(CHIP, SAMPLES, CLASSES, "standard_normal")
    assert isinstance(make_mover(model, [v.name for v in weight_variables(model)]), DirectionalMetropolis)
    model = build_model(CHIP, SAMPLES, CLASSES, laplace)
    assert why_not_directional(model, weight_variables(model)) == "the prior of w_1 is Laplace"
    model = build_model(SigmoidChip(), INPUTS, LABELS, "standard_normal")
    assert "single weights alone" in why_not_directional(model, weight_variables(model))
    assert type(make_mover(model, [v.name for v in weight_variables(model)])) is SitewiseMetropolis


def test_a_layer_that_the_prior_fixes_stays():
    fixed = np.full((2, 3), 0.7)

    def half(chip):
        return [pt.constant(fixed), pm.Normal("w_2", shape=(3, 2))]

    model = build_model(CHIP, SAMPLES, CLASSES, half)
    with model:
        step = DirectionalMetropolis(weight_variables(model), model=model)
    step.rng = np.random.default_rng(3)
    q, log_l = step.palindrome(np.zeros(6), (1.0, 1.0), False)
    assert log_l == pytest.approx(step.log_likelihood_at(q))
    assert not np.array_equal(q, np.zeros(6))
