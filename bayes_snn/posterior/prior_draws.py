"""Draws from the prior: values of the variables of a model, before its chip is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pymc as pm
from numpy.typing import NDArray

from bayes_snn.errors import InputError, in_one_line
from bayes_snn.likelihood import Readout
from bayes_snn.posterior.build import warn_of_potentials


def draw_prior(
    variables: Sequence[Any], draws: int, rng: np.random.Generator, because: str = "this needs draws from it"
) -> list[NDArray[Any]]:
    """Joint draws of variables of a model from its prior, (draws, ...) of each.

    An `InputError` says where the prior has no draws, and why some are needed, which `because` gives.
    """
    try:
        # by NumPy: to compile draws takes longer than to make them
        drawn = pm.draw(variables, draws=draws, random_seed=rng, mode="FAST_COMPILE")
    except NotImplementedError as error:
        raise InputError(
            f"The prior cannot be drawn from ({error}), but {because}: give each of its variables a proper "
            "distribution, a wide Normal instead of a Flat one for example."
        ) from error
    except ValueError as error:  # of NumPy, in some of PyTensor's modes
        names = ", ".join(repr(variable.name) for variable in variables)
        raise InputError(
            f"The prior of {names} has no draws ({in_one_line(error)}), but {because}: give its distributions "
            "parameters that they allow."
        ) from error
    # PyMC leaves the axis out where it is of length 1
    return [np.asarray(values)[None] if draws == 1 else np.asarray(values) for values in drawn]


def check_finite(drawn: Sequence[NDArray[Any]]) -> None:
    """An `InputError` where a draw cannot be programmed."""
    if not all(np.isfinite(values).all() for values in drawn):
        raise InputError(
            "The prior drew weights that are not finite, but a chip can be programmed with finite ones only: give its "
            "scales lighter tails."
        )


def draw_weights(model: pm.Model, draws: int, seed: int) -> tuple[list[NDArray[np.float64]], list[Readout]]:
    """Weights from the prior of a model, (draws, n_pre, n_post) of each layer, and readouts; or an `InputError`.

    Warns as PyMC does where the model has potentials, which such draws ignore.
    """
    warn_of_potentials(model)
    because = "a prior predictive check needs draws from it"
    likelihood, rng = model.likelihood, np.random.default_rng(seed)
    moving = [] if likelihood.fixed is not None else [likelihood.beta, likelihood.bias]
    drawn = draw_prior([*likelihood.weights, *moving], draws, rng, because)
    check_finite(drawn)
    layers = [np.asarray(layer, np.float64) for layer in drawn[: len(likelihood.weights)]]
    if likelihood.fixed is not None:
        return layers, [likelihood.fixed] * draws
    beta, bias = drawn[-2:]
    return layers, [Readout(float(beta[i]), bias[i]) for i in range(draws)]
