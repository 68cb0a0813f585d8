"""`pymc`: PyMC's own Metropolis, one coordinate at a time (Metropolis et al. 1953, Hastings 1970).

Two things are added: the tuning interval is short enough for a few hundred draws, and the presentations that the
chip was charged are in the sample stats. A draw costs one chip run for each weight.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pymc as pm
from pymc.blocking import RaveledVars

from bayes_snn.steps.tally import Tally

TUNE_INTERVAL = 20


class StockMetropolis(Tally, pm.Metropolis):
    """`pm.Metropolis` that counts presentations; arguments are those of `pm.Metropolis`."""

    stats_dtypes_shapes: ClassVar[dict[str, Any]] = {**pm.Metropolis.stats_dtypes_shapes, **Tally.stats_dtypes_shapes}

    def __init__(self, vars: Any = None, *, tune_interval: int = TUNE_INTERVAL, **kwargs: Any) -> None:
        super().__init__(vars, tune_interval=tune_interval, **kwargs)
        self.find_op(kwargs.get("model"))

    def astep(self, q0: RaveledVars) -> tuple[RaveledVars, Any]:
        with np.errstate(over="ignore"):  # the stock step takes exp of the log-ratio of every proposal
            q, [stats] = super().astep(q0)
        return q, [{**stats, "accept": min(stats["accept"], 1.0), **self.tally()}]

    # nothing of its own beside what `sampling_state` tells
    checkpoint_state, restore_state = Tally.checkpoint_state, Tally.restore_state
