"""Which fit a checkpoint belongs to: all that decides about its draws, and how two fits differ, in words."""

from __future__ import annotations

import hashlib
import inspect
import json
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm

from bayes_snn import __version__
from bayes_snn.chip import Chip
from bayes_snn.errors import CheckpointError
from bayes_snn.model import WeightsFunction
from bayes_snn.packing import pack
from bayes_snn.result import PACKAGES, describe_chip

FORMAT = 1  # of a checkpoint


def describe_fit(
    chip: Chip,
    model: pm.Model,
    function: WeightsFunction,
    starts: list[dict[str, Any]],
    arguments: dict[str, Any],
) -> dict[str, Any]:
    """A fit in plain values; `starts` are the draws from the prior at which its chains start."""
    return {
        "format": FORMAT,
        "arguments": {name: value for name, value in _plain(arguments).items() if name != "model"},
        "chip": _plain(describe_chip(chip)),
        "prior": _source(function),
        "starts": _digest_of_arrays([value for start in starts for value in start.values()]),
        "inputs": _digest_of_arrays([model.chip_op.inputs]),
        "labels": _digest_of_arrays([model.chip_labels]),
        "versions": {
            "bayes_snn": __version__,
            "python": ".".join(platform.python_version_tuple()[:2]),
            **{name: version(name) for name in PACKAGES},
        },
    }


def check_same(known: dict[str, Any], fit: dict[str, Any], folder: Path) -> None:
    """A `CheckpointError` that says in what a fit differs from the one that the checkpoint in `folder` belongs to."""
    for part in ("arguments", "versions", "chip"):
        for name in {**known[part], **fit[part]}:
            before, now = known[part].get(name), fit[part].get(name)
            if before != now:
                what = {"versions": f"version of {name}", "chip": f"{name} of the chip"}.get(part, name)
                raise CheckpointError(
                    f"The fit in {folder} was begun with another {what} ({before!s:.200}, now {now!s:.200}), and "
                    "the draws would not be the same: go on with what it was begun with, or fit again."
                )
    for part, what in (
        ("inputs", "other training inputs"),
        ("labels", "other training labels"),
        ("prior", "another model file or prior function"),
        ("starts", "another prior"),
    ):
        if known[part] != fit[part]:
            raise CheckpointError(
                f"The fit in {folder} was begun with {what}: go on with what it was begun with, or fit again."
            )


def _source(function: WeightsFunction) -> str | None:
    """Digest of a prior's text: of the whole model file where it is from one; None where there is no text."""
    module = sys.modules.get(function.__module__)
    try:
        if function.__module__.startswith("bayes_snn_model_") and module is not None and module.__file__:
            text = Path(module.__file__).read_text(encoding="utf-8")
        else:
            text = inspect.getsource(function)
    except (OSError, TypeError, ValueError):
        return None
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _digest_of_arrays(arrays: Sequence[Any]) -> str:
    return hashlib.sha256(pack([np.asarray(array) for array in arrays])).hexdigest()


def _plain(value: Any) -> Any:
    """As JSON gives it back."""

    def number(item: Any) -> Any:
        return item.item() if isinstance(item, np.generic) else str(item)

    return json.loads(json.dumps(value, default=number))
