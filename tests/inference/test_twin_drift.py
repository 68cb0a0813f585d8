"""A chip that moves away from its twin is told by its checks, and one that stands still is not."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.groups import GAP
from bayes_snn.inference.drift import ALPHA, LARGEST_MOVE
from bayes_snn.inference.load import load_fit
from bayes_snn.inference.twin_checks import TwinChecks, twin_checks
from bayes_snn.inference.twin_drift import FEWEST_CHECKS, judge_checks, p_of_trend
from bayes_snn.posterior.build import build_model, weight_variables
from bayes_snn.samplers.twin import TwinMetropolis
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip
from tests.helpers.twins import fit_on_twin, twin_of
from tests.samplers.test_twin import WrongTwin, chains

pytestmark = pytest.mark.usefixtures("quickly_compiled")

N = 100


class FadingChip(SigmoidChip):
    """Its weights count less and less; it says that it is deterministic."""

    by_run = 0.0

    def run(self, weights, inputs):
        return super().run([(1.0 - self.by_run * self.runs) * np.asarray(matrix) for matrix in weights], inputs)


def series(rng, n, correlation, sticky=False):
    """A stationary series: autoregressive, or one that stays where it was."""
    x, new = np.empty(n), rng.normal(size=n)
    x[0] = new[0]
    for i in range(1, n):
        if sticky:
            x[i] = x[i - 1] if rng.uniform() < correlation else new[i]
        else:
            x[i] = correlation * x[i - 1] + np.sqrt(1 - correlation**2) * new[i]
    return x


def alarms(make, seed=0):
    """How many of N fits of two chains are said to move."""
    rng = np.random.default_rng(seed)
    return sum(p_of_trend([make(rng) for _ in range(2)]) <= ALPHA for _ in range(N))


def checks(gaps, accepted=None):
    gaps = np.atleast_2d(gaps)
    accepted = np.ones(gaps.shape, bool) if accepted is None else accepted
    return TwinChecks(gaps, accepted, ~accepted)


@pytest.mark.parametrize("sticky", [False, True])
@pytest.mark.parametrize(("correlation", "rate"), [(0.0, 0.01), (0.5, 0.01), (0.8, 0.025)])
def test_a_chip_that_stands_still_is_rarely_said_to_move(correlation, rate, sticky):
    found = alarms(lambda rng: series(rng, 100, correlation, sticky))
    assert found <= stats.binom.isf(1e-4, N, rate)


def test_as_if_checks_were_independent_it_would_be_said_often(monkeypatch):
    """Negative control: the same test without batches and without what is left of their correlation."""
    monkeypatch.setattr("bayes_snn.inference.twin_drift._MOST_CORRELATED", 0.0)
    monkeypatch.setattr("bayes_snn.inference.twin_drift._batch_means", lambda chains: chains)
    assert alarms(lambda rng: series(rng, 100, 0.8)) > stats.binom.isf(1e-4, N, 0.025)


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_one_that_moves_is_found(correlation):
    time = np.arange(100) / 100
    assert alarms(lambda rng: series(rng, 100, correlation) - 3 * time) > 0.9 * N
    assert alarms(lambda rng: series(rng, 100, correlation) * (1 + 5 * time)) > 0.8 * N
    assert alarms(lambda rng: series(rng, 100, correlation) + 3 * time) <= stats.binom.isf(1e-4, N, 0.01)  # a rise


def test_checks_that_are_lost_early_count_as_the_worst():
    rng = np.random.default_rng(1)
    gaps = rng.normal(size=(2, 100))
    lost = rng.uniform(size=gaps.shape) < np.linspace(0, 0.9, 100)
    assert judge_checks(checks(gaps)).p_value > ALPHA
    found = judge_checks(checks(np.where(lost, np.nan, gaps), ~lost))
    assert found.p_value <= ALPHA
    assert found.too_far  # less than half as many are accepted
    assert "were accepted in the place of" in found.verdict


def test_a_small_move_is_told_and_fails_nothing():
    rng = np.random.default_rng(2)
    small = 0.1 * rng.normal(size=(2, 100)) - 0.5 * np.arange(100) / 100
    found = judge_checks(checks(small))
    assert found.p_value <= ALPHA
    assert 0.2 < found.move < LARGEST_MOVE
    assert not found.too_far
    assert found.verdict.startswith("The chip moved a little away from its twin")


def test_an_exact_twin_and_too_few_checks_say_nothing():
    assert judge_checks(checks(np.zeros((2, 100)))).p_value == 1.0
    assert judge_checks(checks(np.zeros((2, FEWEST_CHECKS - 1)))) is None
    never = np.zeros((2, 100), bool)
    assert judge_checks(TwinChecks(np.full((2, 100), np.nan), never, never)) is None


def drawn(twin, by_run, seed, n_draws=120):
    """Checks of two chains that were drawn side by side, each on a chip that fades."""
    gaps, accept = np.empty((2, n_draws)), np.empty((2, n_draws))
    for chain in range(2):
        chip = FadingChip()
        model = build_model(chip, INPUTS, LABELS, "standard_normal")
        with model:
            step = TwinMetropolis(weight_variables(model), twin=twin, model=model, n_moves=1, n_replicas=2)
        chip.by_run = by_run
        _, told = chains(step, model, n_chains=1, tune=20, draws=n_draws, seed=100 * seed + chain)
        gaps[chain], accept[chain] = ([each[name] for each in told] for name in (GAP, "accept"))
    columns = {GAP: (("chain", "draw"), gaps), "accept": (("chain", "draw"), accept)}
    return twin_checks(xr.DataTree.from_dict({"sample_stats": xr.Dataset(columns)}))


def test_chains_on_a_wrong_twin_of_a_chip_that_stands_still_are_not_said_to_move():
    found = [drawn(WrongTwin("leak"), 0.0, seed) for seed in range(4)]
    assert all(each.spread > 0.3 for each in found)
    assert sum(judge_checks(each).p_value <= ALPHA for each in found) <= 1  # two by chance: 6e-4


def test_chains_on_a_chip_that_moves_are():
    found = [judge_checks(drawn(SigmoidChip(), 0.003, seed, n_draws=300)) for seed in range(3)]
    assert sum(each.p_value <= ALPHA for each in found) >= 2


def test_the_verdict_says_it_and_what_to_do(tmp_path):
    chip = LIFChip((1, 3, 2), "threshold", 0.3, seed=100, n_steps=8)
    result = fit_on_twin(chip, twin_of(chip), INPUTS, LABELS, draws=100)
    assert result.diagnosis.twin_drift.p_value == 1.0
    still = result.diagnosis.verdict
    assert "twin" not in still
    del result.diagnosis
    result.posterior.sample_stats["gap"][:] = np.random.default_rng(0).normal(size=(2, 100)) - 0.05 * np.arange(100)
    found = result.diagnosis
    assert found.twin_drift.too_far
    assert not found.converged
    assert found.verdict.startswith("The chip moved away from its twin, early draws are of another chip than late ones")
    assert "Learn the twin again and fit with a smaller budget" in found.verdict
    assert found.verdict.endswith(still)
    assert result.as_dict()["diagnosis"]["twin_drift"]["too_far"]
    assert load_fit(result.save(tmp_path / "fit")).diagnosis.verdict == found.verdict
