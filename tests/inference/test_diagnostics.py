"""Verdicts on chains whose faults are known because they were built in."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from bayes_snn.inference.diagnostics import (
    ESS_PER_CHAIN,
    R_HAT_LIMIT,
    Diagnosis,
    Space,
    diagnose,
    shown_ess,
    shown_r_hat,
)

CHAINS, DRAWS = 4, 500


def posterior(w):
    """Weights (chain, draw, pre, post) as a dataset."""
    return xr.Dataset({"w_1": (("chain", "draw", "pre_1", "post_1"), w)})


def likelihood(terms):
    return xr.DataArray(terms, dims=("chain", "draw", "observation"))


def mixed(seed, chains=CHAINS, draws=DRAWS, n_samples=30):
    """Independent draws of 3 x 4 weights and of the log-likelihood of each sample."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(chains, draws, 3, 4)), -rng.gamma(2.0, size=(chains, draws, n_samples))


def verdict(w, terms):
    """The diagnosis of chains, in a sentence without holes that can be written to JSON."""
    diagnosis = diagnose(posterior(w), likelihood(terms))
    assert "nan" not in diagnosis.verdict
    assert diagnosis.verdict.endswith(".")
    assert "\n" not in diagnosis.verdict
    assert json.loads(json.dumps(diagnosis.as_dict()))["verdict"] == diagnosis.verdict
    return diagnosis


# R-hat of 500 independent draws is 1.00 with a standard deviation of 0.002, their ESS 2,000 with one of 100: the
# limits 1.05 and 200 are far from both, whatever the seed
@pytest.mark.parametrize("seed", range(5))
def test_well_mixed(seed):
    diagnosis = verdict(*mixed(seed))
    assert diagnosis.verdict.startswith("Weights and predictions have mixed.")
    assert diagnosis.converged
    assert diagnosis.weights_converged
    assert (diagnosis.n_chains, diagnosis.n_draws) == (CHAINS, DRAWS)
    assert (diagnosis.weights.n, diagnosis.function.n, diagnosis.log_likelihood.n) == (12, 30, 1)
    for space in (diagnosis.weights, diagnosis.function, diagnosis.log_likelihood):
        assert 0.99 < space.r_hat < R_HAT_LIMIT
        assert space.ess > 1000
        assert space.share_r_hat_above == 0


def test_hidden_neurons_that_swapped_roles():
    w, terms = mixed(1)
    w[..., 0] += 4.0
    w[2:] = w[2:, :, :, ::-1]  # two chains number their neurons the other way round
    diagnosis = verdict(w, terms)
    assert diagnosis.verdict.startswith("The weights have not mixed, the predictions have: use the ensemble")
    assert diagnosis.converged
    assert not diagnosis.weights_converged
    assert diagnosis.weights.r_hat > 1.5
    assert diagnosis.weights.share_r_hat_above == 0.5  # the first and the last of four columns
    assert diagnosis.function.r_hat < R_HAT_LIMIT


def test_nothing_mixed():
    w, terms = mixed(2)
    w += 3.0 * np.arange(CHAINS)[:, None, None, None]
    terms -= 3.0 * np.arange(CHAINS)[:, None, None]
    diagnosis = verdict(w, terms)
    assert diagnosis.verdict.startswith("The chains have not mixed, neither in the weights nor in the predictions")
    assert not diagnosis.converged
    assert not diagnosis.weights_converged
    assert diagnosis.function.share_r_hat_above == 1


def test_one_chain_that_fits_worse():
    # its weights look like the others'
    w, terms = mixed(3)
    terms[0] -= 5.0
    diagnosis = verdict(w, terms)
    assert diagnosis.verdict.startswith("The chains have not mixed")
    assert not diagnosis.converged
    assert diagnosis.weights_converged


def test_small_differences_that_add_up():
    # no label's probability gives the chains away, but their sum does: 0.1 standard deviations in each of 400
    rng = np.random.default_rng(15)
    terms = rng.normal(-5.0, 1.0, size=(CHAINS, DRAWS, 400)) + 0.1 * np.arange(CHAINS)[:, None, None] / 3
    diagnosis = verdict(mixed(15)[0], terms)
    assert diagnosis.function.r_hat < R_HAT_LIMIT < diagnosis.log_likelihood.r_hat
    assert diagnosis.verdict.startswith("The chains have not mixed")
    assert not diagnosis.converged


