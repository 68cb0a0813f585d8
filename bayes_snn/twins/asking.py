"""A chip that is asked in order to be learned: what is shown to it is counted, and ends at a budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import Chip, FloatArray, ask_counts, ask_spikes


class BudgetSpentError(Exception):
    """The chip may be shown no more."""


class AskedChip:
    """A chip, counted.

    Parameters
    ----------
    chip
        Any chip.
    budget
        Presentations that it may be shown; None for any number. A question that would go beyond raises
        `BudgetSpentError` and is not asked.

    Attributes
    ----------
    presentations
        Samples shown so far.
    programmings
        Times that its weights were written: a run with the weights of the one before it writes none.
    """

    def __init__(self, chip: Chip, budget: int | None = None) -> None:
        self.chip, self.spec, self.budget = chip, chip.spec, budget
        self.presentations = self.programmings = 0
        self._written: list[NDArray[np.float64]] = []

    @property
    def left(self) -> float:
        """Presentations that are left."""
        return float("inf") if self.budget is None else self.budget - self.presentations

    def run(self, weights: Sequence[FloatArray], inputs: FloatArray) -> NDArray[np.int32]:
        """Spike counts (n_samples, n_out); a `ChipError` when the chip answers nonsense."""
        self._charge(weights, inputs)
        return ask_counts(self.chip, weights, inputs)

    def spikes(self, weights: Sequence[FloatArray], inputs: FloatArray) -> list[NDArray[Any]]:
        """Spikes (n_samples, n_steps, n_neurons) of each layer."""
        self._charge(weights, inputs)
        return ask_spikes(self.chip, weights, inputs)

    def _charge(self, weights: Sequence[FloatArray], inputs: FloatArray) -> None:
        if len(inputs) > self.left:
            raise BudgetSpentError
        self.presentations += len(inputs)
        if len(self._written) != len(weights) or not all(map(np.array_equal, weights, self._written)):
            self._written = [np.array(matrix, np.float64) for matrix in weights]
            self.programmings += 1
