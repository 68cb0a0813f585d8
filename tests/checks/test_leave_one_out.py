"""LOO agrees with the exact one where that is known, copes with tied spike counts, and says when not to believe it."""

from __future__ import annotations

import dataclasses
import warnings

import arviz as az
import numpy as np
import pytest
from scipy import stats

from bayes_snn import fit
from bayes_snn.checks.leave_one_out import LooWarning, compare, loo, n_high, n_tied, pointwise_loo, reliability
from bayes_snn.errors import InputError
from bayes_snn.likelihood import log_likelihood
from tests.helpers.fits import hand_made_fit
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

DRAWS = {"chains": 2, "draws": 60}


def with_terms(terms, **options):
    """A fit whose log-likelihood terms are these, (chain, draw, observation)."""
    result = hand_made_fit(SigmoidChip(), INPUTS, LABELS, terms.shape[0], terms.shape[1], **options)
    result.posterior["log_likelihood/label"].values[:] = terms
    return result


def smooth(shift=0.0, seed=0):
    """Terms whose importance weights are bounded, so that every Pareto k is low."""
    return -shift - np.random.default_rng(seed).uniform(0.0, 0.3, (2, 60, len(LABELS)))


def heavy():
    """Terms whose importance weights are Pareto distributed with k = 4: they have no mean."""
    return -np.random.default_rng(0).gamma(1.0, 4.0, (2, 60, len(LABELS)))


def quiet(function, *arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LooWarning)
        return function(*arguments)


def exact_loo(reach=8.0, n=401):
    """log p(y_i | all others) of SigmoidChip under Normal(0, 1) weights, by a sum over a grid of both weights."""
    grid = np.linspace(-reach, reach, n)
    a, b = np.meshgrid(grid, grid, indexing="ij")
    counts = np.rint(12 / (1.0 + np.exp(-INPUTS[:, 0] * grid[:, None])))  # of one weight, (n, n_samples)
    log_p = np.empty((len(LABELS), n, n))
    for i, label in enumerate(LABELS):
        pairs = np.stack(np.broadcast_arrays(counts[:, None, i], counts[None, :, i]), axis=-1).reshape(-1, 2)
        log_p[i] = log_likelihood(pairs.astype(np.int64), np.full(len(pairs), label), 0.5).reshape(n, n)
    prior = stats.norm.logpdf(a) + stats.norm.logpdf(b)
    total = log_p.sum(axis=0) + prior
    return np.array([np.log(np.exp(total).sum()) - np.log(np.exp(total - log_p[i]).sum()) for i in range(len(LABELS))])


def test_it_is_the_exact_one_where_that_is_known():
    options = {"draws": 1500, "tune": 200, "chains": 4, "cores": 1, "seed": 1, "sampler": "sitewise"}
    result = fit(SigmoidChip(), INPUTS, LABELS, "standard_normal", **options)
    found, exact = loo(result), exact_loo()
    # 1 / p of the posterior, whose mean LOO estimates, and its Monte Carlo error
    ratios = np.exp(-result.posterior["log_likelihood/label"]).to_dataset(name="r")
    error = az.mcse(ratios)["r"].values / ratios["r"].mean(("chain", "draw")).values
    z = (found.elpd_i.values - exact) / error
    assert np.abs(z).max() < 4.5  # smoothing adds a bias that is far below the error
    assert n_high(found) == 0
    # in-sample terms are higher by far more than that: the test can tell LOO from no LOO
    terms = np.exp(result.posterior["log_likelihood/label"]).mean(("chain", "draw")).values
    assert np.abs((np.log(terms) - exact) / error).max() > 6


def test_a_sample_that_does_not_count_is_left_out_already():
    result = with_terms(smooth())
    counted = np.array([1.0, 0.0, 1.0, 2.0, 1.0, 1.0])
    result.posterior["constant_data"].dataset = result.posterior["constant_data"].dataset.assign(
        sample_weight=("observation", counted)
    )
    found = pointwise_loo(result)
    p = np.exp(result.posterior["log_likelihood/label"]).mean(("chain", "draw")).values
    plain = pointwise_loo(with_terms(smooth()))
    assert found.elpd_i.values[1] == pytest.approx(np.log(p[1]), rel=1e-12)
    assert found.elpd_i.values[3] < plain.elpd_i.values[3]  # to leave it out takes away more
    np.testing.assert_allclose(found.elpd_i.values[[0, 2, 4, 5]], plain.elpd_i.values[[0, 2, 4, 5]], rtol=1e-12)


def test_without_ties_it_is_that_of_arviz():
    result = with_terms(smooth())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = az.loo(result.posterior, pointwise=True, var_name="label")
    found = pointwise_loo(result)
    assert found.elpd == pytest.approx(expected.elpd, rel=1e-12)
    assert found.se == pytest.approx(expected.se, rel=1e-12)
    np.testing.assert_allclose(found.pareto_k.values, expected.pareto_k.values, rtol=1e-12)


def test_tied_tails_keep_plain_weights_and_are_said():
    terms = smooth()
    terms[:, :, 2] = np.where(np.arange(60) % 2, -0.1, -2.0)  # the largest weights of sample 2 are all e^2
    result = with_terms(terms)
    with pytest.raises(ValueError, match="tail values are the same"):  # else there would be nothing to do
        az.loo(result.posterior, var_name="label")
    found = pointwise_loo(result)
    plain = -np.log(np.exp(-terms[:, :, 2]).mean())  # 1 / mean of 1 / p
    assert found.elpd_i.values[2] == pytest.approx(plain, rel=1e-12)
    assert np.isnan(found.pareto_k.values).tolist() == [i == 2 for i in range(len(LABELS))]
    assert n_tied(found) == 1
    assert "1 have no Pareto k" in reliability(found, result)
    assert pointwise_loo(with_terms(smooth())).elpd_i.values[1] == pytest.approx(found.elpd_i.values[1], rel=1e-12)


