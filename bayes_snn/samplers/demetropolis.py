"""`demetropolis`: PyMC's DEMetropolisZ, differential evolution over the chain's own past.

A proposal adds to all weights the difference of two earlier points of the chain, times 2.38 / sqrt(2 n_weights), and a
little noise (ter Braak and Vrugt, Stat. Comput. 2008). The past knows the scale of every weight and how they hang
together, so neither has to be tuned; it goes on growing after the warm-up. A draw costs one chip run.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pymc as pm
from pymc.blocking import RaveledVars

from bayes_snn.samplers.metropolis import TUNE_INTERVAL, AtProposal
from bayes_snn.samplers.shared.tally import Tally
from bayes_snn.samplers.shared.watch import Watched


class StockDEMetropolis(Watched, pm.DEMetropolisZ):
    """`pm.DEMetropolisZ` that counts presentations; arguments are those of `pm.DEMetropolisZ`."""

    stats_dtypes_shapes: ClassVar[dict[str, Any]] = {
        **pm.DEMetropolisZ.stats_dtypes_shapes,
        **Tally.stats_dtypes_shapes,
    }

    def __init__(self, vars: Any = None, *, tune_interval: int = TUNE_INTERVAL, **kwargs: Any) -> None:
        model = pm.modelcontext(kwargs.get("model"))
        point = model.initial_point()
        n = sum(int(np.size(point[v.name])) for v in (model.value_vars if vars is None else vars))
        # the stock step takes the number of all variables of the model, hyperparameters included, for that of its own
        kwargs = {"S": np.ones(n), "lamb": 2.38 / np.sqrt(2 * n), **kwargs}
        super().__init__(vars, tune_interval=tune_interval, **kwargs)
        self.find_op(model)
        self.delta_logp: Any = AtProposal(self, model)

    def astep(self, q0: RaveledVars) -> tuple[RaveledVars, Any]:
        with np.errstate(over="ignore"):  # the stock step takes exp of the log-ratio of every proposal
            q, [stats] = super().astep(q0)
        return q, [{**stats, "accept": min(float(stats["accept"]), 1.0), **self.tally()}]

    # nothing of its own beside what `sampling_state` tells
    checkpoint_state, restore_state = Watched.checkpoint_state, Watched.restore_state
