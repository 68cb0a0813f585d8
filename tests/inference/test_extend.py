"""A fit that is extended is the fit that would have been asked for with more draws."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.inference.fit import fit
from bayes_snn.inference.resume import extend, resume
from tests.helpers.fits import InterruptingChip
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

pytestmark = pytest.mark.usefixtures("quickly_compiled")

LIF = functools.partial(LIFChip, (1, 2, 2), "comparator", 1.0, n_steps=8)
OPTIONS = {"tune": 20, "chains": 2, "seed": 4, "cores": 1}


def same(first, second):
    assert first.arguments["draws"] == second.arguments["draws"]
    for name, values in first.posterior["posterior"].dataset.items():
        np.testing.assert_array_equal(values, second.posterior["posterior"][name])


@pytest.mark.parametrize(
    ("chip", "sampler", "weights"),
    [
        (SigmoidChip, "block", None),
        (LIF, "sitewise", "hierarchical"),
        (functools.partial(LIFChip, (1, 2), "noise", 0.3, n_steps=8), "block", None),
    ],
)
def test_it_has_the_draws_of_a_fit_that_was_asked_for_as_many(chip, sampler, weights, tmp_path):
    whole = fit(chip(), INPUTS, LABELS, weights, sampler=sampler, draws=25, **OPTIONS)
    fit(chip(), INPUTS, LABELS, weights, sampler=sampler, draws=10, checkpoint=tmp_path, **OPTIONS)
    again = extend(tmp_path, 18, chip())
    assert again.posterior.posterior.sizes["draw"] == 18
    again = extend(tmp_path, 25, chip())  # and once more
    same(again, whole)
    assert again.presentations == whole.presentations


def test_a_twin_is_the_same_and_the_budget_it_was_learned_with_ends_nothing(tmp_path):
    options = {"chains": 2, "seed": 4, "cores": 1, "budget": 3000}
    first = fit(LIF(), INPUTS, LABELS, draws=8, checkpoint=tmp_path, **options)
    more = extend(tmp_path, 30)
    assert first.arguments["sampler"] == more.arguments["sampler"] == "twin"
    assert more.cost.learning == first.cost.learning
    assert more.posterior.posterior.sizes["draw"] == 30
    for name in ("w_1", "w_2"):
        np.testing.assert_array_equal(more.posterior["posterior"][name][:, :8], first.posterior["posterior"][name])


def test_a_fit_that_is_stopped_while_it_is_extended_goes_on_to_the_same_draws(tmp_path):
    options = {"sampler": "block", "draws": 6, **OPTIONS}
    whole = fit(SigmoidChip(), INPUTS, LABELS, **options | {"draws": 40})
    fit(InterruptingChip(), INPUTS, LABELS, checkpoint=tmp_path, **options)
    stopped = extend(tmp_path, 40, InterruptingChip(1500))
    assert stopped.interrupted
    assert stopped.posterior.posterior.sizes["draw"] < 40
    same(resume(tmp_path, InterruptingChip()), whole)


def test_one_that_ended_by_itself_is_extended_beyond_that(tmp_path):
    options = {"sampler": "sitewise", "chains": 2, "tune": 50, "cores": 1}
    ended = fit(SigmoidChip(), INPUTS, LABELS, until=30, checkpoint=tmp_path, **options)
    n = ended.posterior.posterior.sizes["draw"]
    more = extend(tmp_path, 2 * n + 20, SigmoidChip())
    assert "until" not in more.arguments
    same(more, fit(SigmoidChip(), INPUTS, LABELS, draws=2 * n + 20, **options))


@pytest.mark.parametrize(
    ("draws", "told"), [(10, "10 were asked for, but an extended fit has more"), (0, "draws was 0")]
)
def test_fewer_draws_are_refused(draws, told, tmp_path):
    fit(SigmoidChip(), INPUTS, LABELS, sampler="block", draws=10, checkpoint=tmp_path, **OPTIONS)
    with pytest.raises(InputError) as error:
        extend(tmp_path, draws, SigmoidChip())
    assert told in str(error.value)
    assert resume(tmp_path, SigmoidChip()).posterior.posterior.sizes["draw"] == 10
