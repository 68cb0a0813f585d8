"""A noisy chip of one weight whose noise has a known law, and what chains on it converge to, by linear algebra.

Each sample of each run tosses a coin: the second output neuron spikes CENTRE + s + k or CENTRE + s - k times, the first
one CENTRE times. s and k depend on the weight, in steps of 1/2: k is large around 0, so noise is too.
"""

from __future__ import annotations

import itertools

import numpy as np
import pymc as pm
from scipy import stats
from scipy.special import expit

from bayes_snn.likelihood import BETA
from bayes_snn.posterior.build import build_model
from tests.helpers.unit_scales import unit_spec

CENTRE, N_SAMPLES = 8, 3
INPUTS, LABELS = np.ones((N_SAMPLES, 1)), np.ones(N_SAMPLES, int)
REACH, N_GRID = 6.0, 480  # a midpoint grid, no point of which lies on a step of s and k
GRID = (np.arange(N_GRID) + 0.5) * (2 * REACH / N_GRID) - REACH


def spikes(a):
    """s and k at weights a."""
    size = np.floor(2 * np.abs(a)).astype(int)
    return np.where(a > 0, 1, 0), np.maximum(5 - size, 0)


class CoinChip:
    """The chip; its second weight does nothing."""

    spec = unit_spec((1, 2), 2 * CENTRE, deterministic=False)

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.shown = []  # the weight of each run

    def run(self, weights, inputs):
        a = weights[0][0, 0]
        self.shown.append(a)
        s, k = spikes(a)
        counts = np.full((len(inputs), 2), CENTRE)
        counts[:, 1] += s + k * self.rng.choice((-1, 1), size=len(inputs))
        return counts


def prior(chip):
    """Standard normal for the weight, and so wide for the idle one that no proposal's ratio depends on it."""
    return [pm.Normal("w_1", sigma=[[1.0, 1e4]], shape=(1, 2))]


def coin_model(choice, weights=prior):
    """The posterior on a coin chip, with a choice of `noisy.NoiseChoice`."""
    model = build_model(CoinChip(), INPUTS, LABELS, weights)
    model.likelihood.op.noise = choice
    return model


def estimates(a, repeats):
    """Values and probabilities of the estimate of L at a weight, from the law of the coins."""
    s, k = spikes(a)
    heads = np.arange(repeats + 1)
    p = (heads * expit(BETA * (s + k)) + (repeats - heads) * expit(BETA * (s - k))) / repeats
    values, chances = np.array([1.0]), np.array([1.0])
    for _ in range(N_SAMPLES):
        values = np.outer(values, p).ravel()
        chances = np.outer(chances, stats.binom.pmf(heads, repeats, 0.5)).ravel()
    found, place = np.unique(values.round(14), return_inverse=True)
    return found, np.bincount(place, chances)


def posterior():
    """Probability of each point of the grid: the target of a pseudo-marginal chain, for any number of repeats."""
    s, k = spikes(GRID)
    likelihood = (0.5 * expit(BETA * (s + k)) + 0.5 * expit(BETA * (s - k))) ** N_SAMPLES
    p = likelihood * stats.norm.pdf(GRID)
    return p / p.sum()


def mcwm_limit(density, repeats, accepts_on_prior=True):
    """Stationary distribution of a chain that runs the current point again at each proposal.

    `density` is that of a proposal, (current, new) -> density; pcn does not accept on the prior.
    """
    n_grid = len(GRID)
    levels, place = np.unique(np.stack(spikes(GRID)), axis=1, return_inverse=True)
    first = [int(np.argmax(place.ravel() == level)) for level in range(levels.shape[1])]
    laws = [estimates(GRID[i], repeats) for i in first]
    log_prior = stats.norm.logpdf(GRID) * accepts_on_prior
    kernel = density(GRID[:, None], GRID[None, :]) * (GRID[1] - GRID[0])
    for (i, law), (j, new_law) in itertools.product(enumerate(laws), repeat=2):
        rows, columns = np.ix_(place.ravel() == i, place.ravel() == j)
        ratio = np.exp(log_prior[columns] - log_prior[rows])[..., None, None]
        accept = np.minimum(1.0, ratio * new_law[0][None, :] / law[0][:, None])
        kernel[rows, columns] *= np.einsum("ijuv,u,v->ij", accept, law[1], new_law[1])
    kernel[np.diag_indices(n_grid)] = 0.0
    kernel[np.diag_indices(n_grid)] = 1.0 - kernel.sum(axis=1)
    system = np.vstack([(kernel.T - np.eye(n_grid))[:-1], np.ones(n_grid)])
    return np.linalg.solve(system, np.r_[np.zeros(n_grid - 1), 1.0])


MOMENTS = {"a": lambda a: a, "a^2": lambda a: a**2, "|a| < 1": lambda a: 1.0 * (np.abs(a) < 1)}


def expectations(p):
    """Of MOMENTS under probabilities of the grid's points."""
    return {name: float(p @ f(GRID)) for name, f in MOMENTS.items()}
