"""Where the prior lets weights be: what a search that does not know the prior, as distillation is, must respect.

The bounds of a weight that is a variable of its own are those of its distribution. Of weights that a model file
computes, draws from the prior tell which never change, which keep their sign, and which are multiples of each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from numpy.typing import NDArray
from pytensor.graph.traversal import ancestors

from bayes_snn.groups import HIGH, LOW
from bayes_snn.posterior.prior_draws import draw_prior
from bayes_snn.posterior.values import shape_of, value_of

DRAWS = 64  # from the prior: a weight of either sign has the same in all of them once in 2^63 times


def find_support(model: pm.Model, seed: int = 0) -> xr.Dataset | None:
    """Bounds of every weight under the prior of a model; None where there are none.

    Returns
    -------
    `low_w_1`, `high_w_1`, ..., each (n_pre, n_post). Bounds are infinite where there are none, equal where the prior
    fixes a weight, and nan where weights are multiples of each other, so that none may move alone.
    """
    spec = model.likelihood.op.chip.spec
    matrices = model.likelihood.weights
    own = [matrix in model.free_RVs and getattr(matrix.owner.op, "ndim_supp", 1) == 0 for matrix in matrices]
    bounds = [_bounds(model, matrix) if plain else None for matrix, plain in zip(matrices, own, strict=True)]
    shapes = spec.weight_shapes
    low = [np.broadcast_to(-np.inf if b is None else b[0], shape) for b, shape in zip(bounds, shapes, strict=True)]
    high = [np.broadcast_to(np.inf if b is None else b[1], shape) for b, shape in zip(bounds, shapes, strict=True)]
    ends = np.array([np.concatenate([np.ravel(layer) for layer in side]) for side in (low, high)])
    if len({id(matrix) for matrix in matrices}) < len(matrices) or any(b is None for b in bounds):
        found = _seen(_prior_draws(model, seed))
        ends = np.where(np.isnan(found), np.nan, [np.maximum(ends[0], found[0]), np.minimum(ends[1], found[1])])
    if np.isneginf(ends[0]).all() and np.isposinf(ends[1]).all():
        return None
    variables, first = {}, 0
    for name, dims, shape in zip(spec.weight_names, spec.weight_dims, shapes, strict=True):
        last = first + int(np.prod(shape))
        variables[LOW + name] = (dims, ends[0, first:last].reshape(shape))
        variables[HIGH + name] = (dims, ends[1, first:last].reshape(shape))
        first = last
    return xr.Dataset(variables)


def _bounds(model: pm.Model, rv: Any) -> tuple[Any, Any] | None:
    """Where the distribution of a variable ends, by the transform that it is sampled on; None if that does not say."""
    transform = model.rvs_to_transforms[rv]
    if transform is None:
        return (-np.inf, np.inf) if not np.issubdtype(rv.dtype, np.integer) else None
    with np.errstate(all="ignore"):
        outermost = [pt.as_tensor(np.full(shape_of(rv), end)) for end in (-np.inf, np.inf)]
        ends = [transform.backward(end, *rv.owner.inputs) for end in outermost]
        if any(variable in model.free_RVs for variable in ancestors(ends)):
            return None  # its ends are random
        low, high = (value_of(end).astype(np.float64) for end in ends)
    return (low, high) if (low < high).all() else None


def _prior_draws(model: pm.Model, seed: int) -> NDArray[np.float64]:
    """Weights (DRAWS, n_weights) from the prior, all layers ravelled and joined."""
    drawn = draw_prior(model.likelihood.weights, DRAWS, np.random.default_rng(seed))
    return np.concatenate([np.reshape(np.asarray(layer, np.float64), (DRAWS, -1)) for layer in drawn], axis=1)


def _seen(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, n_weights) bounds that draws from the prior tell."""
    low, high = draws.min(axis=0), draws.max(axis=0)
    fixed = low == high
    ends = np.where(fixed, [low, high], [np.where(low >= 0, 0.0, -np.inf), np.where(high <= 0, 0.0, np.inf)])
    # multiples of each other have the same profile, but for its height
    peaks = draws[np.abs(draws).argmax(axis=0), np.arange(draws.shape[1])]
    profiles = np.round(draws / np.where(fixed, 1.0, peaks), 9) + 0.0
    _, group, count = np.unique(profiles, axis=1, return_inverse=True, return_counts=True)
    return np.where((count[group.ravel()] > 1) & ~fixed, np.nan, ends)
