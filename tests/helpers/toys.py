"""Chips small enough that their posterior is known, and the check that every sampler must pass."""

from __future__ import annotations

from collections.abc import Callable

import arviz as az
import numpy as np
import xarray as xr
from scipy import stats
from scipy.special import expit

from bayes_snn.chips.contract import Chip
from bayes_snn.likelihood import log_likelihood
from tests.helpers.unit_scales import unit_spec


class SigmoidChip:
    """One input, two output neurons: counts c_k = round(n_steps sigmoid(w_k x)). Two weights, smooth enough."""

    broadcasts = True  # weights (..., n_pre, n_post) are answered by counts (..., n_samples, n_out)

    def __init__(self, n_steps: int = 12) -> None:
        self.spec = unit_spec((1, 2), n_steps)
        self.runs = 0

    def run(self, weights, inputs):
        self.runs += 1
        return np.rint(self.spec.n_steps * expit(inputs @ np.asarray(weights[0]))).astype(np.int64)


class HiddenChip:
    """One hidden neuron that passes its input on to two outputs: two weights behind the first layer, two before."""

    broadcasts = True

    def __init__(self) -> None:
        self.spec = unit_spec((1, 1, 2), 12)

    def run(self, weights, inputs):
        hidden = np.tanh(inputs @ weights[0])
        return np.rint(12 / (1.0 + np.exp(-2 * hidden @ weights[1]))).astype(np.int64)


INPUTS = np.array([[-1.5], [-0.5], [0.3], [0.8], [1.2], [2.0]])
LABELS = np.array([0, 1, 1, 0, 1, 1])

MOMENTS: dict[str, Callable] = {
    "a": lambda a, b: a,
    "b": lambda a, b: b,
    "a^2": lambda a, b: a * a,
    "b^2": lambda a, b: b * b,
    "a b": lambda a, b: a * b,
    "a < b": lambda a, b: (a < b) + 0.5 * (a == b),  # the diagonal of a grid is half of either side
    "|a - b| < 1": lambda a, b: (np.abs(a - b) < 1).astype(float),
}


def independent(logpdf: Callable[[np.ndarray], np.ndarray]) -> Callable:
    """Log prior of two weights from that of one."""
    return lambda grid: logpdf(grid)[:, None] + logpdf(grid)[None, :]


# for priors without second moments
BOUNDED: dict[str, Callable] = {
    "tanh a": lambda a, b: np.tanh(a),
    "tanh b": lambda a, b: np.tanh(b),
    "tanh a tanh b": lambda a, b: np.tanh(a) * np.tanh(b),
    "a < b": MOMENTS["a < b"],
    "|a| < 0.2": lambda a, b: (np.abs(a) < 0.2).astype(float),
    "|b| > 1": lambda a, b: (np.abs(b) > 1).astype(float),
}


def quadrature(
    log_prior: Callable | None = None,
    chip: Chip | None = None,
    reach: float = 8.0,
    n: int = 1201,
    power: float = 1.0,
) -> dict[str, float]:
    """Expectations of MOMENTS under the posterior of a chip with two weights.

    The log prior is a function (grid) -> (n, n), standard normal by default; the likelihood is raised to `power`.
    """
    # a midpoint grid, far finer than the steps of the counts
    grid = np.linspace(-reach, reach, n)
    chip = SigmoidChip() if chip is None else chip
    counts = [chip.run([np.array([[a, a]])], INPUTS) for a in grid]
    outputs = [np.stack([c[:, k] for c in counts]) for k in (0, 1)]
    logp = np.zeros((n, n))
    for i, label in enumerate(LABELS):
        # a weight's spike count is one of few: tabulate the terms over pairs of counts
        pairs = np.array([[a, b] for a in range(chip.spec.n_steps + 1) for b in range(chip.spec.n_steps + 1)])
        terms = log_likelihood(pairs, np.full(len(pairs), label), 0.5).reshape(chip.spec.n_steps + 1, -1)
        logp += power * terms[outputs[0][:, i][:, None], outputs[1][:, i][None, :]]
    logp += (log_prior or independent(stats.norm.logpdf))(grid)
    p = np.exp(logp - logp.max())
    p /= p.sum()
    a, b = np.meshgrid(grid, grid, indexing="ij")
    return {name: float((p * f(a, b)).sum()) for name, f in MOMENTS.items()}


def z_scores(draws: np.ndarray, expected: dict[str, float], moments: dict[str, Callable] = MOMENTS) -> dict[str, float]:
    """(estimate - truth) / Monte Carlo standard error for draws (chain, draw, n_weights)."""
    scores = {}
    for name, f in moments.items():
        values = xr.DataArray(f(*np.moveaxis(draws, -1, 0)), dims=("chain", "draw"))
        error = float(az.mcse(values.to_dataset(name="x"))["x"])
        scores[name] = (float(values.mean()) - expected[name]) / error
    return scores


def population_scores(
    draws: np.ndarray, expected: dict[str, float], moments: dict[str, Callable] = MOMENTS
) -> dict[str, float]:
    """The same for particles, which are no chain: the error is that between populations, t made into normal scores."""
    scores = {}
    for name, f in moments.items():
        means = f(*np.moveaxis(draws, -1, 0)).mean(axis=1)
        t = (means.mean() - expected[name]) / (means.std(ddof=1) / len(means) ** 0.5)
        scores[name] = float(np.sign(t) * stats.norm.isf(stats.t.sf(abs(t), len(means) - 1)))
    return scores