def test_a_chain_that_drifts():
    # all chains agree, but their halves do not: split R-hat
    w, terms = mixed(4)
    drift = np.linspace(0, 6, DRAWS)[:, None]
    diagnosis = verdict(w + drift[..., None], terms - drift)
    assert not diagnosis.converged
    assert not diagnosis.weights_converged


def test_chains_that_agree_but_hardly_move():
    # the same 12 values in each half of each chain, each for 20 draws in a row: R-hat sees no difference
    rng = np.random.default_rng(5)
    values = rng.normal(size=(12, 42))

    def chain():
        return np.concatenate([np.repeat(rng.permutation(values), 20, axis=0) for _ in range(2)])

    chains = np.array([chain() for _ in range(CHAINS)])
    diagnosis = verdict(chains[..., :12].reshape(CHAINS, -1, 3, 4), -np.exp(chains[..., 12:]))
    assert diagnosis.verdict.startswith("The chains agree, but their draws are too correlated for error bars")
    assert diagnosis.function.r_hat <= R_HAT_LIMIT
    assert diagnosis.function.ess < ESS_PER_CHAIN * CHAINS
    assert not diagnosis.converged


@pytest.mark.parametrize("draws", [4, 5, 100])
def test_a_single_chain(draws):
    diagnosis = verdict(*mixed(6, chains=1, draws=draws))
    assert diagnosis.verdict.startswith(f"A single chain of {draws} draws cannot be checked")
    assert not diagnosis.converged
    assert not diagnosis.weights_converged
    assert np.isnan(diagnosis.weights.r_hat)
    assert diagnosis.weights.ess > 0


@pytest.mark.parametrize("chains", [1, 2, 4])
@pytest.mark.parametrize("draws", [1, 2, 3])
def test_too_few_draws(chains, draws):
    diagnosis = verdict(*mixed(7, chains, draws))
    assert diagnosis.verdict.startswith(f"{draws} draws are too few to tell anything")
    assert not diagnosis.converged
    assert not diagnosis.weights_converged


@pytest.mark.parametrize("draws", [4, 5, 6, 9])
def test_few_draws_are_never_called_mixed(draws):
    for seed in range(5):
        diagnosis = verdict(*mixed(seed, draws=draws))
        assert not diagnosis.converged
        assert not diagnosis.weights_converged


def test_saturated_probabilities():
    # probability 1 in every draw of every chain: neither R-hat nor ESS exist, and there is nothing to mix
    w, terms = mixed(8)
    terms[..., ::2] = 0.0
    w[:, :, 0, 0] = 4.0
    diagnosis = verdict(w, terms)
    assert diagnosis.verdict.startswith("Weights and predictions have mixed.")
    assert (diagnosis.weights.n, diagnosis.function.n) == (11, 15)
    terms[:] = 0.0
    diagnosis = verdict(w, terms)
    assert diagnosis.converged
    assert (diagnosis.function.n, diagnosis.log_likelihood.n) == (0, 0)
    assert diagnosis.function.r_hat == 1
    assert diagnosis.function.ess == CHAINS * DRAWS
    alone = verdict(w[:1], terms[:1])
    assert np.isnan(alone.function.r_hat)  # of one chain there is none, saturated or not


def test_probabilities_saturated_in_each_chain_at_another_value():
    w, terms = mixed(9)
    w[:] = np.arange(CHAINS)[:, None, None, None]
    terms[:] = -np.arange(CHAINS)[:, None, None]
    diagnosis = verdict(w, terms)
    assert not diagnosis.converged
    assert not diagnosis.weights_converged
    assert diagnosis.verdict.startswith("The chains have not mixed")
    assert "R-hat of the predictions above 100" in diagnosis.verdict


def test_one_stuck_chain_among_moving_ones():
    w, terms = mixed(10)
    w[0], terms[0] = w[0, 0], terms[0, 0]
    diagnosis = verdict(w, terms)
    assert not diagnosis.converged


