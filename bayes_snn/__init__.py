"""Train spiking neural network chips by Metropolis-Hastings sampling, with the chip as the likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    from bayes_snn.errors import ChipError as ChipError
    from bayes_snn.errors import InputError as InputError
    from bayes_snn.errors import LinkError as LinkError
    from bayes_snn.exports.nir import to_nir as to_nir
    from bayes_snn.inference.diagnostics import diagnose as diagnose
    from bayes_snn.inference.estimator import BayesSNNClassifier as BayesSNNClassifier
    from bayes_snn.inference.fit import fit as fit
    from bayes_snn.inference.load import load_fit as load_fit
    from bayes_snn.inference.result import FitResult as FitResult
    from bayes_snn.inference.resume import resume as resume
    from bayes_snn.names import DISTORTIONS as DISTORTIONS
    from bayes_snn.posterior.build import build_model as build_model
    from bayes_snn.reports.write import write_report as write_report
    from bayes_snn.twins.folder import load_twin as load_twin
    from bayes_snn.twins.learn import learn_twin as learn_twin

_HOMES = {
    "BayesSNNClassifier": "bayes_snn.inference.estimator",
    "Chip": "bayes_snn.chips.contract",
    "ChipError": "bayes_snn.errors",
    "ChipSpec": "bayes_snn.chips.contract",
    "DISTORTIONS": "bayes_snn.names",
    "FitResult": "bayes_snn.inference.result",
    "InputError": "bayes_snn.errors",
    "LIFChip": "bayes_snn.chips.lif.chip",
    "Link": "bayes_snn.chips.link.link",
    "LinkError": "bayes_snn.errors",
    "RemoteChip": "bayes_snn.chips.remote.client",
    "build_model": "bayes_snn.posterior.build",
    "check_behaviour": "bayes_snn.chips.behaviour",
    "diagnose": "bayes_snn.inference.diagnostics",
    "fit": "bayes_snn.inference.fit",
    "load_data": "bayes_snn.data",
    "learn_twin": "bayes_snn.twins.learn",
    "load_fit": "bayes_snn.inference.load",
    "load_twin": "bayes_snn.twins.folder",
    "resume": "bayes_snn.inference.resume",
    "split_data": "bayes_snn.data",
    "to_nir": "bayes_snn.exports.nir",
    "train_backprop": "bayes_snn.backprop.train",
    "write_report": "bayes_snn.reports.write",
}
__all__ = sorted(_HOMES)
__getattr__, __dir__ = face(__name__, _HOMES, globals())
