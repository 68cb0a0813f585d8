"""Chips: the contract, the simulated chip, Xylo, neurons of NEST, chips behind links and servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bayes_snn.face import face

if TYPE_CHECKING:
    from bayes_snn.chips.contract import Chip as Chip
    from bayes_snn.chips.contract import ChipSpec as ChipSpec
    from bayes_snn.chips.lif.chip import LIFChip as LIFChip
    from bayes_snn.chips.link.faulty import FaultyChip as FaultyChip
    from bayes_snn.chips.link.link import Link as Link
    from bayes_snn.chips.nest.chip import NestChip as NestChip
    from bayes_snn.chips.remote.client import RemoteChip as RemoteChip
    from bayes_snn.chips.xylo.chip import XyloChip as XyloChip
    from bayes_snn.names import DISTORTIONS as DISTORTIONS

_HOMES = {
    "Chip": "bayes_snn.chips.contract",
    "ChipSpec": "bayes_snn.chips.contract",
    "DISTORTIONS": "bayes_snn.names",
    "FaultyChip": "bayes_snn.chips.link.faulty",
    "LIFChip": "bayes_snn.chips.lif.chip",
    "Link": "bayes_snn.chips.link.link",
    "NestChip": "bayes_snn.chips.nest.chip",
    "RemoteChip": "bayes_snn.chips.remote.client",
    "XyloChip": "bayes_snn.chips.xylo.chip",
}
__all__ = sorted(_HOMES)
__getattr__, __dir__ = face(__name__, _HOMES, globals())
