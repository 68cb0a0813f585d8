"""The families of neurons that a twin may be made of: its class, and how it is learned from recordings.

A family has one class, with what `contract.Twin` asks for, `arrays` and `from_arrays`, and one function, which makes
a twin that explains recordings, and starts from an earlier one if there is any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.twins.conductance.learning import fit_conductance
from bayes_snn.twins.conductance.twin import ConductanceTwin
from bayes_snn.twins.lif import LIFTwin
from bayes_snn.twins.recordings import Recordings
from bayes_snn.twins.teacher import fit_lif

AnyTwin = LIFTwin | ConductanceTwin

FAMILIES: dict[str, type[LIFTwin] | type[ConductanceTwin]] = {
    LIFTwin.family: LIFTwin,
    ConductanceTwin.family: ConductanceTwin,
}
_FITS: dict[str, Callable[..., Any]] = {LIFTwin.family: fit_lif, ConductanceTwin.family: fit_conductance}


def fit_again(spec: ChipSpec, recordings: Recordings, twin: AnyTwin) -> AnyTwin:
    """The twin of the same family that explains these recordings, learned from where `twin` is."""
    found: AnyTwin = _FITS[twin.family](spec, recordings, twin)
    return found
