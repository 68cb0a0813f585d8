"""A fit and data in five lines, a fit as a table, and what a fit says of the inputs that it is given."""

from __future__ import annotations

import warnings

import arviz as az
import numpy as np
import pandas as pd
import pytest

from bayes_snn import LIFChip, fit, load_data, load_fit, split_data
from bayes_snn.errors import DataWarning
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

TINY = {"sampler": "sitewise", "draws": 6, "tune": 2, "chains": 2, "cores": 1}


@pytest.fixture(scope="module")
def result():
    data = split_data(load_data(), n_train=20)
    found = fit(LIFChip((30, 3, 2)), data.train_inputs, data.train_labels, "hierarchical", **TINY)
    found.scores["test"] = found.evaluate(data.test_inputs, data.test_labels)
    return found


def test_a_fit_is_printed_on_five_lines(result):
    lines = str(result).splitlines()
    assert len(lines) <= 5
    assert max(map(len, lines)) <= 120
    text = "\n".join(lines)
    assert repr(result) == text
    assert repr(result.chip) in text
    assert f"{result.presentations:,} presentations in training, {result.cost.total:,} in all" in text
    assert f"ensemble {result.scores['test']['ensemble']['accuracy']:.3f}" in text
    assert "2 chains of 6 draws; 20 training samples, 30 features" in text
    assert lines[-1].split()[0] == result.diagnosis.verdict.split()[0]


def test_a_fit_that_was_read_is_printed_too(result, tmp_path):
    assert str(load_fit(result.save(tmp_path))).splitlines()[1:4] == str(result).splitlines()[1:4]


@pytest.mark.parametrize("name", ["breast_cancer", "iris", "digits"])
def test_data_are_printed_on_five_lines(name):
    data = load_data(name)
    for each in (data, split_data(data)):
        lines = str(each).splitlines()
        assert len(lines) <= 5
        assert max(map(len, lines)) <= 120
        assert f"{len(data.feature_names)} features, {len(data.class_names)} classes" in lines[0]
        assert str(data.class_names[0]) in lines[1]
    split = split_data(data)
    assert f"{split.n_train:,} training samples and {split.n_test:,} test samples" in str(split)


def test_the_summary_is_that_of_arviz_with_log_l_and_scales_first(result):
    table = result.summary()
    assert table.index[0] == "log_likelihood"
    assert table.index[1:3].tolist() == ["scale_w_1", "scale_w_2"]
    assert len(table) == 3 + 2 + 30 * 3 + 3 * 2  # log L and scales, class biases, weights
    assert {"mean", "sd", "r_hat", "ess_bulk"} <= set(table.columns)
    total = result.posterior["log_likelihood/label"].sum("observation")
    assert table.loc["log_likelihood", "mean"] == pytest.approx(float(total.mean()))
    expected = az.summary(result.posterior, var_names=["scale_w_1"], round_to="none").iloc[0]
    pd.testing.assert_series_equal(table.loc["scale_w_1"], expected, check_names=False)


# a DataFrame of raw inputs


def frame(values=INPUTS):
    return pd.DataFrame(values, columns=[f"gene {i}" for i in range(values.shape[1])])


def test_columns_of_a_data_frame_name_the_features():
    result = fit(SigmoidChip(), frame(), LABELS, **TINY)
    assert result.posterior.posterior["pre_1"].values.tolist() == ["gene 0"]
    given = fit(SigmoidChip(), frame(), LABELS, feature_names=["given"], **TINY)
    assert given.posterior.posterior["pre_1"].values.tolist() == ["given"]
    numbered = fit(SigmoidChip(), pd.DataFrame(INPUTS), LABELS, **TINY)
    assert numbered.posterior.posterior["pre_1"].values.tolist() == [0]
    for each in (given, numbered):
        np.testing.assert_array_equal(each.draws.weights[0], result.draws.weights[0])


@pytest.mark.parametrize(("shift", "scale"), [(654.0, 1.0), (0.0, 352.0), (0.0, 1e-4)])
def test_raw_inputs_get_a_warning(shift, scale):
    raw = frame(INPUTS * scale + shift)
    with pytest.warns(DataWarning) as caught:
        fit(SigmoidChip(), raw, LABELS, **TINY)
    [said] = [str(each.message) for each in caught]
    column = raw["gene 0"]
    assert f"column 'gene 0' has mean {column.mean():.3g} and standard deviation {column.std(ddof=0):.3g}," in said
    assert "StandardScaler" in said
    assert caught[0].filename == __file__


def test_the_breast_cancer_data_as_they_come():
    data = load_data()
    with pytest.warns(DataWarning, match=r"column 'worst area' has mean 881 .* and 8 more are far off as well"):
        fit(LIFChip((30, 2)), data.inputs, data.labels, feature_names=data.feature_names, **TINY)


def test_standardised_inputs_get_none():
    data = split_data(load_data("wine"), n_train=30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(LIFChip((13, 3)), data.train_inputs, data.train_labels, **TINY)
