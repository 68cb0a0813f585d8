"""Scores of class probabilities: by hand, and against scikit-learn, SciPy and plain loops."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from sklearn import metrics
from sklearn.metrics import log_loss

from bayes_snn.errors import InputError
from bayes_snn.estimates.metrics import (
    accuracy,
    accuracy_interval,
    auc,
    balanced_accuracy,
    brier_score,
    calibration_error,
    check_probabilities,
    confusion_matrix,
    evaluate,
    log_score,
    recall,
    reliability,
)

NAMES = ("accuracy", "log_score", "calibration_error", "brier_score", "balanced_accuracy", "auc")
OF_CLASSES = (confusion_matrix, recall, balanced_accuracy, auc)
SCORES = (accuracy, log_score, calibration_error, brier_score, reliability, evaluate, *OF_CLASSES)
no_deadline = settings(deadline=None)


@st.composite
def predictions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, K), made of small whole parts so that ties and zeros are common, and labels (n,)."""
    n, k = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    row = st.lists(st.integers(0, 4), min_size=k, max_size=k).filter(any)
    parts = np.array(draw(st.lists(row, min_size=n, max_size=n)), dtype=float)
    labels = draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n))
    return parts / parts.sum(axis=1, keepdims=True), np.array(labels)


def credits_by_loop(probabilities: np.ndarray, labels: np.ndarray) -> list[float]:
    credits = []
    for row, label in zip(probabilities, labels, strict=True):
        best = [k for k in range(len(row)) if math.isclose(row[k], max(row), abs_tol=1e-12)]
        credits.append(1 / len(best) if label in best else 0.0)
    return credits


def test_scores_by_hand() -> None:
    probabilities, labels = np.array([[0.8, 0.2], [0.6, 0.4], [0.5, 0.5], [0.0, 1.0]]), np.array([0, 1, 0, 1])
    assert evaluate(probabilities, labels) == pytest.approx(
        {
            "accuracy": (1 + 0 + 0.5 + 1) / 4,
            "log_score": (math.log(0.8) + math.log(0.4) + math.log(0.5) + 0) / 4,
            # bins of 0.5, 0.6, 0.8 and 1 hold a sample each, with gaps 0, 0.6, 0.2 and 0
            "calibration_error": 0.2,
            "brier_score": (0.08 + 0.72 + 0.5 + 0) / 4,
            "balanced_accuracy": (1.5 / 2 + 1 / 2) / 2,
            # of two samples of class 0 and two of class 1, the pair 0.5 and 0.6 is in the wrong order
            "auc": 3 / 4,
        }
    )


@given(predictions())
@no_deadline
def test_accuracy_is_the_mean_credit(case: tuple[np.ndarray, np.ndarray]) -> None:
    assert accuracy(*case) == pytest.approx(np.mean(credits_by_loop(*case)))


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_dead_chip_scores_chance_whatever_the_labels(n_classes: int) -> None:
    probabilities = np.full((7, n_classes), 1 / n_classes)
    for label in range(n_classes):
        assert accuracy(probabilities, np.full(7, label)) == pytest.approx(1 / n_classes)


def test_tie_survives_the_rounding_of_an_average() -> None:
    probabilities = np.array([[np.nextafter(0.5, 0), np.nextafter(0.5, 1)]])
    assert accuracy(probabilities, np.array([0])) == accuracy(probabilities, np.array([1])) == 0.5


@given(predictions(), st.data())
@no_deadline
def test_order_of_the_classes_does_not_matter(case: tuple[np.ndarray, np.ndarray], data: st.DataObject) -> None:
    probabilities, labels = case
    order = np.array(data.draw(st.permutations(range(probabilities.shape[1]))))
    permuted = evaluate(probabilities[:, order], np.argsort(order)[labels])
    assert permuted == pytest.approx(evaluate(probabilities, labels), nan_ok=True)


