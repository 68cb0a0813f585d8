"""One number of a neuron, its leak or the gain of a synapse, found by the question that tells most about it.

Candidates are held against all answers so far. An answer that a candidate does not explain makes it less likely, but
not impossible, since a narrow interval of the firing set may have been missed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayes_snn.twins.membership import WIDTH, FiringSet, Mask, fires_at, first_true, reaches

UNKNOWN = -1  # a period that a candidate does not predict
MISSED = 4.0  # in nats, what a candidate loses with an answer that it does not explain
FEW = 40  # candidates that are left when finer ones are taken
UNTOLD = 0.3  # of the weight of all, with an atom that no question could rule out
ALIVE = 1e-3  # of the weight of the likeliest

Predict = Callable[[NDArray[np.float64], float], NDArray[np.int64]]


class Asked(NamedTuple):
    """What to ask, and the weight of each period (n_steps + 1,)."""

    setting: float
    weights: NDArray[np.float64]


class Scalar:
    """A number that is being found.

    Parameters
    ----------
    grid
        Candidates, ascending; what is between them is looked at as it becomes likely.
    log_density
        Of the prior at a candidate, on the scale of log grid.
    atoms
        Values that are likely as they are, and how likely.
    predict
        Periods that candidates predict for one setting, UNKNOWN where one predicts none.
    n_steps
        Steps of a presentation.
    """

    def __init__(
        self,
        grid: NDArray[np.float64],
        log_density: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        atoms: Mapping[float, float],
        predict: Predict,
        n_steps: int,
    ) -> None:
        self.grid, self.log_density, self.atoms, self.predict, self.n_steps = grid, log_density, atoms, predict, n_steps
        self.shown = np.arange(n_steps + 1)  # what is seen of each period: periods that look alike tell nothing apart
        self.answers: list[tuple[float, Mask]] = []
        self.restart()

    def restart(self) -> None:
        """Hold all candidates of the grid against all answers."""
        self.values = np.concatenate([list(self.atoms), self.grid])
        self.misses = np.zeros(len(self.values))
        for setting, mask in self.answers:
            self._miss(setting, mask)

    def _miss(self, setting: float, mask: Mask) -> None:
        periods = self.predict(self.values, setting)
        self.misses += (periods != UNKNOWN) & ~mask[np.maximum(periods, 0)]

    def add(self, setting: float, mask: Mask) -> None:
        """An answer: the periods that it leaves."""
        self.answers.append((setting, mask))
        self._miss(setting, mask)
        for _ in range(8):
            alive = self.weights()[len(self.atoms) :]
            near = np.flatnonzero(alive > ALIVE * max(alive.max(), 1e-300))
            if len(near) >= FEW or self.grid[near[-1]] / self.grid[near[0]] - 1.0 < 1e-7:
                return
            left, right = max(near[0] - 1, 0), min(near[-1] + 1, len(self.grid) - 1)
            if right == left:
                return
            self.grid = np.geomspace(self.grid[left], self.grid[right], 3 * FEW)
            self.restart()

    def weights(self) -> NDArray[np.float64]:
        """Of each candidate, atoms first; their sum is 1."""
        log_width = np.log(np.gradient(np.log(self.grid)))
        prior = np.concatenate([np.log(list(self.atoms.values())), self.log_density(self.grid) + log_width])
        raw = prior - MISSED * self.misses
        raw = np.exp(raw - raw.max())
        return np.asarray(raw / raw.sum())

    def best(self) -> tuple[float, float]:
        """The likeliest value, and by how much it may be wrong, relatively; 0 where it is an atom beyond doubt."""
        weights = self.weights()
        n_atoms = len(self.atoms)
        place = int(weights[:n_atoms].argmax()) if n_atoms else -1
        if n_atoms and weights[place] > 0.95:
            return float(self.values[place]), 0.0
        likely = weights[n_atoms:]
        if n_atoms and weights[place] > UNTOLD:  # no question told the difference
            return float(self.values[place]), 1.0
        alive = self.grid[likely > ALIVE * likely.max()]
        return float(np.exp(np.average(np.log(self.grid), weights=likely))), float(alive[-1] / alive[0] - 1.0)

    def question(self, settings: NDArray[np.float64]) -> Asked | None:
        """The setting whose answer tells the most; None where none tells anything."""
        weights, best, asked = self.weights(), 0.02, None
        likely = weights > 1e-4 * weights.max()
        values, weights = self.values[likely], weights[likely] / weights[likely].sum()
        for setting in settings:
            periods = self.predict(values, float(setting))
            known = periods != UNKNOWN
            mass = np.bincount(periods[known], weights[known], self.n_steps + 1)
            looks = np.bincount(self.shown[periods[known]], weights[known], self.n_steps + 1)
            told = -float(np.sum(looks * np.log(np.maximum(looks, 1e-12) / max(float(looks.sum()), 1e-12))))
            if told > best and not any(setting == asked_before for asked_before, _ in self.answers):
                best, asked = told, Asked(float(setting), mass + 1e-3 / len(mass))
        return asked

    def quantiles(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Quantiles of the candidates, by their weights."""
        weights = self.weights()
        order = np.argsort(self.values)
        place = np.searchsorted(np.cumsum(weights[order]), at)
        return np.asarray(self.values[order][np.minimum(place, len(order) - 1)])


