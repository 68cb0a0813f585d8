"""The chip as a scikit-learn classifier: scikit-learn's own checks, and that it is `fit` and nothing else."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks
from sklearn.utils.validation import has_fit_parameter

from bayes_snn import BayesSNNClassifier, LIFChip, fit
from bayes_snn.checks.uncertainty import predictive_entropy
from bayes_snn.errors import DataWarning, InputError
from bayes_snn.estimates.predict import ESTIMATES
from tests.helpers.fits import CountingChip, InterruptingChip, same_draws

pytestmark = pytest.mark.usefixtures("quickly_compiled")

# enough draws for the accuracy that the checks ask for, few enough for the hundred fits that they make
CHECKED = BayesSNNClassifier(hidden=8, draws=40, tune=40, chains=2, sampler="sitewise")
QUICK = {"sampler": "sitewise", "hidden": 3, "draws": 5, "tune": 5, "chains": 2, "random_state": 0}

INPUTS, LABELS = load_iris(return_X_y=True)
INPUTS = StandardScaler().fit_transform(INPUTS)[::3]
LABELS = LABELS[::3]
NAMES = np.array(["setosa", "versicolor", "virginica"])


# scikit-learn's checks, none of them excluded


@pytest.mark.filterwarnings("ignore:The inputs look unscaled")  # they are, in scikit-learn's checks
@parametrize_with_checks([CHECKED])
def test_scikit_learn_checks(estimator, check):
    name = getattr(check, "func", check).__name__
    if name == "check_array_api_input":
        pytest.skip("needs SCIPY_ARRAY_API when Python starts: see the test below")
    check(estimator)


def test_the_scikit_learn_check_that_needs_an_environment():
    code = (
        "from tests.inference.test_estimator import CHECKED, estimator_checks_generator as checks\n"
        "found = [c for _, c in checks(CHECKED) if getattr(c, 'func', c).__name__ == 'check_array_api_input']\n"
        "[check(CHECKED) for check in found]\n"
        "print(len(found), 'passed')\n"
    )
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("1 passed\n"), done.stderr


def test_no_check_is_switched_off_by_a_tag():
    tags = CHECKED.__sklearn_tags__()
    off = [tags.no_validation, tags.non_deterministic, tags._skip_test, tags.classifier_tags.poor_score]
    assert not any(off)
    assert tags.requires_fit
    assert len(list(estimator_checks_generator(CHECKED))) > 50


# within scikit-learn


def test_a_pipeline_in_cross_validation():
    inputs, labels = load_breast_cancer(return_X_y=True)
    model = make_pipeline(
        StandardScaler(), BayesSNNClassifier(hidden=4, draws=15, tune=25, chains=2, random_state=0, sampler="sitewise")
    )
    scores = cross_val_score(model, inputs[:200], labels[:200], cv=3)
    assert scores.shape == (3,)
    assert scores.mean() > 0.8  # the larger class alone is 0.52


def test_a_grid_search_over_hidden_neurons_and_chips():
    distorted = partial(LIFChip, distortion="comparator", sigma=3.0, seed=1)
    model = Pipeline([("scale", StandardScaler()), ("chip", BayesSNNClassifier(**QUICK))])
    grid = {"chip__hidden": [(), (3,)], "chip__chip": [None, distorted]}
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(INPUTS, NAMES[LABELS])
    assert len(search.cv_results_["params"]) == 4
    assert set(search.predict(INPUTS)) <= set(NAMES)
    assert search.best_estimator_["chip"].chip_.spec.layers[0] == 5


def test_clones_have_the_parameters_and_not_the_fit():
    model = BayesSNNClassifier(partial(LIFChip, n_steps=16), **QUICK).fit(INPUTS, LABELS)
    again = clone(model)
    assert again.get_params().keys() == model.get_params().keys()
    assert {**again.get_params(), "chip": None} == {**model.get_params(), "chip": None}
    with pytest.raises(NotFittedError):
        again.predict(INPUTS)
    np.testing.assert_array_equal(again.fit(INPUTS, LABELS).predict_proba(INPUTS), model.predict_proba(INPUTS))


def test_pickled_with_its_fit():
    model = BayesSNNClassifier(partial(LIFChip, distortion="gain", sigma=0.2), **QUICK).fit(INPUTS, NAMES[LABELS])
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict_proba(INPUTS), model.predict_proba(INPUTS))
    assert loaded.chip_ == model.chip_


# what it fits


def test_it_is_fit_with_the_random_state_for_a_seed():
    model = BayesSNNClassifier(**QUICK).fit(INPUTS, NAMES[LABELS])
    shown = np.column_stack([INPUTS, np.ones(len(INPUTS))])
    np.testing.assert_array_equal(model.shown(INPUTS), shown)
    result = fit(LIFChip((5, 3, 3)), shown, LABELS, draws=5, tune=5, chains=2, cores=1, seed=0, sampler="sitewise")
    assert same_draws(model.result_, result)
    assert model.result_.presentations == result.presentations
    np.testing.assert_array_equal(model.classes_, NAMES)
    for estimate in ESTIMATES:
        model.set_params(estimate=estimate)
        np.testing.assert_array_equal(model.predict_proba(INPUTS), result.predict(shown, estimate))
        np.testing.assert_array_equal(model.predict(INPUTS), NAMES[result.predict(shown, estimate).argmax(axis=1)])
    assert model.score(INPUTS, NAMES[LABELS]) == np.mean(model.predict(INPUTS) == NAMES[LABELS])
    # and what is asked of a fit can be asked of the estimator's
    assert predictive_entropy(model.result_, shown).total.shape == (50,)


def test_random_states():
    def draws(random_state):
        return BayesSNNClassifier(**QUICK | {"random_state": random_state}).fit(INPUTS, LABELS).result_

    assert same_draws(draws(np.int64(3)), draws(3))
    assert not same_draws(draws(3), draws(4))
    assert same_draws(draws(np.random.RandomState(3)), draws(np.random.RandomState(3)))
    state = np.random.RandomState(3)
    assert not same_draws(draws(state), draws(state))
    assert not same_draws(draws(None), draws(None))


@pytest.mark.parametrize(
    "labels",
    [LABELS, LABELS - 5, NAMES[LABELS], NAMES[LABELS].astype(object), LABELS.astype(float), LABELS > 0],
    ids=["int", "negative", "text", "object", "float", "bool"],
)
def test_labels_of_any_type(labels):
    model = BayesSNNClassifier(**QUICK).fit(INPUTS, labels)
    np.testing.assert_array_equal(model.classes_, np.unique(labels))
    assert set(model.predict(INPUTS)) <= set(labels)
    assert model.predict_proba(INPUTS).shape == (50, len(model.classes_))
    assert model.chip_.spec.layers == (5, 3, len(model.classes_))


def test_names_of_features_and_classes_are_those_of_the_posterior():
    table = pd.DataFrame(INPUTS, columns=["sepal length", "sepal width", "petal length", "petal width"])
    model = BayesSNNClassifier(**QUICK).fit(table, NAMES[LABELS])
    assert model.feature_names_in_.tolist() == list(table)
    posterior = model.result_.posterior.posterior
    assert posterior["pre_1"].values.tolist() == [*table, "bias"]
    assert posterior["post_2"].values.tolist() == NAMES.tolist()
    with pytest.raises(ValueError, match="feature names"):
        model.predict(table[list(table)[::-1]])


def test_without_a_bias_the_chip_has_an_input_for_each_feature():
    model = BayesSNNClassifier(**QUICK, bias=False).fit(INPUTS, LABELS)
    assert model.chip_.spec.layers == (4, 3, 3)
    np.testing.assert_array_equal(model.predict_proba(INPUTS), model.result_.predict(INPUTS))


def test_a_feature_called_bias_keeps_its_name():
    table = pd.DataFrame(INPUTS, columns=["a", "bias", "b", "bias_"])
    model = BayesSNNClassifier(**QUICK).fit(table, LABELS)
    assert model.result_.posterior.posterior["pre_1"].values.tolist() == [*table, "bias__"]


def test_hidden_layers():
    for hidden, layers in ((2, (5, 2, 3)), ((), (5, 3)), ([3, 2], (5, 3, 2, 3)), (np.array([2]), (5, 2, 3))):
        model = BayesSNNClassifier(**QUICK | {"sampler": "sitewise", "hidden": hidden, "draws": 1, "tune": 0}).fit(
            INPUTS, LABELS
        )
        assert model.chip_.spec.layers == layers


def test_features_as_they_come():
    """Constant, large and integer features are accepted, with a word; a chip's inputs end at 1e6."""
    rng = np.random.default_rng(0)
    inputs = np.c_[np.ones(20), rng.integers(100_000, size=20), rng.normal(size=20)]
    for samples in (inputs, inputs.astype(int), inputs[:2]):
        with pytest.warns(DataWarning, match="column 1 has mean"):
            BayesSNNClassifier(**QUICK).fit(samples, np.arange(len(samples)) % 2)
    with pytest.raises(InputError, match="standardise the features first"):
        BayesSNNClassifier(**QUICK).fit(inputs * 1e6, np.arange(20) % 2)


