"""Moves of whole neurons, between sweeps over single weights.

A distorted output neuron may fire at rest, at every step, and fall silent only when all its weights are far below
zero: no single weight has any influence until most have moved, and single-weight sweeps never find out. A shift moves
all weights that lead to a neuron by one random amount, accepted by the Metropolis rule: exact, and one chip run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

SCALES = (0.3, 3.0)  # standard deviations of a shift, one drawn for each


def later_columns(shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Places, in the ravelled and joined weights, of the weights that lead to each neuron behind the first layer."""
    columns, first = [], 0
    for layer, (n_pre, n_post) in enumerate(shapes):
        places = first + np.arange(n_pre * n_post).reshape(n_pre, n_post)
        columns += list(places.T) if layer > 0 else []
        first += n_pre * n_post
    return columns


def shift_neurons(
    q: np.ndarray,
    log_likelihood: float,
    columns: Sequence[np.ndarray],
    log_prior: Callable[[np.ndarray], np.ndarray],
    run: Callable[[np.ndarray], float],
    powers: tuple[float, float],
    rng: np.random.Generator,
    *,
    refreshes: bool = False,
    accept: Callable[[], None] = lambda: None,
) -> tuple[np.ndarray, float, int]:
    """Propose a shift of each neuron in turn.

    Parameters
    ----------
    q, log_likelihood
        Current weights (n_weights,) and log L there.
    columns
        The places of each neuron's weights.
    log_prior
        log p of each weight, (n_weights,) -> (n_weights,).
    run
        log L of given weights: one chip run.
    powers
        Powers of likelihood and prior.
    refreshes
        Run the current weights again at each proposal, on a noisy chip; see `bayes_snn.posterior.noisy`.
    accept
        Called when the weights of the last `run` were accepted.

    Returns
    -------
    Weights, log L there, and the number of shifts accepted.
    """
    accepted, (power, prior_power) = 0, powers
    shifts = rng.normal(size=len(columns)) * rng.choice(SCALES, size=len(columns))
    exponentials = rng.exponential(size=len(columns))
    prior = log_prior(q)
    for places, shift, exponential in zip(columns, shifts, exponentials, strict=True):
        proposal = q.copy()
        proposal[places] += shift
        new_prior = log_prior(proposal)
        with np.errstate(invalid="ignore"):  # a weight that may not move has no density, here or there
            gain = prior_power * float((new_prior - prior).sum())
        if not np.isfinite(gain):
            continue
        if refreshes:
            log_likelihood = run(q)
        # log L <= 0: a shift that the prior alone forbids needs no run
        if -exponential >= gain - power * log_likelihood:
            continue
        new = run(proposal)
        if -exponential < gain + power * (new - log_likelihood):
            q, prior, log_likelihood, accepted = proposal, new_prior, new, accepted + 1
            accept()
    return q, log_likelihood, accepted
