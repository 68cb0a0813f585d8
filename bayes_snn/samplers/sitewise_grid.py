"""`sitewise` on a grid: Metropolis within Gibbs over whole-number levels, for chips with weights of few bits.

As in sitewise.py, with other proposals: a weight moves by whole levels, up or down alike, so that every proposal is a
weight that the chip can hold and none changes nothing. A level beyond the ends has prior probability 0: it is never
accepted and costs no run. Jumps have a width for each weight, tuned in the warm-up and frozen after it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
from pymc.pytensorf import make_shared_replacements
from scipy.special import ndtri

from bayes_snn.samplers.shared.carried import weights_function
from bayes_snn.samplers.shared.jumps import FAR, FAR_SHARE
from bayes_snn.samplers.shared.shift import shift_neurons
from bayes_snn.samplers.sitewise import SitewiseMetropolis

SMALLEST_MASS = 1e-12  # of a level that neurons are shifted from
MOST_LEVELS = 2**17


class GridMetropolis(SitewiseMetropolis):
    """Single-weight Metropolis sweeps over levels; parameters are those of `SitewiseMetropolis`.

    `vars` are whole-number value variables, one for each weight matrix; `why_not_on_grid` tells whether they can be
    swept.
    """

    name = "grid_metropolis"
    dtype = np.int64

    def __init__(self, vars: Any = None, *, model: pm.Model | None = None, **kwargs: Any) -> None:
        model = pm.modelcontext(model)
        point = kwargs.get("initial_point") or model.initial_point()
        super().__init__(vars, model=model, **kwargs)
        self._columns = [places for places in self._columns if len(places) > 1]  # to shift one weight is a step of it
        shared = make_shared_replacements(point, vars, model)
        self._weights_at = weights_function(model, vars, shared, point)
        self._cells: tuple[int, np.ndarray, np.ndarray, np.ndarray] | None = None

    def propose(self, q: np.ndarray, step_sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Levels (n_weights,) to jump to, one at least away; and where the jump is a far one."""
        far = self.rng.random(len(q)) < FAR_SHARE
        lengths = step_sizes * np.where(far, FAR, 1.0) * np.abs(self.rng.normal(size=len(q)))
        signs = 2 * self.rng.integers(0, 2, len(q)) - 1
        return q + signs * np.maximum(np.ceil(lengths), 1.0).astype(np.int64), far

    def shift(self, q: np.ndarray, log_likelihood: float, backwards: bool = False) -> tuple[np.ndarray, float, int]:
        """As in sitewise.py, by normals of which the levels are what is left after rounding.

        Let F be a weight's prior distribution function. A normal u rounds to level k where it lies between the normal
        quantiles of F(k - 1) and F(k), which has the prior probability of k. Given the levels, u is drawn anew (a Gibbs
        step); a shift of u then moves a neuron as if its weights were continuous and saturated at the ends.
        """
        if self._cells is None or self._has_hyperparameters:
            self._cells = self._find_cells(q)
        lowest, masses, tops, quantiles = self._cells
        sites = np.arange(len(q))
        mass = masses[q - lowest, sites]
        u = ndtri(tops[q - lowest, sites] - mass * self.rng.random(len(q)))
        if not np.isfinite(u).all() or (mass < SMALLEST_MASS).any():
            return q, log_likelihood, 0  # some level is too improbable to be distinguished by its quantiles

        def levels(moved: np.ndarray) -> np.ndarray:
            return np.where(moved == u, q, lowest + (quantiles < moved).sum(axis=0))

        def run(moved: np.ndarray) -> float:
            return self._run(levels(moved))

        new, log_likelihood, moved = shift_neurons(
            u,
            log_likelihood,
            self._columns[::-1] if backwards else self._columns,
            lambda u: -0.5 * u * u,
            run,
            self.powers(),
            self.rng,
            refreshes=self.op.noise.refreshes,
            accept=self._accept,
        )
        return levels(new), log_likelihood, moved

    def _find_cells(self, q: np.ndarray) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
        """The lowest level, and (n_levels, n_weights) of each level: probability, F, and the normal quantile of F."""
        lowest, highest = (self._end(q, step) for step in (-1, 1))
        masses = np.exp([self.log_prior(np.full_like(q, level)) for level in range(lowest, highest + 1)])
        # exactly 1 from each weight's own last level on, whatever the sum is rounded to
        later = np.flip(np.maximum.accumulate(np.flip(masses, 0), axis=0), 0)[1:] > 0
        tops = np.ones_like(masses)
        tops[:-1] = np.where(later, np.minimum(np.cumsum(masses, axis=0)[:-1], 1.0), 1.0)
        return lowest, masses, tops, ndtri(tops)

    def _end(self, q: np.ndarray, step: int) -> int:
        """The last level in one direction that any weight may have."""
        level = int(q.max() if step > 0 else q.min())
        while abs(level) < MOST_LEVELS and np.isfinite(self.log_prior(np.full_like(q, level + step))).any():
            level += step
        return level

    def step_sizes(self) -> np.ndarray:
        """Width of each weight's jumps, in levels, (n_weights,)."""
        return np.asarray(np.exp(self.log_scales))

    def weights_of(self, q: np.ndarray, possible: np.ndarray | None = None, otherwise: Any = None) -> np.ndarray:
        """Weights (n_weights,) at levels q; at the levels `otherwise` where one is not possible."""
        levels = q if possible is None else np.where(possible, q, otherwise)
        return np.concatenate([matrix.ravel() for matrix in self._weights_at(levels)])

    # nothing of its own beside what these give
    checkpoint_state, restore_state = SitewiseMetropolis.checkpoint_state, SitewiseMetropolis.restore_state
