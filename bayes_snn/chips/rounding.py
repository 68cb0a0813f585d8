"""Weights as a chip of few bits holds them: clipped to its range and rounded to its levels.

    w -> clip(step rint(clip(w, low, high) / step), low, high),    step = max(|low|, |high|) / (2^(bits - 1) - 1)

The same functions serve NumPy arrays and, compiled by Numba, single weights in a kernel. float32 stays float32, and
both give the same to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable


def level_step(weight_range: tuple[float, float], bits: int | None) -> np.float32:
    """Distance of the levels of a weight of so many bits, in float32, as chips compute; 0 for an analog one."""
    return np.float32(max(map(abs, weight_range)) / (2 ** (bits - 1) - 1) if bits else 0.0)


@register_jitable
def round_to(w: Any, step: Any) -> Any:
    """The nearest whole number of steps, of two equally near ones the even."""
    return np.rint(w / step) * step


@register_jitable
def clip_and_round(w: Any, low: Any, high: Any, step: Any) -> Any:
    """Saturated at `low` and `high`, and rounded to steps where `step` is above 0; NaN stays NaN."""
    w = np.minimum(np.maximum(w, low), high)
    if step > 0:
        w = np.minimum(np.maximum(round_to(w, step), low), high)
    return w
