"""Metropolis-Hastings step methods for the weights, by name: each file holds one, and `pm.sample` takes any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pymc as pm

from bayes_snn.errors import unknown_name
from bayes_snn.model import weight_variables
from bayes_snn.steps.block import BlockMetropolis
from bayes_snn.steps.sitewise import SitewiseMetropolis, sitewise_or_stock
from bayes_snn.steps.stock import StockMetropolis

SAMPLERS: dict[str, Callable[..., Any]] = {
    "sitewise": sitewise_or_stock,
    "block": BlockMetropolis,
    "pymc": StockMetropolis,
}
__all__ = ["SAMPLERS", "BlockMetropolis", "SitewiseMetropolis", "StockMetropolis", "make_step"]


def make_step(sampler: str, model: pm.Model) -> Any:
    """The step method of this name for all weights of `model`; an `InputError` lists the names."""
    if sampler not in SAMPLERS:
        raise unknown_name("sampler", sampler, SAMPLERS)
    return SAMPLERS[sampler](weight_variables(model), model=model)
