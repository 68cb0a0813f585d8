"""The end of a fit, gone through with one draw from the prior before the first run of the chip.

What cannot be turned into a posterior, or written, would lose a fit that is finished, and `resume` would end in the
same way: dims that do not fit, a variable whose name is taken, names that a file cannot hold. All this depends on the
model and its names alone, so it is known before the sampling.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from pymc.backends.base import MultiTrace
from pymc.backends.ndarray import NDArray
from pymc.pytensorf import compile as compile_function

from bayes_snn.chips.contract import Chip
from bayes_snn.chips.presentations import Presentations
from bayes_snn.errors import InputError, in_one_line
from bayes_snn.inference.pointwise import add_inputs, record_likelihood
from bayes_snn.inference.result import FitResult

RESERVED = ("chain", "draw", "observation")


class _Silent:
    """Stands in for the chip: no neuron fires."""

    def __init__(self, chip: Chip) -> None:
        self.spec = chip.spec

    def run(self, weights: Any, inputs: Any) -> Any:
        return np.zeros((len(inputs), self.spec.layers[-1]), np.int32)


def rehearse(model: pm.Model, chip: Chip, start: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Turn a draw from the prior into a fit and write it to a folder that is then removed; the chip is not run.

    Parameters
    ----------
    model
        The chip's model.
    start
        Values of its free variables, by name.
    arguments
        Of the fit, as they will be stored.

    Raises
    ------
    InputError
        When that does not work: it would not work at the end of the fit either.
    """
    if taken := sorted(set(RESERVED) & model.named_vars.keys()):
        raise InputError(
            f"The prior has a variable {taken[0]!r}, but that is the name of a dim of every posterior, so the draws "
            "could not be stored under it: give it another name."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they come again at the end of the fit
            tree = _as_tree(model, start)
            if lost := [v.name for v in model.unobserved_RVs if v.name not in tree.posterior.data_vars]:
                raise ValueError(f"the variable {lost[0]!r} has the name of a dim of another one")
            record_likelihood(tree, model, _Silent(chip))
            add_inputs(tree, model)
            prior = {name: (("chain", "draw"), np.zeros((1, 1))) for name in chip.spec.weight_names}
            tree["log_prior"] = xr.DataTree(xr.Dataset(prior))
            result = FitResult(chip, tree, dict(arguments), Presentations())
            with tempfile.TemporaryDirectory(prefix="bayes_snn-") as folder:
                result.save(folder)
            silent = replace(result, chip=_Silent(chip))
            silent.evaluate(model.likelihood.op.inputs, model.likelihood.labels)
    except OSError as error:
        raise InputError(
            f"The fit could not be written to a temporary folder ({error.strerror or error}): make room there, or set "
            "TMPDIR to another folder."
        ) from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"One draw from the prior cannot be stored as a posterior ({in_one_line(error)}), and neither could "
            "the fit in the end: check the names and dims of the model's variables, and the names of features and "
            "classes."
        ) from error


def _as_tree(model: pm.Model, start: Mapping[str, Any]) -> xr.DataTree:
    """One chain of one draw, as PyMC makes a posterior of it."""
    variables = model.unobserved_RVs
    values = compile_function(model.free_RVs, variables, mode="FAST_COMPILE", on_unused_input="ignore")
    found = values(*(start[variable.name] for variable in model.free_RVs))
    shapes = {variable.name: np.shape(value) for variable, value in zip(variables, found, strict=True)}
    dtypes = {variable.name: np.asarray(value).dtype for variable, value in zip(variables, found, strict=True)}
    trace = NDArray(model=model, vars=variables, fn=lambda **point: found, var_shapes=shapes, var_dtypes=dtypes)
    trace.setup(1, 0)
    trace.record({}, in_warmup=False)
    trace.close()
    tree: xr.DataTree = pm.to_inference_data(MultiTrace([trace]), model=model)
    return tree