QUANTILES = np.array([0.2, 0.5, 0.8])


def leak_of(known: FiringSet, usual: float) -> Scalar:
    """The leak of a neuron whose firing set is known from first steps alone; times are from 0.3 to 300 steps."""
    edges, low, high, furthest = known.edges, known.low, known.high, max(map(abs, known.drives), default=0.0)
    steps = np.arange(1, known.n_steps + 1)

    def predict(alphas: NDArray[np.float64], drive: float) -> NDArray[np.int64]:
        u = drive * (1.0 - alphas[:, None] ** steps) / (1.0 - alphas[:, None])
        within = np.searchsorted(low, u, side="left") != np.searchsorted(high, u, side="left")
        period, outside = first_true(fires_at(edges, u)), first_true((np.abs(u) > furthest) | within)
        return np.where((outside > 0) & ((period == 0) | (outside <= period)), UNKNOWN, period)

    # times are spread over orders of magnitude: a flat density of their logarithm
    times = np.geomspace(0.3, 300.0, 400)
    grid = np.exp(-1.0 / times)

    def log_density(alphas: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(
            np.log(0.5 / np.log(1000.0)) - np.log(-np.log(alphas))
        )  # d log time = d log alpha / (-log alpha)

    return Scalar(grid, log_density, {usual: 0.5}, predict, known.n_steps)


def leak_settings(known: FiringSet, leak: Scalar) -> NDArray[np.float64]:
    """Drives at which a likely leak changes the period."""
    sure = known.sure_edges()
    near = sure[np.argsort(np.abs(np.log(np.abs(sure) / 8.0)))[:4]]
    alphas = np.unique(np.concatenate([leak.quantiles(QUANTILES), list(leak.atoms)]))
    late = np.array([t for t in (2, 4, 8, 16, 24) if t <= known.n_steps])
    drives = [edge / reaches(alpha, known.n_steps)[late - 1] for edge in near for alpha in alphas]
    joined = np.concatenate([np.zeros(0), *drives])
    # beside it by what the edge may be wrong
    wrong = 1.5 * WIDTH / np.repeat(np.abs(near), len(late) * len(alphas))
    joined = np.concatenate([joined * (1 + wrong), joined * (1 - wrong)])
    return joined[np.abs(joined) <= known.most]


def gain_of(known: FiringSet, atoms: Mapping[float, float], spread: float) -> Scalar:
    """The gain of a synapse onto a neuron that is known; settings are drives at gain 1."""
    marks, periods = known.steps()

    def predict(gains: NDArray[np.float64], drive: float) -> NDArray[np.int64]:
        return np.asarray(periods[np.searchsorted(marks, gains * drive, side="right")])

    rest = max(1e-6, 1.0 - sum(atoms.values()))

    def log_density(gains: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.log(rest / spread) - 0.5 * np.square(np.log(gains) / spread))

    return Scalar(
        np.geomspace(np.exp(-5 * spread), np.exp(5 * spread), 160), log_density, atoms, predict, known.n_steps
    )


def gain_settings(known: FiringSet, gain: Scalar) -> NDArray[np.float64]:
    """Drives at which a likely gain changes the period."""
    marks, _ = known.steps()
    near = marks[np.argsort(np.abs(np.abs(marks) - 8.0))[:4]]
    likely = gain.quantiles(QUANTILES)
    likely = np.unique(np.concatenate([likely[likely > 0], [value for value in gain.atoms if value > 0]]))
    drives = np.divide.outer(near, likely).ravel()
    return np.concatenate([drives * (1 + 1e-4), drives * (1 - 1e-4)])
