"""Train spiking neural network chips by Metropolis-Hastings sampling, with the chip as the likelihood."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bayes_snn.version import __version__ as __version__

if TYPE_CHECKING:
    from bayes_snn.backprop.train import train_backprop as train_backprop
    from bayes_snn.behaviour import check_behaviour as check_behaviour
    from bayes_snn.chip import Chip as Chip
    from bayes_snn.chip import ChipSpec as ChipSpec
    from bayes_snn.data import load_data as load_data
    from bayes_snn.data import split_data as split_data
    from bayes_snn.diagnostics import diagnose as diagnose
    from bayes_snn.errors import ChipError as ChipError
    from bayes_snn.errors import InputError as InputError
    from bayes_snn.errors import LinkError as LinkError
    from bayes_snn.estimator import BayesSNNClassifier as BayesSNNClassifier
    from bayes_snn.fit import fit as fit
    from bayes_snn.lif import LIFChip as LIFChip
    from bayes_snn.link import Link as Link
    from bayes_snn.model import build_model as build_model
    from bayes_snn.names import DISTORTIONS as DISTORTIONS
    from bayes_snn.nir import to_nir as to_nir
    from bayes_snn.remote import RemoteChip as RemoteChip
    from bayes_snn.report import write_report as write_report
    from bayes_snn.result import FitResult as FitResult
    from bayes_snn.result import load_fit as load_fit
    from bayes_snn.resuming import resume as resume

_HOMES = {
    "BayesSNNClassifier": "estimator",
    "Chip": "chip",
    "ChipError": "errors",
    "ChipSpec": "chip",
    "DISTORTIONS": "names",
    "FitResult": "result",
    "InputError": "errors",
    "LIFChip": "lif",
    "Link": "link",
    "LinkError": "errors",
    "RemoteChip": "remote",
    "build_model": "model",
    "check_behaviour": "behaviour",
    "diagnose": "diagnostics",
    "fit": "fit",
    "load_data": "data",
    "load_fit": "result",
    "resume": "resuming",
    "split_data": "data",
    "to_nir": "nir",
    "train_backprop": "backprop",
    "write_report": "report",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: the chip alone does not need PyMC."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bayes_snn' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(f"bayes_snn.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        # importing the module bayes_snn.fit would put it where the function fit belongs
        if name == "fit" and isinstance(value, ModuleType):
            value = value.__dict__.get("fit", value)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
