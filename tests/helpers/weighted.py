"""Posteriors that are known by weighting draws from the prior with their likelihood: any prior, any chip, few data.

Each prior of models/ is drawn in NumPy, apart from the code that is tested. A draw is a dictionary: weights by their
names, and hyperparameters and readout by those of their value variables, as in a point of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import arviz as az
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import log_softmax

from bayes_snn.chips.levels import weight_levels
from bayes_snn.likelihood import BETA
from tests.helpers.toys import BOUNDED, INPUTS, LABELS, SigmoidChip

Draws = dict[str, NDArray]  # (n, *shape) or (chain, draw, *shape) of each name
BATCH = 50_000  # draws whose counts are in memory at once


def _half_cauchy(rng: np.random.Generator, *shape: int) -> NDArray:
    return np.abs(rng.standard_cauchy(shape))


def _scaled(rng: np.random.Generator, n: int, name: str, unit: NDArray) -> Draws:
    scale = np.abs(rng.normal(size=n))
    return {f"scale_{name}_log__": np.log(scale), name: scale[:, None, None] * unit}


def _horseshoe(rng: np.random.Generator, n: int, name: str, shape: tuple[int, int]) -> Draws:
    tau, local = _half_cauchy(rng, n), _half_cauchy(rng, n, *shape)
    return {
        f"tau_{name}_log__": np.log(tau),
        f"lambda_{name}_log__": np.log(local),
        name: tau[:, None, None] * local * rng.normal(size=(n, *shape)),
    }


def _grid(rng: np.random.Generator, n: int, name: str, shape: tuple[int, int]) -> Draws:
    level = np.clip(np.rint(rng.normal(size=(n, *shape)) * 1.75), -7, 7)  # of 4 bits, 15 levels from -4 to 4
    return {f"level_{name}": level.astype(np.int64) + 7, name: level / 1.75}


# (rng, n, name of a weight matrix, its shape) -> draws, of each prior in models/
PRIORS: dict[str, Callable[..., Draws]] = {
    "gaussian": lambda rng, n, name, shape: {name: rng.normal(size=(n, *shape))},
    "standard_normal": lambda rng, n, name, shape: {name: rng.normal(size=(n, *shape))},
    "laplace": lambda rng, n, name, shape: {name: rng.laplace(scale=0.5**0.5, size=(n, *shape))},
    "hierarchical": lambda rng, n, name, shape: _scaled(rng, n, name, rng.normal(size=(n, *shape))),
    "horseshoe": _horseshoe,
    "student_t": lambda rng, n, name, shape: _scaled(rng, n, name, rng.standard_t(4, size=(n, *shape))),
    "grid": _grid,
    "sparse": lambda rng, n, name, shape: {
        name: np.where(rng.random((n, *shape)) < 0.7, 0.05, 1.5) * rng.normal(size=(n, *shape))
    },
    "learned_readout": lambda rng, n, name, shape: {name: rng.normal(size=(n, *shape))},
}


def prior_draws(prior: str, chip, n: int, rng: np.random.Generator, biased: bool = True) -> Draws:
    """n draws from a prior of models/ for a chip, with its class biases or without."""
    found: Draws = {}
    for name, shape in zip(chip.spec.weight_names, chip.spec.weight_shapes, strict=True):
        found |= PRIORS[prior](rng, n, name, shape)
    if prior == "learned_readout":
        found["beta_log__"] = np.log(0.5) + rng.normal(size=n)
    if biased and prior != "standard_normal":
        found["bias"] = 0.125 * chip.spec.n_steps * rng.normal(size=(n, chip.spec.layers[-1]))
    return found


def point_at(model, draws: Draws, place) -> dict[str, NDArray]:
    """One of the draws as a point of a model."""
    return {value.name: np.array(draws[value.name][place]) for value in model.value_vars}


def log_likelihoods(chip, inputs, labels, draws: Draws) -> NDArray[np.float64]:
    """log L of each draw, (n,) or (chain, draw), in plain NumPy.

    A chip that says `broadcasts` answers a stack of weights at once.
    """
    weights = weights_in(chip, draws)
    leading = weights[0].shape[:-2]
    flat = [matrix.reshape(-1, *matrix.shape[-2:]) for matrix in weights]
    beta = np.exp(draws.get("beta_log__", np.full(leading, np.log(BETA)))).reshape(-1, 1, 1)
    bias = draws.get("bias", np.zeros((*leading, chip.spec.layers[-1]))).reshape(-1, 1, chip.spec.layers[-1])
    found = np.empty(len(flat[0]))
    for first in range(0, len(found), BATCH):
        places = slice(first, first + BATCH)
        part = [matrix[places] for matrix in flat]
        with np.errstate(over="ignore"):
            counts = chip.run(part, inputs) if getattr(chip, "broadcasts", False) else _one_by_one(chip, part, inputs)
        terms = log_softmax(beta[places] * counts + bias[places], axis=-1)
        found[places] = terms[:, np.arange(len(labels)), labels].sum(axis=1)
    return found.reshape(leading)


def _one_by_one(chip, weights: list[NDArray], inputs: NDArray) -> NDArray:
    return np.stack([chip.run(each, inputs) for each in zip(*weights, strict=True)])


def weights_in(chip, draws: Draws) -> list[NDArray]:
    """The weights of draws, whose model may have levels in their place."""
    names = chip.spec.weight_names
    if names[0] in draws:
        return [draws[name] for name in names]
    return [levels[draws[f"level_{name}"]] for levels, name in zip(weight_levels(chip), names, strict=True)]


def features(chip, inputs, labels, draws: Draws) -> dict[str, NDArray[np.float64]]:
    """Bounded functions of all that is drawn, and log L: (n,) or (chain, draw) of each name."""
    weights = [np.reshape(matrix, (*matrix.shape[:-2], -1)) for matrix in weights_in(chip, draws)]
    w = np.concatenate(weights, axis=-1)
    found = {"log L": log_likelihoods(chip, inputs, labels, draws)}
    for i in range(w.shape[-1]):
        found[f"tanh w{i}"] = np.tanh(w[..., i])
        found[f"|w{i}| < 0.3"] = 1.0 * (np.abs(w[..., i]) < 0.3)
    for i, j in pairwise(range(w.shape[-1])):
        found[f"tanh w{i} tanh w{j}"] = np.tanh(w[..., i]) * np.tanh(w[..., j])
        found[f"w{i} < w{j}"] = (w[..., i] < w[..., j]) + 0.5 * (w[..., i] == w[..., j])
    others = set(draws) - set(chip.spec.weight_names) - {f"level_{name}" for name in chip.spec.weight_names}
    size = np.tanh(np.abs(w)).mean(axis=-1)
    for name in sorted(others):
        columns = np.moveaxis(draws[name].reshape(*size.shape, -1), -1, 0)
        for i, column in enumerate(columns):
            bounded = np.tanh(column)
            found |= {f"{name}{i}": bounded, f"{name}{i}^2": bounded**2, f"{name}{i} size": bounded * size}
    return found


def expected_features(chip, inputs, labels, prior: str, n: int, biased: bool = True) -> dict[str, float]:
    """Expectations of `features` under the posterior; with few data their own error is far below that of a chain."""
    drawn = prior_draws(prior, chip, n, np.random.default_rng(20240210), biased)
    found = features(chip, inputs, labels, drawn)
    p = posterior_share(found["log L"])
    return {name: float(p @ values) for name, values in found.items()}


def posterior_starts(prior: str, model, n: int, rng: np.random.Generator) -> list[dict[str, NDArray]]:
    """n draws from the posterior of SigmoidChip, values by the names that PyMC takes for starts.

    Chains that begin there are in the posterior from their first draw, however slowly they mix.
    """
    drawn = prior_draws(prior, chip := SigmoidChip(), 200_000, rng)
    p = posterior_share(log_likelihoods(chip, INPUTS, LABELS, drawn))
    return [point_at(model, drawn, place) for place in rng.choice(len(p), size=n, p=p)]


def posterior_share(log_l: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of prior draws that make them stand for the posterior; enough of them count."""
    p = np.exp(log_l - log_l.max())
    p /= p.sum()
    assert 1.0 / (p @ p) > 3_000, "few prior draws carry all the weight: take more of them, or fewer data"
    return p