@pytest.mark.parametrize("n", [2, 6, 20])
def test_of_a_few_quantities_the_worst_counts(n):
    # one in many may be unlucky, one in a few may not
    rng = np.random.default_rng(11)
    w, terms = rng.normal(size=(CHAINS, DRAWS, 1, n)), mixed(11)[1]
    w[..., 0] += 3.0 * np.arange(CHAINS)[:, None, None]
    diagnosis = verdict(w, terms)
    assert not diagnosis.weights_converged
    assert diagnosis.weights.r_hat > 1.5
    assert diagnosis.weights.share_r_hat_above == pytest.approx(1 / n)


def test_of_many_quantities_one_may_be_unlucky():
    rng = np.random.default_rng(12)
    w, terms = rng.normal(size=(CHAINS, DRAWS, 1, 100)), mixed(12)[1]
    w[..., 0] += 3.0 * np.arange(CHAINS)[:, None, None]
    assert verdict(w, terms).weights_converged
    w[..., :10] += 3.0 * np.arange(CHAINS)[:, None, None, None]
    assert not verdict(w, terms).weights_converged


def test_several_layers_are_looked_at_together():
    w, terms = mixed(13)
    layers = xr.Dataset(
        {
            "w_1": (("chain", "draw", "pre_1", "post_1"), w),
            "w_2": (("chain", "draw", "pre_2", "post_2"), w[:, :, :, :2] + np.arange(CHAINS)[:, None, None, None] * 3),
        }
    )
    diagnosis = diagnose(layers, likelihood(terms))
    assert diagnosis.weights.n == 12 + 6
    assert diagnosis.weights.share_r_hat_above == pytest.approx(6 / 18)
    # the order of dims is of no consequence
    assert diagnose(layers.transpose("pre_1", "post_2", "draw", "post_1", "pre_2", "chain"), likelihood(terms)) == (
        diagnosis
    )


def test_many_samples_are_thinned():
    w, terms = mixed(14, draws=50, n_samples=1000)
    diagnosis = verdict(w, terms)
    assert 100 <= diagnosis.function.n < 200


