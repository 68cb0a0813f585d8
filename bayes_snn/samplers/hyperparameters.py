"""Slice sampling of hyperparameters, such as the scale of a layer's weights (Neal, Ann. Stat. 31, 2003).

What the prior of a scale looks like changes with the weights, which are drawn in turn with it: NUTS, whose step size
the warm-up has fixed, then diverges where the weights of a layer happen to be small. A slice has no step size to be
right or wrong. Elements of a variable that do not depend on each other given all other variables, as the local scales
of a horseshoe, are moved together. No evaluation runs the chip: its answers depend on the weights alone. (Variables of
the readout, which the labels depend on too, are drawn given the spike counts: readout.py.)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from pymc.blocking import RaveledVars
from pymc.logprob.utils import CheckParameterValue
from pymc.pytensorf import make_shared_replacements
from pymc.step_methods.arraystep import ArrayStepShared
from pymc.step_methods.compound import Competence, StepMethodState
from pymc.step_methods.state import dataclass_state
from pytensor.compile.ops import ViewOp
from pytensor.graph.traversal import ancestors
from pytensor.tensor.basic import Alloc
from pytensor.tensor.elemwise import DimShuffle, Elemwise

from bayes_snn.samplers.shared.ravelled import ravelled_function
from bayes_snn.samplers.shared.slices import move_in_slice

WIDTH = 1.0  # of the first intervals, on the scale that a variable is sampled on: the logarithm, for a scale
FIRST_PASSES = 10  # passes' worth of trust in that width, so that none ever becomes 0
TARGET_ACCEPT = 0.95  # of NUTS, for what is left to it: long steps diverge where the weights change the target
PASSES = 5  # over all variables, to a draw: they cost no run of the chip


@dataclass_state
class HyperparameterSliceState(StepMethodState):
    """What is needed to continue: the widths of the first intervals, and how many passes they were learned from."""

    tune: bool
    n_tuned: int
    widths: np.ndarray


class HyperparameterSlice(ArrayStepShared):
    """One variable after the other, its elements at the same time; a draw is PASSES passes.

    Parameters
    ----------
    vars
        Value variables that `independent_terms` knows the terms of.
    """

    name = "hyperparameter_slice"
    default_blocked = True
    stats_dtypes_shapes: ClassVar[dict[str, Any]] = {"evaluations": (np.int64, [])}
    _state_class = HyperparameterSliceState

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
        terms = [independent_terms(model, value) for value in vars]
        options = {"on_unused_input": "ignore", **(compile_kwargs or {})}
        self._log_densities = ravelled_function(pt.concatenate(terms), vars, shared, point, **options)
        ends = np.cumsum([0, *(int(np.size(point[value.name])) for value in vars)])
        self._places = [slice(first, end) for first, end in pairwise(ends)]
        super().__init__(vars, shared, blocked=blocked, rng=rng)
        self.tune = True
        self.reset_tuning()

    def reset_tuning(self) -> None:
        """Forget the widths."""
        self.n_tuned = 0
        self.widths = np.full(self._places[-1].stop, WIDTH)

    def log_densities(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """log p of each element given all others, up to a constant, (n,) -> (n,); -inf for nan."""
        found = np.asarray(self._log_densities(q))
        return np.where(np.isnan(found), -np.inf, found)

    def astep(self, q0: RaveledVars) -> tuple[RaveledVars, list[dict[str, Any]]]:
        q, evaluations = np.array(q0.data, dtype=np.float64), 0
        for _ in range(PASSES):
            reached = np.empty_like(q)
            for places in self._places:
                reached[places], n = move_in_slice(q, places, self.widths[places], self.log_densities, self.rng)
                evaluations += n
            if self.tune:  # in the warm-up alone: the mean length of an interval that a point was taken from
                self.n_tuned += 1
                self.widths += (reached - self.widths) / (self.n_tuned + FIRST_PASSES)
        return RaveledVars(q, q0.point_map_info), [{"evaluations": evaluations}]

    def checkpoint_state(self) -> dict[str, Any]:
        """Nothing: `sampling_state` gives all."""
        return {}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Nothing to continue from but `sampling_state`."""

    @staticmethod
    def competence(var: Any, has_grad: bool) -> Competence:
        return Competence.INCOMPATIBLE  # PyMC never picks it by itself


def independent_terms(model: pm.Model, value: Any) -> Any | None:
    """log p of each element of a variable given all else, up to a constant, (size,); None where elements are tied.

    `value` is a value variable from which no weight is computed, so that the labels say nothing of it that the weights
    do not; of one that the readout is computed from they do, and None is returned. Its elements are independent of
    each other, given all other variables, where every term of the model follows them element for element; a single one
    always is.
    """
    if model.values_to_rvs[value] in ancestors([model.likelihood.beta, model.likelihood.bias], model.free_RVs):
        return None
    rvs = [rv for rv in model.basic_RVs if rv is not model.likelihood.label]
    terms = [term for term in model.logp(vars=[*rvs, *model.potentials], sum=False) if value in set(ancestors([term]))]
    shape = tuple(value.shape.eval({value: model.initial_point()[value.name]}))
    long = [axis for axis, n in enumerate(shape) if n > 1]
    found = pt.zeros(int(np.prod(shape)))
    for term in terms:
        places = [] if not long else _axes(term, value, long)
        if places is None:
            return None
        others = [axis for axis in range(term.ndim) if axis not in places]
        kept = pt.sum(term, axis=others) if others else term
        ranks = [sorted(places).index(place) for place in places]
        found = found + (kept.transpose(ranks) if ranks else kept).reshape((-1,))
    return found


def _axes(term: Any, value: Any, long: Sequence[int]) -> list[int] | None:
    """Axes of a tensor along which it follows the long axes of `value`, element for element; None if it does not."""
    if term is value:
        return list(long)
    if term.owner is None:
        return None
    op, inputs = term.owner.op, term.owner.inputs
    if isinstance(op, CheckParameterValue | ViewOp):  # the checks themselves are of no account
        return _axes(inputs[0], value, long)
    if isinstance(op, Alloc):
        places = _axes(inputs[0], value, long)
        return None if places is None else [place + term.ndim - inputs[0].ndim for place in places]
    if isinstance(op, DimShuffle):
        places = _axes(inputs[0], value, long)
        return None if places is None else [op.new_order.index(place) for place in places]
    if isinstance(op, Elemwise):
        ways = [_axes(source, value, long) for source in inputs if value in set(ancestors([source]))]
        return ways[0] if all(way is not None and way == ways[0] for way in ways) else None
    return None
