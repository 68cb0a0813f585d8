"""The grid of a chip with weights of few bits: the levels a weight can have, and a Normal prior on them.

A synapse of b bits holds one of 2^b - 1 equidistant levels, symmetric about zero:

    w = clip(k step, low, high),    step = max(|low|, |high|) / (2^(b - 1) - 1),    k a whole number

which are the weights that `LIFChip` rounds to, to the last bit (rounding.py). A chip with another grid gives it in the
`levels` of its `ChipSpec.parameters`, or in an attribute `weight_levels`, one ascending array for each: an optional
capability.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from bayes_snn.chips.contract import Chip, ChipSpec
from bayes_snn.chips.rounding import clip_and_round, level_step
from bayes_snn.errors import InputError

BITS = 4  # where a chip does not say: 15 levels


def grid_levels(spec: ChipSpec, bits: int | None = None) -> NDArray[np.float64]:
    """Levels of a weight, ascending: those of `bits`, of the chip's `weight_bits`, or of BITS.

    Raises `InputError` for fewer than 2 bits or more than 16.
    """
    n_bits = spec.weight_bits if bits is None else bits
    n_bits = BITS if n_bits is None else int(n_bits)
    if not 2 <= n_bits <= 16:
        raise InputError(
            f"The weights have {n_bits} bits, but a grid is made of 2 to 16: take the prior 'gaussian', or give the "
            "chip's ChipSpec parameters with levels."
        )
    low, high = spec.weight_range
    step, most = level_step(spec.weight_range, n_bits), 2 ** (n_bits - 1) - 1
    multiples = np.arange(-most, most + 1, dtype=np.float32) * step
    return np.unique(clip_and_round(multiples, low, high, step)).astype(np.float64)


def weight_levels(chip: Chip) -> list[NDArray[np.float64]]:
    """Levels of the weights, ascending: one array for each weight matrix; the chip's own where it has them.

    An attribute `weight_levels` comes before the levels of the chip's `spec`. Raises `InputError` when it is not that.
    """
    n_matrices = len(chip.spec.weight_shapes)
    offered = getattr(chip, "weight_levels", None)
    if offered is None:
        levels = [parameter.levels for parameter in chip.spec.parameters]
        return [grid_levels(chip.spec) if known is None else np.array(known) for known in levels]
    arrays = [np.array(levels, np.float64) for levels in offered]  # copies: a prior may change them
    sound = [a.ndim == 1 and len(a) > 0 and np.isfinite(a).all() and (np.diff(a) > 0).all() for a in arrays]
    if len(arrays) != n_matrices or not all(sound):
        raise InputError(
            f"The chip's weight_levels are {len(arrays)} arrays, {sum(map(bool, sound))} of them finite and ascending, "
            f"but one such array is expected for each of its {n_matrices} weight matrices: correct the attribute."
        )
    return arrays


def spec_with_levels(chip: Chip) -> ChipSpec:
    """The chip's spec with all that the chip says of its grid, for where the spec alone arrives."""
    if getattr(chip, "weight_levels", None) is None:
        return chip.spec
    pairs = zip(chip.spec.parameters, weight_levels(chip), strict=True)
    return replace(chip.spec, parameters=tuple(replace(each, levels=tuple(levels)) for each, levels in pairs))


def normal_log_mass(levels: NDArray[np.float64], sigma: float = 1.0) -> NDArray[np.float64]:
    """Log-probability of each level, where a weight ~ Normal(0, sigma) is rounded to the nearest level.

    (n_levels,) -> (n_levels,). This is the prior that weights ~ Normal(0, sigma) have on a chip that rounds them: on
    the grid or off it, the posterior of what the chip computes with is the same.
    """
    if not sigma > 0:
        raise InputError(f"sigma was {sigma!r}, but a positive standard deviation is expected: try 1.")
    middles = 0.5 * (levels[1:] + levels[:-1]) / sigma
    lower, upper = np.append(-np.inf, middles), np.append(middles, np.inf)
    # of two equal masses take the one in the lower tail, where differences keep their digits
    lower, upper = np.where(levels > 0, -upper, lower), np.where(levels > 0, -lower, upper)
    with np.errstate(invalid="ignore"):
        log_upper, log_lower = log_ndtr(upper), log_ndtr(lower)
    return np.asarray(log_upper + np.log1p(-np.exp(log_lower - log_upper)))
