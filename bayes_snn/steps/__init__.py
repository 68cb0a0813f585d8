"""Samplers for the weights, by name: each file holds one. All but `smc` are step methods, which `pm.sample` takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pymc as pm

from bayes_snn.errors import InputError, unknown_name
from bayes_snn.names import SAMPLERS
from bayes_snn.posterior.build import weight_variables
from bayes_snn.steps.block import BlockMetropolis
from bayes_snn.steps.demetropolis import StockDEMetropolis
from bayes_snn.steps.pcn import PCNMetropolis
from bayes_snn.steps.sitewise import SitewiseMetropolis, sitewise_or_stock
from bayes_snn.steps.sitewise_grid import NOT_DISCRETE, GridMetropolis, is_discrete
from bayes_snn.steps.smc import sample_smc
from bayes_snn.steps.stock import StockMetropolis

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
