"""Spike counts to probabilities: a softmax, whatever the counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax

from bayes_snn.errors import InputError
from bayes_snn.likelihood import BETA, Readout, check_readout, class_probabilities, log_likelihood

no_deadline = settings(deadline=None)  # the first example compiles
betas = st.floats(1e-3, 4.0)


@st.composite
def counts_and_labels(draw, most_spikes=2000):
    """Counts (n_samples, n_classes), small and large, ties among them, and a label for each sample."""
    n_samples, n_classes = draw(st.integers(1, 8)), draw(st.integers(1, 12))
    elements = st.one_of(st.integers(0, 3), st.integers(0, most_spikes))
    counts = draw(arrays(np.int32, (n_samples, n_classes), elements=elements))
    labels = draw(arrays(np.int64, n_samples, elements=st.integers(0, n_classes - 1)))
    return counts, labels


@given(counts_and_labels(), betas)
@no_deadline
def test_rows_are_distributions(case, beta):
    probabilities = class_probabilities(case[0], beta)
    assert probabilities.shape == case[0].shape
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)


@given(counts_and_labels(), st.integers(-1000, 1000), betas)
@no_deadline
def test_only_differences_of_counts_matter(case, shift, beta):
    counts, labels = case
    np.testing.assert_allclose(
        class_probabilities(counts + shift, beta), class_probabilities(counts, beta), rtol=1e-9, atol=1e-300
    )
    # here differences are taken in whole numbers, so nothing is rounded
    np.testing.assert_array_equal(log_likelihood(counts + shift, labels, beta), log_likelihood(counts, labels, beta))


@given(counts_and_labels(), betas, st.sampled_from([0.0, 1.0, 100.0]), st.integers(0, 99))
@no_deadline
def test_log_likelihood_is_the_log_of_the_label_s_probability(case, beta, spread, seed):
    counts, labels = case
    bias = spread * np.random.default_rng(seed).normal(size=counts.shape[1])
    terms = log_likelihood(counts, labels, beta, bias)
    assert terms.shape == labels.shape
    chosen = class_probabilities(counts, beta, bias)[np.arange(len(labels)), labels]
    whole = chosen > 1e-300
    np.testing.assert_allclose(terms[whole], np.log(chosen[whole]), rtol=1e-9, atol=1e-12)
    # and where the probability underflows, its logarithm does not
    expected = log_softmax(beta * counts.astype(float) + bias, axis=1)[np.arange(len(labels)), labels]
    np.testing.assert_allclose(terms, expected, rtol=1e-9, atol=1e-12)
    assert (terms <= 0).all()


@given(counts_and_labels(most_spikes=2**31 - 1001), betas)
@no_deadline
def test_terms_are_finite_and_never_positive(case, beta):
    terms = log_likelihood(*case, beta)
    assert np.isfinite(terms).all()
    assert (terms <= 0).all()  # exactly: early rejection rests on it


@given(counts_and_labels(), betas, st.randoms(use_true_random=False))
@no_deadline
def test_classes_have_no_order_but_that_of_their_counts(case, beta, random):
    counts, labels = case
    order = np.array(random.sample(range(counts.shape[1]), counts.shape[1]))
    bias = np.array([random.uniform(-3.0, 3.0) for _ in order])
    biased = class_probabilities(counts, beta, bias)
    np.testing.assert_allclose(class_probabilities(counts[:, order], beta, bias[order]), biased[:, order], rtol=1e-9)
    probabilities = class_probabilities(counts, beta)
    np.testing.assert_allclose(  # a sum near 1 is rounded, in whatever order, before its logarithm is taken
        log_likelihood(counts[:, order], np.argsort(order)[labels], beta, bias[order]),
        log_likelihood(counts, labels, beta, bias),
        atol=1e-14,
    )
    for count, row in zip(counts, probabilities, strict=True):
        assert (np.diff(row[np.argsort(count, kind="stable")]) >= 0).all()


@pytest.mark.parametrize("n_classes", [2, 10, 1000, 20_000])
def test_silent_outputs_know_nothing(n_classes):
    counts, labels = np.zeros((3, n_classes), np.int32), np.array([0, 1, n_classes - 1])
    np.testing.assert_allclose(class_probabilities(counts), 1 / n_classes, rtol=1e-12)
    np.testing.assert_allclose(log_likelihood(counts, labels, BETA), -np.log(n_classes), rtol=1e-12)


def test_one_spike_is_worth_beta():
    odds = class_probabilities(np.array([[5, 4]]))[0]
    assert odds[0] / odds[1] == pytest.approx(np.exp(0.5))


def test_any_leading_shape_and_no_change_to_the_counts():
    counts = np.random.default_rng(0).integers(0, 32, size=(3, 4, 5)).astype(float)
    before = counts.copy()
    probabilities = class_probabilities(counts)
    np.testing.assert_array_equal(counts, before)
    np.testing.assert_allclose(probabilities[1, 2], class_probabilities(counts[1, 2]), rtol=1e-15)


def test_a_bias_is_added_to_the_scores_and_a_common_one_changes_nothing():
    counts, bias = np.array([[5, 4, 0]]), np.array([0.0, 1.0, -2.0])
    odds = class_probabilities(counts, 0.5, bias)[0]
    assert odds[1] / odds[0] == pytest.approx(np.exp(-0.5 + 1.0))
    assert odds[2] / odds[0] == pytest.approx(np.exp(-2.5 - 2.0))
    np.testing.assert_allclose(class_probabilities(counts, 0.5, bias + 7.0)[0], odds, rtol=1e-12)


def test_a_readout_averages_runs_as_probabilities_and_one_without_biases_is_as_before():
    rng = np.random.default_rng(0)
    runs, labels = rng.integers(0, 12, size=(3, 6, 4)), rng.integers(0, 4, size=6)
    readout = Readout(0.8, rng.normal(size=4))
    chosen = readout.probabilities(runs)[:, np.arange(6), labels]
    np.testing.assert_allclose(readout.log_p(runs, labels), np.log(chosen.mean(axis=0)), rtol=1e-12)
    one = Readout(0.8).log_p(runs[:1], labels)
    np.testing.assert_array_equal(one, log_likelihood(runs[0], labels, 0.8, np.zeros(4)))


@pytest.mark.parametrize("bias", [[1.0], [0.0, np.nan, 0.0], "abc", [[0.0, 0.0, 0.0]]])
def test_biases_that_are_none_are_refused(bias):
    with pytest.raises(InputError, match="3 finite numbers are expected, one for each class") as error:
        check_readout(0.5, bias, 3)
    assert "\n" not in str(error.value)
    assert check_readout(0.5, None, 3).biases(3).tolist() == [0.0, 0.0, 0.0]
