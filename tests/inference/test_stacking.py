"""Chains that have not mixed are weighed by how well they predict what they have not seen."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from bayes_snn.errors import InputError
from bayes_snn.estimates.predict import ESTIMATES, run_draws
from bayes_snn.inference.stacking import FEWEST_DRAWS, chain_weights, stack
from tests.helpers.fits import CountingChip, hand_made_fit
from tests.helpers.toys import SigmoidChip

rng = np.random.default_rng(0)
X, NEW = rng.normal(size=(30, 1)), rng.normal(size=(7, 1))
Y = (X[:, 0] > 0).astype(int)


def mean_score(weights, log_scores):
    return float(np.log(weights @ np.exp(log_scores)).mean())


@given(st.integers(2, 4), st.integers(1, 30), st.integers(0, 10**6))
@settings(deadline=None, max_examples=40)
def test_no_other_weights_are_better(n_chains, n_samples, seed):
    log_scores = np.random.default_rng(seed).normal(size=(n_chains, n_samples)) * 3 - 3
    weights = stack(log_scores)
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()
    best = minimize(
        lambda z: -mean_score(np.exp(z) / np.exp(z).sum(), log_scores), np.zeros(n_chains), method="Nelder-Mead"
    )
    assert mean_score(weights, log_scores) >= -best.fun - 1e-4
    np.testing.assert_allclose(stack(log_scores - 700.0), weights, atol=1e-6)  # none of them underflows


def test_a_chain_that_knows_less_has_less_weight():
    terms = np.log(np.clip(rng.beta(8, 2, size=(3, 60, 40)), 1e-6, 1.0))
    terms[2] = np.log(np.clip(rng.beta(2, 8, size=(60, 40)), 1e-6, 1.0))
    weights = chain_weights(xr.DataArray(terms, dims=("chain", "draw", "observation")))
    assert weights[2] < 0.01
    assert weights.sum() == pytest.approx(1.0)


def test_ties_of_spike_counts_are_weighed_too():
    terms = xr.DataArray(np.full((2, 40, 5), -0.5), dims=("chain", "draw", "observation"))
    np.testing.assert_allclose(chain_weights(terms), [0.5, 0.5])


@pytest.fixture
def unmixed():
    """Two chains apart: the first one has learned the labels, the second their opposite."""
    result = hand_made_fit(SigmoidChip(), X, Y, chains=2, draws=FEWEST_DRAWS)
    weights = result.posterior["posterior/w_1"].values
    weights[:] = 3.0 * np.array([-1.0, 1.0]) + 0.2 * rng.normal(size=weights.shape)
    weights[1] *= -1.0
    terms = result.posterior["log_likelihood/label"].values
    for place in np.ndindex(2, FEWEST_DRAWS):
        counts = result.chip.run([weights[place]], X)
        p = np.exp(0.5 * counts)
        terms[place] = np.log(p[np.arange(len(Y)), Y] / p.sum(axis=1))
    return result


def test_the_better_chain_decides_and_the_chip_is_shown_no_more(unmixed):
    assert unmixed.estimates == (*ESTIMATES, "stacked")
    assert unmixed.chain_weights[0] > 0.99
    chip = CountingChip(unmixed.chip)
    unmixed.chip = chip
    unmixed.predict(NEW, "ensemble")
    shown = chip.shown
    stacked = unmixed.predict(NEW, "stacked")
    assert chip.shown == shown
    each = run_draws(unmixed.chip, unmixed.draws, range(2 * FEWEST_DRAWS), NEW)
    of_chains = each.reshape(2, FEWEST_DRAWS, *each.shape[1:]).mean(axis=1)
    np.testing.assert_allclose(stacked, np.tensordot(unmixed.chain_weights, of_chains, 1))
    scores = unmixed.evaluate(X, Y)
    assert scores["stacked"]["accuracy"] > scores["ensemble"]["accuracy"]
    np.testing.assert_allclose(unmixed.predict(NEW, "stacked", size=1).sum(axis=1), 1.0)


def test_it_is_many_sets_of_weights(unmixed):
    with pytest.raises(InputError, match="An ensemble is many sets of weights"):
        unmixed.weights("stacked")


def test_chains_that_have_mixed_are_not_weighed_and_short_ones_cannot_be():
    assert hand_made_fit(SigmoidChip(), X, Y, chains=2, draws=200).estimates == ESTIMATES
    short = hand_made_fit(SigmoidChip(), X, Y, chains=2, draws=5)
    assert short.estimates == ESTIMATES
    with pytest.raises(InputError, match="have 5 draws, but to weigh them takes 25"):
        short.predict(NEW, "stacked")
