"""`block`: adaptive random-walk Metropolis over all weights at once.

Its steps are shorter than those of one-at-a-time samplers by the square root of the number of weights. Scale and shape
of the proposal are tuned in the warm-up and frozen after it (Haario, Saksman, Tamminen, Bernoulli 7, 2001, with a
diagonal covariance; the scale by Robbins and Monro's rule towards the acceptance rate 0.234).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pymc as pm
from numpy.typing import NDArray

from bayes_snn.samplers.shared.joint import Move, robbins_monro

_FIRST_WEIGHT = 20.0  # proposals' worth of trust in equal scales, before the chain has shown otherwise


@dataclass
class Block(Move):
    """A Normal jump.

    Attributes
    ----------
    log_scale
        Of the standard deviation of a proposal in each weight, over 2.38 / sqrt(n_weights).
    mean, sum_squares
        (n_weights,) of the chain so far, and of its deviations from that.
    """

    log_scale: float = 0.0
    n_tuned: int = 0
    mean: NDArray[np.float64] = field(init=False)
    sum_squares: NDArray[np.float64] = field(init=False)

    def prepare(self, model: pm.Model, variables: Any, shared: dict[Any, Any], point: dict[str, np.ndarray]) -> None:
        n = sum(int(np.size(point[v.name])) for v in variables)
        self.mean, self.sum_squares = np.zeros(n), np.zeros(n)

    def propose(self, q: NDArray[np.float64], rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
        return q + self.step_sizes() * rng.normal(size=len(q)), 0.0

    def adapt(self, q: NDArray[np.float64], acceptance: float) -> None:
        # Welford's update of mean and variance
        self.n_tuned += 1
        deviation = q - self.mean
        self.mean += deviation / self.n_tuned
        self.sum_squares += deviation * (q - self.mean)
        self.log_scale += robbins_monro(acceptance, self.n_tuned)

    def step_sizes(self) -> NDArray[np.float64]:
        """Standard deviation of the proposal in each weight, (n_weights,)."""
        # shrunk towards one common variance, and that to 1 before anything is known
        total = self.n_tuned + _FIRST_WEIGHT
        variance = self.sum_squares + _FIRST_WEIGHT * (self.sum_squares.mean() / max(self.n_tuned, 1) or 1.0)
        relative = np.sqrt(variance / total)
        return np.asarray(np.exp(self.log_scale) * 2.38 / np.sqrt(len(relative)) * relative / relative.mean())

    @property
    def scale(self) -> float:
        return float(np.mean(self.step_sizes()))