@given(predictions())
@no_deadline
def test_scores_keep_their_ranges(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores = evaluate(*case)
    assert list(scores) == list(NAMES)
    assert all(type(score) is float for score in scores.values())
    assert 0 <= scores["accuracy"] <= 1
    assert scores["log_score"] <= 0
    assert 0 <= scores["calibration_error"] <= 1
    assert 0 <= scores["brier_score"] <= 2
    assert 0 <= scores["balanced_accuracy"] <= 1
    assert 0 <= scores["auc"] <= 1 or len(set(case[1])) == 1


def test_scores_of_classes_agree_with_sklearn() -> None:
    rng = np.random.default_rng(0)
    labels = np.append(rng.choice(4, p=[0.7, 0.2, 0.05, 0.05], size=200), range(4))
    probabilities = np.tile(rng.dirichlet(np.ones(4), size=102), (2, 1))  # ties, for AUC to count
    answers = probabilities.argmax(axis=1)
    np.testing.assert_array_equal(confusion_matrix(probabilities, labels), metrics.confusion_matrix(labels, answers))
    np.testing.assert_allclose(recall(probabilities, labels), metrics.recall_score(labels, answers, average=None))
    assert balanced_accuracy(probabilities, labels) == pytest.approx(metrics.balanced_accuracy_score(labels, answers))
    assert auc(probabilities, labels) == pytest.approx(metrics.roc_auc_score(labels, probabilities, multi_class="ovr"))
    two = probabilities[:, :2] / probabilities[:, :2].sum(axis=1, keepdims=True)
    assert auc(two, labels > 0) == pytest.approx(metrics.roc_auc_score(labels > 0, two[:, 1]))


@given(predictions())
@no_deadline
def test_a_confusion_matrix_holds_every_sample_and_its_diagonal_the_accuracy(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    found = confusion_matrix(*case)
    np.testing.assert_allclose(found.sum(axis=1), np.bincount(case[1], minlength=len(found)))
    assert np.trace(found) / len(case[1]) == pytest.approx(accuracy(*case))


def test_a_class_without_samples_is_in_no_mean() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])
    np.testing.assert_array_equal(recall(probabilities, np.array([0, 1])), [1.0, 1.0, np.nan])
    assert balanced_accuracy(probabilities, np.array([0, 1])) == auc(probabilities, np.array([0, 1])) == 1.0
    assert math.isnan(auc(probabilities, np.array([1, 1])))


def test_a_dead_chip_has_the_balanced_accuracy_and_the_auc_of_chance() -> None:
    probabilities, labels = np.full((10, 2), 0.5), np.arange(10) // 9
    assert balanced_accuracy(probabilities, labels) == auc(probabilities, labels) == 0.5


def test_log_score_agrees_with_sklearn() -> None:
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(4), size=50), rng.integers(4, size=50)
    assert log_score(probabilities, labels) == pytest.approx(-log_loss(labels, probabilities, labels=range(4)))


def test_log_score_of_an_impossible_label_is_minus_infinity_without_a_warning() -> None:
    assert log_score(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([1, 0])) == -math.inf


def test_log_score_stays_at_most_zero_when_a_sum_exceeds_one_a_little() -> None:
    assert log_score(np.array([[1.0 + 5e-7, 0.0]]), np.array([0])) == 0.0


@given(predictions(), st.integers(1, 15))
@no_deadline
def test_calibration_error_agrees_with_a_loop(case: tuple[np.ndarray, np.ndarray], n_bins: int) -> None:
    probabilities, labels = case
    credits, confidences = credits_by_loop(*case), probabilities.max(axis=1)
    edges = np.linspace(0, 1, n_bins + 1)
    expected = 0.0
    for low, high in pairwise(edges):
        inside = [i for i, confidence in enumerate(confidences) if low < confidence <= high]
        if inside:
            gap = np.mean([credits[i] for i in inside]) - np.mean([confidences[i] for i in inside])
            expected += len(inside) / len(labels) * abs(gap)
    assert calibration_error(probabilities, labels, n_bins) == pytest.approx(expected)


def test_calibration_error_of_a_calibrated_and_of_an_overconfident_prediction() -> None:
    labels = np.array([0] * 8 + [1] * 2)
    assert calibration_error(np.tile([0.8, 0.2], (10, 1)), labels) == pytest.approx(0)
    assert calibration_error(np.tile([1.0, 0.0], (10, 1)), labels) == pytest.approx(0.2)


