"""What is compiled for a fit is compiled before the sampling begins, said so, and timed apart."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pymc as pm
from pymc.step_methods.compound import CompoundStep
from rich.console import Console

from bayes_snn.chips.contract import ChipSpec, FloatArray, IntArray
from bayes_snn.inference.interleaved import copied
from bayes_snn.posterior.noisy import NoiseChoice

MOST_WEIGHTS = 20_000  # beyond them a draw, even of a silent chip, takes longer than compiling
SENTENCE = "Compiling the model: up to two minutes with a prior that is new here, seconds later on"


class Compiling:
    """Context manager around what compiles, any number of times: it says so, and counts the `seconds`.

    Parameters
    ----------
    began
        Of `time.perf_counter`: when the first of it began, which is before this object was made.
    shown
        Whether to show a status line while it takes.
    """

    def __init__(self, began: float, *, shown: bool) -> None:
        self.seconds = 0.0
        self._began, self._shown = began, shown
        self._status = contextlib.ExitStack()

    def __enter__(self) -> None:
        if self.seconds:
            self._began = time.perf_counter()
        if self._shown:
            self._status.enter_context(Console().status(SENTENCE))

    def __exit__(self, *error: object) -> None:
        self._status.close()
        self.seconds += time.perf_counter() - self._began


def compile_steps(model: pm.Model, steps: Sequence[Any]) -> None:
    """Make a draw with copies of the steps and a chip that stays silent: PyTensor compiles at the first call.

    The steps, the Op and the chip are left as they are, and the chip is not run.
    """
    op = model.likelihood.op
    if op.chip.spec.n_weights > MOST_WEIGHTS:
        return
    chip, noise = op.chip, op.noise
    before = op.presentations, op.checkpoint_state()
    step = copied(CompoundStep(steps), chip)
    try:
        op.chip, op.noise = _SilentChip(chip.spec), NoiseChoice()
        # what goes wrong with made-up answers may not go wrong with the chip's; what does go wrong does so again
        with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            step.setup_chain(np.random.default_rng(0), 1, 1)
            step.tune = True
            step.reset_tuning()
            step.step(model.initial_point())
    finally:
        op.chip, op.noise = chip, noise
        op.presentations = before[0]
        op.restore_state(before[1])


class _SilentChip:
    """A chip of this kind without a single spike."""

    def __init__(self, spec: ChipSpec) -> None:
        self.spec = spec

    def run(self, weights: Sequence[FloatArray], inputs: FloatArray) -> IntArray:
        return np.zeros((len(inputs), self.spec.layers[-1]), np.int64)
