"""What moves on the twin is reversible, state by state: it goes from one to another as often as it comes back.

A chip whose weights have two levels has few states, all of which are counted. Each transition starts at an independent
draw from what it shall leave as it is, and the counts there and back are compared by Bowker's test of symmetry (J. Am.
Stat. Assoc. 43, 1948), so that the p-value needs no chain to be long. Shifts before a sweep, without those after it,
leave their distribution as it is, too, and are found out all the same.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.likelihood import log_likelihood
from bayes_snn.posterior.build import build_model, weight_variables
from bayes_snn.posterior.class_biases import no_biases
from bayes_snn.samplers.shared.replicas import Replicas
from bayes_snn.samplers.sitewise_grid import GridMetropolis

FALSE_ALARM = 1e-4
N_MOVES = 7_000
HOT = 0.4  # power of the second replica
INPUTS, LABELS = np.ones((6, 1)), np.ones(6, int)
BITS = np.array([8, 4, 2, 1])


class Sixteen:
    """Two hidden neurons with two weights each behind them, -1 or 1: as many spikes as the table has for each state."""

    spec = ChipSpec((1, 2, 2), 16, (-1.0, 1.0))
    weight_levels = (np.array([0.0]), np.array([-1.0, 1.0]))
    table = np.random.default_rng(2).integers(0, 17, size=16)

    def run(self, weights, inputs):
        return np.full((len(inputs), 2), [8, self.table[BITS @ (np.ravel(weights[1]) > 0)]])


class Moved:
    """The step that moves among the states, and counts of where it went, (16, 16)."""

    def __init__(self):
        model = build_model(Sixteen(), INPUTS, LABELS, "grid", readout=no_biases)
        with model:
            self.step = GridMetropolis(weight_variables(model), model=model)
        self.rng = self.step.rng = np.random.default_rng(5)
        self.step.log_scales[:] = np.log(0.5)

    def posterior(self, power=1.0):
        log_l = [log_likelihood(np.full((len(LABELS), 2), [8, n]), LABELS).sum() for n in Sixteen.table]
        p = np.exp(power * np.array(log_l))
        return p / p.sum()

    def start(self, power=1.0):
        state = self.rng.choice(16, p=self.posterior(power))
        return np.concatenate([[0, 0], state // BITS % 2])

    def flows(self, move, n=N_MOVES):
        found = np.zeros((16, 16))
        for _ in range(n):
            q = self.start()
            found[BITS @ q[2:], BITS @ move(q)[2:]] += 1
        return found

    def palindrome(self, q):
        return self.step.palindrome(q, (1.0, 1.0), False)[0]

    def without_its_mirror(self, q):
        self.step.held_powers = (1.0, 1.0)
        sweeper, readout = self.step._find_sweeper(), self.step._readout()
        q, _, _ = self.step.shift(q, sweeper.start(self.step._matrices(q), readout))
        sweeper.start(self.step._matrices(q), readout)
        return self.step._visit(q, sweeper)[0]

    def exchanged(self, q):
        """A whole move of two replicas, the second of which starts where it shall be."""
        replicas = Replicas(self.step, 2, n_first=3)
        replicas.ladder = np.array([1.0, HOT])
        for mover in replicas.movers:
            mover.log_scales[:] = np.log(0.5)
        replicas.places = [self.start(HOT)]
        replicas.heights = [self.step.log_likelihood_at(replicas.places[0])]
        return replicas.move(q, {}, self.rng, 2)


def asymmetry(flows):
    """The p-value of Bowker's test, over pairs of states with counts enough."""
    i, j = np.triu_indices(len(flows), 1)
    there, back = flows[i, j], flows[j, i]
    seen = there + back >= 10
    return stats.chi2.sf(((there - back)[seen] ** 2 / (there + back)[seen]).sum(), seen.sum())


@pytest.mark.parametrize(("move", "n"), [("palindrome", N_MOVES), ("exchanged", N_MOVES // 3)])
def test_a_move_goes_there_as_often_as_back(move, n):
    moved = Moved()
    flows = moved.flows(getattr(moved, move), n)
    assert asymmetry(flows) > FALSE_ALARM
    assert stats.chisquare(flows.sum(axis=0), n * moved.posterior()).pvalue > FALSE_ALARM


def test_shifts_before_a_sweep_without_those_after_it_are_found_out():
    moved = Moved()
    flows = moved.flows(moved.without_its_mirror)
    assert asymmetry(flows) < FALSE_ALARM
    assert stats.chisquare(flows.sum(axis=0), N_MOVES * moved.posterior()).pvalue > FALSE_ALARM