def test_a_factory_of_one_s_own_chip_and_a_prior_of_one_s_own():
    made = []

    def factory(layers):
        made.append(CountingChip(LIFChip(layers, n_steps=12)))
        return made[-1]

    def tight(chip):
        return [
            pm.Normal(n, 0, 0.01, dims=d) for n, d in zip(chip.spec.weight_names, chip.spec.weight_dims, strict=True)
        ]

    model = BayesSNNClassifier(factory, **QUICK | {"sampler": "block"}, weights=tight).fit(INPUTS, LABELS)
    assert len(made) == 1
    assert model.chip_ is made[0]
    assert model.result_.arguments["sampler"] == "block"
    assert np.abs(model.result_.draws.weights[0]).max() < 0.1
    before = made[0].runs
    model.predict(INPUTS)
    assert made[0].runs == before  # the draws have answered to the training inputs
    model.predict(INPUTS + 0.1)
    assert made[0].runs - before == len(np.unique(model.result_.draws.weights[0], axis=0))


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"hidden": 0}, "hidden was 0"),
        ({"hidden": True}, "hidden was True"),
        ({"hidden": "16"}, "hidden was '16'"),
        ({"hidden": (4, 2.5)}, "hidden was (4, 2.5)"),
        ({"hidden": None}, "hidden was None"),
        ({"chip": LIFChip((4, 3, 3))}, "pass lambda layers:"),
        ({"chip": lambda layers: None}, "The chip was NoneType"),
        (
            {"chip": lambda layers: LIFChip((30, 16, 2))},
            "but X, bias, hidden and y ask for (5, 3, 3)",
        ),
        ({"bias": 1}, "bias was 1"),
        ({"estimate": "mediod"}, "did you mean 'medoid'"),
        ({"sampler": "sitewize"}, "did you mean 'sitewise'"),
        ({"weights": "gausian"}, "did you mean 'gaussian'"),
        ({"draws": 0}, "draws was 0"),
        ({"random_state": -1}, "seed was -1"),
    ],
)
def test_wrong_parameters_are_refused_by_fit(parameters, says):
    model = BayesSNNClassifier(**QUICK | parameters)
    with pytest.raises(InputError) as error:
        model.fit(INPUTS, LABELS)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_weights_of_samples_and_classes_are_those_of_fit():
    model = BayesSNNClassifier(**QUICK)
    assert has_fit_parameter(model, "sample_weight")
    weights = np.where(LABELS == 2, 3.0, 1.0)
    one = model.fit(INPUTS, NAMES[LABELS], sample_weight=weights).result_
    np.testing.assert_array_equal(one.sample_weight, weights)
    other = BayesSNNClassifier(**QUICK, class_weight={"virginica": 3.0}).fit(INPUTS, NAMES[LABELS]).result_
    assert same_draws(one, other)
    plain = BayesSNNClassifier(**QUICK).fit(INPUTS, NAMES[LABELS]).result_
    assert not same_draws(one, plain)
    pipeline = make_pipeline(StandardScaler(), BayesSNNClassifier(**QUICK))
    pipeline.fit(INPUTS, LABELS, bayessnnclassifier__sample_weight=weights)
    np.testing.assert_array_equal(pipeline[-1].result_.sample_weight, weights)
    balanced = BayesSNNClassifier(**QUICK, class_weight="balanced").fit(INPUTS[10:], LABELS[10:]).result_
    sums = np.bincount(LABELS[10:], weights=balanced.sample_weight)
    np.testing.assert_allclose(sums, sums.mean())


