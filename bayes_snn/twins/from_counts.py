"""A chip is learned from its output counts alone, by experiments that are designed as they go.

1. Hidden neurons are switches (bench.py). Outputs see constant drives, and their counts map their firing sets.
2. Outputs that are known relay what hidden neurons do (relays.py), whose firing sets are mapped in the same way.
3. Random presentations, of the kind that a fit shows, tell where the twin errs, and more is asked there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.lif.circuit import TabulatedLayer
from bayes_snn.chips.lif.distortion import weight_grid
from bayes_snn.errors import InputError
from bayes_snn.twins.asking import AskedChip, BudgetSpentError
from bayes_snn.twins.bench import Bench
from bayes_snn.twins.contract import COUNTS, Learned, never_varied
from bayes_snn.twins.hidden import Hidden
from bayes_snn.twins.lif import LIFTwin
from bayes_snn.twins.membership import FiringSet, Mask
from bayes_snn.twins.outputs import PER_ROUND, Outputs
from bayes_snn.twins.relays import Question

CHECKED, SAMPLES = 400, 16  # random presentations that a twin is held to, and of these with the same weights
MOST_CHECKS, MOST_DOUBTS = 8, 12
HOPELESS, ENOUGH = 0.7, 0.01  # a mismatch that is not brought down by this factor stays; one to go on with
SCALES = (0.5, 1.0, 2.0)  # standard deviation of random weights


def learn_from_counts(asked: AskedChip, seed: int) -> LIFTwin:
    """The twin of a chip, from its counts alone.

    Parameters
    ----------
    asked
        The chip, and what it may be shown.
    seed
        Decides what is asked where any question would do.

    Raises
    ------
    InputError
        For a chip that cannot be learned in this way.
    """
    _refuse(asked)
    bench = Bench(asked, np.random.default_rng(seed))
    learner = _Learner(bench)
    try:
        learner.learn()
    except BudgetSpentError:
        learner.notes.append("The budget was spent before the twin was good enough.")
    return learner.twin()


def _refuse(asked: AskedChip) -> None:
    """An `InputError` for a chip that cannot be learned in this way."""
    spec = asked.spec
    if asked.given_inputs:
        raise InputError(
            "The chip can be shown real samples alone (given_inputs), but from counts a twin is learned from inputs of "
            "its own choice: fit without a twin (sampler='sitewise'), or let the chip show its spikes."
        )
    instead = "fit it without a twin (sampler='sitewise'), or learn it from spikes"
    if len(spec.layers) != 3 or len(spec.weight_shapes) != 2:
        raise InputError(
            f"The chip has {len(spec.weight_shapes)} layers of weights, but counts alone teach a twin of 2: {instead}."
        )
    if spec.layers[1] > spec.layers[0]:
        raise InputError(
            f"The chip has {spec.layers[1]} hidden neurons and {spec.layers[0]} inputs, but counts alone teach a twin "
            f"only where each hidden neuron has an input of its own: {instead}."
        )
    if not spec.deterministic:
        raise InputError(f"The chip answers differently each time, which counts alone do not teach a twin: {instead}.")


class Shown(NamedTuple):
    """A presentation: weights, inputs (n_in,), and at which outputs (n_out,) the twin was wrong."""

    weights: list[NDArray[np.float64]]
    inputs: NDArray[np.float64]
    differs: Mask


class _Learner:
    """What is known of a chip, and how more is found out."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.outputs = Outputs(bench)
        self.hidden = Hidden(bench, self.outputs)
        self.notes: list[str] = []
        self.wrong, self.compared = 0, 0

    def learn(self) -> None:
        """All of it, in turn."""
        bench = self.bench
        self.outputs.learn()
        if (bench.least == bench.most).all():
            raise never_varied(bench.asked.presentations, bench.most.tolist())
        for out in np.flatnonzero(bench.least == bench.most):
            self.notes.append(f"Output {out} counted {bench.most[out]} spikes in every presentation.")
        self.hidden.learn()
        if n_idle := int(self.hidden.are_idle().sum()):
            self.notes.append(f"{n_idle:,} of {bench.n_hidden:,} hidden neurons move no output.")
        before = 1.0
        for _ in range(MOST_CHECKS):
            wrong = self._check()
            if not wrong:
                return
            share = self.wrong / self.compared
            if share > HOPELESS * max(before, ENOUGH):
                self.notes.append(
                    f"{share:.2%} of the counts stay wrong, whatever is asked: counts alone do not teach the gains of "
                    "first synapses, synapses stuck at zero, or bent currents yet, so learn the chip from spikes."
                )
                return
            before = share
            doubts = self._doubts(wrong)
            if not self.hidden.map(doubts):
                self.outputs.ask(self._visited(wrong))
            self.outputs.map()

    def _check(self) -> list[Shown]:
        """Random presentations of the kind that fits show; those that the twin is wrong about."""
        bench, twin = self.bench, self.twin()
        wrong: list[Shown] = []
        self.wrong = self.compared = 0
        for _ in range(CHECKED // SAMPLES):
            scale = bench.rng.choice(SCALES)
            weights = [scale * bench.rng.normal(size=shape) for shape in bench.spec.weight_shapes]
            inputs = bench.rng.normal(size=(SAMPLES, bench.n_in))
            counts, said = bench.run(weights[0], weights[1], inputs), twin.run(weights, inputs)
            self.compared += counts.size
            self.wrong += int((counts != said).sum())
            rows = np.flatnonzero((counts != said).any(1))
            wrong += [Shown(weights, inputs[row], counts[row] != said[row]) for row in rows]
        return wrong

    def _doubts(self, wrong: list[Shown]) -> list[Question]:
        """Questions to the hidden neurons at the drives that they had where the twin was wrong."""
        doubts = []
        for shown in wrong[:MOST_DOUBTS]:
            drives = shown.inputs @ (self.hidden.gain * self.bench.written(shown.weights[0]))
            doubts += [Question(j, *self.hidden.known[j].at(float(drive))) for j, drive in enumerate(drives)]
        return doubts

    def _visited(self, wrong: list[Shown]) -> list[list[float]]:
        """Drives that bring outputs to the least known voltages that they had where the twin was wrong."""
        twin = self.twin()
        wanted: list[list[float]] = [[] for _ in self.outputs.known]
        for shown in wrong[:MOST_DOUBTS]:
            spikes = twin.spikes(shown.weights, shown.inputs[None])
            drives = spikes[0][0] @ (self.bench.gain * self.bench.written(shown.weights[1]))
            for out in np.flatnonzero(shown.differs):
                known, v = self.outputs.known[out], 0.0
                visited = []
                for step, drive in enumerate(drives[:, out]):
                    v = known.alpha * v + drive
                    visited.append(v)
                    v = 0.0 if spikes[1][0, step, out] else v
                wanted[out] += known.least_known(visited, PER_ROUND)
        return wanted

    def twin(self) -> LIFTwin:
        """The twin, as far as it is known."""
        asked = self.bench.asked
        mismatch = self.wrong / self.compared if self.compared else float("nan")
        learned = Learned(
            COUNTS,
            asked.presentations,
            asked.programmings,
            mismatch,
            self.compared,
            type(asked.chip).__name__,
            tuple(self.notes),
        )
        layers = [
            _layer(self.bench.spec, 0, self.hidden.known, self.hidden.gain),
            _layer(self.bench.spec, 1, self.outputs.known, self.bench.gain),
        ]
        return LIFTwin(asked.spec, layers, learned)


def _layer(spec: ChipSpec, number: int, sets: list[FiringSet], gain: NDArray[np.float64]) -> TabulatedLayer:
    decay = np.array([known.alpha for known in sets], np.float32)
    edges = [(known.edges * (1.0 - known.alpha)).astype(np.float32) for known in sets]
    grid = weight_grid(spec, number, gain)
    return TabulatedLayer(decay, edges, gain.astype(np.float32), grid, None, np.zeros(0, np.float32))
