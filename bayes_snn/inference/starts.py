"""Where chains start: at draws from the prior, wider than any posterior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pymc as pm
from pymc.pytensorf import compile as compile_function

from bayes_snn.errors import InputError
from bayes_snn.posterior.build import other_terms
from bayes_snn.posterior.prior_draws import draw_prior

START_DRAWS = (100, 1000, 10_000)  # from the prior, for chains whose first draw the model's other terms rule out
MOST_START_VALUES = 10**7  # in memory at once


def prior_starts(model: pm.Model, chains: int, seed: np.random.SeedSequence) -> list[dict[str, Any]]:
    """A draw from the prior for each chain to start at: wider than any posterior, so that R-hat can tell.

    A draw that the model's other terms, such as a `pm.Potential`, give density 0 is drawn again.
    """
    variables, others = model.free_RVs, other_terms(model)
    rng = np.random.default_rng(seed)
    starts = _each_draw(variables, chains, rng)
    densities = [pm.logp(variable, variable).sum() for variable in variables]
    # PyMC checks its starting points only when it picks the steps itself
    log_densities = compile_function(
        variables, [*densities, *others.values()], mode="FAST_COMPILE", on_unused_input="ignore"
    )

    def possible(start: list[Any]) -> bool:
        found = log_densities(*start)
        for variable, value in zip(variables, found, strict=False):
            if not np.isfinite(value):
                raise InputError(
                    f"The prior's log-density of {variable.name!r} is {value} at a draw from it, but must be finite: "
                    "check its parameters, such as a negative standard deviation."
                )
        return all(map(np.isfinite, found[len(variables) :]))

    again = [chain for chain, start in enumerate(starts) if not possible(start)]
    size = sum(int(np.size(draw)) for draw in starts[0])
    n_drawn = chains
    for n in START_DRAWS:
        if not again:
            break
        n = max(1, min(n, MOST_START_VALUES // size))
        n_drawn += n
        for start in _each_draw(variables, n, rng):
            if again and possible(start):
                starts[again.pop(0)] = start
    if again:
        raise InputError(
            f"The model's other terms ({', '.join(map(repr, others))}) have a finite log-density at "
            f"{chains - len(again)} of {n_drawn:,} draws from the prior, but each of {chains} chains starts at one: "
            "put the constraint into the distribution of the weights (pm.Truncated or pm.HalfNormal, for example), or "
            "weaken it."
        )
    return [dict(zip((variable.name for variable in variables), start, strict=True)) for start in starts]


def _each_draw(variables: Sequence[Any], n: int, rng: np.random.Generator) -> list[list[Any]]:
    """Values of these variables in each of n draws from the prior."""
    drawn = draw_prior(variables, n, rng, "every chain starts at a draw from it")
    return [[values[i] for values in drawn] for i in range(n)]
