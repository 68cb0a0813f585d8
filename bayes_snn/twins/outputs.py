"""Output neurons under constant drives, from hidden neurons that are switched on: which of them work, and how strongly.

Where all second synapses are equal, the drive of an output is a sum of weights, and a ladder of hidden neurons asks
many drives in one programming. Where they are not, all hidden neurons carry the same weight, so that the drive of an
output is proportional to it, whatever the gains; each gain is then found with its hidden neuron switched off.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bayes_snn.twins.bench import Bench
from bayes_snn.twins.membership import FiringSet, Mask
from bayes_snn.twins.scalars import Scalar, gain_of, gain_settings, leak_of, leak_settings

PER_ROUND = 8  # questions to a neuron before its answers are looked at
MOST_ROUNDS = 80
QUESTIONS = 30  # at most, to find a leak or a gain
SAME = 0.01  # relative, gains that differ by less are the same
REACH = 60.0  # largest drive that a twin shall serve, in units of the threshold
USUAL_LEAK = 0.9


class Outputs:
    """The output neurons of a bench.

    Parameters
    ----------
    bench
        The chip.

    Attributes
    ----------
    known
        What is known of each.
    alike
        Whether all second synapses are equal.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.most = float(max(-bench.low, bench.high) * bench.n_hidden)
        self.known = [FiringSet(bench.n_steps, USUAL_LEAK, REACH, self.most) for _ in range(bench.n_out)]
        self.alike = True
        periods = np.arange(bench.n_steps + 1)
        self.shown = np.where(periods > 0, bench.n_steps // np.maximum(periods, 1), 0)  # counts at each period

    def learn(self) -> None:
        """Everything about the outputs."""
        self.alike = self._synapses_are_alike()
        for known in self.known:
            known.set_alpha(known.alpha, first_only=True)
        self.map()
        self._find_leaks()
        self.map()
        if not self.alike:
            self._find_gains()

    def _synapses_are_alike(self) -> bool:
        """Whether as many hidden neurons, whichever they are, always make the outputs count the same."""
        bench, n = self.bench, self.bench.n_hidden
        sizes = np.unique(np.clip([1, n // 3, n // 2, (2 * n) // 3, n - 1], 1, n))
        for part in (0.25, 0.5, 0.75, 1.0, -0.25, -0.5, -0.75, -1.0):
            end = bench.high if part > 0 else bench.low
            second = np.full((n, bench.n_out), abs(part) * end)
            on = np.zeros((2 * len(sizes), n), np.bool_)
            for row, size in enumerate(np.repeat(sizes, 2)):
                on[row, bench.rng.permutation(n)[:size]] = True
            counts = bench.switched(on, second)
            if (counts[0::2] != counts[1::2]).any():
                return False
        return True

    def map(self) -> None:
        """Ask until nothing more is wanted."""
        for _ in range(MOST_ROUNDS):
            wanted = [[drive for drive, _ in known.wanted(PER_ROUND)] for known in self.known]
            if not any(wanted):
                return
            self.ask(wanted)

    def ask(self, wanted: list[list[float]]) -> None:
        """Show each output drives near those that are wanted."""
        waiting = [sorted(each) for each in wanted]
        while any(waiting):
            if self.alike:
                on, second = self.bench.ladder(waiting)
            else:
                on, second = self._all_on([each[0] if each else 0.0 for each in waiting])
            if not len(on):
                waiting = [each[1:] for each in waiting]
                continue
            seen = self.bench.constant(on, second) if self.alike else self._line(second)
            counts = self.bench.switched(on, second)
            for out, known in enumerate(self.known):
                n = min(len(on), len(waiting[out]))
                known.add(seen[:n, out].tolist(), [self.direct(int(count)) for count in counts[:n, out]])
                waiting[out] = waiting[out][n:]

    def _all_on(self, drives: list[float]) -> tuple[Mask, NDArray[np.float64]]:
        bench = self.bench
        row = bench.written(np.array(drives) / bench.n_hidden)
        return np.ones((1, bench.n_hidden), np.bool_), np.tile(row, (bench.n_hidden, 1))

    def _line(self, second: NDArray[np.float64]) -> NDArray[np.float64]:
        """What outputs see with all hidden neurons on, in a unit in which gains are 1 on average."""
        return np.asarray(second[:1] * self.bench.n_hidden)

    def direct(self, count: int) -> Mask:
        """Periods at which a neuron under a constant drive shows a count."""
        return np.asarray(self.shown == count)

    def _find_leaks(self) -> None:
        leaks = [leak_of(known, USUAL_LEAK) for known in self.known]
        for leak in leaks:
            leak.shown = self.shown
        for _ in range(QUESTIONS):
            asked = [leak.question(leak_settings(known, leak)) for known, leak in zip(self.known, leaks, strict=True)]
            if not any(asked):
                break
            before = [len(known.drives) for known in self.known]
            self.ask([[each.setting] if each else [] for each in asked])
            for known, leak, start in zip(self.known, leaks, before, strict=True):
                for drive, mask in zip(known.drives[start:], known.masks[start:], strict=True):
                    leak.add(drive, mask)
        for known, leak in zip(self.known, leaks, strict=True):
            known.set_alpha(leak.best()[0])

    def _find_gains(self) -> None:
        """Gains of the second synapses, each with its hidden neuron off and all others on."""
        bench, n = self.bench, self.bench.n_hidden
        # with g the gain, the outputs see c (n - g): what is found is (n - g) / n
        rest = [[self._rest(known) for _ in range(n)] for known in self.known]
        for _ in range(QUESTIONS):
            second, asked = np.zeros((n, bench.n_out)), np.zeros(n, np.bool_)
            for out, known in enumerate(self.known):
                # one weight for all of an output: the one that the neuron wants that is the least known
                doubt = [
                    -np.ptp(np.log(np.maximum(each.quantiles(np.array([0.02, 0.98])), 1e-9))) for each in rest[out]
                ]
                for j in np.argsort(doubt):
                    question = rest[out][j].question(gain_settings(known, rest[out][j]))
                    if question is not None and abs(question.setting) <= self.most:
                        second[:, out] = bench.written(np.array(question.setting / n))
                        asked[:] = True
                        break
            if not asked.any():
                break
            counts = bench.switched(~np.eye(n, dtype=np.bool_), second)
            for out in range(bench.n_out):
                for j in range(n):
                    rest[out][j].add(float(second[0, out]) * n, self.direct(int(counts[j, out])))
        for out, column in enumerate(rest):
            gain = np.array([n * (1.0 - each.best()[0]) for each in column])
            gain[gain < SAME] = 0.0
            works = gain > 0
            middle = float(np.median(gain[works])) if works.any() else 1.0
            if works.any() and (np.abs(gain[works] / middle - 1.0) < SAME).all():  # those that work are all alike
                gain = works.astype(np.float64)
                middle = n / float(works.sum())
                self.known[out].rescale(1.0 / middle)
            bench.gain[:, out] = gain
        self.alike = True  # from now on gains are known
        self.map()

    def _rest(self, known: FiringSet) -> Scalar:
        """The share of its drive that an output keeps while one hidden neuron is off."""
        scalar = gain_of(known, {1.0: 0.1}, 0.1)
        scalar.grid = np.geomspace(0.2, 1.0 - 1e-9, 400)
        scalar.log_density = lambda shares: np.zeros(len(shares))
        scalar.shown = self.shown
        scalar.restart()
        return scalar
