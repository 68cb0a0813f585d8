"""What the functions of a model file, prior and readout, return: asked for, and recorded in the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pymc as pm

from bayes_snn.chips.contract import Chip
from bayes_snn.errors import InputError, in_one_line

_RETURNS = {
    "prior": ("weights(chip) must return a weight matrix for each layer", "models/gaussian.py"),
    "readout": ("readout(chip) must return (beta, bias)", "models/learned_readout.py"),
}


def name_of(function: Callable[[Chip], Any]) -> object:
    """What sentences call a function, or an object that can be called."""
    return getattr(function, "__name__", function)


def call_function(function: Callable[..., Any], chip: Chip, kind: str, given: Mapping[str, Any] = {}) -> Any:
    """What a "prior" or a "readout" returns of a chip, and of what else it is given, or an `InputError`.

    Its variables are in the model then.
    """
    try:
        return function(chip, **given)
    except InputError:
        raise
    except Exception as error:
        code = getattr(function, "__code__", None)
        where = f" of {code.co_filename}" if code else ""
        must, example = _RETURNS[kind]
        raise InputError(
            f"The {kind} {name_of(function)!r}{where} does not run ({in_one_line(error)}), but {must}: fix it; "
            f"{example} shows how."
        ) from error


def record(name: str, tensor: Any, dims: tuple[str, ...], what: str) -> None:
    """See to it that the posterior holds this tensor under its name and dims; `what` it is, for an `InputError`."""
    model = pm.modelcontext(None)
    if name not in model.named_vars:  # what is computed from other variables is recorded all the same
        pm.Deterministic(name, tensor, dims=dims)
    elif model.named_vars[name] is not tensor:
        raise InputError(
            f"The model has a variable {name!r} which is not the {what}, so the posterior would hold the wrong one: "
            f"give that variable another name, for example 'z_{name}'."
        )
    if dims:
        model.named_vars_to_dims[name] = dims  # also where the model file gave a shape, not dims
