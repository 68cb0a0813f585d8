"""Twins that are wrong on purpose, and the chains of sampler `twin` on them, a draw each in turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pymc.step_methods.compound import CompoundStep

from bayes_snn.inference.fit import make_steps
from bayes_snn.posterior.build import build_model
from bayes_snn.twins.contract import spec_of_twin
from tests.helpers.chains import run_chain, run_chains

FAULTS = ("leak", "swapped", "constant")
LEFT = 0.1  # share of its current that the first output is left with, where they leak; the last keeps its own


class WrongTwin:
    """A chip as it is not: most of what reaches its first outputs leaks away, its outputs are swapped, or constant."""

    def __init__(self, chip, fault: str) -> None:
        self.chip, self.fault, self.spec = chip, fault, spec_of_twin(chip.spec)

    def run(self, weights, inputs):
        if self.fault == "constant":
            return np.full((len(inputs), self.spec.layers[-1]), 3)
        *others, last = weights
        left = np.linspace(LEFT, 1.0, self.spec.layers[-1]) if self.fault == "leak" else 1.0
        counts = self.chip.run([*others, np.asarray(last) * left], inputs)
        return counts[:, ::-1] if self.fault == "swapped" else counts


class Bench:
    """A model of a chip, and the steps of a fit by sampler `twin`; twins are changed without compiling anew.

    Parameters
    ----------
    chip, inputs, labels, weights
        As for `build_model`.
    options
        Of `TwinMetropolis`; the first replica is drawn as often as the others unless they say otherwise.
    """

    def __init__(self, chip, inputs, labels, weights=None, **options) -> None:
        self.chip = chip
        self.model = build_model(chip, inputs, labels, weights)
        with self.model:
            self.steps = make_steps("twin", self.model, twin=WrongTwin(chip, "leak"), **{"n_first": 1, **options})
        self.step, self._all = self.steps[-1], CompoundStep(self.steps)

    def use(self, twin, power: float = 1.0, checked: bool = True) -> None:
        """Draw on this twin from now on; unchecked, its own answers stand in for those of the chip."""
        self.step.use(twin)
        self.step.replicas.power = power
        self.model.likelihood.op.chip = self.chip if checked else twin
        self.model.likelihood.op.forget()

    def relabel(self, labels: NDArray[np.int64]) -> None:
        """Draw given these labels from now on, where the prior leaves nothing beside the weights."""
        for each in (self.step, *self.step.replicas.movers):
            each._labels = labels

    def chain(self, start: dict[str, NDArray], tune: int, draws: int, rng: np.random.Generator):
        """The points of one chain, warm-up left out, and the stats of the step on the twin."""
        points, stats = run_chain(self._all, start, tune, draws, rng)
        return points, [told[-1] for told in stats]

    def chain_from(self, start: dict[str, NDArray], draws: int, rng: np.random.Generator):
        """As `chain`, without a warm-up, and with the first draw checked as all others: against this start."""
        self._all.setup_chain(rng, 0, draws)
        self._all.reset_tuning()
        self._all.stop_tuning()
        weights, _ = self.step.weights_and_readout(start)
        self.step._current = self.step.op.answers(weights, self.step.op.inputs)
        point, points, stats = {name: np.array(value) for name, value in start.items()}, [], []
        for _ in range(draws):
            point, told = self._all.step(point)
            points.append({name: np.array(value) for name, value in point.items()})
            stats.append(told[-1])
        return points, stats

    def draws(self, starts: Sequence[dict[str, NDArray]], tune: int, draws: int, seed: int = 0):
        """(chain, draw, *shape) of each value variable, and the stats of all draws."""
        found, stats = run_chains(self._all, starts, tune, draws, seed)
        return found, [told[-1] for told in stats]
