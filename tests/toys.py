"""Chips small enough that their posterior is known, and the check that every sampler must pass."""

from __future__ import annotations

from collections.abc import Callable

import arviz as az
import numpy as np
import xarray as xr
from scipy import stats

from bayes_snn.chip import ChipSpec
from bayes_snn.likelihood import log_likelihood


class SigmoidChip:
    """One input, two output neurons: counts c_k = round(n_steps sigmoid(w_k x)). Two weights, smooth enough."""

    def __init__(self, n_steps: int = 12) -> None:
        self.spec = ChipSpec((1, 2), n_steps)
        self.runs = 0

    def run(self, weights, inputs):
        self.runs += 1
        return np.rint(self.spec.n_steps / (1.0 + np.exp(-inputs @ np.asarray(weights[0])))).astype(np.int64)


INPUTS = np.array([[-1.5], [-0.5], [0.3], [0.8], [1.2], [2.0]])
LABELS = np.array([0, 1, 1, 0, 1, 1])

MOMENTS: dict[str, Callable] = {
    "a": lambda a, b: a,
    "b": lambda a, b: b,
    "a^2": lambda a, b: a * a,
    "b^2": lambda a, b: b * b,
    "a b": lambda a, b: a * b,
    "a < b": lambda a, b: (a < b).astype(float),
    "|a - b| < 1": lambda a, b: (np.abs(a - b) < 1).astype(float),
}


def quadrature(prior: Callable[[np.ndarray], np.ndarray] = stats.norm.logpdf) -> dict[str, float]:
    """Expectations of MOMENTS under the posterior of SigmoidChip, independent weights of this log prior."""
    # a midpoint grid far finer than the steps of the counts; the prior's mass beyond 8 is below 1e-15
    grid = np.linspace(-8, 8, 1201)
    chip = SigmoidChip()
    outputs = [chip.run([np.array([[a, 0.0]])], INPUTS)[:, 0] for a in grid]
    logp = np.empty((len(grid), len(grid)))
    for i, first in enumerate(outputs):
        for j, second in enumerate(outputs):
            logp[i, j] = log_likelihood(np.stack([first, second], axis=1), LABELS, 0.5).sum()
    logp += prior(grid)[:, None] + prior(grid)[None, :]
    p = np.exp(logp - logp.max())
    p /= p.sum()
    a, b = np.meshgrid(grid, grid, indexing="ij")
    return {name: float((p * f(a, b)).sum()) for name, f in MOMENTS.items()}


def z_scores(draws: np.ndarray, expected: dict[str, float]) -> dict[str, float]:
    """(estimate - truth) / Monte Carlo standard error for draws (chain, draw, 2)."""
    scores = {}
    for name, f in MOMENTS.items():
        values = xr.DataArray(f(draws[..., 0], draws[..., 1]), dims=("chain", "draw"))
        error = float(az.mcse(values.to_dataset(name="x"))["x"])
        scores[name] = (float(values.mean()) - expected[name]) / error
    return scores