def test_weights_that_cannot_be_used_are_refused_in_a_sentence():
    with pytest.raises(InputError, match=r"class_weight has a weight for 'rose', but y has the classes \['setosa'"):
        BayesSNNClassifier(**QUICK, class_weight={"rose": 2.0}).fit(INPUTS, NAMES[LABELS])
    with pytest.raises(InputError, match="sample weights have shape"):
        BayesSNNClassifier(**QUICK).fit(INPUTS, LABELS, sample_weight=np.ones(3))


def test_one_class_is_refused():
    with pytest.raises(InputError, match=r"one class only, 'a', but .* two classes"):
        BayesSNNClassifier(**QUICK).fit(INPUTS, np.full(50, "a"))


def test_ctrl_c_stops_a_search_and_keeps_the_draws_of_the_fit():
    inputs, labels = INPUTS[:, [2]], (LABELS > 0).astype(int)
    model = BayesSNNClassifier(lambda layers: InterruptingChip(60), bias=False, **QUICK | {"hidden": (), "draws": 500})
    with pytest.raises(KeyboardInterrupt):
        model.fit(inputs, labels)
    assert model.result_.interrupted
    assert model.predict(inputs).shape == (50,)
    with pytest.raises(KeyboardInterrupt):
        cross_val_score(model, inputs, labels, cv=2)