def test_a_sample_that_never_varies_is_no_trouble():
    terms = smooth()
    terms[:, :, 0] = -0.25
    found = pointwise_loo(with_terms(terms))
    assert found.elpd_i.values[0] == pytest.approx(-0.25, rel=1e-12)


def test_a_heavy_tail_is_said():
    result = with_terms(heavy())
    found = pointwise_loo(result)
    assert n_high(found) > 0
    with pytest.warns(LooWarning, match=rf"above {found.good_k:.2f} for {n_high(found)} of 6 training samples"):
        loo(result)
    assert "trust scores of test samples first" in reliability(found, result)


def test_chains_that_have_not_mixed_are_said():
    terms = smooth()
    terms[1] -= 3.0
    with pytest.warns(LooWarning, match="chains have not mixed in their predictions"):
        loo(with_terms(terms))


def test_compare_orders_fits_and_counts_what_is_not_to_be_believed():
    fits = {"worse": with_terms(smooth(1.0)), "better": with_terms(smooth(0.0, seed=1))}
    table = quiet(compare, fits)
    assert list(table.index) == ["better", "worse"]
    expected = quiet(loo, fits["worse"]).elpd - quiet(loo, fits["better"]).elpd
    assert table.loc["worse", "elpd_diff"] == pytest.approx(expected, rel=1e-9)
    assert table.loc["better", "weight"] == pytest.approx(1.0, abs=1e-6)
    assert {"k_high", "k_tied", "mixed"} <= set(table.columns)
    fits["heavy"] = with_terms(heavy())
    with pytest.warns(LooWarning, match="not ranked"), pytest.warns(LooWarning, match="relied on for .*heavy"):
        table = compare(fits)
    assert table.loc["heavy", "k_high"] > 0
    assert table.loc["better", "k_high"] == 0


def test_arviz_takes_what_loo_returns():
    first, second = (quiet(loo, with_terms(smooth(shift))) for shift in (0.0, 1.0))
    assert list(az.compare({"a": first, "b": second}).index) == ["a", "b"]


def thinned(result, step):
    """Every step-th draw of a fit: the same posterior, with fewer draws."""
    fewer = result.posterior.isel(draw=slice(None, None, step))
    return dataclasses.replace(result, posterior=fewer)


def test_a_posterior_is_not_ranked_against_its_own_draws():
    terms = -np.random.default_rng(0).gamma(1.0, 4.0, (2, 500, len(LABELS)))
    all_draws = with_terms(terms)
    fits = {"all draws": all_draws, "every fifth": thinned(all_draws, 5)}
    assert all(n_high(pointwise_loo(each)) == len(LABELS) for each in fits.values())
    with pytest.warns(LooWarning, match="No fit is ranked, for Pareto k .* 100% of the training samples"):
        table = quiet_but_ranking(fits)
    assert table[["rank", "elpd_diff", "dse", "p_worse", "weight"]].isna().all(axis=None)
    for name, each in fits.items():
        assert table.loc[name, "elpd"] == pytest.approx(pointwise_loo(each).elpd, rel=1e-12)


def test_draws_whose_k_is_low_are_ranked_and_not_against_themselves():
    """Where LOO can be relied on, thinned draws are as good as all, and another posterior is ranked below both."""
    terms = -np.random.default_rng(0).uniform(0.0, 0.3, (2, 500, len(LABELS)))
    all_draws = with_terms(terms)
    table = quiet(compare, {"all": all_draws, "fifth": thinned(all_draws, 5), "worse": with_terms(terms - 1.0)})
    assert table["rank"].tolist() == [0, 1, 2]
    assert table.index[2] == "worse"
    assert table.loc["worse", "elpd_diff"] < -5.9  # 1 nat for each of 6 samples
    # a Monte Carlo error of 0.3 / sqrt(12 n) for each sample
    assert abs(table["elpd_diff"].iloc[1]) < 5 * 0.3 * np.sqrt(len(LABELS) / 12 / 200)


def test_what_cannot_be_ranked_comes_last():
    fits = {"heavy": with_terms(heavy()), "a": with_terms(smooth()), "b": with_terms(smooth(1.0))}
    with pytest.warns(LooWarning, match="^heavy: not ranked, for Pareto k"):
        table = quiet_but_ranking(fits)
    assert table.index.tolist() == ["a", "b", "heavy"]
    assert table["rank"].tolist()[:2] == [0, 1]
    assert table.loc["heavy", ["rank", "elpd_diff", "weight"]].isna().all()
    assert table.loc["b", "elpd_diff"] == pytest.approx(-6.0, abs=0.5)


def quiet_but_ranking(fits):
    """`compare` without its other warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LOO cannot be relied on", LooWarning)
        return compare(fits)


@pytest.mark.parametrize("fits", [{}, [], None])
def test_nothing_to_compare(fits):
    with pytest.raises(InputError, match="fits by name are expected"):
        compare(fits)


def test_other_samples_and_too_few_draws_are_refused():
    other = hand_made_fit(SigmoidChip(), INPUTS, 1 - LABELS, **DRAWS)
    with pytest.raises(InputError, match="those of b are not those of a"):
        compare({"a": with_terms(smooth()), "b": other})
    with pytest.raises(InputError, match="has 20 draws, but LOO needs at least 25"):
        loo(hand_made_fit(SigmoidChip(), INPUTS, LABELS))
