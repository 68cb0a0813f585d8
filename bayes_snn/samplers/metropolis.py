"""`pymc`: PyMC's own Metropolis, one coordinate at a time (Metropolis et al. 1953, Hastings 1970).

Two things are added: the tuning interval is short enough for a few hundred draws, and the presentations that the
chip was charged are in the sample stats. A draw costs one chip run for each weight.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pymc as pm
from pymc.blocking import RaveledVars

from bayes_snn.posterior.op import ChipCounts
from bayes_snn.samplers.shared.carried import weights_function
from bayes_snn.samplers.shared.tally import Tally
from bayes_snn.samplers.shared.watch import Watched

TUNE_INTERVAL = 20


class AtProposal:
    """The log-ratio of a proposal, (new, current) -> log p(new) - log p(current), as PyMC's own steps ask for it.

    On a noisy chip the Op is left with the estimate of the current point alone before each proposal, which makes the
    steps pseudo-marginal. Under `mcwm` it forgets that one too, so that both ends are run. It remembers both
    afterwards, for steps on hyperparameters, which leave the weights where they are.
    """

    def __init__(self, step: Any, model: pm.Model) -> None:
        self._op: ChipCounts = step.op
        self._function = step.delta_logp
        self._weights_at: Any = None
        if not self._op.chip.spec.deterministic:
            shared = {value: step.shared[value.name] for value in model.value_vars if value.name in step.shared}
            self._weights_at = weights_function(model, step.vars, shared, model.initial_point())

    def __call__(self, new: np.ndarray, current: np.ndarray) -> Any:
        if self._op.noise.refreshes:
            self._op.forget()
        elif self._weights_at is not None:
            self._op.keep(self._weights_at(current))
        return self._function(new, current)


class Stock(Watched):
    """Mixin before a step method of PyMC's: it counts presentations; arguments are those of the step."""

    def __init__(self, vars: Any = None, *, tune_interval: int = TUNE_INTERVAL, **kwargs: Any) -> None:
        super().__init__(vars, tune_interval=tune_interval, **kwargs)  # type: ignore[call-arg]
        model = pm.modelcontext(kwargs.get("model"))
        self.find_op(model)
        self.delta_logp: Any = AtProposal(self, model)

    def astep(self, q0: RaveledVars) -> tuple[RaveledVars, Any]:
        with np.errstate(over="ignore"):  # the stock steps take exp of the log-ratio of every proposal
            q, [stats] = super().astep(q0)  # type: ignore[misc]
        return q, [{**stats, "accept": min(float(stats["accept"]), 1.0), **self.tally()}]


class StockMetropolis(Stock, pm.Metropolis):
    """`pm.Metropolis` that counts presentations; arguments are those of `pm.Metropolis`."""

    stats_dtypes_shapes: ClassVar[dict[str, Any]] = {**pm.Metropolis.stats_dtypes_shapes, **Tally.stats_dtypes_shapes}

    # nothing of its own beside what `sampling_state` gives
    checkpoint_state, restore_state = Stock.checkpoint_state, Stock.restore_state
