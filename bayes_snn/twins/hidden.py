"""Hidden neurons, asked through relays: their firing sets, leaks, and the gains of their synapses."""

from __future__ import annotations

import numpy as np

from bayes_snn.twins.bench import Bench
from bayes_snn.twins.membership import FiringSet, Mask
from bayes_snn.twins.outputs import MOST_ROUNDS, PER_ROUND, QUESTIONS, REACH, USUAL_LEAK, Outputs
from bayes_snn.twins.relays import Question, Relays
from bayes_snn.twins.scalars import leak_of, leak_settings


class Hidden:
    """The hidden neurons of a bench.

    Parameters
    ----------
    bench
        The chip.
    outputs
        The neurons behind them, which are known.
    """

    def __init__(self, bench: Bench, outputs: Outputs) -> None:
        self.bench, self.outputs = bench, outputs
        self.known = [FiringSet(bench.n_steps, USUAL_LEAK, REACH) for _ in range(bench.n_hidden)]
        self.gain = np.ones((bench.n_in, bench.n_hidden))

    def learn(self) -> None:
        """Everything about the hidden neurons."""
        for known in self.known:
            known.set_alpha(known.alpha, first_only=True)
        self.map([])
        self._find_leaks()
        self.map([])
        if self._tie_leaks():
            self.map([])

    def map(self, first: list[Question]) -> int:
        """Ask these questions, and on until nothing more is wanted: how many of the first had another answer."""
        relays, n_surprises = Relays(self.bench, self.outputs.known), 0
        first = [question for question in first if question.neuron in relays.usable]
        for _ in range(MOST_ROUNDS):
            questions = first or [
                Question(int(j), drive, weights)
                for j in relays.usable
                for drive, weights in self.known[j].wanted(PER_ROUND)
            ]
            if not questions:
                break
            masks = relays.ask(questions)
            if first:
                believed = [int(self.known[j].periods(np.array([drive]))[0]) for j, drive, _ in first]
                n_surprises = sum(not mask[period] for mask, period in zip(masks, believed, strict=True))
                first = []
            for j, known in enumerate(self.known):
                mine = [n for n, question in enumerate(questions) if question.neuron == j]
                known.add([questions[n].drive for n in mine], [masks[n] for n in mine])
        return n_surprises

    def are_idle(self) -> Mask:
        """Which of them never fire at any drive that a twin serves, or have no synapse that works."""
        drives = np.linspace(-REACH, REACH, 999)
        silent = np.array([not known.periods(drives).any() for known in self.known], np.bool_)
        outputs = self.bench.least < self.bench.most
        return np.asarray(silent | (self.bench.gain[:, outputs] == 0).all(axis=1))

    def _tie_leaks(self) -> bool:
        """Give neurons the leak that most have in common where it explains as much: whether any has another now."""
        common, changed = float(np.median([known.alpha for known in self.known])), False
        for known in self.known:
            if known.alpha != common and known.n_changes(common) <= known.n_changes(known.alpha):
                known.set_alpha(common)
                changed = True
        return changed

    def _find_leaks(self) -> None:
        relays = Relays(self.bench, self.outputs.known)
        usual = {round(known.alpha, 6) for known in self.outputs.known}
        leaks = [leak_of(known, usual.pop() if len(usual) == 1 else USUAL_LEAK) for known in self.known]
        for _ in range(QUESTIONS):
            questions = []
            for j in relays.usable:
                asked = leaks[j].question(leak_settings(self.known[j], leaks[j]))
                if asked is not None:
                    questions.append(Question(int(j), asked.setting, asked.weights / asked.weights.sum()))
            if not questions:
                break
            for question, mask in zip(questions, relays.ask(questions, settle=False), strict=True):
                leaks[question.neuron].add(question.drive, mask)
                self.known[question.neuron].add([question.drive], [mask])
        for known, leak in zip(self.known, leaks, strict=True):
            known.set_alpha(leak.best()[0])
