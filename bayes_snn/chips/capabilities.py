"""What a chip may offer beyond `spec` and `run`, and what becomes of it behind a `Link` and a server.

Everything works without a capability, only slower. One that is withheld is not seen through the link or the server at
all: what asks for it falls back as it does for a chip that never had it.
"""

from __future__ import annotations

from typing import NamedTuple


class Capability(NamedTuple):
    """`link` and `remote`: how it survives there; None where it does, else why it is withheld."""

    meaning: str
    link: str | None
    remote: str | None


_NO_STATE = "a chip that serves several clients has one stream of noise for all of them"
CAPABILITIES: dict[str, Capability] = {
    "copyable": Capability("a copy in another process answers as the original does", None, None),
    "subsets": Capability("a run of few samples costs accordingly less", None, None),
    "given_inputs": Capability("it can be shown real samples alone, and no inputs of anybody's choice", None, None),
    "weight_levels": Capability("levels of its weights, where `spec.parameters` does not say them", None, None),
    "site_sweeper": Capability(
        "sweeps over single weights that re-run only what a weight touches",
        "it would run the chip past the time-outs, retries and checks",
        "its sweeps are too many small steps to be sent one by one",
    ),
    "sweeps_weighted": Capability(
        "its site_sweeper takes samples that do not all count once",
        "site_sweeper is withheld",
        "site_sweeper is withheld",
    ),
    "spikes": Capability(
        "spikes of every neuron",
        "it would run the chip past the time-outs, retries and checks",
        "messages carry spike counts alone",
    ),
    "run_tagged": Capability(
        "returns the tag of the request that its counts answer",
        "the link uses it itself",
        "every message carries a number of its own",
    ),
    "reset": Capability(
        "makes the link ready again after a time-out",
        "the link uses it itself",
        "the chip's server decides about its chip",
    ),
    "checkpoint_state": Capability("where its stream of noise is", None, _NO_STATE),
    "restore_state": Capability("brings its stream of noise back to where it was", None, _NO_STATE),
    "restart_noise": Capability("starts another stream of noise", None, _NO_STATE),
}
