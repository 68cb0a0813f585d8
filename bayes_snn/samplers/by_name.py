"""A sampler by its name; `bayes_snn.names.SAMPLERS` lists them, each file here holds one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr

from bayes_snn.errors import InputError, unknown_name
from bayes_snn.names import SAMPLERS
from bayes_snn.posterior.build import weight_variables
from bayes_snn.samplers.metropolis import StockMetropolis
from bayes_snn.samplers.shared.joint import JointMetropolis, Move
from bayes_snn.samplers.shared.prior import is_discrete, why_not_on_grid, why_not_separable
from bayes_snn.samplers.sitewise import SitewiseMetropolis
from bayes_snn.samplers.sitewise_grid import GridMetropolis

# what `make_step` makes of a model alone, whatever its chip is
STEPS = tuple(
    name for name, known in SAMPLERS.items() if not known.population and not known.twin and not known.simulated
)


def make_step(sampler: str, model: pm.Model, **options: Any) -> Any:
    """The step method of this name for all weights of `model`, and its options; an `InputError` lists the names."""
    if sampler in SAMPLERS and SAMPLERS[sampler].population:
        raise InputError(f"Sampler {sampler!r} moves a population, by no step method: call fit(sampler={sampler!r}).")
    variables = weight_variables(model)
    make = _maker(sampler, variables)
    if isinstance(make, type) and issubclass(make, Move):
        return JointMetropolis(variables, move=make(), model=model, **options)
    return make(variables, model=model, **options)


def sample_population(
    sampler: str, model: pm.Model, draws: int, chains: int, seed: np.random.Generator, progress: bool
) -> xr.DataTree:
    """Populations of `draws` particles, as many as `chains`, by the sampler of this name, as a DataTree of PyMC's."""
    tree: xr.DataTree = _maker(sampler, weight_variables(model))(model, draws, chains, seed, progress)
    return tree


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


def _maker(sampler: str, variables: Sequence[Any]) -> Any:
    """What makes the sampler of this name, which must be one for weights of these value variables."""
    if sampler not in SAMPLERS:
        raise unknown_name("sampler", sampler, SAMPLERS)
    known = SAMPLERS[sampler]
    if not known.discrete and any(is_discrete([variable]) for variable in variables):
        others = " or ".join(repr(name) for name in STEPS if SAMPLERS[name].discrete)
        raise InputError(
            f"Sampler {sampler!r} moves all weights on a continuous scale, but this model's weights are whole-number "
            f"levels: take sampler {others}, or a prior of continuous weights such as 'gaussian'."
        )
    if not isinstance(known.make, str):
        return known.make
    file, _, name = known.make.partition(":")
    return getattr(import_module(f"bayes_snn.samplers.{file}"), name)
