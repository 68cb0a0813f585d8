"""Variables of the readout, class biases for example, drawn given the spike counts of the weights that a chain is at.

They stand beside a sampler of the weights, as hyperparameters do, and a draw of them runs no chip: the counts are
remembered. (On a twin, and by `tempered`, they move with the weights: shared/with_readout.py.)
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pymc as pm
from pymc.blocking import RaveledVars
from pymc.pytensorf import make_shared_replacements
from pymc.step_methods.arraystep import ArrayStepShared
from pymc.step_methods.compound import Competence, StepMethodState
from pymc.step_methods.state import dataclass_state

from bayes_snn.samplers.shared.carried import weights_function
from bayes_snn.samplers.shared.readout_moves import ReadoutMoves


@dataclass_state
class ReadoutSliceState(StepMethodState):
    """What is needed to continue."""

    tune: bool


class ReadoutSlice(ArrayStepShared):
    """Slice sampling of the readout; a draw is one pass over all elements, in random order.

    Parameters
    ----------
    vars
        Value variables that the readout is computed from, and no weight.
    """

    name = "readout_slice"
    default_blocked = True
    stats_dtypes_shapes: ClassVar[dict[str, Any]] = {}
    _state_class = ReadoutSliceState

    def __init__(
        self,
        vars: Any = None,
        *,
        model: pm.Model | None = None,
        rng: Any = None,
        initial_point: Any = None,
        compile_kwargs: dict[str, Any] | None = None,
        blocked: bool = True,
    ) -> None:
        model = pm.modelcontext(model)
        point = model.initial_point() if initial_point is None else initial_point
        shared = make_shared_replacements(point, vars, model)
        self._moves = ReadoutMoves(model, vars, shared, point)
        # once for a draw: to compile it would take longer than to call it
        self._weights_at = weights_function(model, vars, shared, point, mode="FAST_COMPILE")
        self._op = model.likelihood.op
        super().__init__(vars, shared, blocked=blocked, rng=rng)
        self.tune = True

    def reset_tuning(self) -> None:
        """Nothing is learned."""

    def astep(self, q0: RaveledVars) -> tuple[RaveledVars, list[dict[str, Any]]]:
        q = np.array(q0.data, dtype=np.float64)
        counts = self._op.evaluate(self._weights_at(q))
        q = self._moves.move(q, counts, 1.0, self.rng)
        return RaveledVars(q, q0.point_map_info), [{}]

    def checkpoint_state(self) -> dict[str, Any]:
        """Nothing: `sampling_state` gives all."""
        return {}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Nothing to continue from but `sampling_state`."""

    @staticmethod
    def competence(var: Any, has_grad: bool) -> Competence:
        return Competence.INCOMPATIBLE  # PyMC never picks it by itself
