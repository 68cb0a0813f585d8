"""The black-box Op: one chip run for each new set of weights, no gradient, nothing believed that is no spike count."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest

from bayes_snn.errors import ChipError
from bayes_snn.likelihood import BETA, class_probabilities, log_likelihood
from bayes_snn.posterior.op import MEMORY, ChipCounts
from bayes_snn.posterior.readout import log_p
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip


@pytest.fixture
def op():
    return ChipCounts(SigmoidChip(), INPUTS)


def label_terms(op, w):
    """log p of each label by the plain readout, as a PyTensor expression of the weights."""
    return log_p(op(w), pt.as_tensor(LABELS), BETA, np.zeros(2))


def test_evaluates_the_softmax_of_spike_counts(op):
    weights = [np.array([[0.4, -1.0]])]
    counts = SigmoidChip().run(weights, INPUTS)
    expected = np.log(class_probabilities(counts)[np.arange(len(LABELS)), LABELS])
    np.testing.assert_array_equal(op.evaluate(weights), counts[None])
    w = pt.dmatrix("w")
    compiled = pytensor.function([w], [op(w), label_terms(op, w)])
    found, terms = compiled(weights[0])
    np.testing.assert_array_equal(found, counts[None])
    np.testing.assert_allclose(terms, expected, rtol=1e-12)


def test_likelihood_terms_are_never_positive_and_stay_finite():
    counts = np.array([[0, 2000], [2000, 0], [7, 7]])
    terms = log_likelihood(counts, np.array([0, 0, 1]), 0.5)
    np.testing.assert_allclose(terms, [-1000, 0, -np.log(2)])
    assert (terms <= 0).all()
    np.testing.assert_allclose(class_probabilities(counts).sum(axis=1), 1)


def test_remembers_by_value(op):
    for _ in range(3):
        for k in range(3):
            op.evaluate([np.full((1, 2), float(k))])
    assert op.chip.runs == 3
    assert op.presentations == 3 * len(INPUTS)
    op.evaluate([np.zeros((1, 2), np.float32)])  # single precision is the same
    assert op.chip.runs == 3
    for k in range(MEMORY + 1):
        op.evaluate([np.full((1, 2), float(k))])
    runs = op.chip.runs
    op.evaluate([np.full((1, 2), float(MEMORY))])
    assert op.chip.runs == runs
    op.evaluate([np.zeros((1, 2))])  # the first of too many
    assert op.chip.runs == runs + 1


def test_what_it_returns_can_be_changed_without_harm(op):
    weights = [np.zeros((1, 2))]
    first = op.evaluate(weights)
    kept = first.copy()
    first[:] = 9
    second = op.evaluate(weights)
    np.testing.assert_array_equal(second, kept)
    second[:] = 9
    np.testing.assert_array_equal(op.evaluate(weights), kept)


def test_stock_metropolis_pays_one_run_a_proposal():
    op = ChipCounts(SigmoidChip(), INPUTS)
    with pm.Model():
        w = pm.Normal("w", shape=(1, 2))
        pm.Potential("l", label_terms(op, w).sum())
        step = pm.Metropolis()
        point = {"w": np.zeros((1, 2))}
        point, _ = step.step(point)
        before = op.chip.runs
        for _ in range(50):
            point, _ = step.step(point)
    assert op.chip.runs - before == 100


def test_has_no_gradient_and_says_what_to_do(op):
    w = pt.dmatrix("w")
    with pytest.raises(NotImplementedError, match="a chip, which has no gradient: sample the weights with a Metro"):
        pt.grad(label_terms(op, w).sum(), w)


def test_pickles_without_its_memory(op):
    op.evaluate([np.zeros((1, 2))])
    copy = pickle.loads(pickle.dumps(op))
    assert copy.presentations == op.presentations
    copy.evaluate([np.zeros((1, 2))])
    assert copy.chip.runs == 2


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (np.full((6, 2), np.nan), "not whole numbers"),
        (np.full((6, 2), 0.5), "not whole numbers"),
        (np.full((6, 2), -1), "from -1 to -1"),
        (np.full((6, 2), 13), "from 13 to 13"),
        (np.zeros((5, 2), int), r"shape \(5, 2\)"),
        (np.zeros((6, 3), int), r"shape \(6, 3\)"),
        (np.zeros(6, int), r"shape \(6,\)"),
        (None, "counts are None"),
        (np.full((6, 2), "x"), "not whole numbers"),
    ],
)
def test_refuses_nonsense(op, answer, sentence):
    op.chip.run = lambda weights, inputs: answer
    with pytest.raises(ChipError, match=sentence):
        op.evaluate([np.zeros((1, 2))])
    assert not op._known  # what was refused is not remembered


def test_whole_floats_are_counts(op):
    op.chip.run = lambda weights, inputs: np.full((6, 2), 3.0)
    np.testing.assert_array_equal(op.evaluate([np.zeros((1, 2))]), np.full((1, 6, 2), 3))


DENSITIES = """
import numpy as np
from bayes_snn import LIFChip
from bayes_snn.posterior.build import build_model
from bayes_snn.samplers.by_name import make_step

rng = np.random.default_rng(0)
model = build_model(LIFChip((3, 2, 2)), rng.normal(size=(30, 3)), np.arange(30) % 2)
step = make_step("block", model)
print([(float(step.log_prior(q)).hex(), float(step.log_likelihood(q)).hex()) for q in rng.normal(size=(40, 10))])
"""


@pytest.mark.slow
def test_log_densities_are_the_same_compiled_or_out_of_the_cache(tmp_path):
    """To the last bit, or a fit that continues in another process would have other draws."""
    environment = {**os.environ, "PYTENSOR_FLAGS": f"base_compiledir={tmp_path}"}
    cold, warm = (
        subprocess.run([sys.executable, "-c", DENSITIES], env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    )
    assert cold.stdout == warm.stdout
    assert "0x" in cold.stdout
