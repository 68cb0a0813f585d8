"""Options that describe a chip, for the commands that make one."""

from __future__ import annotations

from typing import Annotated

from bayes_snn.cli.terminal import option
from bayes_snn.names import DISTORTIONS, IDEAL, sigma_units

CHIP = "Chip"  # their heading

Distortion = Annotated[
    list[str], option(CHIP, "NAME", f"{IDEAL}, {', '.join(DISTORTIONS)}; separate several by commas.")
]
Sigma = Annotated[list[str], option(CHIP, "X", f"Strength, one for all distortions or one for each. {sigma_units()}.")]
ChipSeed = Annotated[int, option(CHIP, "N", "Seed of the simulated chip: another seed is another chip.")]
Hidden = Annotated[str, option(CHIP, "N", "Hidden neurons; 32,16 makes two layers.")]
Steps = Annotated[int, option(CHIP, "N", "Time steps (ms) of a presentation.")]
Bias = Annotated[
    bool,
    option(
        CHIP,
        None,
        "One more input, a constant current; on a chip of your own, if it has one to spare.",
        "--bias/--no-bias",
    ),
]
OwnChip = Annotated[
    str | None, option(CHIP, "NAME", "A chip of your own: MODULE:NAME, or tcp://HOST:PORT of a server.", "--chip")
]
TokenFile = Annotated[str | None, option(CHIP, "PATH", "File with the server's token. [default: $BAYES_SNN_TOKEN]")]
Curve = Annotated[str | None, option(CHIP, "PATH", "File with the public key of an encrypted server.")]
