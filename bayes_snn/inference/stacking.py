"""Stacking of chains that have not mixed: the ensemble, with a weight for each chain.

Chains that stay in modes of their own are not one posterior, and how many of them are in a mode says nothing of its
mass. So they are weighed by how well they predict samples that they have not seen,

    maximise  sum_i log sum_k w_k p_k(y_i | x_i, all others)   over w_k >= 0, sum_k w_k = 1

with leave-one-out probabilities of each chain by Pareto-smoothed importance sampling (Yao, Vehtari, Gelman, J. Mach.
Learn. Res. 23, 2022). What comes of it is a prediction, not the posterior.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayes_snn.inference.diagnostics import Diagnosis

FEWEST_DRAWS = 25  # of a chain: fewer have no tail of 5 draws
_DIMS = ["chain", "draw"]
_STEPS, _CLOSE = 10_000, 1e-10

Floats = NDArray[np.float64]


def is_worth_stacking(found: Diagnosis) -> bool:
    """Whether there are chains that disagree in what they predict, each long enough to be weighed."""
    return found.n_chains > 1 and found.n_draws >= FEWEST_DRAWS and not found.agree


def chain_weights(terms: xr.DataArray, sample_weight: Floats | None = None) -> Floats:
    """Weights (n_chains,) of chains from log p of each label, dims (chain, draw, observation).

    sample_weight (n_samples,) says how often each sample counts in the likelihood.
    """
    counted = np.ones(terms.sizes["observation"]) if sample_weight is None else sample_weight
    chains = range(terms.sizes["chain"])
    return stack(np.stack([_left_out(terms.isel(chain=[chain]), counted) for chain in chains]))


def stack(log_scores: Floats) -> Floats:
    """The weights (n_chains,) that maximise the mean log score of the mixture; log_scores (n_chains, n_samples).

    By the steps of expectation and maximisation, each of which raises it; it has no other maximum.
    """
    p = np.exp(log_scores - log_scores.max(axis=0))
    weights = np.full(len(p), 1.0 / len(p))
    for _ in range(_STEPS):
        shares = weights[:, None] * p
        new = (shares / shares.sum(axis=0)).mean(axis=1)
        if np.abs(new - weights).max() < _CLOSE:
            break
        weights = new
    return weights


def _left_out(terms: xr.DataArray, counted: Floats) -> Floats:
    """log p of each label given all others, (n_samples,), from the draws of one chain."""
    found = []
    for i in range(terms.sizes["observation"]):
        each = terms.isel(observation=[i])
        log_weights, _ = smoothed(counted[i] * each, 1.0)
        found.append(np.logaddexp.reduce(np.ravel(log_weights.values) + np.ravel(each.transpose(*_DIMS, ...).values)))
    return np.array(found)


def smoothed(terms: xr.DataArray, efficiency: float) -> tuple[xr.DataArray, xr.DataArray]:
    """Log importance weights, normalised, and Pareto k of one sample, dims (chain, draw, observation), from its terms.

    Where the largest importance weights are tied, as spike counts make them, they stay as they are, and k is NaN.
    """
    try:
        log_weights, pareto_k = terms.azstats.psislw(r_eff=efficiency, dim=_DIMS)
    except ValueError as error:
        if "tail values are the same" not in str(error):
            raise
        log_weights = -terms
        log_weights = log_weights - np.logaddexp.reduce(log_weights.values, axis=None)
        pareto_k = xr.full_like(terms.isel(chain=0, draw=0, drop=True), np.nan)
    return log_weights.transpose(*_DIMS, "observation"), pareto_k
