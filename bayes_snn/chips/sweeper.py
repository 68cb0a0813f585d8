"""Sweeps over single weights, a chip's optional capability: what one reports."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass
class Sweep:
    """What a sweep did: proposals accepted (n_weights,) bool, log-likelihood after it, samples shown to the chip."""

    accepted: NDArray[np.bool_]
    log_likelihood: float
    presentations: int
