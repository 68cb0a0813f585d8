"""Samples that count more or less than once: a sample that counts twice is one that is there twice."""

import numpy as np
import pytest

from bayes_snn import LIFChip, build_model, fit
from bayes_snn.chips.contract import as_matrices
from bayes_snn.chips.xylo.chip import XyloChip
from bayes_snn.errors import InputError
from bayes_snn.likelihood import Readout, WeightedLabels, with_weights, without_weights
from bayes_snn.posterior.op import ChipCounts
from bayes_snn.posterior.sample_weights import find_sample_weights
from bayes_snn.samplers.shared.sweepers import BlackBoxSweeper, make_sweeper
from tests.helpers import toys
from tests.helpers.fits import same_draws
from tests.twins.conductance.test_forward import made as conductance_twin

LABELS = np.array([0, 1, 1, 0, 1, 1, 2])


def test_weights_of_samples_and_classes_are_multiplied():
    assert find_sample_weights(LABELS, 3) is None
    assert find_sample_weights(LABELS, 3, np.ones(7), [1, 1, 1]) is None
    given = np.arange(7.0)
    np.testing.assert_array_equal(find_sample_weights(LABELS, 3, given), given)
    expected = given * np.array([2.0, 0.5, 3.0])[LABELS]
    np.testing.assert_array_equal(find_sample_weights(LABELS, 3, given, [2, 0.5, 3]), expected)
    np.testing.assert_array_equal(find_sample_weights(LABELS, 3, given, {0: 2, 1: 0.5, 2: 3}), expected)
    np.testing.assert_array_equal(find_sample_weights(LABELS, 3, None, {0: 2}), np.where(LABELS == 0, 2.0, 1.0))


def test_balanced_classes_count_alike_and_as_many_as_all_samples():
    found = find_sample_weights(LABELS, 3, class_weight="balanced")
    sums = np.bincount(LABELS, weights=found)
    np.testing.assert_allclose(sums, len(LABELS) / 3)
    # a class without samples has no part in it
    found = find_sample_weights(LABELS[:6], 3, class_weight="balanced")
    np.testing.assert_allclose(np.bincount(LABELS[:6], weights=found), 3.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sample_weight": np.ones(6)}, r"sample weights have shape \(6,\), but one number for each of the 7 samples"),
        ({"sample_weight": [1, 1, 1, -1, 1, 1, 1]}, r"sample weights hold -1.0 at 3, but .* 0 leaves a sample out"),
        ({"sample_weight": [1, 1, np.nan, 1, 1, 1, 1]}, r"sample weights hold nan at 2"),
        ({"sample_weight": np.zeros(7)}, r"All weights of samples are zero"),
        ({"sample_weight": ["a"] * 7}, r"sample weights"),
        ({"class_weight": "even"}, r"class_weight was 'even', but 'balanced' or a number for each class"),
        ({"class_weight": [1, 2]}, r"class_weight has shape \(2,\), but one number for each of the 3 classes"),
        ({"class_weight": {3: 1.0}}, r"class_weight has a weight for 3, but labels run from 0 to 2"),
        ({"class_weight": {"a": 1.0}}, r"class_weight has a weight for 'a'"),
        ({"class_weight": [1, np.inf, 1]}, r"class weights hold inf at 1"),
    ],
)
def test_what_is_no_weight_is_said_in_a_sentence(arguments, words):
    with pytest.raises(InputError, match=words) as error:
        find_sample_weights(LABELS, 3, **arguments)
    assert "\n" not in str(error.value)


def swept(name):
    """A simulated chip with its inputs, weights and a generator."""
    rng = np.random.default_rng(3)
    if name == "xylo":
        chip = XyloChip((4, 5, 3), 12, base_threshold=300)
        inputs = rng.integers(0, 3, size=(90, 4)).astype(float)
    elif name == "conductance":
        chip, rng = conductance_twin(1, (4, 5, 3))
        inputs = 1.5 * rng.normal(size=(90, 4))
    else:
        chip = LIFChip((4, 6, 2 if name == "two classes" else 3), "leak", 0.3, seed=103)
        inputs = 1.5 * rng.normal(size=(90, 4))
    q = np.concatenate([2.0 * rng.normal(size=shape).ravel() for shape in chip.spec.weight_shapes])
    return chip, inputs, rng.integers(chip.spec.layers[-1], size=90), q, rng


