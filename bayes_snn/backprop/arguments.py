"""What `train_backprop` accepts: modes, numbers, and the distortions to train against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bayes_snn.chips.contract import Chip
from bayes_snn.chips.lif.distortion import check_distortions
from bayes_snn.errors import InputError, unknown_name

MODES = ("offline", "outputs", "spikes", "noise-aware", "twin")


def check_mode(mode: str, chip: Chip) -> None:
    """An `InputError` for an unknown mode, or one that this chip cannot be trained in."""
    if mode not in MODES:
        raise unknown_name("mode", mode, MODES)
    if mode == "spikes" and not callable(getattr(chip, "spikes", None)):
        raise InputError(
            f"Mode 'spikes' came with a {type(chip).__name__}, but it needs a chip that shows its hidden spikes by a "
            "method `spikes(weights, inputs)`: add it, or take mode 'outputs'."
        )


def check_rates(learning_rates: Sequence[float]) -> list[float]:
    """Learning rates as floats, or an `InputError`."""
    try:
        rates = [float(rate) for rate in np.ravel(learning_rates)]
    except (TypeError, ValueError):
        rates = []
    if not rates or not all(0 < rate < np.inf for rate in rates):
        raise InputError(
            f"learning_rates were {learning_rates!r}, but positive numbers are expected, one at least: try (0.01, 0.1)."
        )
    return rates


def stated_strengths(
    mode: str, chip: Chip, distortion: str | Sequence[str] | None, sigma: float | Sequence[float] | None
) -> dict[str, float]:
    """Strength of each distortion to train against; {} for the modes that know of none."""
    if mode != "noise-aware":
        if distortion is not None or sigma is not None:
            raise InputError(
                f"distortion was {distortion!r} and sigma {sigma!r}, but mode {mode!r} trains against none: leave both "
                "out, or take mode 'noise-aware'."
            )
        return {}
    if distortion is not None:
        if sigma is None:
            raise InputError(
                f"distortion was {distortion!r} without sigma, but a strength is expected too: give sigma=."
            )
        return check_distortions(distortion, sigma)
    known = getattr(chip, "strengths", None)
    if not isinstance(known, dict):
        raise InputError(
            f"Mode 'noise-aware' came with a {type(chip).__name__} without a dict `strengths`, but it must know which "
            "distortions to train against: give distortion= and sigma=."
        )
    if sigma is None:
        return check_distortions(list(known), list(known.values()))
    return check_distortions(list(known), sigma)
