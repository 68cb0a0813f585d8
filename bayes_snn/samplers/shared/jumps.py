"""Jumps of single weights, and how their widths are tuned: what `sitewise` has in common with its form on a grid."""

from __future__ import annotations

import numpy as np

TARGET_ACCEPTANCE = 0.44
FAR, FAR_SHARE = 10.0, 0.2  # one proposal in five is ten times as wide, for posteriors with more than one width


def jump(rng: np.random.Generator, q: np.ndarray, step_sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A Normal jump from each of q (n_weights,), now and then a far one; and where that is."""
    far = rng.random(len(q)) < FAR_SHARE
    return q + step_sizes * np.where(far, FAR, 1.0) * rng.normal(size=len(q)), far


def tune_scales(log_scales: np.ndarray, n_sweeps: int, accepted: np.ndarray, far: np.ndarray) -> None:
    """Change log step sizes (n_weights,) in place by Robbins and Monro's rule, after `n_sweeps` sweeps and one more."""
    rate = min(1.0, 3.0 * (n_sweeps + 1) ** -0.6)
    log_scales += rate * np.where(far, 0.0, accepted - TARGET_ACCEPTANCE)
    np.clip(log_scales, -12.0, 3.0, out=log_scales)
