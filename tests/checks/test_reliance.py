"""Feature reliance: on a chip that can only use one feature, by hand, and weights against a prior that is known."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
from scipy import stats

from bayes_snn.checks.reliance import feature_reliance, weight_signal
from bayes_snn.errors import InputError
from bayes_snn.estimates.metrics import accuracy, log_score
from bayes_snn.estimates.predict import probabilities
from bayes_snn.inference.fit import fit
from tests.helpers.fits import CountingChip, hand_made_fit
from tests.helpers.unit_scales import unit_spec

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(60, 4))
LABELS = (INPUTS[:, 2] > 0).astype(int)


class FirstNeuronChip:
    """Two output neurons that count up with their currents, 4 inputs; `deaf` inputs are not connected."""

    def __init__(self, deaf=()):
        self.spec = unit_spec((4, 2), 12)
        self.connected = np.array([float(i not in deaf) for i in range(4)])

    def run(self, weights, inputs):
        current = (np.asarray(inputs) * self.connected) @ weights[0].clip(*self.spec.weight_range)
        return np.rint(12 / (1 + np.exp(-current))).astype(np.int64)


def fit_with(weights, chip=None, draws=20):
    """A hand-made fit whose draws are these weights, (2, draws, 4, 2) or what broadcasts to it."""
    result = hand_made_fit(chip or FirstNeuronChip(), INPUTS, LABELS, draws=draws)
    result.posterior["posterior/w_1"][:] = weights
    return result


def one_feature(feature, strength=2.0):
    weights = np.zeros((4, 2))
    weights[feature] = [-strength, strength]
    return weights


@pytest.fixture(scope="module")
def trained():
    """A real fit, with names: only `third` tells the classes apart."""
    return fit(
        FirstNeuronChip(),
        INPUTS,
        LABELS,
        draws=100,
        tune=100,
        chains=2,
        cores=1,
        feature_names=["first", "second", "third", "fourth"],
        class_names=["no", "yes"],
        sampler="sitewise",
    )


# shuffling


def test_the_feature_that_the_chip_uses_is_found_and_no_other():
    for feature in range(4):
        labels = (INPUTS[:, feature] > 0).astype(int)
        found = feature_reliance(fit_with(one_feature(feature)), INPUTS, labels, n_repeats=10)
        others = [i for i in range(4) if i != feature]
        assert (found["accuracy_drop"][others] == 0).all()
        assert (found["log_score_drop"][others] == 0).all()
        # a shuffled feature leaves a coin
        assert 0.3 < found["accuracy_drop"][feature] < 0.7
        assert found["accuracy_drop_low"][feature] > 0.2
        assert found["log_score_drop_low"][feature] > 0


def test_one_shuffle_by_hand():
    result = hand_made_fit(FirstNeuronChip(), INPUTS, LABELS, chains=1, draws=3)
    found = feature_reliance(result, INPUTS, LABELS, n_repeats=1, seed=5)
    rng = np.random.default_rng(5)
    rng.integers(3, size=2000)
    rng.dirichlet(np.ones(60), size=2000)
    for feature in range(4):
        shuffled = INPUTS.copy()
        shuffled[:, feature] = rng.permutation(INPUTS[:, feature])
        pairs = [
            (probabilities(result.chip, result.draws[k], INPUTS), probabilities(result.chip, result.draws[k], shuffled))
            for k in range(3)
        ]
        for name, score in (("accuracy_drop", accuracy), ("log_score_drop", log_score)):
            expected = np.mean([score(before, LABELS) - score(after, LABELS) for before, after in pairs])
            assert float(found[name][feature]) == pytest.approx(expected, abs=1e-12)
            before, after = (np.mean(side, axis=0) for side in zip(*pairs, strict=True))
            expected = score(before, LABELS) - score(after, LABELS)
            assert float(found[f"ensemble_{name}"][feature]) == pytest.approx(expected, abs=1e-12)
            for of in (name, f"ensemble_{name}"):
                assert found[f"{of}_low"][feature] < found[f"{of}_high"][feature]


def test_labels_that_the_inputs_do_not_tell_make_no_feature_reliable():
    """Negative control: a chip that uses a feature, labels that do not. Intervals of 90% miss 0 in about a tenth."""
    result = fit_with(one_feature(2, strength=0.5))
    missed = []
    for seed in range(150):
        labels = np.random.default_rng([seed, 1]).integers(2, size=60)
        found = feature_reliance(result, INPUTS, labels, n_repeats=3, size=1, seed=seed)
        missed.append(found["log_score_drop_low"][2] > 0 or found["log_score_drop_high"][2] < 0)
    # a bootstrap of 60 samples is a little too narrow; limits leave a chance of error of 1e-4 on either side
    assert stats.binom.ppf(1e-4, 150, 0.1) <= sum(missed) <= stats.binom.isf(1e-4, 150, 0.15)


def test_draws_that_rely_on_different_features_widen_the_intervals():
    each = np.stack([one_feature(k % 4) for k in range(20)])
    labels = (INPUTS.sum(axis=1) > 0).astype(int)
    found = feature_reliance(fit_with(each), INPUTS, labels)
    assert (found["log_score_drop_low"] <= 0).all()  # three of four draws do not use it
    assert (found["log_score_drop"] > 0).all()
    assert (found["log_score_drop_high"] > 2 * found["log_score_drop"]).all()
    # the ensemble is one predictor, which uses them all
    width, of_ensemble = (
        found[f"{name}_high"] - found[f"{name}_low"] for name in ("log_score_drop", "ensemble_log_score_drop")
    )
    assert (of_ensemble < width / 2).all()


def test_a_feature_that_is_not_connected_has_weights_but_no_use():
    rng = np.random.default_rng(0)
    weights = one_feature(2) + rng.normal(size=(2, 20, 4, 2)) * np.array([3.0, 0.1, 0.1, 0.1])[:, None]
    found = feature_reliance(fit_with(weights, FirstNeuronChip(deaf=[0])), INPUTS, LABELS)
    assert found["log_score_drop"][0] == found["log_score_drop_high"][0] == 0
    assert int(found["log_score_drop"].argmax("feature")) == 2


def test_what_reliance_costs_and_leaves_alone():
    chip = CountingChip(FirstNeuronChip())
    result = hand_made_fit(chip, INPUTS, LABELS)
    runs, inputs = chip.runs, INPUTS.copy()
    once = feature_reliance(result, inputs, LABELS, n_repeats=3, size=7)
    assert chip.runs - runs == 7 * (1 + 4 * 3)
    np.testing.assert_array_equal(inputs, INPUTS)
    again = feature_reliance(result, inputs, LABELS, n_repeats=3, size=7)
    assert again.identical(once)
    wide = feature_reliance(result, inputs, LABELS, n_repeats=3, size=7, level=0.99)
    assert (wide["log_score_drop_low"] <= once["log_score_drop_low"]).all()


def test_a_trained_chip_relies_on_the_feature_that_tells(trained):
    found = feature_reliance(trained, INPUTS, LABELS)
    assert found["feature"].values.tolist() == ["first", "second", "third", "fourth"]
    assert float(found["accuracy_drop_low"].sel(feature="third")) > 0.1
    others = found["accuracy_drop"].drop_sel(feature="third")
    assert float(others.max()) < float(found["accuracy_drop"].sel(feature="third")) / 3
    signal = weight_signal(trained)
    assert signal["neuron"].values.tolist() == ["no", "yes"]
    # both outputs weigh that feature, with opposite signs
    third = signal.sel(feature="third")
    assert float(third["mean"].sel(neuron="no")) < 0 < float(third["mean"].sel(neuron="yes"))
    assert float(signal["signal"].sel(feature="third").min()) > float(signal["signal"].drop_sel(feature="third").max())


# weights


def test_weight_signal_by_hand():
    result = hand_made_fit(FirstNeuronChip(), INPUTS, LABELS, chains=3, draws=30)
    result.posterior["posterior/w_1"][:] = 2.5 * result.posterior["posterior/w_1"] + 1.0
    found = weight_signal(result, n_prior=20_000)
    draws = result.draws.weights[0].clip(-4, 4)
    assert (result.draws.weights[0] != draws).any()
    np.testing.assert_allclose(found["mean"], draws.mean(axis=0))
    np.testing.assert_allclose(found["magnitude"], np.abs(draws).mean(axis=0))
    np.testing.assert_allclose(found["signal"], np.abs(draws.mean(axis=0)) / draws.std(axis=0))
    norms = np.sqrt((draws**2).mean(axis=2))
    np.testing.assert_allclose(found["norm"], norms.mean(axis=0))
    np.testing.assert_allclose(found["norm_high"], np.quantile(norms, 0.95, axis=0))
    # prior Normal(0, 1), which a range of (-4, 4) hardly touches: two standard normals have a mean norm of sqrt(pi)/2
    np.testing.assert_allclose(found["shrinkage"], draws.std(axis=0), rtol=5 / np.sqrt(2 * 20_000))
    np.testing.assert_allclose(found["prior_norm"], np.sqrt(np.pi) / 2, atol=5 * 0.47 / np.sqrt(20_000))
    assert found["feature"].values.tolist() == [0, 1, 2, 3]


def test_a_posterior_that_is_the_prior_shows_no_signal():
    """Negative control: draws from the prior."""
    found = weight_signal(hand_made_fit(FirstNeuronChip(), INPUTS, LABELS, chains=4, draws=500))
    spread = 5 * np.sqrt(1 / (2 * 2000) + 1 / (2 * 1000))
    assert (np.abs(found["shrinkage"] - 1) < spread).all()
    assert (found["signal"] < 5 / np.sqrt(2000)).all()
    assert ((found["norm_low"] < found["prior_norm"]) & (found["prior_norm"] < found["norm_high"])).all()


def test_neurons_that_swap_signs_hide_from_the_mean_but_not_from_the_norm():
    flips = np.where(np.arange(20) % 2, 1.0, -1.0)[:, None, None]
    found = weight_signal(fit_with(one_feature(2) * flips))
    assert (found["signal"][2] == 0).all()
    assert found["norm"][2] == 2.0
    assert (found["norm"][[0, 1, 3]] == 0).all()


def test_priors_without_moments_and_priors_that_are_functions():
    def cauchy(chip):
        return [pm.Cauchy("w_1", 0.0, 1.0, dims=("pre_1", "post_1"))]

    found = weight_signal(hand_made_fit(FirstNeuronChip(), INPUTS, LABELS), cauchy, n_prior=5000)
    saturated = np.clip(stats.cauchy.ppf((np.arange(10**5) + 0.5) / 10**5), -4, 4)
    np.testing.assert_allclose(found["sd"] / found["shrinkage"], saturated.std(), rtol=0.05)
    forgotten = hand_made_fit(FirstNeuronChip(), INPUTS, LABELS)
    forgotten.arguments["model"] = "__main__"
    with pytest.raises(InputError, match=r"pass weights=\. Unknown prior '__main__'"):
        weight_signal(forgotten)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda r: feature_reliance(r, INPUTS[:, :2], LABELS), "have shape"),
        (lambda r: feature_reliance(r, INPUTS, LABELS[:5]), "labels have shape"),
        (lambda r: feature_reliance(r, INPUTS, LABELS, n_repeats=0), "n_repeats was 0"),
        (lambda r: feature_reliance(r, INPUTS, LABELS, size=0), "size was 0"),
        (lambda r: feature_reliance(r, INPUTS, LABELS, level=1), "level was 1"),
        (lambda r: weight_signal(r, n_prior=1), "n_prior was 1"),
        (lambda r: weight_signal(r, level=0), "level was 0"),
        (lambda r: weight_signal(r, "gausian"), "did you mean 'gaussian'"),
    ],
)
def test_wrong_arguments_are_refused(call, says):
    with pytest.raises(InputError) as error:
        call(hand_made_fit(FirstNeuronChip(), INPUTS, LABELS))
    assert says in str(error.value)
    assert "\n" not in str(error.value)
