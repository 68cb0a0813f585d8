"""Replica exchange: what a chain does on a twin between two looks at its chip, or on a simulated chip itself.

Replicas of the weights are drawn at powers 1 = b_0 > b_1 > ... of the likelihood there; neighbours swap places by the
Metropolis rule (Geyer, Computing Science and Statistics 1991; Hukushima and Nemoto, J. Phys. Soc. Japan 65, 1996).
Those at low powers cross between modes, and the first one, whose power is that of the chain, receives what they find.

A move of all replicas is a palindrome: swaps, reversible draws of each replica, and the same swaps in the opposite
order. The first may be drawn more often than the others, which are there for what they bring. So a move is reversible
with respect to the product of what the replicas are drawn from, as delayed acceptance asks.

Hyperparameters are those of the chain for the first replica. The others keep those that they had at the end of the
warm-up: what the chain's own hyperparameters are drawn from must not depend on the replicas. A readout that is random
is a part of each replica, and moves and changes places with its weights (with_readout.py).
"""

from __future__ import annotations

from copy import copy
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

N_REPLICAS = 5
LEAST_POWER = 0.2  # of a replica: there nothing holds a network in its mode, and hotter ones take longer
SHIFTS = 4  # moves after which whole neurons are moved again: they bring replicas from mode to mode, but take long
SWAPS = 0.3  # share of swaps accepted that the warm-up aims at

Weights = NDArray[Any]


class Mover(Protocol):
    """A step method that can draw weights reversibly, at any powers of likelihood and prior."""

    rng: np.random.Generator
    shared: dict[str, Any]
    log_prior: Any
    acceptance: float  # share of the proposals of the last palindrome that were accepted, or its expectation

    def palindrome(
        self, q: Weights, powers: tuple[float, float], learn: bool, shifts: bool = True
    ) -> tuple[Weights, float]:
        """Weights (n_weights,) drawn from these, and log L there; learns from it if `learn`.

        `shifts` moves whole neurons too, where the mover can. The Op of the mover's model counts what is shown.
        """
        ...

    def log_likelihood_at(self, q: Weights) -> float:
        """log L at weights (n_weights,)."""
        ...

    def forget_chain(self) -> None:
        """Be as before a chain, with nothing learned; whatever a copy of it holds is left alone."""
        ...

    def forget_answers(self) -> None:
        """Hold nothing of what the twin, or the chip, has answered so far."""
        ...

    def learned_state(self) -> dict[str, Any]:
        """What was learned, in plain values."""
        ...

    def restore_learned(self, state: dict[str, Any]) -> None:
        """Take back what `learned_state` returned."""
        ...