@pytest.mark.parametrize("name", ["two classes", "three classes", "xylo", "conductance", "black box"])
def test_sweeps_decide_as_with_repeated_samples(name):
    chip, inputs, labels, q, rng = swept(name)
    counted = rng.integers(0, 4, size=len(labels))
    repeated = np.repeat(np.arange(len(labels)), counted)
    target = with_weights(labels, counted.astype(float))
    if name == "black box":
        one = BlackBoxSweeper(ChipCounts(chip, inputs), target)
        other = BlackBoxSweeper(ChipCounts(chip, inputs[repeated]), labels[repeated])
    else:
        one = make_sweeper(ChipCounts(chip, inputs), target)
        other = make_sweeper(ChipCounts(chip, inputs[repeated]), labels[repeated])
        assert not isinstance(one, BlackBoxSweeper)
    n_out = chip.spec.layers[-1]
    for readout in (Readout(), Readout(0.3, np.linspace(-1.0, 1.0, n_out))):
        matrices = as_matrices(q, chip.spec.weight_shapes)
        assert one.start(matrices, readout) == pytest.approx(other.start(matrices, readout), rel=1e-9)
        proposals = q + rng.normal(size=len(q))
        bounds, order = -rng.exponential(size=len(q)), rng.permutation(len(q))
        done, expected = one.sweep(proposals, bounds, order), other.sweep(proposals, bounds, order)
        np.testing.assert_array_equal(done.accepted, expected.accepted)
        assert done.log_likelihood == pytest.approx(expected.log_likelihood, rel=1e-9)
        assert 0 < done.accepted.sum() < len(q)
        q = np.where(done.accepted, proposals, q)


def test_a_sweeper_of_a_users_chip_is_asked_only_if_it_knows_of_weights():
    chip, inputs, labels, *_ = swept("two classes")
    target = with_weights(labels, np.full(len(labels), 2.0))

    class Own:
        spec, run = chip.spec, chip.run

        def site_sweeper(self, inputs, labels):
            return chip.site_sweeper(inputs, labels)

    assert isinstance(make_sweeper(ChipCounts(Own(), inputs), target), BlackBoxSweeper)
    assert not isinstance(make_sweeper(ChipCounts(Own(), inputs), labels), BlackBoxSweeper)


def test_parts_of_weighted_labels_keep_their_weights():
    target = WeightedLabels(LABELS, np.arange(7.0))
    part = target[np.array([5, 2])]
    assert len(part) == 2
    np.testing.assert_array_equal(part.labels, LABELS[[5, 2]])
    np.testing.assert_array_equal(part.weights, [5.0, 2.0])
    assert with_weights(LABELS, None) is LABELS
    np.testing.assert_array_equal(without_weights(LABELS)[1], np.ones(7))
    counts = np.random.default_rng(0).integers(0, 9, size=(2, 7, 3))
    terms = Readout().log_p(counts, target)
    np.testing.assert_allclose(terms, np.arange(7.0) * Readout().log_p(counts, LABELS))


def test_the_model_counts_as_the_readout_does():
    chip = toys.SigmoidChip()
    counted = np.array([2.0, 0.0, 1.5, 1.0, 3.0, 0.5])
    model = build_model(chip, toys.INPUTS, toys.LABELS, "standard_normal", sample_weight=counted)
    plain = build_model(chip, toys.INPUTS, toys.LABELS, "standard_normal")
    point = plain.initial_point()
    point = {name: np.full_like(value, 0.7) for name, value in point.items()}
    shown = chip.run([np.full((1, 2), 0.7)], toys.INPUTS)
    terms = Readout().log_p(shown[None], toys.LABELS)
    difference = model.compile_logp()(point) - plain.compile_logp()(point)
    assert difference == pytest.approx(float(((counted - 1.0) * terms).sum()))


@pytest.mark.parametrize(
    ("sampler", "n_draws"), [("sitewise", 1500), ("block", 300), ("pcn", 300), ("pymc", 1500), ("twin", 600)]
)
def test_draws_are_from_the_weighted_posterior(sampler, n_draws):
    """All samples count twice: the posterior is that of the likelihood squared, known by quadrature."""
    chip = toys.SigmoidChip()
    extra = {"twin": chip} if sampler == "twin" else {"tune": 100}
    result = fit(
        *(chip, toys.INPUTS, toys.LABELS, "standard_normal"),
        **{"sampler": sampler, "draws": n_draws, "chains": 4, "cores": 1, "sample_weight": np.full(6, 2.0), **extra},
    )
    draws = result.posterior.posterior["w_1"].values.reshape(4, n_draws, 2)
    scores = toys.z_scores(draws, toys.quadrature(power=2.0))
    assert max(map(abs, scores.values())) < 5.0
    # and the test can fail: those of samples that count once are somewhere else
    assert max(map(abs, toys.z_scores(draws, toys.quadrature()).values())) > 7.0
    assert result.arguments["weighted"] is True
    np.testing.assert_array_equal(result.sample_weight, np.full(6, 2.0))
    terms = result.posterior.log_likelihood["label"]
    np.testing.assert_allclose(result.log_likelihood.values, 2.0 * terms.sum("observation").values)


def test_samples_that_count_once_change_nothing():
    chip = LIFChip((4, 3, 2), "comparator", 3.0, seed=103)
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(30, 4)), rng.integers(2, size=30)
    options = {"sampler": "sitewise", "draws": 5, "tune": 5, "chains": 2, "cores": 1}
    one = fit(chip, inputs, labels, **options)
    other = fit(chip, inputs, labels, sample_weight=np.ones(30), class_weight=[1.0, 1.0], **options)
    assert same_draws(one, other)
    assert other.sample_weight is None
    assert "weighted" not in other.arguments
