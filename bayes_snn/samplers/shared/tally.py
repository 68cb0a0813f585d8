"""What every sampler here shares: it counts presentations, and it prepares the chip for a chain."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from typing import Any, ClassVar

import numpy as np
import pymc as pm

from bayes_snn.posterior.op import ChipCounts


class Tally:
    """Mixin: `presentations` in the sample stats, counted from the start of the chain, warm-up included."""

    stats_dtypes_shapes: ClassVar[dict[str, tuple[Any, list[int]]]] = {"presentations": (np.int64, [])}

    op: ChipCounts
    _counted: int = 0

    def find_op(self, model: pm.Model | None) -> None:
        """Remember the chip's Op of this model."""
        self.op = pm.modelcontext(model).likelihood.op

    def setup_chain(self, rng: Any, tune: int, draws: int) -> None:
        """Start counting; Ctrl-C is for the main process."""
        super().setup_chain(rng, tune, draws)  # type: ignore[misc]
        self.start_count(self.rng)  # type: ignore[attr-defined]
        in_main_thread = threading.current_thread() is threading.main_thread()  # not so in a Dask worker
        if multiprocessing.parent_process() is not None and in_main_thread:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def start_count(self, rng: np.random.Generator) -> None:
        """A chain begins; copies of a noisy chip get noise of their own, but one that drifts does not grow young."""
        self._counted = self.op.presentations
        restart_noise = getattr(self.op.chip, "restart_noise", None)
        if restart_noise is not None and not self.op.chip.spec.deterministic and not self.op.noise.goes_on:
            restart_noise(int(rng.integers(2**32)))
            self.op.forget()

    def checkpoint_state(self) -> dict[str, Any]:
        """What `sampling_state` lacks; a sampler that has more adds it (see `bayes_snn.checkpoint.step_state`)."""
        return {"presentations": self.op.presentations - self._counted}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Continue from what `checkpoint_state` returned."""
        self._counted = self.op.presentations - int(state["presentations"])

    def tally(self) -> dict[str, int]:
        """The stat to add to a draw's stats."""
        return {"presentations": self.op.presentations - self._counted}
