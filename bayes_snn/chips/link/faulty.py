"""`FaultyChip`: any chip behind a link that fails on purpose, to try out what stands between a chip and a fit."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bayes_snn.chips.contract import Chip, FloatArray, check_chip
from bayes_snn.chips.link.faults import KINDS
from bayes_snn.errors import ChipError, InputError, unknown_name

INJECTED = tuple(kind for kind in KINDS if kind != "reset")
LONGEST = 60.0  # s for which a call hangs that nobody resets


class FaultyChip:
    """A chip whose link fails at random, with the same answers as the chip where it does not.

    Parameters
    ----------
    chip
        Any chip.
    rates
        Probability of each kind of fault at each run, by name: one of INJECTED.
    seed
        Of the faults, which are drawn from a generator of their own.

    Attributes
    ----------
    injected
        What was done: (tag, kind) of each fault, in order.

    Notes
    -----
    "timeout" hangs until `reset` is called and fails then; "late" answers when `reset` is called. "other" answers with
    the counts and the tag of the request before; without a tag, in `run`, nobody can tell.
    """

    def __init__(self, chip: Chip, rates: Mapping[str, float], seed: int = 0) -> None:
        self.chip = check_chip(chip)
        self.spec = chip.spec
        for kind, rate in rates.items():
            if kind not in INJECTED:
                raise unknown_name("kind of fault", kind, INJECTED)
            if not 0 <= rate <= 1:
                raise InputError(f"The rate of {kind} was {rate!r}, but a probability is expected: try 0.05.")
        if sum(rates.values()) > 1:
            raise InputError(f"The rates add up to {sum(rates.values()):g}, but at most 1 is possible: give less.")
        self.rates = dict(rates)
        self.injected: list[tuple[int, str]] = []
        self._rng = np.random.default_rng(seed)
        self._bounds = np.cumsum(list(self.rates.values()))
        self._before: tuple[int, Any] = (0, np.zeros((1, self.spec.layers[-1]), np.int32))
        self._released = threading.Event()
        self._runs = 0

    def run(self, weights: Sequence[FloatArray], inputs: FloatArray) -> Any:
        """A run without a tag."""
        self._runs += 1
        return self.run_tagged(weights, inputs, self._runs)[1]

    def run_tagged(self, weights: Sequence[FloatArray], inputs: FloatArray, tag: int) -> tuple[int, Any]:
        """A run, and the tag of the request that was answered."""
        released = self._released
        kind = self._draw()
        counts = self.chip.run(weights, inputs)
        if kind is None:
            self._before = tag, counts
            return tag, counts
        self.injected.append((tag, kind))
        if kind in ("timeout", "late"):
            came = released.wait(LONGEST)
            if kind == "timeout" or not came:
                raise ConnectionAbortedError("the link was reset")
            return tag, counts
        if kind == "other":
            return self._before
        return tag, _spoilt(kind, np.asarray(counts), self.spec.n_steps)

    def reset(self) -> None:
        """Make the link ready again: calls that hang come back."""
        released, self._released = self._released, threading.Event()
        released.set()

    def _draw(self) -> str | None:
        """A kind of fault, or None."""
        place = int(np.searchsorted(self._bounds, self._rng.random(), side="right"))
        return list(self.rates)[place] if place < len(self._bounds) else None


def _spoilt(kind: str, counts: np.ndarray, n_steps: int) -> Any:
    """An answer that is wrong in the way of `kind`."""
    if kind == "dropped":
        raise ConnectionResetError("the link was lost")
    if kind == "refused":
        raise ChipError("The checksum of the counts is wrong.")
    if kind == "shape":
        return counts[:-1]
    if kind == "type":
        return counts.astype(np.str_)
    spoilt = counts.astype(np.float64)
    spoilt[-1, -1] = {"nan": np.nan, "fraction": 0.5, "negative": -1, "range": n_steps + 1}[kind]
    return spoilt if kind in ("nan", "fraction") else spoilt.astype(counts.dtype)