def test_reliability_bins() -> None:
    bins = reliability(np.array([[0.5, 0.5], [0.45, 0.55], [1.0, 0.0]]), np.array([0, 1, 1]), n_bins=4)
    np.testing.assert_allclose(bins.edges, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_array_equal(bins.count, [0, 1, 1, 1])  # 0.5 belongs to the bin that ends there
    np.testing.assert_allclose(bins.confidence, [np.nan, 0.5, 0.55, 1])
    np.testing.assert_allclose(bins.accuracy, [np.nan, 0.5, 1, 0])


@given(predictions(), st.integers(1, 15))
@no_deadline
def test_reliability_accounts_for_every_sample(case: tuple[np.ndarray, np.ndarray], n_bins: int) -> None:
    bins = reliability(*case, n_bins)
    seen = bins.count > 0
    assert bins.count.sum() == len(case[1])
    assert np.isnan(bins.accuracy[~seen]).all()
    assert np.isnan(bins.confidence[~seen]).all()
    assert (bins.count[seen] * bins.accuracy[seen]).sum() == pytest.approx(accuracy(*case) * len(case[1]))


@given(st.integers(1, 400), st.data(), st.floats(0.01, 0.999))
@no_deadline
def test_interval_is_wilson_s(n: int, data: st.DataObject, level: float) -> None:
    correct = data.draw(st.integers(0, n))
    low, high = accuracy_interval(correct / n, n, level)
    expected = binomtest(correct, n).proportion_ci(level, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= low <= correct / n <= high <= 1


def test_interval_covers_about_as_often_as_it_says() -> None:
    """Exact coverage, by summing the binomial distribution: Wilson's is near nominal on average over p."""
    n = 171
    intervals = np.array([accuracy_interval(correct / n, n) for correct in range(n + 1)])
    truths = np.linspace(0.05, 0.95, 181)
    covered = (intervals[:, :1] <= truths) & (truths <= intervals[:, 1:])
    coverage = (binom.pmf(np.arange(n + 1)[:, None], n, truths) * covered).sum(axis=0)
    assert coverage.mean() == pytest.approx(0.9, abs=0.01)
    assert coverage.min() > 0.85


def test_interval_at_the_ends() -> None:
    assert accuracy_interval(0.0, 20)[0] == 0.0
    assert accuracy_interval(1.0, 20)[1] == 1.0
    assert accuracy_interval(1.0, 20)[0] < 1.0
    assert accuracy_interval(0.5, 10, level=math.nextafter(1.0, 0.0)) == pytest.approx((0.0, 1.0), abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((171, 171), "divide the number of correct"),
        ((-0.1, 10), "fraction from 0 to 1"),
        ((math.nan, 10), "fraction from 0 to 1"),
        ((0.5, 0), "n was 0"),
        ((0.5, 10.0), r"n was 10\.0"),
        ((0.5, True), "n was True"),
        ((0.5, 10, 0.0), "level was"),
        ((0.5, 10, 90), "level was 90"),
        ((0.5, 10, math.nan), "level was nan"),
    ],
)
def test_interval_refuses(arguments: tuple, says: str) -> None:
    with pytest.raises(InputError, match=says):
        accuracy_interval(*arguments)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    ("probabilities", "labels", "says"),
    [
        ([0.5, 0.5], [0], "shape"),
        (np.empty((0, 2)), [], "shape"),
        (np.empty((2, 0)), [0, 0], "shape"),
        ([["a", "b"]], [0], "real numbers"),
        ([[0.5, 0.5], [1.0]], [0, 0], "real numbers"),
        ([[0.5, 0.5], [np.nan, 1.0]], [0, 0], "sample 1, class 0 is nan"),
        ([[1.1, -0.1]], [0], "sample 0, class 1 is -0.1"),
        ([[np.inf, 0.0]], [0], "sum to inf"),
        ([[0.5, 0.5], [3, 7]], [0, 0], "sample 1 sum to 10"),
        ([[0.5, 0.5 + 2e-6]], [0], "sum to"),
        ([[0.5, 0.5]], [0, 1], "labels have shape"),
        ([[0.5, 0.5]], [2], "labels run from"),
        ([[0.5, 0.5]], [-1], "labels run from"),
        ([[0.5, 0.5]], [0.5], "labels hold"),
        ([[0.5, 0.5]], ["benign"], "labels hold"),
    ],
)
def test_every_score_refuses(score: object, probabilities: object, labels: object, says: str) -> None:
    with pytest.raises(InputError, match=says) as error:
        score(probabilities, labels)  # type: ignore[operator]
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize("n_bins", [0, -3, 2.5, 10.0, True, "ten"])
def test_bins_are_a_positive_whole_number(n_bins: object) -> None:
    for score in (reliability, calibration_error):
        with pytest.raises(InputError, match="n_bins"):
            score(np.array([[0.5, 0.5]]), np.array([0]), n_bins)  # type: ignore[operator]


def test_check_probabilities_passes_single_precision_and_lists() -> None:
    single = np.random.default_rng(0).dirichlet(np.ones(10), size=20).astype(np.float32)
    assert check_probabilities(single).dtype == np.float64
    np.testing.assert_array_equal(check_probabilities([[1, 0], [0, 1]]), np.eye(2))
