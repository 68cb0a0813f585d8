"""Simulation-based calibration with noise and a grid together, for every sampler (Talts et al., arXiv 1804.06788).

A state is drawn from the prior, the chip is run once with it, and labels are drawn from the class probabilities of that
run: so they have the likelihood of a noisy chip, the mean over its noise. Given the labels, the state and a sampler's
draws are then alike, and the rank of the one among the others is uniform. States are few, so that ties are many: a rank
is drawn at random among those that a tie leaves. Ranks are those of each weight, of the state's noise, and of its
likelihood, which tells draws from the posterior from draws from the prior (Modrak et al., Bayesian Anal. 2023).

Against test_noisy_grid.py, which has thousands of draws for one set of labels, this has few for each of many sets: it
would not find a bias as small as that of a sweep which takes answers of rejected shifts.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bayes_snn.likelihood import class_probabilities
from bayes_snn.posterior.op import ChipCounts
from bayes_snn.samplers.smc import CountingMH, sample_smc
from tests.samplers.test_noisy_grid import INPUTS, FourStates, SixteenStates, chain, posterior, ready, state_of

THIN = {"sitewise": 24, "pymc": 32, "block": 16, "pcn": 16, "demetropolis": 48}  # all but independent then
N_REPLICATES, N_DRAWS, N_PARTICLES = 120, 7, 40
# nominal probability that a sampler without a fault is taken for a wrong one, its statistics all together: spreads of
# ranks are skewed, which makes it about 1e-5 at this number of replicates
FALSE_ALARM = 2e-6


class InformedFour(FourStates):
    """Three labels tell a lot of the state, and one run a lot less."""

    shifts, spreads = np.array([5, -4, -1, 0]), np.array([2, 3, 7, 5])


class InformedSixteen(SixteenStates):
    shifts, spreads = np.resize([5, -4, -1, 0, 3], 16), np.resize([2, 3, 7, 5, 4], 16)


def relabelled(answers, labels):
    """An Op's `answers`, with the two classes swapped where a label is 0; labels may then be replaced in place.

    The model's labels are all 1, and the likelihood of these labels is that of 1 after the swap.
    """

    def swapped(weights, inputs):
        counts = answers(weights, inputs)
        return np.where(labels[:, None] == 1, counts, counts[..., ::-1])

    return swapped


class Trials:
    """A true state, labels and draws for each replicate; the model is compiled once, and its labels are replaced."""

    def __init__(self, sampler, seed=0):
        self.chip = InformedSixteen() if sampler == "sitewise" else InformedFour()
        self.chip.restart_noise([seed, 9])
        self.rng = np.random.default_rng([seed, 8])
        self.model, self.step = ready(sampler, chip=self.chip)
        self.op, self.now = self.model.likelihood.op, np.zeros(len(INPUTS), int)
        self.op.answers = relabelled(self.op.answers, self.now)
        self.truths, self.labels, self.draws = [], [], []

    def begin(self):
        """Draw a state from the prior, and labels from the chip."""
        spec, levels = self.chip.spec, self.chip.weight_levels[-1]
        matrix = levels[self.rng.integers(0, len(levels), spec.weight_shapes[-1])]
        weights = [*(np.zeros(shape) for shape in spec.weight_shapes[:-1]), matrix]
        below = class_probabilities(self.chip.run(weights, INPUTS))[:, 0]
        self.now[:] = self.rng.random(len(below)) > below
        self.op.forget()
        self.truths.append(int(state_of(matrix)))
        self.labels.append(self.now.copy())

    def z_scores(self, truths=None):
        """Of the ranks of truths, (2 n_quantities + 1,): their location; their spread; and the mean of all spreads."""
        truths, draws = np.array(self.truths if truths is None else truths), np.array(self.draws)
        n_trials, n_states = len(truths), len(self.chip.spreads)
        bits = np.arange(n_states) >> np.arange(n_states.bit_length() - 1)[:, None] & 1
        likelihoods = np.round([posterior(self.chip, labels) for labels in self.labels], 12)
        scores = []
        for values in (*bits, self.chip.spreads, likelihoods):
            values = np.broadcast_to(values, (n_trials, n_states))
            true, drawn = values[np.arange(n_trials), truths, None], np.take_along_axis(values, draws, axis=1)
            ties = (drawn == true).sum(axis=1)
            scores.append((drawn < true).sum(axis=1) + self.rng.integers(0, ties + 1) - N_DRAWS / 2)
        place = np.column_stack(scores)
        spread = place**2 - N_DRAWS * (N_DRAWS + 2) / 12  # less the variance of a uniform rank
        found = np.column_stack([place, spread, spread.mean(axis=1)])
        return found.mean(axis=0) / found.std(axis=0, ddof=1) * n_trials**0.5


def trials(sampler, n_replicates=N_REPLICATES, seed=0):
    found, thin = Trials(sampler, seed), THIN[sampler]
    step = found.step
    for _ in range(n_replicates):
        found.begin()
        if sampler == "demetropolis":  # its past is that of another posterior
            step.reset_tuning()
            step.scaling = np.ones(1)
        states = chain(found.model, step, found.rng.spawn(1)[0], N_DRAWS * thin, burn_in=thin)
        found.draws.append(states[thin - 1 :: thin])
    return found


def populations(n_replicates=N_REPLICATES, seed=0):
    """Of smc, all in one run, each of which gives a few of its particles."""
    found = Trials("smc", seed)
    initialize = CountingMH.initialize

    def begin(kernel, *arguments):
        found.begin()
        return initialize(kernel, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CountingMH, "initialize", begin)
        tree = sample_smc(found.model, N_PARTICLES, n_replicates, found.rng.spawn(1)[0], False)
    states = state_of(tree.posterior["z"].values)
    found.draws = found.rng.permuted(states, axis=1)[:, :N_DRAWS]
    return found


def limit(z):
    """Of the largest |z|, by Bonferroni's rule."""
    return stats.t.isf(FALSE_ALARM / (2 * len(z)), N_REPLICATES - 1)


@pytest.mark.filterwarnings("ignore:Found chain dimension to be longer than draw dimension")
@pytest.mark.parametrize("sampler", [*THIN, "smc"])
def test_ranks_of_true_states_are_uniform(sampler):
    found = populations() if sampler == "smc" else trials(sampler)
    z = found.z_scores()
    assert np.abs(z).max() < limit(z), z
    # draws for one replicate's labels are less likely where another's are looked at: the labels matter
    z = found.z_scores(np.roll(found.truths, 1))
    assert z[len(z) // 2 - 1] < -3, z


def test_ranks_tell_of_an_op_that_remembers_rejected_proposals(monkeypatch):
    """Each chain then has a posterior of its own, narrower than the right one: ranks lie at the ends."""
    monkeypatch.setattr(ChipCounts, "keep", lambda self, weights: None)
    z = trials("block", 3 * N_REPLICATES).z_scores()
    assert z[-1] > 1.2 * limit(z), z
