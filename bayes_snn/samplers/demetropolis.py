"""`demetropolis`: PyMC's DEMetropolisZ, differential evolution over the chain's own past.

A proposal adds to all weights the difference of two earlier points of the chain, times 2.38 / sqrt(2 n_weights), and a
little noise (ter Braak and Vrugt, Stat. Comput. 2008). The past knows the scale of every weight and how they hang
together, so neither has to be tuned; it keeps growing after the warm-up. A draw costs one chip run.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pymc as pm

from bayes_snn.samplers.metropolis import Stock
from bayes_snn.samplers.shared.tally import Tally


class StockDEMetropolis(Stock, pm.DEMetropolisZ):
    """`pm.DEMetropolisZ` that counts presentations; arguments are those of `pm.DEMetropolisZ`."""

    stats_dtypes_shapes: ClassVar[dict[str, Any]] = {
        **pm.DEMetropolisZ.stats_dtypes_shapes,
        **Tally.stats_dtypes_shapes,
    }

    def __init__(self, vars: Any = None, **kwargs: Any) -> None:
        model = pm.modelcontext(kwargs.get("model"))
        point = model.initial_point()
        n = sum(int(np.size(point[v.name])) for v in (model.value_vars if vars is None else vars))
        # the stock step takes the number of all variables of the model, hyperparameters included, for that of its own
        super().__init__(vars, **{"S": np.ones(n), "lamb": 2.38 / np.sqrt(2 * n), **kwargs})

    # nothing of its own beside what `sampling_state` gives
    checkpoint_state, restore_state = Stock.checkpoint_state, Stock.restore_state
