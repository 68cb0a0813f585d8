"""Priors by name: the functions `weights` and `readout` of a model file, found and imported."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from bayes_snn.chips.contract import Chip
from bayes_snn.errors import InputError, in_one_line, unknown_name
from bayes_snn.names import available_models as available_models
from bayes_snn.names import is_path
from bayes_snn.posterior import class_biases

PriorFunction = Callable[[Chip], Sequence[Any]]
ReadoutFunction = Callable[..., tuple[Any, Any]]  # of a chip and, if it takes it, beta
_MODULE = "bayes_snn_model_"  # and the file's name


def load_prior(prior: str | Path | PriorFunction | None) -> PriorFunction:
    """The prior: the function `weights(chip)` of a model file.

    Parameters
    ----------
    prior
        Name of a file in `models/`, path of a file, the function itself, or None for "gaussian".

    Raises
    ------
    InputError
        When there is no such file, it does not run, or it holds no function `weights`.
    """
    if callable(prior):
        return prior
    name = "gaussian" if prior is None else str(prior)
    known = available_models()
    if not is_path(name) and name not in known:
        raise unknown_name("prior", name, known)
    path = Path(name) if is_path(name) else known[name]
    if not os.path.isfile(path):  # unlike Path.is_file, of a name too long as well
        raise InputError(
            f"There is no model file {path}: give its path, or one of the names {', '.join(sorted(known))}."
        )
    module = _import(path)
    function = getattr(module, "weights", None)
    if not callable(function):
        raise InputError(
            f"The model file {path} holds no function `weights(chip)`: define one that returns the weight matrices, "
            "as models/gaussian.py does."
        )
    return function  # type: ignore[no-any-return]


def load_readout(readout: ReadoutFunction | None, prior: PriorFunction) -> ReadoutFunction | None:
    """The function `readout(chip)` that was passed, else that of the model file which the prior came from.

    A file without one has that of class_biases.py. A prior that is a function came from no file: None.

    Raises
    ------
    InputError
        When it is no function.
    """
    if readout is None and str(getattr(prior, "__module__", "")).startswith(_MODULE):
        readout = getattr(prior, "__globals__", {}).get("readout", class_biases.readout)
    if readout is not None and not callable(readout):
        raise InputError(
            f"The readout was {readout!r:.60}, but a function `readout(chip)` that returns (beta, bias) is expected: "
            "define one as models/learned_readout.py does."
        )
    return readout


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{_MODULE}{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"The model file {path} is no Python file: give it a name that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"The model file {path} does not run ({in_one_line(error)}): run it with python to see where."
        ) from error
    return module
