"""Metropolis within Gibbs along directions: all weights of a neuron move at once, by a tuned step along one direction.

Single weights move little where inputs are correlated: each is held by its fellows, which have made of the same input
what the labels ask for. So the directions are the principal ones of what a layer receives on the training set (inputs,
or spike counts of the layer before), and each neuron has a step size for each of them. What the first layers answer
says which directions the next layer has, so the layers are moved one after the other, in either order with probability
one half, which is reversible.

A distorted neuron has several edges at which it can tell classes apart, and either side of an edge may be the one where
it fires. No small step leads from one edge to another. So neurons behind the first layer also jump: all their currents
are moved by one amount, or turned about one, w' = -w + step direction, which is its own inverse.

The prior has to be Normal, given the hyperparameters: then its ratio is at hand wherever a neuron has moved to.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pymc as pm
from scipy import stats

from bayes_snn.chips.sweeper import DirectionSweeper, Moves, Sweep
from bayes_snn.samplers.shared.jumps import FAR, FAR_SHARE
from bayes_snn.samplers.shared.prior import normal_parameters, why_not_normal
from bayes_snn.samplers.shared.sweepers import make_sweeper
from bayes_snn.samplers.sitewise import SitewiseMetropolis

JUMPS = 64  # of a neuron behind the first layer, in a sweep
REACH = np.array([1.0, 3.0, 10.0, 30.0])  # standard deviations of what they move its current by, one drawn for each


class DirectionalMetropolis(SitewiseMetropolis):
    """Sweeps along directions, and jumps; a `SitewiseMetropolis` otherwise.

    Step sizes are numbered as weights are, with the direction in the place of the presynaptic neuron.
    """

    name = "directional_metropolis"

    def __init__(self, vars: Any = None, *, model: pm.Model | None = None, initial_point: Any = None) -> None:
        super().__init__(vars, model=pm.modelcontext(model), initial_point=initial_point)
        self._layers = self._sites.layers()

    def _find_prior(self, model: pm.Model, vars: Any, shared: dict[Any, Any], point: dict[str, np.ndarray]) -> Any:
        """log p of each weight, which swaps alone ask for: without hyperparameters nothing is compiled for it.

        Means and standard deviations are found here too.
        """
        if self._has_hyperparameters:
            self._normal = normal_parameters(model, vars, shared, point)
            return super()._find_prior(model, vars, shared, point)
        means, sds = normal_parameters(model, vars, shared, point, mode="FAST_COMPILE")()
        self._normal = partial(tuple, (np.asarray(means), np.asarray(sds)))
        return partial(stats.norm.logpdf, loc=means, scale=sds)

    def palindrome(
        self, q: np.ndarray, powers: tuple[float, float], learn: bool, shifts: bool = True
    ) -> tuple[np.ndarray, float]:
        """A sweep, which is reversible; jumps are in it, and no shifts are needed. See `SitewiseMetropolis`."""
        return super().palindrome(q, powers, learn, shifts=False)

    def _visit(self, q: np.ndarray, sweeper: Any) -> tuple[np.ndarray, Any, np.ndarray, np.ndarray, np.ndarray]:
        """A move of each neuron along each direction; see `SitewiseMetropolis._visit`."""
        power, prior_power = self.powers()
        means, sds = self._normal()
        new, accepted, far = q.copy(), np.zeros(len(q), np.bool_), self.rng.random(len(q)) < FAR_SHARE
        step_sizes, log_likelihood = np.empty(len(q)), np.nan
        for layer, part, shape in self._layers[:: 1 if self.rng.random() < 0.5 else -1]:
            weights, mean, sd, log_scale = (
                each[part].reshape(shape).T.copy() for each in (new, means, sds, self.log_scales)
            )
            # 1. directions in which what the layer receives is uncorrelated, where they are uncorrelated in the prior
            basis, uniform = sweeper.directions(layer)
            basis = basis if (sd == sd[:, :1]).all() else np.eye(shape[0])
            # 2. propose a step along each, now and then a far one, but not far beyond the prior
            width = np.sqrt(sd**2 @ (basis**2).T)
            size = 1.0 / np.sqrt(np.exp(-2.0 * log_scale) + (2.4 * width) ** -2.0)
            steps = size * np.where(far[part].reshape(shape).T, FAR, 1.0) * self.rng.normal(size=size.shape)
            signs, n_steps = np.ones(steps.shape), shape[0]
            # 3. propose to work at another edge of a neuron: its currents moved by one amount, or turned about one
            if layer > 0:
                jumps = self.rng.normal(size=(shape[1], JUMPS))
                jumps *= REACH[self.rng.integers(len(REACH), size=jumps.shape)]
                basis, steps = np.concatenate([basis, np.tile(uniform, (JUMPS, 1))]), np.hstack([steps, jumps])
                signs = np.hstack([signs, 2.0 * self.rng.integers(2, size=jumps.shape) - 1.0])
            # 4. log u is drawn first: what log L must gain, and the prior's share of it
            bounds = -self.rng.exponential(size=steps.shape) / power
            order = self.rng.permutation(steps.size)
            moves = Moves(mean, sd, prior_power / power, basis, signs, steps, bounds, order)
            moved, log_likelihood = sweeper.sweep_along(layer, weights, moves)
            for to, values in ((new, weights), (accepted, moved[:, :n_steps]), (step_sizes, size)):
                to[part] = values.T.ravel()
        return new, Sweep(accepted, log_likelihood, 0), accepted, far, step_sizes


def why_not_directional(model: pm.Model, variables: Sequence[Any]) -> str | None:
    """None when these weights can be moved along directions, else the reason in words."""
    likelihood = model.likelihood
    if not isinstance(make_sweeper(likelihood.op, likelihood.target), DirectionSweeper):
        return "the chip moves single weights alone"
    return why_not_normal(model, variables)
