"""Slice sampling by stepping out and shrinkage (Neal, Ann. Stat. 31, 2003): it has no step size to be right or wrong.

Elements of a vector are moved together where each has a density of its own given all else, else one at a time. The
width of the first intervals says what a move takes, not whether it is right.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

MOST_STEPS = 100  # widths that an interval may reach

Floats = NDArray[np.float64]


def move_in_slice(
    q: Floats, places: slice, widths: Floats, log_densities: Callable[[Floats], Floats], rng: np.random.Generator
) -> tuple[Floats, int]:
    """Move these elements of q (n,) in place, reversibly: the lengths of their last intervals, and evaluations made.

    Parameters
    ----------
    places
        Elements that are independent of each other, given the others.
    widths
        Of their first intervals, in units of q.
    log_densities
        log p of each element given all others, up to a constant, (n,) -> (n,); none of them nan.
    """
    now = q[places].copy()
    n, at = 1, q.copy()

    def inside(x: Floats) -> NDArray[np.bool_]:
        at[places] = x
        return np.asarray(log_densities(at)[places] >= height)

    # 1. a height below the density, and an interval of the slice that is as high, at random around the point
    height = log_densities(q)[places] - rng.exponential(size=len(now))
    low = now - rng.uniform(size=len(now)) * widths
    high = low + widths
    # 2. step out until its ends are outside, by a number of steps that is parted at random between them
    left = rng.integers(MOST_STEPS, size=len(now))
    for end, step, budget in ((low, -widths, left), (high, widths, MOST_STEPS - 1 - left)):
        going = budget > 0
        while going.any():
            going &= inside(end)
            end += np.where(going, step, 0.0)
            budget -= going
            going &= budget > 0
            n += 1
    # 3. draw from the interval, which shrinks to the draw as long as that is outside
    new = rng.uniform(low, high)
    while (out := ~inside(new)).any():
        n += 1
        low = np.where(out & (new < now), new, low)
        high = np.where(out & (new >= now), new, high)
        new = np.where(out, rng.uniform(low, high), new)
    q[places] = new
    return high - low, n + 1


def draw_from_slice(now: float, width: float, log_density: Callable[[float], float], rng: np.random.Generator) -> float:
    """One number moved from `now`, reversibly, as `move_in_slice` does it: in plain numbers, which is much faster.

    `width` is that of the first interval; `log_density` is known up to a constant, and never nan.
    """
    height = log_density(now) - rng.exponential()
    low = now - rng.random() * width
    high = low + width
    left = int(rng.integers(MOST_STEPS))
    right = MOST_STEPS - 1 - left
    while left > 0 and log_density(low) >= height:
        low, left = low - width, left - 1
    while right > 0 and log_density(high) >= height:
        high, right = high + width, right - 1
    while True:
        new = low + rng.random() * (high - low)
        if log_density(new) >= height:
            return new
        low, high = (new, high) if new < now else (low, new)
