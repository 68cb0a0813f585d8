"""Draws from the prior: values of the variables of a model, before its chip is asked."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pymc as pm
from numpy.typing import NDArray

from bayes_snn.errors import InputError


def draw_prior(variables: Sequence[Any], draws: int, rng: np.random.Generator) -> list[NDArray[Any]]:
    """Joint draws of variables of a model from its prior, (draws, ...) of each, or an `InputError`."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Numba will use object mode", UserWarning)
            drawn = pm.draw(variables, draws=draws, random_seed=rng)
    except NotImplementedError as error:
        raise InputError(
            f"The prior cannot be drawn from ({error}), but a prior predictive check needs draws from it: give each of "
            "its variables a proper distribution, a wide Normal instead of a Flat one for example."
        ) from error
    # PyMC leaves the axis out where it is of length 1
    found = [np.asarray(values)[None] if draws == 1 else np.asarray(values) for values in drawn]
    if not all(np.isfinite(values).all() for values in found):
        raise InputError(
            "The prior drew weights that are not finite, but a chip can be programmed with finite ones only: give its "
            "scales lighter tails."
        )
    return found
