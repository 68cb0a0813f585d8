"""A fit that ends when its draws are enough: always at the same draw, and with the draws of a fit asked for so many."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.inference.diagnostics import ESS_PER_CHAIN
from bayes_snn.inference.fit import fit
from bayes_snn.inference.sampling import MOST_DRAWS, Sampling
from tests.helpers.fits import CountingChip
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

LIF = functools.partial(LIFChip, (1, 2), "comparator", 1.0, n_steps=8)
QUICK = {"sampler": "sitewise", "tune": 50, "chains": 2, "cores": 1}


def draws_of(result, variable="w_1"):
    return result.posterior["posterior"][variable].values


def test_it_ends_at_the_first_look_that_is_enough_with_the_draws_of_a_longer_fit():
    chip = CountingChip(SigmoidChip())
    ended = fit(chip, INPUTS, LABELS, until="converged", **QUICK)
    n = ended.posterior.posterior.sizes["draw"]
    assert ESS_PER_CHAIN <= n < MOST_DRAWS
    assert ended.diagnosis.converged
    assert not ended.interrupted
    assert ended.arguments["until"] == "converged"
    assert chip.shown == ended.cost.total  # what looks have shown is counted, and shown once
    whole = fit(SigmoidChip(), INPUTS, LABELS, draws=2 * n, **QUICK)
    np.testing.assert_array_equal(draws_of(ended), draws_of(whole)[:, :n])
    # one look before, it was not enough
    before = fit(SigmoidChip(), INPUTS, LABELS, draws=int(n / 1.25), **QUICK)
    assert n == ESS_PER_CHAIN or not before.diagnosis.converged


def test_it_ends_at_the_same_draw_in_processes_of_their_own():
    alone = fit(LIF(), INPUTS, LABELS, until=60, **QUICK)
    together = fit(LIF(), INPUTS, LABELS, until=60, **QUICK | {"cores": 2})
    np.testing.assert_array_equal(draws_of(alone), draws_of(together))
    assert alone.diagnosis.effective_draws >= 60


def test_more_effective_draws_take_more_draws():
    few, many = (fit(SigmoidChip(), INPUTS, LABELS, until=n, **QUICK) for n in (20, 400))
    sizes = [each.posterior.posterior.sizes["draw"] for each in (few, many)]
    assert sizes[0] < sizes[1]
    assert many.diagnosis.effective_draws >= 400
    np.testing.assert_array_equal(draws_of(few), draws_of(many)[:, : sizes[0]])


def test_draws_are_the_most_and_a_fit_that_needs_more_has_all_of_them():
    result = fit(SigmoidChip(), INPUTS, LABELS, until=10**6, draws=70, **QUICK)
    assert result.posterior.posterior.sizes["draw"] == 70
    np.testing.assert_array_equal(draws_of(result), draws_of(fit(SigmoidChip(), INPUTS, LABELS, draws=70, **QUICK)))


def test_a_twin_keeps_the_answers_that_are_looked_at_so_that_nothing_is_shown_for_them():
    chip = CountingChip(LIF())
    result = fit(chip, INPUTS, LABELS, twin=LIF(), sampler="twin", until=40, draws=500, chains=2, cores=1)
    assert result.cost.log_likelihood == 0
    assert result.cost.total == chip.shown
    assert result.diagnosis.effective_draws >= 40
    assert result.posterior.posterior.sizes["draw"] < 500


def test_a_fit_that_was_stopped_ends_where_it_would_have(tmp_path):
    from bayes_snn.inference.resume import resume
    from tests.helpers.fits import InterruptingChip

    whole = fit(SigmoidChip(), INPUTS, LABELS, until=300, **QUICK)
    n = whole.posterior.posterior.sizes["draw"]
    stopped = fit(InterruptingChip(400), INPUTS, LABELS, until=300, checkpoint=tmp_path, **QUICK)
    assert stopped.interrupted
    assert stopped.posterior.posterior.sizes["draw"] < n
    again = resume(tmp_path, InterruptingChip())
    np.testing.assert_array_equal(draws_of(again), draws_of(whole))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"until": "mixed"}, "until was 'mixed', but 'converged' or a number of effective draws is expected"),
        ({"until": 0}, "until was 0"),
        ({"until": True}, "until was True"),
        ({"until": 1.5}, "until was 1.5"),
        ({"until": "converged", "sampler": "smc"}, "draws a population, which does not end by itself"),
        ({"until": "converged", "chains": 1}, "R-hat compares chains, and there is one: take 2 or more"),
    ],
)
def test_what_cannot_end_is_refused(changed, told):
    chip = CountingChip(SigmoidChip())
    with pytest.raises(InputError) as error:
        fit(chip, INPUTS, LABELS, **QUICK | changed)
    assert chip.shown == 0
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_noisy_chip_is_not_looked_at_without_the_answers_it_gave():
    with pytest.raises(InputError, match="the sampler keeps no answers to look at"):
        fit(LIFChip((1, 2), "noise", 0.3, n_steps=8), INPUTS, LABELS, until=50, **QUICK)
    with pytest.raises(InputError, match="one after the other"):
        fit(LIFChip((1, 2), "drift", 0.3, n_steps=8), INPUTS, LABELS, until=50, **QUICK)


def test_it_is_an_argument_as_any_other():
    assert Sampling.stored(Sampling(until=300).as_arguments({})).until == 300
    assert Sampling(until="converged").sizes[0] == MOST_DRAWS
    assert "until" not in Sampling().as_arguments({})