def test_output_neurons_that_never_vary_are_told():
    w, terms = mixed(15)
    constant = np.zeros((CHAINS, DRAWS, 2), bool)
    constant[:, : DRAWS // 4] = True  # for a while only
    constant[[0, 3], : DRAWS // 2 + 1, 1] = True
    array = xr.DataArray(constant, {"post_2": ["benign", "malignant"]}, ("chain", "draw", "post_2"))
    diagnosis = diagnose(posterior(w), likelihood(terms), constant=array)
    assert diagnosis.constant_outputs == {"malignant": 2}
    assert "'malignant' in 2 of 4 chains" in diagnosis.verdict
    assert "'benign'" not in diagnosis.verdict
    assert diagnosis.verdict.endswith(".")
    assert diagnosis.converged  # chains may well agree on that
    assert json.loads(json.dumps(diagnosis.as_dict()))["constant_outputs"] == {"malignant": 2}
    assert "bias" not in diagnosis.verdict
    without = diagnose(posterior(w), likelihood(terms), constant=array, has_bias=False)
    assert "a bias may reach it, which this chip has none of" in without.verdict
    fine = diagnose(posterior(w), likelihood(terms), constant=array.isel(chain=[1, 2]))
    assert fine == diagnose(posterior(w), likelihood(terms))


def test_divergences_are_told_chain_by_chain_and_no_chain_with_any_has_converged():
    w, terms = mixed(16)
    diverging = np.zeros((CHAINS, DRAWS), bool)
    fine = diagnose(posterior(w), likelihood(terms), diverging=xr.DataArray(diverging, dims=("chain", "draw")))
    assert fine.converged
    assert fine.divergences == [0, 0, 0, 0]
    assert fine.verdict == diagnose(posterior(w), likelihood(terms)).verdict
    diverging[0, :10], diverging[3, 7] = True, True
    diagnosis = diagnose(posterior(w), likelihood(terms), diverging=xr.DataArray(diverging, dims=("chain", "draw")))
    assert diagnosis.divergences == [10, 0, 0, 1]
    assert diagnosis.verdict.startswith("NUTS diverged in 11 of 2,000 draws (chain by chain 10, 0, 0, 1)")
    assert "double tune" in diagnosis.verdict
    assert not diagnosis.converged
    assert not diagnosis.weights_converged
    assert json.loads(json.dumps(diagnosis.as_dict()))["divergences"] == [10, 0, 0, 1]
    # two steps of NUTS: a draw in which both diverged is one draw
    two = xr.DataArray(np.stack([diverging, diverging], axis=-1), dims=("chain", "draw", "step"))
    assert diagnose(posterior(w), likelihood(terms), diverging=two).divergences == [10, 0, 0, 1]


def test_the_verdict_says_which_criterion_failed_its_value_and_its_limit():
    w, terms = mixed(17)
    w += 3.0 * np.arange(CHAINS)[:, None, None, None]
    diagnosis = verdict(w, terms)
    r_hat, ess = shown_r_hat(diagnosis.weights.r_hat), shown_ess(diagnosis.weights.ess)
    assert diagnosis.failed == [
        f"R-hat of the weights {r_hat} (limit 1.05)",
        f"effective draws of the weights {ess} (wanted 200)",
    ]
    failed, _, met = diagnosis.verdict.partition(" Failed: ")[2].partition(" Met: ")
    assert failed == "; ".join(diagnosis.failed) + "."
    for space, label in ((diagnosis.function, "predictions"), (diagnosis.log_likelihood, "log-likelihood")):
        assert f"R-hat of the {label} {shown_r_hat(space.r_hat)} (limit 1.05)" in met
        assert f"effective draws of the {label} {shown_ess(space.ess)} (wanted 200)" in met
    assert verdict(*mixed(17)).failed == []


def test_a_verdict_on_predictions_does_not_blame_weights_that_have_mixed():
    w, terms = mixed(3)
    terms[0] -= 5.0
    diagnosis = verdict(w, terms)
    assert diagnosis.weights_converged
    assert diagnosis.verdict.startswith("The chains have not mixed in the predictions: ")
    assert not any("weights" in criterion for criterion in diagnosis.failed)


def test_hyperparameters_are_in_the_verdict():
    w, terms = mixed(18)
    scales = np.abs(np.random.default_rng(18).normal(size=(CHAINS, DRAWS))) + 0.1
    others = xr.Dataset({"scale": (("chain", "draw"), scales)})
    good = diagnose(posterior(w), likelihood(terms), hyperparameters=others)
    assert good.verdict.startswith("Weights, hyperparameters and predictions have mixed. ")
    assert good.weights_converged
    assert good.hyperparameters.n == 1
    assert json.loads(json.dumps(good.as_dict()))["hyperparameters"]["n"] == 1
    stuck = diagnose(posterior(w), likelihood(terms), hyperparameters=others + 3 * xr.DataArray(range(4), dims="chain"))
    assert stuck.verdict.startswith("The hyperparameters have not mixed, the predictions have: ")
    assert stuck.converged
    assert not stuck.weights_converged
    assert stuck.hyperparameters.r_hat > 1.5
    assert all("hyperparameters" in criterion for criterion in stuck.failed)
    assert diagnose(posterior(w), likelihood(terms), hyperparameters=xr.Dataset()).hyperparameters is None


def test_no_rounding_hides_on_which_side_of_a_limit_a_value_is():
    assert [shown_r_hat(x) for x in (1.0, 1.0499, 1.05, 1.0501, 1.0549, 1.06)] == (
        ["1.00", "1.05", "1.05", "1.0501", "1.0549", "1.06"]
    )
    assert shown_r_hat(np.inf) == shown_r_hat(1e6) == "above 100"
    assert (shown_ess(199.99), shown_ess(200.0)) == ("199", "200")


@pytest.mark.parametrize(
    ("r_hat", "ess", "expected"),
    [(1.2, 150.0, 120), (1.01, 30.0, 60 * 4), (1.01, 99.0, 120), (1.01, 0.2, 60 * 100), (1.01, 100.0, 100)],
)
def test_draws_that_may_do(r_hat, ess, expected):
    good = Space(1.0, 500.0, 0.0, 1)
    found = Diagnosis(2, 60, good, Space(r_hat, ess, 0.0, 1), good, "", r_hat < 1.05 and ess >= 100, True)
    assert found.draws_wanted == expected