def feature_scores(found: dict[str, NDArray], expected: dict[str, float]) -> dict[str, float]:
    """(estimate - truth) / Monte Carlo standard error of each feature (chain, draw)."""
    data = xr.Dataset({name: (("chain", "draw"), np.asarray(values)) for name, values in found.items()})
    errors = az.mcse(data)
    with np.errstate(divide="ignore", invalid="ignore"):  # a feature that is the same in all draws has no error
        return {name: float((data[name].mean() - expected[name]) / errors[name]) for name in expected}


def worst(scores: Iterable[float]) -> float:
    """The largest of the absolute values; a nan is worse than any number."""
    sizes = np.abs(list(scores))
    return float("inf") if np.isnan(sizes).any() else float(sizes.max())


def weighted_prior_draws(prior: str, n: int = 2_000_000) -> dict[str, float]:
    """Expectations of BOUNDED under the posterior of SigmoidChip; their own error is a few 1e-4."""
    chip = SigmoidChip()
    drawn = prior_draws(prior, chip, n, np.random.default_rng(20240210))
    p = posterior_share(log_likelihoods(chip, INPUTS, LABELS, drawn))
    a, b = drawn["w_1"][:, 0].T
    return {name: float(p @ f(a, b)) for name, f in BOUNDED.items()}
