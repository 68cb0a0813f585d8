"""Weights and readout, moved together on a twin or a simulated chip.

Class biases follow the weights and the weights the biases: drawn in turn, each is held by what the other was. So
replicas have readouts of their own, which are moved as often as the weights are, at the same power of the likelihood,
and change places with them. The readout is moved before the weights or after them, with probability one half, which is
reversible.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
import pymc as pm
from numpy.typing import NDArray

from bayes_snn.samplers.shared.prior import is_discrete
from bayes_snn.samplers.shared.readout_moves import ReadoutMoves

Values = NDArray[Any]


def joined_dtype(variables: list[Any]) -> Any:
    """Of variables joined to one vector: whole numbers alone are int64."""
    return np.int64 if is_discrete(variables) else np.float64


class WithReadout:
    """A mover of weights, made to move a readout too; both are one vector, weights first.

    Parameters
    ----------
    mover
        What moves the weights; see `Mover`.
    model
        Its model.
    variables
        Value variables of the readout.
    point
        Any point, for shapes.
    """

    def __init__(self, mover: Any, model: pm.Model, variables: list[Any], point: dict[str, np.ndarray]) -> None:
        self.mover = mover
        self._mine = {value.name: np.shape(point[value.name]) for value in variables}
        self._ends = np.cumsum([int(np.prod(shape)) for shape in self._mine.values()])
        shared = {value: mover.shared[value.name] for value in model.value_vars if value.name in mover.shared}
        others = {value: variable for value, variable in shared.items() if value.name not in self._mine}
        self._moves = ReadoutMoves(model, variables, others, point)
        self.shared = {name: variable for name, variable in mover.shared.items() if name not in self._mine}
        self.rng = mover.rng

    @property
    def acceptance(self) -> float:
        """Of the weights, in the last palindrome."""
        return float(self.mover.acceptance)

    @property
    def widest(self) -> float:
        """Power of the prior of the weights at the start of a warm-up."""
        return float(getattr(self.mover, "widest", 1.0))

    def palindrome(
        self, q: Values, powers: tuple[float, float], learn: bool, shifts: bool = True
    ) -> tuple[Values, float]:
        """Weights and readout drawn from these, and log L there; see `Mover`."""
        self.mover.rng = self.rng
        weights, readout = self._parts(q)
        before = self.rng.random() < 0.5
        if before:
            readout = self._moves.move(readout, self.mover.answers_at(weights), powers[0], self.rng)
        self._give(readout)
        weights, height = self.mover.palindrome(weights, powers, learn, shifts)
        if not before:
            counts = self.mover.answers_at(weights)
            readout = self._moves.move(readout, counts, powers[0], self.rng)
            height = self._moves.log_likelihood(readout, counts)
        return np.concatenate([weights, readout]), height

    def log_likelihood_at(self, q: Values) -> float:
        """log L at weights and readout."""
        weights, readout = self._parts(q)
        return self._moves.log_likelihood(readout, self.mover.answers_at(weights))

    def log_prior(self, q: Values) -> float:
        """Log-density of the prior, up to a constant."""
        weights, readout = self._parts(q)
        return float(np.sum(self.mover.log_prior(weights))) + self._moves.log_prior(readout)

    def forget_chain(self) -> None:
        """Be as before a chain; whatever a copy of it holds is left alone."""
        self.mover = copy(self.mover)
        self.mover.forget_chain()

    def forget_answers(self) -> None:
        """Hold nothing of what the twin, or the chip, has answered so far."""
        self.mover.forget_answers()

    def learned_state(self) -> dict[str, Any]:
        """What was learned, in plain values."""
        state: dict[str, Any] = self.mover.learned_state()
        return state

    def restore_learned(self, state: dict[str, Any]) -> None:
        """Take back what `learned_state` returned."""
        self.mover.restore_learned(state)

    def _parts(self, q: Values) -> tuple[Values, NDArray[np.float64]]:
        """Weights, and the values of the readout."""
        cut = len(q) - int(self._ends[-1])
        return q[:cut].astype(self.mover.dtype), np.array(q[cut:], np.float64)

    def _give(self, readout: NDArray[np.float64]) -> None:
        """Let the mover's functions have these values."""
        parts = np.split(readout, self._ends[:-1])
        for (name, shape), part in zip(self._mine.items(), parts, strict=True):
            self.mover.shared[name].set_value(part.reshape(shape))
