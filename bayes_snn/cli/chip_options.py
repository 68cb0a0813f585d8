"""The chip of a command: a simulated one by its options, or one's own by name."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bayes_snn.errors import InputError, unknown_name
from bayes_snn.names import DISTORTIONS, IDEAL

if TYPE_CHECKING:
    from bayes_snn.chips.contract import Chip
    from bayes_snn.chips.lif.chip import LIFChip
    from bayes_snn.data import Split

MOST_STEPS = 10_000  # 10 s of one presentation
MOST_WEIGHTS = 1_000_000  # beyond them a draw takes minutes, and the draws do not fit into memory


def chip_for_data(
    source: str,
    token_file: str | None,
    split: Split,
    beside: Iterable[str],
    curve: str | None = None,
    bias: bool = False,
) -> Chip:
    """The chip that --chip names, for these data; `beside` are options given with it that only simulated chips have.

    It has an input for each feature, and one more at most if it may have a `bias`.
    """
    from bayes_snn.chips.by_name import find_chip, read_token

    if beside := list(beside):
        raise InputError(
            f"--chip came with {', '.join(beside)}, which describe a simulated chip: leave out one or the other."
        )
    if curve is not None and "://" not in source:
        raise InputError("--curve came without a server's address in --chip: give tcp://HOST:PORT, or leave it out.")
    chip = find_chip(source, read_token(token_file), curve)
    n_in, n_out = chip.spec.layers[0], chip.spec.layers[-1]
    if n_in - split.n_features not in (0, int(bias)) or n_out != split.n_classes:
        raise InputError(
            f"The chip {source} has {n_in} inputs and {n_out} output neurons, but {split.name} has {split.n_features} "
            f"features{', with a bias one more,' if bias else ''} and {split.n_classes} classes: give a chip for these "
            "data, or --data that fits the chip."
        )
    return chip


def short_name(source: str) -> str:
    """A chip's name as part of the name of a folder."""
    return re.sub(r"[^\w.]+", "-", source).strip("-")


def simulated_name(chip: LIFChip) -> str:
    """The same of a simulated chip."""
    name = "-".join(f"{name}-{strength:g}" for name, strength in chip.strengths.items()) or "ideal"
    return f"{name}-chip{chip.seed}"


def make_chip(
    split: Split, distortion: Sequence[str], sigma: Sequence[str], chip_seed: int, hidden: str, steps: int
) -> LIFChip:
    """The chip of the options, with an input for each of the split's and an output neuron for each class."""
    from bayes_snn.chips.lif.chip import LIFChip

    names = [name.strip() for entry in distortion for name in entry.split(",")]
    for name in names:
        if name not in (IDEAL, *DISTORTIONS):
            raise unknown_name("distortion", name, (IDEAL, *DISTORTIONS))
    if IDEAL in names and len(names) > 1:
        raise InputError(f"--distortion none came with {len(names) - 1} more: give none alone, or leave it out.")
    strengths = parse_sigmas(sigma)
    layers = (split.n_inputs, *_hidden_layers(hidden), split.n_classes)
    n_weights = sum(n_pre * n_post for n_pre, n_post in itertools.pairwise(layers))
    if n_weights > MOST_WEIGHTS:
        raise InputError(
            f"--hidden {hidden} makes {n_weights:,} weights, but at most {MOST_WEIGHTS:,} can be sampled: give fewer "
            "neurons, 16 for example."
        )
    if not 1 <= steps <= MOST_STEPS:
        raise InputError(f"--steps was {steps}, but a whole number from 1 to {MOST_STEPS:,} is expected: try 32.")
    distortions = [] if names == [IDEAL] else names
    return LIFChip(layers, distortions, strengths if len(strengths) > 1 else strengths[0], chip_seed, steps)


def parse_sigmas(texts: Sequence[str]) -> list[float]:
    """Strengths from texts with commas."""
    strengths = []
    for text in (part for entry in texts for part in entry.split(",")):
        try:
            strength = float(text)
        except ValueError:
            strength = float("nan")
        if not 0 <= strength < float("inf"):
            raise InputError(f"--sigma was {text!r}, but a number >= 0 is expected: give 3, or 3,0.1 for two.")
        strengths.append(strength)
    return strengths


def _hidden_layers(text: str) -> list[int]:
    try:
        layers = [int(part) for part in text.split(",")]
    except ValueError:
        layers = [0]
    if any(n < 1 for n in layers):
        raise InputError(
            f"--hidden was {text!r}, but positive whole numbers are expected: give 16, or 32,16 for two layers."
        )
    return layers
