"""Distillation: one set of weights learns the ensemble's answers, without labels, at a cost that is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.estimates.distil import JITTER, MOST_DIFFERING, distil
from bayes_snn.estimates.predict import ESTIMATES, Draws
from bayes_snn.exports.npz import read_weights, write_weights
from bayes_snn.inference.estimator import BayesSNNClassifier
from bayes_snn.inference.fit import fit
from bayes_snn.inference.fit_summary import distilled_in_words
from bayes_snn.inference.load import load_fit
from bayes_snn.posterior.noisy import MCWM, NoiseChoice
from bayes_snn.samplers.sitewise import SitewiseMetropolis
from tests.helpers.fits import CountingChip, hand_made_fit
from tests.helpers.twins import twin_of

X = np.random.default_rng(0).normal(size=(30, 8))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
CHIP = LIFChip((8, 6, 2), "comparator", 1.0, 4, 20, weight_range=(-3.0, 2.5))


@pytest.fixture(scope="module")
def trained():
    return fit(CHIP, X, Y, draws=60, tune=60, chains=2, seed=0, sampler="sitewise")


@pytest.fixture
def result(trained):
    """As trained, not distilled."""
    trained.posterior = trained.posterior.copy()
    for child in set(trained.posterior.children) & {"distilled"}:
        del trained.posterior[child]
    return trained


def arguments(result, noise=NoiseChoice(), **options):  # noqa: B008
    return (result.draws, result.train_inputs, noise), {"n_inputs": 200, "sweeps": 8, "seed": 1, **options}


def share_alike(result, weights, inputs):
    """Share of inputs that these weights answer as the ensemble does."""
    alone = np.argmax(CHIP.run(weights, inputs), axis=1)
    return np.mean(alone == result.predict(inputs, "ensemble").argmax(axis=1))


def test_it_answers_new_inputs_as_the_ensemble_does(result):
    """More often than the medoid draw, and than draws do on average, on inputs that it was not shown."""
    weights = result.distil(seed=0)
    rng = np.random.default_rng(99)
    new = X[rng.integers(len(X), size=4000)] + JITTER * rng.normal(size=(4000, 8))
    single = [share_alike(result, result.draws[draw], new) for draw in range(0, len(result.draws), 7)]
    found = share_alike(result, weights, new)
    medoid = share_alike(result, result.weights("medoid"), new)
    error = (2 * medoid * (1 - medoid) / len(new)) ** 0.5
    assert found > medoid + 4 * error
    assert found > np.mean(single) + 4 * error
    assert result.posterior["distilled"].attrs["agreement"] > 0.95


def test_it_starts_at_the_member_that_answers_most_like_the_ensemble():
    """Nine draws of ten are silent and answer nothing; the start is the tenth, though the medoid is not."""
    chip, rng = LIFChip((8, 6, 2), n_steps=20), np.random.default_rng(5)
    layers = [np.zeros((10, 8, 6)), np.zeros((10, 6, 2))]
    layers[0][4], layers[1][4] = rng.normal(0.0, 2.0, (8, 6)), rng.normal(1.0, 2.0, (6, 2))
    assert (np.ptp(chip.run([layer[4] for layer in layers], X), axis=1) > 0).mean() > 0.3
    # steps that stay where they are: what comes back is the start
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SitewiseMetropolis, "step", lambda self, point: (point, []))
        draws = Draws(layers, np.zeros(10))
        found = distil(CountingChip(chip), draws, X, NoiseChoice(), n_inputs=50, sweeps=1, seed=0)
    for layer, kept in zip(layers, found.weights, strict=True):
        np.testing.assert_array_equal(np.clip(layer[4], *chip.spec.weight_range), kept)


def test_an_input_that_never_varies_stays_and_a_chip_of_given_inputs_sees_no_others(result):
    """A bias is an input as any other, but for that."""
    shown = []

    class Sensor(CountingChip):
        def run(self, weights, inputs):
            shown.append(np.array(inputs))
            return super().run(weights, inputs)

    inputs = np.column_stack([X[:, :7], np.ones(len(X))])
    for given in (False, True):
        shown.clear()
        chip = Sensor(CHIP)
        chip.given_inputs = given
        distil(chip, result.draws, inputs, NoiseChoice(), n_inputs=20, sweeps=1, seed=0)
        asked = np.concatenate(shown)
        assert (asked[:, 7] == 1).all()
        assert len(np.unique(asked, axis=0)) == (30 if given else 50)


def test_labels_play_no_part(result):
    first = result.distil(n_inputs=50, sweeps=3)
    result.posterior.observed_data["label"][:] = 1 - result.posterior.observed_data["label"]
    for a, b in zip(first, result.distil(n_inputs=50, sweeps=3), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_chip_with_its_own_sweeps_and_a_black_box_learn_the_same(result):
    positional, options = arguments(result)
    own, counting = distil(CHIP, *positional, **options), CountingChip(CHIP)
    box = distil(counting, *positional, **options)
    for a, b in zip(own.weights, box.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert own.agreement == box.agreement
    assert box.presentations == counting.shown  # every sample that was shown is told
    other = distil(CHIP, *positional, **{**options, "seed": 2})
    assert any((a != b).any() for a, b in zip(own.weights, other.weights, strict=True))


def test_weights_stay_in_the_range(result):
    low, high = CHIP.spec.weight_range
    draws, inputs, noise = arguments(result)[0]
    beyond = Draws([10.0 * layer for layer in draws.weights], draws.logp)
    found = distil(CHIP, beyond, inputs, noise, n_inputs=0, sweeps=2, seed=0)
    assert all(((low <= layer) & (layer <= high)).all() for layer in found.weights)
    assert [layer.shape for layer in found.weights] == list(CHIP.spec.weight_shapes)


@pytest.mark.parametrize("kind", ["pseudo-marginal", MCWM])
def test_noisy_chips_are_treated_as_in_the_fit(kind):
    chip = CountingChip(LIFChip((8, 4, 2), "noise", 0.3, 0, 12))
    made = hand_made_fit(chip, X, Y, chains=2, draws=5)
    made.arguments |= {"noise": kind, "repeats": 3}
    before = chip.shown
    made.distil(n_inputs=20, sweeps=2)
    assert made.posterior["distilled"].attrs["presentations"] == chip.shown - before
    assert chip.shown - before > 3 * 50 * (10 + 1)
    assert (chip.shown - before) % (3 * 50) == 0  # whole runs of all inputs, three for each evaluation


# on a twin

EXACT, WRONG = twin_of(CHIP), twin_of(LIFChip((8, 6, 2), "comparator", 1.0, 5, 20, weight_range=(-3.0, 2.5)))


def on_twin(result, twin, chip=CHIP):
    """The fit as if it had sampled a twin, on a chip that is counted."""
    counted = CountingChip(chip)
    return counted, replace(result, chip=counted, twin=twin, posterior=result.posterior.copy())


def test_on_a_twin_that_is_right_the_weights_are_those_that_the_chip_would_teach(result):
    chip, made = on_twin(result, EXACT)
    found = made.distil(n_inputs=100, sweeps=4, seed=3)
    assert chip.shown == made.distilled["presentations"] == len(X) + 100
    assert made.cost.distilling == result.cost.distilling + chip.shown
    assert (made.distilled["differing"], made.distilled["wrong"]) == (0.0, 0.0)
    for a, b in zip(found, result.distil(n_inputs=100, sweeps=4, seed=3), strict=True):
        np.testing.assert_array_equal(a, b)
    assert made.distilled["agreement"] == result.distilled["agreement"] == made.distilled["twin_agreement"]
    assert "distil on the chip" not in distilled_in_words(made)
    assert "answers 0.0% of the inputs otherwise" in distilled_in_words(made)


def test_a_twin_that_errs_is_told_and_the_score_is_the_chips(result, tmp_path):
    chip, made = on_twin(result, WRONG)
    found = made.distil(n_inputs=300, sweeps=8)
    assert chip.shown == made.distilled["presentations"] == len(X) + 300
    rng = np.random.default_rng(0)  # the inputs of seed 0
    drawn = X[rng.integers(len(X), size=300)]
    inputs = np.concatenate([X, drawn + JITTER * rng.normal(size=drawn.shape)])
    readout = made.readout("distilled")
    answers = [np.argmax(readout.probabilities(each.run(found, inputs)), axis=1) for each in (CHIP, WRONG)]
    told = made.distilled
    assert told["differing"] == np.mean(answers[0] != answers[1]) > MOST_DIFFERING
    assert told["wrong"] == np.mean(CHIP.run(found, inputs) != WRONG.run(found, inputs))
    assert told["agreement"] < told["twin_agreement"]
    said = distilled_in_words(made)
    assert f"answers {told['agreement']:.1%} of the inputs as the ensemble does" in said
    assert f"answers {told['differing']:.1%} of the inputs otherwise than the chip" in said
    assert "More than 2% are too many: distil on the chip" in said
    read = load_fit(made.save(tmp_path / "fit"), chip)
    assert distilled_in_words(read) == said
    before = chip.shown
    read.distil(n_inputs=50, sweeps=2, on="chip")
    assert chip.shown - before == read.distilled["presentations"] > 50 * len(X)
    assert "twin" not in distilled_in_words(read)


def test_a_noisy_chip_is_shown_each_input_as_often_as_in_the_fit():
    noisy = LIFChip((8, 4, 2), "noise", 0.3, 0, 12)
    chip, made = on_twin(hand_made_fit(noisy, X, Y, chains=2, draws=5), twin_of(LIFChip((8, 4, 2), n_steps=12)), noisy)
    made.arguments |= {"noise": MCWM, "repeats": 3}
    made.distil(n_inputs=20, sweeps=2)
    assert chip.shown == made.distilled["presentations"] == 3 * (len(X) + 20)
    assert 0 < made.distilled["wrong"] < 1


def test_where_to_distil_can_only_be_a_place_that_there_is(result):
    with pytest.raises(InputError, match=r"this fit has none: take on='chip'"):
        result.distil(on="twin")
    with pytest.raises(InputError, match=r"Unknown place to distil 'moon'; known are chip, twin"):
        result.distil(on="moon")


def test_it_is_asked_for_and_then_kept(result, tmp_path):
    before = result.estimates
    assert set(before) - {"stacked"} == set(ESTIMATES)
    assert result.evaluate(X, Y).keys() == set(before)
    with pytest.raises(InputError, match=r"call distil\(\) first"):
        result.predict(X, "distilled")
    weights = result.distil(n_inputs=50, sweeps=3)
    assert result.estimates == (*before, "distilled")
    assert result.evaluate(X, Y).keys() == set(result.estimates)
    read = load_fit(result.save(tmp_path / "fit"))
    assert read.estimates == result.estimates
    for a, b in zip(read.weights("distilled"), weights, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(read.predict(X, "distilled"), result.predict(X, "distilled"))
    assert read.as_dict()["distilled"] == result.posterior["distilled"].attrs
    assert read.diagnosis == result.diagnosis
    write_weights(read, tmp_path / "w.npz", "distilled")
    for a, b in zip(read_weights(tmp_path / "w.npz"), weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"sweeps": 0}, "sweeps was 0"), ({"n_inputs": 1.5}, "n_inputs was 1.5"), ({"seed": -1}, "seed was -1")],
)
def test_numbers_that_cannot_be_used(result, options, said):
    with pytest.raises(InputError, match=said):
        result.distil(**options)


def test_the_estimator_distils_where_that_is_its_estimate():
    made = BayesSNNClassifier(
        lambda layers: CHIP,
        6,
        bias=False,
        draws=20,
        tune=20,
        chains=1,
        estimate="distilled",
        random_state=0,
        sampler="sitewise",
    )
    made.fit(X, Y)
    assert made.result_.estimates[-1] == "distilled"
    np.testing.assert_array_equal(made.predict_proba(X), made.result_.predict(X, "distilled"))
