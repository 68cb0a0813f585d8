"""What a fit is measured against: chance and logistic regression, of weighted samples too."""

import numpy as np
import pytest

from bayes_snn.data import load_data, split_data
from bayes_snn.estimates.baselines import baseline_scores, chance


def test_logistic_regression_tells_penguins_apart_and_chance_does_not():
    found = baseline_scores(split_data(load_data("penguins"), n_train=150))
    assert found["logistic"]["test"]["accuracy"] > 0.95
    assert found["chance"]["test"]["accuracy"] == pytest.approx(151 / 342, abs=0.01)


def test_weights_of_samples_count_as_they_do_for_a_fit():
    split = split_data(load_data("iris"), n_train=90)
    chosen = split.train_labels > 0
    np.testing.assert_array_equal(chance(split, 2, chosen.astype(float)), [[0.0, 0.5, 0.5]] * 2)
    counted = np.where(split.train_labels == 2, 25.0, 1.0)
    plain, weighted = (baseline_scores(split, each)["logistic"]["train"] for each in (None, counted))
    assert weighted["log_score"] < plain["log_score"]  # of samples that count once
