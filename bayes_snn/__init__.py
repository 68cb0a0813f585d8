"""Train spiking neural network chips by Metropolis-Hastings sampling, with the chip as the likelihood."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bayes_snn.face import face
from bayes_snn.version import __version__ as __version__

if TYPE_CHECKING:
    from bayes_snn.backprop.train import train_backprop as train_backprop
    from bayes_snn.chips.behaviour import check_behaviour as check_behaviour
    from bayes_snn.chips.contract import Chip as Chip
    from bayes_snn.chips.contract import ChipSpec as ChipSpec
    from bayes_snn.chips.lif.chip import LIFChip as LIFChip
    from bayes_snn.chips.link.link import Link as Link
    from bayes_snn.chips.remote.client import RemoteChip as RemoteChip
    from bayes_snn.data import load_data as load_data
    from bayes_snn.data import split_data as split_data
    from bayes_snn.diagnostics import diagnose as diagnose
    from bayes_snn.errors import ChipError as ChipError
    from bayes_snn.errors import InputError as InputError
    from bayes_snn.errors import LinkError as LinkError
    from bayes_snn.estimator import BayesSNNClassifier as BayesSNNClassifier
    from bayes_snn.exports.nir import to_nir as to_nir
    from bayes_snn.fit import fit as fit
    from bayes_snn.model import build_model as build_model
    from bayes_snn.names import DISTORTIONS as DISTORTIONS
    from bayes_snn.report import write_report as write_report
    from bayes_snn.result import FitResult as FitResult
    from bayes_snn.result import load_fit as load_fit
    from bayes_snn.resuming import resume as resume

_HOMES = {
    "BayesSNNClassifier": "bayes_snn.estimator",
    "Chip": "bayes_snn.chips.contract",
    "ChipError": "bayes_snn.errors",
    "ChipSpec": "bayes_snn.chips.contract",
    "DISTORTIONS": "bayes_snn.names",
    "FitResult": "bayes_snn.result",
    "InputError": "bayes_snn.errors",
    "LIFChip": "bayes_snn.chips.lif.chip",
    "Link": "bayes_snn.chips.link.link",
    "LinkError": "bayes_snn.errors",
    "RemoteChip": "bayes_snn.chips.remote.client",
    "build_model": "bayes_snn.model",
    "check_behaviour": "bayes_snn.chips.behaviour",
    "diagnose": "bayes_snn.diagnostics",
    "fit": "bayes_snn.fit",
    "load_data": "bayes_snn.data",
    "load_fit": "bayes_snn.result",
    "resume": "bayes_snn.resuming",
    "split_data": "bayes_snn.data",
    "to_nir": "bayes_snn.exports.nir",
    "train_backprop": "bayes_snn.backprop.train",
    "write_report": "bayes_snn.report",
}
__all__ = sorted(_HOMES)
__getattr__, __dir__ = face(__name__, _HOMES, globals())


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        # importing the module bayes_snn.fit would put it where the function fit belongs
        if name == "fit" and isinstance(value, ModuleType):
            value = value.__dict__.get("fit", value)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
