"""`sitewise`: Metropolis within Gibbs, one weight at a time, with a step size for each weight.

Metropolis et al. (J. Chem. Phys. 1953) in single-site sweeps; step sizes are tuned in the warm-up, by Robbins and
Monro's rule, towards the acceptance rate 0.44 that is best in one dimension (Roberts and Rosenthal, Stat. Sci.
2001), and frozen after it. The start of the warm-up is tempered: likelihood and prior are raised to powers that
grow to 1, so that chains started at prior draws find their way. The prior is weakened more than the likelihood, for an
output neuron that weights of the prior's size cannot reach (it fires at every step, or never) gives a flat likelihood,
out of which only large weights lead.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pymc as pm
from pymc.blocking import RaveledVars
from pymc.pytensorf import make_shared_replacements
from pymc.step_methods.arraystep import ArrayStepShared
from pymc.step_methods.compound import Competence, StepMethodState
from pymc.step_methods.state import dataclass_state
from pytensor.graph.traversal import ancestors

from bayes_snn.chips.contract import as_matrices
from bayes_snn.chips.sweeper import Sweeper
from bayes_snn.posterior.readout import readout_function
from bayes_snn.samplers.shared.jumps import jump, tune_scales
from bayes_snn.samplers.shared.prior import separable_log_prior
from bayes_snn.samplers.shared.shift import shift_neurons
from bayes_snn.samplers.shared.sites import Sites
from bayes_snn.samplers.shared.sweepers import make_sweeper
from bayes_snn.samplers.shared.tally import Tally
from bayes_snn.samplers.shared.watch import Watched

COLDEST = 0.3  # power of the likelihood at the start of the warm-up
WIDEST = 0.01  # power of a fixed prior there: a standard Normal is then 10 wide, beyond the range of most chips
TEMPERED = 150  # sweeps of the warm-up that are tempered, at most; never more than half of it


def warming(n_done: int, tempered: float, widest: float) -> tuple[float, float]:
    """Powers of likelihood and prior after so many draws of a warm-up that is tempered for so many."""
    if n_done >= tempered:
        return 1.0, 1.0
    left = 1.0 - n_done / tempered
    return float(COLDEST**left), float(widest**left)


@dataclass_state
class SitewiseState(StepMethodState):
    """What is needed to continue: step sizes, and how far the warm-up is."""

    tune: bool
    n_tune: int
    n_sweeps: int
    log_scales: np.ndarray


class SitewiseMetropolis(Watched, ArrayStepShared):
    """Single-weight Metropolis sweeps; a draw is one sweep over all weights in random order.

    Parameters
    ----------
    vars
        Value variables of the weights.
    """

    name = "sitewise_metropolis"
    default_blocked = True
    stats_dtypes_shapes: ClassVar[dict[str, Any]] = {
        "accept": (np.float64, []),
        "scale": (np.float64, []),
        "log_likelihood": (np.float64, []),
        "saved": (np.int64, []),
        **Tally.stats_dtypes_shapes,
    }
    _state_class = SitewiseState
    dtype: ClassVar[Any] = np.float64

    def __init__(
        self,
        vars: Any = None,
        *,
        model: pm.Model | None = None,
        rng: Any = None,
        initial_point: Any = None,
        compile_kwargs: dict[str, Any] | None = None,
        blocked: bool = True,
    ) -> None:
        model = pm.modelcontext(model)
        point = model.initial_point() if initial_point is None else initial_point
        shared = make_shared_replacements(point, vars, model)
        self.find_op(model)
        self._sites = Sites(model, vars)
        # hyperparameters, which are drawn at power 1, would follow the weights out, and the weights them
        own = [model.values_to_rvs[value] for value in vars]
        others = [rv for rv in model.free_RVs if rv not in own]
        self._has_hyperparameters = any(rv in ancestors(own) for rv in others)
        self.log_prior = self._find_prior(model, vars, shared, point)
        self._labels = model.likelihood.target
        self._readout = readout_function(model, shared)
        # steps on them, on the readout and on a drifting chip ask for the counts of weights that stay, at no run
        self._is_asked = bool(others) or not self.op.chip.spec.deterministic
        self.widest = 1.0 if self._has_hyperparameters else WIDEST
        self._zeros = np.zeros(len(self._sites.swept))
        self._columns = self._sites.columns()
        self._sweeper: Sweeper | None = None
        self._last_run: tuple[list[np.ndarray], np.ndarray] = [], np.zeros(0, np.int64)
        self._saved = 0
        self.n_tune = 0
        self._left_at: np.ndarray | None = None
        self.held_powers: tuple[float, float] | None = None  # in the place of those of the warm-up
        self.acceptance = float("nan")  # of the last palindrome
        super().__init__(vars, shared, blocked=blocked, rng=rng)
        self.tune = True
        self.reset_tuning()

    def _find_prior(self, model: pm.Model, vars: Any, shared: dict[Any, Any], point: dict[str, np.ndarray]) -> Any:
        """log p of each weight, (n_weights,) -> (n_weights,)."""
        return separable_log_prior(model, vars, shared, point)

    def reset_tuning(self) -> None:
        """Forget the step sizes."""
        self.n_sweeps = 0
        self.log_scales = np.zeros_like(self._zeros)

    def setup_chain(self, rng: Any, tune: int, draws: int) -> None:
        super().setup_chain(rng, tune, draws)
        self.n_tune = tune
        self._saved = 0
        self._sweeper = None

    def checkpoint_state(self) -> dict[str, Any]:
        sweeper = None if self._sweeper is None else self._sweeper.checkpoint_state()
        return {**super().checkpoint_state(), "saved": self._saved, "sweeper": sweeper}

    def restore_state(self, state: dict[str, Any]) -> None:
        super().restore_state(state)
        self._saved = int(state["saved"])
        self._sweeper = None
        if state["sweeper"] is not None:
            self._find_sweeper().restore_state(state["sweeper"])

    def astep(self, q0: RaveledVars) -> tuple[RaveledVars, list[dict[str, Any]]]:
        q = np.array(q0.data, dtype=self.dtype)
        sweeper, readout = self._find_sweeper(), self._readout()
        shown = sweeper.presentations
        log_likelihood = sweeper.start(self._matrices(q), readout)
        # 0. move whole neurons, where no single weight has any influence
        refreshes = self.op.noise.refreshes
        q, _, moved = self.shift(q, log_likelihood)
        if moved:
            sweeper.start(self._matrices(q), readout)
        q, sweep, accepted, far, step_sizes = self._visit(q, sweeper)
        self.op.presentations += sweeper.presentations - shown
        if self._is_asked:
            self.op.remember(self._matrices(q), sweeper.counts())
        runs = len(q) * self.op.noise.repeats * (2 if refreshes else 1)
        self._saved += runs * len(self.op.inputs) - sweep.presentations
        # 4. in the warm-up alone, tune the step sizes
        if self.tune:
            tune_scales(self.log_scales, self.n_sweeps, accepted, far)
        self.n_sweeps += 1
        stats = {
            "accept": float(accepted.mean()),
            "scale": float(step_sizes.mean()),
            "log_likelihood": sweep.log_likelihood,
            "saved": self._saved,
        }
        return RaveledVars(q, q0.point_map_info), [{**stats, **self.tally()}]

    def _visit(self, q: np.ndarray, sweeper: Sweeper) -> tuple[np.ndarray, Any, np.ndarray, np.ndarray, np.ndarray]:
        """A sweep over all weights in random order; which of them moved, which jumps were far, and the step sizes."""
        # 1. propose a jump of each weight, now and then a far one, and an order to visit them in
        step_sizes = self.step_sizes()
        proposals, far = self.propose(q, step_sizes)
        order = self.rng.permutation(len(q))
        # 2. a proposal is accepted where log u < the sum of the log ratios of prior and likelihood, each times its
        #    power: log u is drawn first, and what is left is a bound on the likelihood; a prior of nan or 0 at the
        #    proposal is never accepted
        likelihood_power, prior_power = self.powers()
        with np.errstate(invalid="ignore"):
            log_ratio = self.log_prior(proposals) - self.log_prior(q)
        log_ratio[np.isnan(log_ratio)] = -np.inf
        bounds = (-self.rng.exponential(size=len(q)) - prior_power * log_ratio) / likelihood_power
        # 3. visit every weight: the chip is run where a proposal is not lost already
        proposed = self.weights_of(proposals, bounds < np.inf, q)
        sweep = sweeper.sweep(proposed, *self._sites.visits(bounds, order))
        accepted = sweep.accepted[self._sites.swept]
        q = np.where(accepted, proposals, q)
        return q, sweep, accepted, far, step_sizes

    def palindrome(
        self, q: np.ndarray, powers: tuple[float, float], learn: bool, shifts: bool = True
    ) -> tuple[np.ndarray, float]:
        """A draw that is reversible with respect to the posterior whose likelihood and prior have these powers.

        Shifts of whole neurons, a sweep in random order, and the shifts again, last neuron first: shifts and a sweep
        alone would leave that posterior invariant, but going back is another move than going there. (A sweep in random
        order is reversible: every order is as likely as the opposite one.) Without `shifts` it is the sweep alone.
        Returns the weights and log L there; tunes the step sizes if `learn`.
        """
        self.held_powers = powers
        sweeper, readout = self._find_sweeper(), self._readout()
        shown = sweeper.presentations
        left_here = q is self._left_at  # in the midst of a draw: the sweeper is where it left off
        q = np.array(q, dtype=self.dtype)
        if shifts:
            q, _, _ = self.shift(q, sweeper.start(self._matrices(q), readout))
        if shifts or not left_here:
            sweeper.start(self._matrices(q), readout)
        q, sweep, accepted, far, _ = self._visit(q, sweeper)
        self.acceptance = float(accepted.mean())
        self.op.presentations += sweeper.presentations - shown
        if learn:
            tune_scales(self.log_scales, self.n_sweeps, accepted, far)
            self.n_sweeps += 1
        if not shifts:
            self._left_at = q
            return q, sweep.log_likelihood
        q, log_likelihood, _ = self.shift(q, sweep.log_likelihood, backwards=True)
        self._left_at = None
        return q, log_likelihood

    def log_likelihood_at(self, q: np.ndarray) -> float:
        """log L at q (n_weights,): a run of the chip."""
        return self._run(q)

    def answers_at(self, q: np.ndarray) -> Any:
        """Spike counts (n_runs, n_samples, n_classes) at q: a run of the chip, unless they are known."""
        if q is self._left_at and self._sweeper is not None:  # where the last palindrome ended
            self.op.remember(self._matrices(q), self._sweeper.counts())
        return self.op.evaluate(self._matrices(q))

    def forget_chain(self) -> None:
        """Be as before a chain; whatever a copy of this step holds is left alone."""
        self._sweeper = self._left_at = None
        self.reset_tuning()

    def forget_answers(self) -> None:
        """Hold nothing of what the chip has answered: it is another one, or is to be asked anew."""
        self._sweeper = self._left_at = None

    def learned_state(self) -> dict[str, Any]:
        """What was learned, in plain values."""
        return {"n_sweeps": self.n_sweeps, "log_scales": self.log_scales.copy()}

    def restore_learned(self, state: dict[str, Any]) -> None:
        """Take back what `learned_state` returned."""
        self.n_sweeps, self.log_scales = int(state["n_sweeps"]), np.array(state["log_scales"], np.float64)

    def _find_sweeper(self) -> Sweeper:
        if self._sweeper is None:
            self._sweeper = make_sweeper(self.op, self._labels)
        return self._sweeper

    def go_on_from(self, weights: Any, counts: np.ndarray) -> None:
        super().go_on_from(weights, counts)
        self._find_sweeper().accept(weights, counts)

    def propose(self, q: np.ndarray, step_sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where each variable (n_weights,) would jump to, and where that is a far jump: as likely as the jump back."""
        return jump(self.rng, q, step_sizes)

    def shift(self, q: np.ndarray, log_likelihood: float, backwards: bool = False) -> tuple[np.ndarray, float, int]:
        """Whole neurons moved, from the last one on if `backwards`: the weights, log L there, and how many."""
        return shift_neurons(
            q,
            log_likelihood,
            self._columns[::-1] if backwards else self._columns,
            self.log_prior,
            self._run,
            self.powers(),
            self.rng,
            refreshes=self.op.noise.refreshes,
            accept=self._accept,
        )

    def weights_of(self, q: np.ndarray, possible: np.ndarray | None = None, otherwise: Any = None) -> np.ndarray:
        """All weights, (n_sites,), of variables q (n_weights,), here the same; of `otherwise` where not possible."""
        return self._sites.all_weights(q)

    def _run(self, q: np.ndarray) -> float:
        """log L of these weights: a run of the chip, whose answer the sweeper continues from if they are accepted."""
        weights = self._matrices(q)
        counts = self.op.run(weights)
        self._last_run = weights, counts
        return float(self._readout().log_p(counts, self._labels).sum())

    def _accept(self) -> None:
        self._find_sweeper().accept(*self._last_run)

    def step_sizes(self) -> np.ndarray:
        """Standard deviation of each weight's proposal, (n_weights,): its own, but not far beyond its prior's.

        The prior's standard deviation, under the hyperparameters of the moment, is read off its density at 0, as if it
        were normal: 1 / (sqrt(2 pi) p(0)). It depends on no weight, so a jump back is as likely as the jump.
        """
        prior = np.exp(-np.clip(self.log_prior(self._zeros), -30.0, 30.0)) / np.sqrt(2.0 * np.pi)
        return np.asarray(1.0 / np.sqrt(np.exp(-2.0 * self.log_scales) + (2.4 * prior) ** -2.0))

    def powers(self) -> tuple[float, float]:
        """Powers of likelihood and prior: COLDEST and WIDEST at first, 1 from the middle of the warm-up at latest."""
        if self.held_powers is not None:
            return self.held_powers
        tempered = min(self.n_tune // 2, TEMPERED)
        return warming(self.n_sweeps, tempered if self.tune else 0, self.widest)

    def _matrices(self, q: np.ndarray) -> list[np.ndarray]:
        return as_matrices(self.weights_of(q), self._sites.shapes)

    @staticmethod
    def competence(var: Any, has_grad: bool) -> Competence:
        return Competence.INCOMPATIBLE  # PyMC never picks it by itself
