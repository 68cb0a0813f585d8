"""Whatever the prior is and whatever is wrong with the twin, draws of sampler `twin` are from the chip's posterior.

Each prior of models/ on a chip of two weights, hyperparameters and readout with them, against draws from the prior that
are weighted with their likelihood; and two layers, shifts of neurons in them, under a prior with hyperparameters.
"""

from __future__ import annotations

from functools import cache
from itertools import cycle

import numpy as np
import pytest

from bayes_snn.groups import GAP
from tests.helpers.toys import HiddenChip, SigmoidChip
from tests.helpers.weighted import (
    PRIORS,
    expected_features,
    feature_scores,
    features,
    point_at,
    prior_draws,
    worst,
)
from tests.helpers.wrong_twins import FAULTS, Bench, WrongTwin

LIMIT = 5.0  # of some 400 z-scores the largest is beyond it once in 4,000 times, if a sampler is right
INPUTS = np.linspace(-2.0, 2.0, 10)[:, None]
LABELS = np.array([0, 0, 1, 0, 0, 1, 0, 1, 1, 1])
# of a twin that would propose where the chip's posterior is not, or leave out some of where it is
POWERS = {"swapped": 0.1, "leak": 0.5, "constant": 1.0}
DEEP = "hierarchical, two layers"
# every fault under two priors, and one fault each, in turn, under the others
CASES = [(case, fault) for case in ("gaussian", DEEP) for fault in FAULTS]
CASES += zip([case for case in PRIORS if case != "gaussian"], cycle(FAULTS))
N_MOVES = {"sparse": 4}  # weights seldom cross from the spike to the slab
DRAWS = {"sparse": 1200, "horseshoe": 1500, "student_t": 1500, "learned_readout": 1200}  # they mix slowly


@cache
def bench(case):
    chip = HiddenChip() if case == DEEP else SigmoidChip()
    n_first = 3 if case == DEEP else 1
    return Bench(chip, INPUTS, LABELS, case.split(",")[0], n_moves=N_MOVES.get(case, 1), n_replicas=2, n_first=n_first)


@cache
def expected(case):
    return expected_features(bench(case).chip, INPUTS, LABELS, case.split(",")[0], 400_000)


def draws_on(case, twin, draws, power=1.0, checked=True, chains=2):
    """z-scores of all features, and the stats of all draws."""
    ready = bench(case)
    ready.use(twin, power, checked)
    starts = prior_draws(case.split(",")[0], ready.chip, chains, np.random.default_rng(4))
    starts = [point_at(ready.model, starts, chain) for chain in range(chains)]
    found, told = ready.draws(starts, 60, draws)
    return feature_scores(features(ready.chip, INPUTS, LABELS, found), expected(case)), told


@pytest.mark.parametrize(("case", "fault"), CASES)
def test_draws_on_a_wrong_twin_are_the_chips_whatever_the_prior(case, fault):
    twin = WrongTwin(bench(case).chip, fault)
    scores, told = draws_on(case, twin, DRAWS.get(case, 700), POWERS[fault])
    assert 0.05 < np.mean([each["accept"] for each in told]) < 0.98
    assert worst(scores.values()) < LIMIT, scores


@pytest.mark.parametrize(("case", "fault"), CASES)
def test_with_the_checks_left_out_they_are_the_twins(case, fault):
    """Negative control: the same draws from the same twin, which stands in for the chip."""
    twin = WrongTwin(bench(case).chip, fault)
    scores, told = draws_on(case, twin, DRAWS.get(case, 500), checked=False)
    assert all(each["accept"] == 1 for each in told)
    assert worst(scores.values()) > LIMIT, scores


@pytest.mark.parametrize("case", [*PRIORS, DEEP])
def test_a_twin_equal_to_the_chip_accepts_every_check(case):
    _, told = draws_on(case, bench(case).chip, 60)
    assert all(each["accept"] == 1 for each in told)
    assert np.nanmax(np.abs([each[GAP] for each in told])) < 1e-9
