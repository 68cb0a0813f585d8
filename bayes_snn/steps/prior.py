"""The prior of each single weight, from the PyMC graph: what a sweep over single weights must know of it.

In one sweep each weight is visited once and hyperparameters stand still. Under a prior that is a product over
weights, given the hyperparameters, the prior ratios of all proposals are therefore known before the sweep begins: two
calls of one compiled function, whatever the prior, instead of one for each proposal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.pytensorf import compile as compile_function
from pymc.pytensorf import join_nonshared_inputs
from pytensor.graph.traversal import ancestors


def why_not_separable(model: pm.Model, variables: Sequence[Any]) -> str | None:
    """None when the prior is a product over these weights given all other variables, else the reason in words."""
    for value in variables:
        rv = model.values_to_rvs[value]
        if rv not in model.chip_weights:
            return f"the weights are computed from {rv.name}"
        if model.rvs_to_transforms[rv] is not None:
            return f"{rv.name} is sampled on a transformed scale"
        if getattr(rv.owner.op, "ndim_supp", 1) > 0:
            return f"the prior of {rv.name} ties its weights together"
    own = {model.values_to_rvs[value] for value in variables}
    others = [rv for rv in model.free_RVs if rv not in own]
    terms = model.logp(vars=others, sum=False) if others else []
    terms = [*terms, *model.potentials, *(rv for rv in model.observed_RVs if rv is not model.chip_label)]
    for term in terms:
        reached = set(ancestors([term]))
        for value in variables:
            if value in reached or model.values_to_rvs[value] in reached:
                return f"{value.name} stands in another term of the model"
    for rv in own:
        [term] = model.logp(vars=[rv], sum=False)
        for value in variables:
            if value in set(ancestors([term])) and model.values_to_rvs[value] is not rv:
                return f"the prior of {rv.name} depends on {value.name}"
    return None


def separable_log_prior(
    model: pm.Model, variables: Sequence[Any], shared: dict[Any, Any], point: dict[str, np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """log p of each weight given the other variables: (n_weights,) -> (n_weights,), weights ravelled and joined."""
    rvs = [model.values_to_rvs[value] for value in variables]
    terms = [
        pt.broadcast_to(term, value.shape).ravel()
        for rv, value in zip(rvs, variables, strict=True)
        for term in model.logp(vars=[rv], sum=False)
    ]
    [joined_terms], joined = join_nonshared_inputs(
        point=point, outputs=[pt.concatenate(terms)], inputs=list(variables), shared_inputs=shared
    )
    function = compile_function([joined], joined_terms)
    function.trust_input = True
    return function  # type: ignore[no-any-return]
