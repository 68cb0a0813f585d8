"""Moves of what the readout is computed from, class biases for example, given the spike counts: they cost no run.

Counts depend on the weights alone. So the variables of the readout are drawn given counts that are at hand, each
element by a slice (slices.py), in random order: every order is as likely as the opposite one, which makes a move
reversible.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.graph.traversal import ancestors

from bayes_snn.likelihood import Readout, Target, total_log_p, without_weights
from bayes_snn.posterior.readout import NormalBias, normal_bias
from bayes_snn.samplers.shared.ravelled import ravelled_function
from bayes_snn.samplers.shared.slices import draw_from_slice

WIDTH = 1.0  # of the first interval, on the scale that a variable is sampled on: nats, for a bias

Floats = NDArray[np.float64]


class ReadoutMoves:
    """How the variables of a readout are moved; it holds nothing that changes but the random numbers it is given.

    Parameters
    ----------
    variables
        Value variables that the readout is computed from, and no weight.
    shared
        Shared variables in the place of all other value variables, weights left out.
    point
        Any point, for shapes.
    """

    def __init__(
        self, model: pm.Model, variables: Sequence[Any], shared: dict[Any, Any], point: dict[str, np.ndarray]
    ) -> None:
        self._target: Target = model.likelihood.target
        self._samples = without_weights(self._target)
        if (known := normal_bias(model)) is not None and list(variables) == [known.value]:
            self._at = partial(_of_normal_bias, known)
            return
        likelihood, chosen = model.likelihood, set(variables)
        rvs = [rv for rv in model.basic_RVs if rv is not likelihood.label]
        terms = model.logp(vars=[*rvs, *model.potentials], sum=False)
        prior = pt.add(*(pt.sum(term) for term in terms if chosen & set(ancestors([term]))), 0.0)
        graphs = [*model.replace_rvs_by_values([likelihood.beta, likelihood.bias]), prior]
        self._at = ravelled_function(graphs, variables, shared, point, on_unused_input="ignore")

    def readout(self, r: Floats) -> Readout:
        """The readout at values (n,) of the variables, ravelled and joined."""
        beta, bias, _ = self._at(r)
        return Readout(float(beta), np.array(bias, np.float64))

    def log_prior(self, r: Floats) -> float:
        """Log-density of these values, up to a constant."""
        return float(self._at(r)[2])

    def log_likelihood(self, r: Floats, counts: NDArray[np.int64]) -> float:
        """log L of counts (n_runs, n_samples, n_classes)."""
        return float(self.readout(r).log_p(counts, self._target).sum())

    def move(self, r: Floats, counts: NDArray[np.int64], power: float, rng: np.random.Generator) -> Floats:
        """Values drawn from these given counts, whose likelihood has this power."""
        r, log_l = r.copy(), self._of_counts(counts)

        def log_density(x: float) -> float:
            at[place] = x
            beta, bias, prior = self._at(at)
            found = float(prior)
            if math.isfinite(found) and 0.0 < beta < math.inf and np.isfinite(bias).all():
                found += power * log_l(float(beta), bias)
            return -math.inf if math.isnan(found) else found

        at = r.copy()
        for place in rng.permutation(len(r)):
            at[place] = r[place] = draw_from_slice(float(r[place]), WIDTH, log_density, rng)
        return r

    def _of_counts(self, counts: NDArray[np.int64]) -> Callable[[float, Floats], float]:
        """log L as a function of beta and biases."""
        if len(counts) > 1:
            return lambda beta, bias: float(Readout(beta, bias).log_p(counts, self._target).sum())
        whole = np.array(counts[0], np.int64, order="C")
        return lambda beta, bias: float(total_log_p(whole, *self._samples, beta, np.array(bias, np.float64)))


def _of_normal_bias(known: NormalBias, r: Floats) -> tuple[float, Floats, float]:
    """beta, biases and the log-density of their prior, up to a constant."""
    z = (r - known.means) / known.sds
    return known.beta, r, -0.5 * float(z @ z)
