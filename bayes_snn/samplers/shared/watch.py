"""Watching a chip that may drift: every few draws the current point is run again, and so is a point of reference.

An estimate that a chain keeps goes stale when the chip moves. The fresh one takes its place, and the chain continues
with it. It can't tell whether the chip has moved: the estimate that was kept had been accepted, so it was a lucky one
and a fresh one is lower, drift or no drift. So one point, that of the first look after the warm-up, is measured again
at every later look. Nothing selects these measurements: on a chip that stands still they are one like the other.
`bayes_snn.inference.drift` reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pymc as pm
from numpy.typing import NDArray

from bayes_snn.chips.contract import FloatArray, as_matrices
from bayes_snn.groups import AFTER, BEFORE, NOTHING, REFERENCE
from bayes_snn.likelihood import Readout, Target
from bayes_snn.posterior.build import weight_variables, weights_at
from bayes_snn.posterior.op import ChipCounts
from bayes_snn.posterior.readout import readout_function
from bayes_snn.samplers.shared.tally import Tally


@dataclass
class Watch:
    """What a chain's watch must remember; plain values, to be stored with a chain that is to continue later.

    Attributes
    ----------
    n_draws
        Draws begun in this chain, warm-up included.
    reference
        Weights of the point of reference, all layers ravelled and joined, and its readout, beta and then the biases;
        empty before there is one.
    """

    n_draws: int = 0
    reference: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def start_chain(self, keep_reference: bool) -> None:
        """Begin to count; a chip that continues from chain to chain keeps its point of reference."""
        self.n_draws = 0
        if not keep_reference:
            self.reference = np.zeros(0)

    def due(self, every: int) -> bool:
        """Whether this draw begins with a look; counts it."""
        now = self.n_draws > 0 and self.n_draws % every == 0
        self.n_draws += 1
        return now

    def measure_reference(
        self,
        op: ChipCounts,
        labels: Target,
        weights: Sequence[FloatArray],
        readout: Readout,
        fresh: float,
    ) -> float:
        """log L at the point of reference, a run; if there is none yet, the current point becomes it, at no cost."""
        bias = readout.biases(op.chip.spec.layers[-1])
        if self.reference.size == 0:
            parts: list[Any] = [*weights, readout.beta, bias]
            self.reference = np.concatenate([np.ravel(part) for part in parts]).astype(np.float64)
            return fresh
        shapes = [*(np.shape(matrix) for matrix in weights), (), bias.shape]
        *matrices, beta, bias = as_matrices(self.reference, shapes)
        return float(Readout(float(beta), bias).log_p(op.run(matrices), labels).sum())

    def checkpoint_state(self) -> dict[str, Any]:
        """All that changes, in plain values."""
        return {"n_draws": self.n_draws, "reference": self.reference.copy()}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Continue from what `checkpoint_state` returned."""
        self.n_draws = int(state["n_draws"])
        self.reference = np.array(state["reference"], np.float64)


class Watched(Tally):
    """Mixin of the step methods: they count, and they watch the chip where the Op's noise choice says `remeasure`.

    `go_on_from` is for steps that keep the counts, or log L, of the current point elsewhere than in the Op.
    """

    def find_op(self, model: pm.Model | None) -> None:
        """Remember the chip's Op of this model, and make ready to watch."""
        super().find_op(model)
        model = pm.modelcontext(model)
        self.watch = Watch()
        self.chip_labels: Target = model.likelihood.target
        if self.op.noise.remeasure:
            # of several steps that share the weights, the one that has the first of them looks
            self._looks_with = weight_variables(model)[0].name
            self._readout_at = readout_function(model)
            self._programmed = weights_at(model)
            self.stats_dtypes_shapes = {  # type: ignore[misc]
                **type(self).stats_dtypes_shapes,
                **dict.fromkeys(NOTHING, (np.float64, [])),
            }
            self.stats_dtypes = [{name: dtype for name, (dtype, _) in self.stats_dtypes_shapes.items()}]

    def start_count(self, rng: np.random.Generator) -> None:
        """A chain begins; a chip that continues keeps its point of reference."""
        super().start_count(rng)
        self.watch.start_chain(keep_reference=self.op.noise.goes_on)

    def checkpoint_state(self) -> dict[str, Any]:
        """What `sampling_state` lacks, the watch's memory in it."""
        return {**super().checkpoint_state(), "watch": self.watch.checkpoint_state()}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Continue from what `checkpoint_state` returned."""
        super().restore_state(state)
        self.watch.restore_state(state["watch"])

    def step(self, point: dict[str, Any]) -> Any:
        """A draw, which begins with a look at the chip where one is due."""
        if not self.op.noise.remeasure:
            return super().step(point)  # type: ignore[misc]
        seen = self.look(point)
        point, [stats] = super().step(point)  # type: ignore[misc]
        return point, [{**stats, **seen}]

    def look(self, point: dict[str, Any]) -> dict[str, float]:
        """Measure the current point anew, have the chain continue from that, and measure the point of reference."""
        mine = self._looks_with in self.var_names  # type: ignore[attr-defined]
        if not mine or not self.watch.due(self.op.noise.remeasure):
            return NOTHING
        weights = self._programmed(point)
        readout = self._readout_at(point)
        known, counts = self.op.known(weights), self.op.run(weights)
        before = float("nan") if known is None else float(readout.log_p(known, self.chip_labels).sum())
        self.go_on_from(weights, counts)
        after, reference = float(readout.log_p(counts, self.chip_labels).sum()), float("nan")
        if not self.tune:  # type: ignore[attr-defined]
            reference = self.watch.measure_reference(self.op, self.chip_labels, weights, readout, after)
        return {BEFORE: before, AFTER: after, REFERENCE: reference}

    def go_on_from(self, weights: Sequence[FloatArray], counts: NDArray[np.int64]) -> None:
        """Take these counts for those of the current point."""
        self.op.remember(weights, counts)
