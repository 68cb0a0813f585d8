"""Calibration finds a likelihood that is not the one which made the labels, and nothing where all is well."""

from __future__ import annotations

import sys

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy import stats

from bayes_snn.checks import draw_sbc, posterior_sbc, sbc
from bayes_snn.checks.simulation_based import LIMIT, Calibration, p_of_uniform
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.inference.fit import fit
from tests.helpers.fits import CountingChip
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

pytestmark = pytest.mark.usefixtures("quickly_compiled")

MODULE = sys.modules["bayes_snn.checks.simulation_based"]
SHORT = {"draws": 120, "tune": 100}


def calibration(shares, n_draws=19, effective=100.0):
    """One of these shares (n_replicates,) of each quantity."""
    n = len(next(iter(shares.values())))
    ranks = {name: ("replicate", (each * (n_draws + 1)).astype(int)) for name, each in shares.items()}
    variables = {name: (("chain", "draw"), each[None]) for name, each in shares.items()}
    data = xr.DataTree.from_dict({"prior_sbc": xr.Dataset(variables, {"chain": [0], "draw": range(n)})})
    return Calibration(data, xr.Dataset(ranks), n_draws, np.full(n, effective), 0)


def test_p_values_are_uniform_where_ranks_are():
    rng = np.random.default_rng(0)
    found = [p_of_uniform(rng.random(50)) for _ in range(2000)]
    # within the Monte Carlo error of 2,000, and of an approximation that is one of many replicates
    for level in (0.01, 0.05, 0.5):
        assert np.mean(np.array(found) < level) == pytest.approx(level, abs=5 * (level * (1 - level) / 2000) ** 0.5)


@pytest.mark.parametrize(
    ("of_uniform", "told"),
    [
        (lambda u: u**1.8, "too high"),
        (lambda u: u ** (1 / 1.8), "too low"),
        (lambda u: stats.norm.cdf(1.8 * stats.norm.ppf(u)), "too narrow"),
        (lambda u: stats.norm.cdf(0.5 * stats.norm.ppf(u)), "too wide"),
    ],
)
def test_the_verdict_names_the_quantity_and_what_its_draws_are(of_uniform, told):
    rng = np.random.default_rng(1)
    found = calibration({"good": rng.random(200), "bad": of_uniform(rng.random(200))})
    assert found.p < LIMIT
    assert found.verdict.startswith("Ranks of 'bad' are not uniform in 200 fits")
    assert told in found.verdict
    assert str(found) == found.verdict
    assert list(found.table().index) == ["good", "bad"]


def test_too_few_effective_draws_are_told():
    shares = {"good": np.random.default_rng(3).random(100)}
    assert "fewer than" not in calibration(shares).verdict
    assert "fewer than 10 effective draws of log L, but 19 are ranked" in calibration(shares, effective=10.0).verdict


def test_a_sound_sampler_is_calibrated_and_all_that_was_shown_is_counted():
    chip = CountingChip(SigmoidChip())
    found = sbc(chip, INPUTS, "learned_readout", n=25, ranked=19, **SHORT)
    assert found.p > 0.001
    assert set(found.ranks) >= {"log L", "size of w_1", "beta", "bias 0", "bias 1"}
    assert found.ranks["log L"].shape == (25,)
    assert found.n_draws == 19
    assert chip.shown == found.presentations
    ranks = found.ranks.to_array().values
    assert ranks.min() >= 0
    assert ranks.max() <= 19


def test_a_likelihood_that_is_too_sure_is_found_out(monkeypatch):
    def too_sure(chip, inputs, labels, weights, *, beta, **options):
        return fit(chip, inputs, labels, weights, beta=4.0 * beta, **options)

    monkeypatch.setattr(MODULE, "fit", too_sure)
    assert sbc(SigmoidChip(), INPUTS, n=40, ranked=19, **SHORT).p < 1e-4


def test_it_asks_a_twin_in_the_place_of_a_chip():
    twin = LIFChip((1, 3, 2), "comparator", 1.0, n_steps=8)
    options = {"sampler": "twin", "twin": twin, "draws": 12, "n": 2, "ranked": 5}
    found = sbc(twin, INPUTS, "hierarchical", **options)
    assert set(found.ranks) >= {"log L", "size of w_1", "size of w_2", "scale_w_1", "scale_w_2"}
    again = sbc(twin, INPUTS, "hierarchical", **options)
    xr.testing.assert_equal(found.ranks, again.ranks)


def test_labels_that_were_observed_stay_and_new_ones_come_behind_them(monkeypatch):
    result = fit(SigmoidChip(), INPUTS, LABELS, sampler="sitewise", draws=300, tune=300, chains=2, cores=1)
    seen = []

    def noted(chip, inputs, labels, weights, **options):
        seen.append((inputs, labels))
        return fit(chip, inputs, labels, weights, **options)

    monkeypatch.setattr(MODULE, "fit", noted)
    found = posterior_sbc(result, n=20, ranked=19, **SHORT)
    for inputs, labels in seen:
        np.testing.assert_array_equal(inputs, np.concatenate([INPUTS, INPUTS]))
        np.testing.assert_array_equal(labels[: len(LABELS)], LABELS)
    assert len({tuple(labels[len(LABELS) :]) for _, labels in seen}) > 1
    assert list(found.data.children) == ["posterior_sbc"]
    assert found.p > 0.001


def test_the_figure_has_a_panel_for_each_quantity():
    rng = np.random.default_rng(0)
    figure = draw_sbc(calibration({name: rng.random(40) for name in ("log L", "size of w_1", "beta")}))
    titles = {axes.get_title() for axes in figure.axes}
    assert {"log L", "size of w_1", "beta"} <= titles


def test_what_cannot_be_calibrated_is_refused():
    def with_potential(chip):
        w = pm.Normal("w_1", dims=chip.spec.weight_dims[0])
        pm.Potential("more", -(w**2).sum())
        return [w]

    for changed, told in (
        ({"weights": with_potential}, "terms beside its distributions"),
        ({"n": 0}, "n was 0"),
        ({"ranked": 0}, "ranked was 0"),
    ):
        with pytest.raises(InputError) as error:
            sbc(SigmoidChip(), INPUTS, **{"weights": None, "n": 2} | changed)
        assert told in str(error.value)
        assert "\n" not in str(error.value)
