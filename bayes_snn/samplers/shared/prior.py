"""The prior of each single weight, from the PyMC graph: what steps that make use of its form must know of it.

In one sweep over single weights each is visited once and hyperparameters stand still. Under a prior that is a product
over weights, given the hyperparameters, the prior ratios of all proposals are therefore known before the sweep begins:
two calls of one compiled function, whatever the prior, instead of one for each proposal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.pytensorf import compile as compile_function
from pytensor.compile.ops import ViewOp
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.random.basic import NormalRV
from pytensor.tensor.subtensor import AdvancedSubtensor

from bayes_snn.posterior.values import shape_of
from bayes_snn.samplers.shared.ravelled import ravelled_function


def why_not_separable(model: pm.Model, variables: Sequence[Any]) -> str | None:
    """None when the prior is a product over these weights given all other variables, else the reason in words.

    A layer may be fixed instead; one that is made from the variable of another is not.
    """
    rvs = [model.values_to_rvs[value] for value in variables]
    layers = [matrix for matrix in model.likelihood.weights if not set(rvs).isdisjoint(ancestors([matrix]))]
    for rv in rvs:
        if rv not in layers:
            return f"the weights are computed from {rv.name}"
        if np.issubdtype(rv.dtype, np.integer):
            return f"{rv.name} is a whole number and other weights are not"
    if len(layers) > len(rvs):
        return "a layer is made from the variables of another one"
    for rv in rvs:
        if reason := _why_joint(model, rv):
            return reason
    return why_tied(model, variables)


def why_not_normal(model: pm.Model, variables: Sequence[Any]) -> str | None:
    """None when the prior is a product of Normals given all other variables, else the reason in words."""
    for value in variables:
        rv = model.values_to_rvs[value]
        if not isinstance(rv.owner.op, NormalRV):
            return f"the prior of {rv.name} is {type(rv.owner.op).__name__.removesuffix('RV')}"
        if model.rvs_to_transforms[rv] is not None:
            return f"{rv.name} is sampled on a transformed scale"
    return why_tied(model, variables)


def why_tied(model: pm.Model, variables: Sequence[Any]) -> str | None:
    """None when each of these variables stands in its own prior and in the likelihood alone, else the reason."""
    own = {model.values_to_rvs[value] for value in variables}
    if computed := own & set(ancestors([model.likelihood.beta, model.likelihood.bias])):
        return f"the readout is computed from {computed.pop().name}"
    others = [rv for rv in model.free_RVs if rv not in own]
    terms = model.logp(vars=others, sum=False) if others else []
    terms = [*terms, *model.potentials, *(rv for rv in model.observed_RVs if rv is not model.likelihood.label)]
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
    return ravelled_function(pt.concatenate(terms), variables, shared, point)  # type: ignore[no-any-return]


def normal_parameters(
    model: pm.Model, variables: Sequence[Any], shared: dict[Any, Any], point: dict[str, np.ndarray], mode: Any = None
) -> Callable[[], Sequence[np.ndarray]]:
    """Means and standard deviations of weights with a Normal prior, given the other variables: () -> two (n_weights,).

    They are the parameters of the random variables in the graph; other variables in them become the shared ones. `mode`
    is PyTensor's.
    """
    nodes = [model.values_to_rvs[value].owner for value in variables]
    parameters = [
        pt.concatenate(
            [
                pt.broadcast_to(parameter, np.shape(point[value.name])).ravel().astype("float64")
                for value, parameter in zip(variables, column, strict=True)
            ]
        )
        for column in zip(*(node.op.dist_params(node) for node in nodes), strict=True)
    ]
    graphs = clone_replace(model.replace_rvs_by_values(parameters), shared)
    return compile_function([], graphs, mode=mode)  # type: ignore[no-any-return]


def is_discrete(variables: Sequence[Any]) -> bool:
    """True when all of these variables are whole numbers."""
    return all(np.issubdtype(variable.dtype, np.integer) for variable in variables)


def why_not_on_grid(model: pm.Model, variables: Sequence[Any]) -> str | None:
    """None when each weight is made from one whole number of its own, else the reason in words."""
    rvs = [model.values_to_rvs[value] for value in variables]
    layers = [matrix for matrix in model.likelihood.weights if not set(rvs).isdisjoint(ancestors([matrix]))]
    if len(rvs) != len(layers):
        return f"{len(rvs)} variables make {len(layers)} weight matrices"
    for rv, matrix in zip(rvs, layers, strict=True):
        if reason := _why_joint(model, rv):
            return reason
        if shape_of(rv) != shape_of(matrix) or not _elementwise(matrix, rv, rvs):
            return f"a weight is made from more than one element of {rv.name}"
    return why_tied(model, variables)


def _why_joint(model: pm.Model, rv: Any) -> str | None:
    """None when each element of a variable is moved as it stands and has a prior term of its own, else the reason."""
    if model.rvs_to_transforms[rv] is not None:
        return f"{rv.name} is sampled on a transformed scale"
    if getattr(rv.owner.op, "ndim_supp", 1) > 0:
        return f"the prior of {rv.name} ties its weights together"
    return None


def _elementwise(matrix: Any, rv: Any, rvs: Sequence[Any]) -> bool:
    """True when element (i, j) of `matrix` is made from element (i, j) of `rv`, and of no other of `rvs`."""
    if matrix is rv:
        return True
    reached = [variable for variable in rvs if variable in set(ancestors([matrix]))]
    if matrix.owner is None or reached != [rv]:
        return False
    depend = [source for source in matrix.owner.inputs if rv in set(ancestors([source]))]
    op = matrix.owner.op
    if isinstance(op, AdvancedSubtensor):  # levels[index]
        table, *indices = matrix.owner.inputs
        return table.ndim == 1 and depend == indices and _elementwise(indices[0], rv, rvs)
    if isinstance(op, Elemwise | ViewOp):
        same = [source for source in depend if source.type.ndim == matrix.type.ndim]
        return len(same) == len(depend) and all(_elementwise(source, rv, rvs) for source in depend)
    return False
