"""Entropy, abstaining and calibration: by hand, and on chips that know, or do not know, when they are right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bayes_snn.checks.calibration_curve import calibration
from bayes_snn.checks.uncertainty import (
    abstain_curve,
    abstain_points,
    draw_probabilities,
    entropy_parts,
    predictive_entropy,
)
from bayes_snn.errors import InputError
from bayes_snn.estimates.metrics import accuracy, accuracy_interval, calibration_error, reliability
from tests.helpers.fits import CountingChip, hand_made_fit
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

NEW = np.linspace(-3, 3, 40)[:, None]
NEW_LABELS = (NEW[:, 0] > 0).astype(int)


@pytest.fixture
def result():
    return hand_made_fit(SigmoidChip(), INPUTS, LABELS, chains=2, draws=10)


@st.composite
def draws(draw: st.DrawFn) -> np.ndarray:
    """Class probabilities (n_draws, n_samples, n_classes), made of small whole parts: zeros and ties are common."""
    shape = draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.integers(2, 4))
    row = st.lists(st.integers(0, 3), min_size=shape[2], max_size=shape[2]).filter(any)
    parts = np.array(draw(st.lists(row, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])), dtype=float)
    return (parts / parts.sum(axis=1, keepdims=True)).reshape(shape)


# entropy


@given(draws())
@settings(deadline=None)
def test_entropy_parts_sum_and_agree_with_scipy(probabilities):
    parts = entropy_parts(probabilities)
    np.testing.assert_allclose(parts.expected + parts.mutual_information, parts.total, rtol=1e-15, atol=0)
    mean = probabilities.mean(axis=0)
    np.testing.assert_allclose(parts.total, stats.entropy(mean, axis=1), atol=1e-12)
    np.testing.assert_allclose(parts.expected, stats.entropy(probabilities, axis=2).mean(axis=0), atol=1e-12)
    # mutual information is the draws' mean divergence from the ensemble
    divergence = stats.entropy(probabilities, np.broadcast_to(mean, probabilities.shape), axis=2).mean(axis=0)
    np.testing.assert_allclose(parts.mutual_information, divergence, atol=1e-12)
    assert (parts.mutual_information >= 0).all()
    assert (parts.total <= np.log(probabilities.shape[2]) + 1e-12).all()


def test_entropy_of_draws_that_disagree_is_of_the_weights_and_of_unsure_draws_is_not():
    sure, unsure = [[1.0, 0.0]], [[0.5, 0.5]]
    disagreeing = entropy_parts([sure, [[0.0, 1.0]]])
    assert disagreeing.mutual_information == pytest.approx(np.log(2))
    assert disagreeing.expected == pytest.approx(0)
    agreeing = entropy_parts([unsure, unsure])
    assert agreeing.mutual_information == 0
    assert agreeing.expected == pytest.approx(np.log(2))
    assert entropy_parts([sure, sure]).total == 0


def test_entropy_of_a_fit(result):
    parts = predictive_entropy(result, NEW)
    ensemble = result.predict(NEW)
    np.testing.assert_allclose(parts.total, stats.entropy(ensemble, axis=1), rtol=1e-12)
    np.testing.assert_array_equal(parts.mutual_information, parts.total - parts.expected)
    assert parts.mutual_information.max() > 0.01
    table = parts.table()
    assert list(table) == ["total", "expected", "mutual_information"]
    assert len(table) == len(NEW)
    # a single draw cannot disagree
    assert (predictive_entropy(result, NEW, size=1).mutual_information == 0).all()


def test_the_mean_of_the_draws_is_the_ensemble_and_costs_a_run_each():
    chip = CountingChip(SigmoidChip())
    result = hand_made_fit(chip, INPUTS, LABELS, chains=2, draws=10)
    before = chip.runs
    each = draw_probabilities(result, NEW, size=7)
    assert chip.runs - before == 7
    assert each.shape == (7, 40, 2)
    np.testing.assert_array_equal(each.mean(axis=0), result.predict(NEW, size=7))
    assert NEW.flags.writeable


# abstaining


def test_a_chip_that_knows_when_it_is_right():
    """Right on the confident half, a coin on the other: accuracy falls from 1 to 3/4."""
    confident = np.tile([0.9, 0.1], (50, 1)) + np.linspace(0, 0.05, 50)[:, None] * [1, -1]
    unsure = np.tile([0.6, 0.4], (50, 1)) + np.linspace(0, 0.05, 50)[:, None] * [1, -1]
    labels = np.r_[np.zeros(50, int), np.arange(50) % 2]
    for by in ("entropy", "confidence"):
        curve = abstain_points([np.r_[confident, unsure]], labels, by)
        np.testing.assert_allclose(curve.share, np.arange(1, 101) / 100)
        np.testing.assert_array_equal(curve.accuracy[:50], 1.0)
        assert curve.accuracy[-1] == 0.75
        assert (np.diff(curve.threshold) > 0).all()
        assert curve.area > 0.85
        assert (curve.low <= curve.accuracy).all()
        assert (curve.accuracy <= curve.high).all()
        assert (curve.low[-1], curve.high[-1]) == accuracy_interval(0.75, 100)


def test_a_chip_that_does_not_know_gains_nothing_by_abstaining():
    """Negative control: confidence drawn without regard to who is right."""
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(200):
        confidence, labels = rng.uniform(0.5, 1, size=60), (rng.random(60) > 0.7).astype(int)
        curve = abstain_points(np.stack([confidence, 1 - confidence], axis=1)[None], labels)
        areas.append(curve.area - curve.accuracy[-1])
    assert abs(np.mean(areas)) < 4 * np.std(areas) / np.sqrt(len(areas))


def test_samples_of_equal_uncertainty_are_decided_together():
    probabilities = np.array([[[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.5, 0.5], [0.5, 0.5]]])
    curve = abstain_points(probabilities, [0, 0, 0, 1, 0])
    np.testing.assert_allclose(curve.share, [0.4, 0.6, 1.0])
    np.testing.assert_allclose(curve.accuracy, [1 / 2, 2 / 3, 3 / 5])
    assert curve.area == pytest.approx(0.4 * 1 / 2 + 0.2 * 2 / 3 + 0.4 * 3 / 5)
    # all alike: nothing to choose between, whatever the order
    alike = abstain_points(np.full((3, 8, 2), 0.5), np.arange(8) % 2)
    assert alike.share.tolist() == [1.0]
    assert alike.area == 0.5


@given(draws(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_an_abstain_curve_ends_at_the_accuracy_and_heeds_no_order(probabilities, random):
    n, k = probabilities.shape[1:]
    labels = np.array([random.randrange(k) for _ in range(n)])
    for by in ("entropy", "confidence", "mutual_information"):
        curve = abstain_points(probabilities, labels, by)
        assert curve.share[-1] == 1
        assert curve.accuracy[-1] == pytest.approx(accuracy(probabilities.mean(axis=0), labels))
        turned = abstain_points(probabilities[:, ::-1], labels[::-1], by)
        np.testing.assert_allclose(turned.share, curve.share)
        np.testing.assert_allclose(turned.accuracy, curve.accuracy, atol=1e-12)


def test_abstaining_of_a_fit(result):
    curve = abstain_curve(result, NEW, NEW_LABELS, by="mutual_information", level=0.5)
    wider = abstain_curve(result, NEW, NEW_LABELS, by="mutual_information", level=0.99)
    assert curve.accuracy[-1] == pytest.approx(accuracy(result.predict(NEW), NEW_LABELS))
    assert (wider.low <= curve.low).all()
    assert list(curve.table()) == ["share", "threshold", "accuracy", "low", "high"]


# calibration


def test_calibration_agrees_with_the_metrics(result):
    for estimate in ("ensemble", "map"):
        found = calibration(result, NEW, NEW_LABELS, estimate, n_bins=5, n_simulations=20)
        bins = reliability(result.predict(NEW, estimate), NEW_LABELS, 5)
        for name in ("edges", "confidence", "accuracy", "count"):
            np.testing.assert_array_equal(getattr(found, name), getattr(bins, name))
        assert found.error == calibration_error(result.predict(NEW, estimate), NEW_LABELS, 5)
        for b in range(5):
            if bins.count[b]:
                expected = accuracy_interval(bins.accuracy[b], int(bins.count[b]))
                assert (found.low[b], found.high[b]) == pytest.approx(expected)
            else:
                assert np.isnan([found.low[b], found.high[b]]).all()
        assert len(found.table()) == 5


class Oracle:
    """A fit that predicts what it is told."""

    def __init__(self, probabilities):
        self.probabilities = probabilities

    def predict(self, inputs, estimate):
        return self.probabilities


def test_calibrated_probabilities_stay_within_chance_and_overconfident_ones_do_not():
    rng = np.random.default_rng(1)
    inside = []
    for seed in range(60):
        probabilities = rng.dirichlet(np.ones(3), size=120)
        labels = (rng.random((120, 1)) > probabilities.cumsum(axis=1)[:, :-1]).sum(axis=1)
        found = calibration(Oracle(probabilities), None, labels, n_simulations=100, seed=seed)
        low, high = found.error_by_chance
        inside.append(low <= found.error <= high)
        sharpened = probabilities**4 / (probabilities**4).sum(axis=1, keepdims=True)
        over = calibration(Oracle(sharpened), None, labels, n_simulations=100, seed=seed)
        assert over.error > over.error_by_chance[1]
    # nominal coverage is 0.9; the limits are those of 60 trials with a chance of error of 1e-4 on either side
    assert stats.binom.ppf(1e-4, 60, 0.9) <= sum(inside) <= 60


# wrong arguments


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda r: predictive_entropy(r, NEW[:, [0, 0]]), "have shape"),
        (lambda r: predictive_entropy(r, NEW, size=0), "size was 0"),
        (lambda r: abstain_curve(r, NEW, NEW_LABELS, by="entropi"), "did you mean 'entropy'"),
        (lambda r: abstain_curve(r, NEW, NEW_LABELS, level=90), "level was 90"),
        (lambda r: abstain_curve(r, NEW, NEW_LABELS[:3]), "labels have shape"),
        (lambda r: calibration(r, NEW, NEW_LABELS, n_bins=0), "n_bins was 0"),
        (lambda r: calibration(r, NEW, NEW_LABELS, n_simulations=0), "n_simulations was 0"),
        (lambda r: calibration(r, NEW, NEW_LABELS, level=2), "level was 2"),
        (lambda r: calibration(r, NEW, NEW_LABELS, "mediod"), "did you mean 'medoid'"),
        (lambda r: entropy_parts(np.full((3, 2), 0.5)), "pass what draw_probabilities returns"),
        (lambda r: entropy_parts(np.full((3, 2, 2), 0.6)), "must sum to 1"),
        (lambda r: entropy_parts([[["a", "b"]]]), "real numbers"),
    ],
)
def test_wrong_arguments_are_refused(result, call, says):
    with pytest.raises(InputError) as error:
        call(result)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
