"""Samplers for the weights, by name: each file holds one. All but `smc` are step methods, which `pm.sample` takes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pymc as pm

from bayes_snn.errors import InputError, unknown_name
from bayes_snn.names import SAMPLERS
from bayes_snn.posterior.build import weight_variables
from bayes_snn.samplers.block import BlockMetropolis
from bayes_snn.samplers.demetropolis import StockDEMetropolis
from bayes_snn.samplers.metropolis import StockMetropolis
from bayes_snn.samplers.pcn import PCNMetropolis
from bayes_snn.samplers.shared.prior import NOT_DISCRETE, is_discrete, why_not_on_grid, why_not_separable
from bayes_snn.samplers.sitewise import SitewiseMetropolis
from bayes_snn.samplers.sitewise_grid import GridMetropolis
from bayes_snn.samplers.smc import sample_smc


def sitewise_or_stock(vars: Any, *, model: pm.Model, **kwargs: Any) -> Any:
    """A step over single weights where the prior allows one, else PyMC's Metropolis, with a warning that says why."""
    discrete = is_discrete(vars)
    reason = why_not_on_grid(model, vars) if discrete else why_not_separable(model, vars)
    if reason is None:
        return (GridMetropolis if discrete else SitewiseMetropolis)(vars, model=model, **kwargs)
    warnings.warn(
        f"sitewise cannot sweep this model, because {reason}: PyMC's Metropolis is used instead, which is exact too "
        "but runs the whole chip for every proposal.",
        UserWarning,
        stacklevel=2,
    )
    return StockMetropolis(vars, model=model)


STEPS: dict[str, Callable[..., Any]] = {
    "sitewise": sitewise_or_stock,
    "block": BlockMetropolis,
    "pcn": PCNMetropolis,
    "pymc": StockMetropolis,
    "demetropolis": StockDEMetropolis,
}
__all__ = [
    "SAMPLERS",
    "STEPS",
    "BlockMetropolis",
    "GridMetropolis",
    "PCNMetropolis",
    "SitewiseMetropolis",
    "StockDEMetropolis",
    "StockMetropolis",
    "make_step",
    "sample_smc",
]


def make_step(sampler: str, model: pm.Model) -> Any:
    """The step method of this name for all weights of `model`; an `InputError` lists the names."""
    if sampler == "smc":
        raise InputError("Sampler 'smc' moves a population and is no step method: call fit(sampler='smc').")
    if sampler not in STEPS:
        raise unknown_name("sampler", sampler, SAMPLERS)
    variables = weight_variables(model)
    if sampler not in ("sitewise", "pymc") and any(is_discrete([variable]) for variable in variables):
        raise InputError(NOT_DISCRETE.format(sampler))
    return STEPS[sampler](variables, model=model)