class Replicas:
    """The replicas of one chain.

    Parameters
    ----------
    mover
        A step method on the twin or the simulated chip; each replica gets a copy, with step sizes of its own.
    n
        How many there are; 1 for the chain alone.
    power
        Power p of the likelihood for the first one.
    n_first
        How often the first is drawn where the others are once; an odd number.

    Attributes
    ----------
    ladder
        (n,) powers of the replicas, times p; the first is 1.
    places, heights
        Weights of each replica behind the first, and log L there; empty before the first move.
    height
        log L of the first, after a move.
    tried, swapped
        Swaps of the first with its neighbour in the last move: how many were tried, and how many accepted.
    """

    def __init__(self, mover: Mover, n: int = N_REPLICAS, power: float = 1.0, n_first: int = 1) -> None:
        self.movers: list[Mover] = [mover, *(self._like(mover) for _ in range(1, n))]
        self.power, self.n_first = power, n_first
        self.begin()

    @staticmethod
    def _like(mover: Mover) -> Mover:
        """Another one that shares what is compiled and nothing else."""
        other = copy(mover)
        other.forget_chain()
        return other

    def begin(self) -> None:
        """Forget a chain and what was learned in it."""
        n = len(self.movers)
        self.ladder = np.geomspace(1.0, LEAST_POWER, n) if n > 1 else np.ones(1)
        self.places: list[Weights] = []
        self.heights: list[float] = []
        self.reference: dict[str, Any] = {}
        self.n_learned = self.tried = self.swapped = 0
        self.height = float("nan")
        for mover in self.movers:
            mover.forget_chain()

    def move(
        self,
        q: Weights,
        values: dict[str, Any],
        rng: np.random.Generator,
        n_moves: int,
        learn: bool = False,
        warming: tuple[float, float] = (1.0, 1.0),
    ) -> Weights:
        """Move all replicas, the first of which is at q (n_weights,): where it is then.

        Parameters
        ----------
        values
            Of the model's other variables, by name, as the chain has them.
        n_moves
            Palindromes.
        learn
            Tune step sizes and powers, and let the other replicas follow the chain's hyperparameters: in the warm-up.
        warming
            Powers of likelihood and prior beside those of the replicas, in the warm-up.
        """
        if learn or not self.reference:
            self.reference = dict(values)
        if not self.places:
            self.places = [q.copy() for _ in self.movers[1:]]
            self.heights = [self._height(k, q, values) for k in range(1, len(self.movers))]
        places = [q, *self.places]
        heights = [self._height(0, q, values), *self.heights]
        self.tried = self.swapped = 0
        for mover in self.movers:
            mover.rng = rng
        for number in range(n_moves):
            # the same from both ends: the whole is a palindrome again
            shifts = 0 in (number % SHIFTS, (n_moves - 1 - number) % SHIFTS)
            for pairs in (0, 1):
                self._swap(places, heights, pairs, values, rng, learn)
            for k, mover in enumerate(self.movers):
                self._set(k, values)
                powers = (self.power * self.ladder[k] * warming[0], warming[1])
                n = self.n_first if k == 0 else 1
                for part in range(n):
                    shifted = shifts and part == n // 2  # the same from both ends
                    places[k], heights[k] = mover.palindrome(places[k], powers, learn, shifted)
            for pairs in (1, 0):
                self._swap(places, heights, pairs, values, rng, learn)
        self.places, self.heights, self.height = places[1:], heights[1:], heights[0]
        return places[0]

    def state(self) -> tuple[list[Weights], list[float]]:
        """Where the replicas behind the first are: what a rejected proposal goes back to."""
        return list(self.places), list(self.heights)

    def go_back(self, state: tuple[list[Weights], list[float]]) -> None:
        """Be where `state` said."""
        self.places, self.heights = list(state[0]), list(state[1])

    def _set(self, k: int, values: dict[str, Any]) -> None:
        """Give a replica's functions the values of the variables that it goes with."""
        mover, given = self.movers[k], values if k == 0 else self.reference
        for name, shared in mover.shared.items():
            shared.set_value(given[name])

    def _height(self, k: int, q: Weights, values: dict[str, Any]) -> float:
        self._set(k, values)
        return float(self.movers[k].log_likelihood_at(q))

    def _log_prior(self, k: int, q: Weights, values: dict[str, Any]) -> float:
        self._set(k, values)
        return float(np.sum(self.movers[k].log_prior(q)))

    def _swap(
        self,
        places: list[Weights],
        heights: list[float],
        first: int,
        values: dict[str, Any],
        rng: np.random.Generator,
        learn: bool,
    ) -> None:
        """Let replicas first and first + 1, first + 2 and first + 3, ... swap places by the Metropolis rule."""
        for low in range(first, len(places) - 1, 2):
            high = low + 1
            powers = self.power * self.ladder[low : high + 1]
            there = heights[high], heights[low]
            log_ratio = 0.0
            if low == 0 and self.movers[0].shared and not learn:  # they go with other hyperparameters or readouts
                there = self._height(0, places[high], values), self._height(1, places[low], values)
                for k, q, sign in ((0, high, 1), (1, low, 1), (0, low, -1), (1, high, -1)):
                    log_ratio += sign * self._log_prior(k, places[q], values)
            log_ratio += powers[0] * (there[0] - heights[low]) + powers[1] * (there[1] - heights[high])
            self.tried += low == 0
            if np.log(rng.uniform()) < log_ratio:
                self.swapped += low == 0
                places[low], places[high] = places[high], places[low]
                heights[low], heights[high] = there
            if learn:
                self._learn(low, float(np.exp(min(log_ratio, 0.0))))

    def _learn(self, low: int, acceptance: float) -> None:
        """Move neighbours' powers apart where they swap too often, by Robbins and Monro's rule.

        Miasojedow, Moulines, Vihola, J. Comput. Graph. Stat. 22, 2013: on the logarithm of the ratio's logarithm.
        """
        self.n_learned += 1
        gaps = np.log(-np.diff(np.log(self.ladder)))
        gaps[low] += min(1.0, 3.0 * (1.0 + self.n_learned / len(gaps)) ** -0.6) * (acceptance - SWAPS)
        steps = np.exp(gaps)
        steps *= min(1.0, -np.log(LEAST_POWER) / steps.sum())
        self.ladder = np.exp(-np.cumsum([0.0, *steps]))

    def checkpoint_state(self) -> dict[str, Any]:
        """All that changes, in plain values."""
        return {
            "ladder": self.ladder.copy(),
            "places": [np.array(q) for q in self.places],
            "heights": [float(height) for height in self.heights],
            "reference": {name: np.array(value) for name, value in self.reference.items()},
            "n_learned": self.n_learned,
            "movers": [mover.learned_state() for mover in self.movers],
        }

    def restore_state(self, state: dict[str, Any]) -> None:
        """Continue from what `checkpoint_state` returned; a `ValueError` where that is another number of replicas."""
        if len(state["movers"]) != len(self.movers) or len(state["ladder"]) != len(self.movers):
            raise ValueError("there are other replicas")
        self.begin()
        self.ladder, self.n_learned = np.array(state["ladder"], np.float64), int(state["n_learned"])
        self.places, self.heights = list(state["places"]), [float(height) for height in state["heights"]]
        self.reference = dict(state["reference"])
        for mover, learned in zip(self.movers, state["movers"], strict=True):
            mover.restore_learned(learned)
