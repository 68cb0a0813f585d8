"""`block`: adaptive random-walk Metropolis over all weights at once.

A proposal moves every weight and costs one chip run, against one run a weight for one-at-a-time samplers; its steps
are shorter by the square root of the number of weights. Scale and shape of the proposal are tuned in the warm-up
and frozen after it (Haario, Saksman, Tamminen, Bernoulli 2001, with a diagonal covariance; the scale by Robbins and
Monro's rule towards the acceptance rate 0.234 of Roberts, Gelman, Gilks, Ann. Appl. Probab. 1997).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pymc as pm
from pymc.blocking import RaveledVars
from pymc.pytensorf import compile as compile_function
from pymc.pytensorf import join_nonshared_inputs, make_shared_replacements
from pymc.step_methods.arraystep import ArrayStepShared
from pymc.step_methods.compound import Competence, StepMethodState
from pymc.step_methods.state import dataclass_state

from bayes_snn.samplers.shared.carried import CarriedLikelihood, Carrying
from bayes_snn.samplers.shared.tally import Tally

TARGET_ACCEPTANCE = 0.234
PROPOSALS = 100
_FIRST_WEIGHT = 20.0  # proposals' worth of trust in equal scales, before the chain has shown otherwise


@dataclass_state
class BlockMetropolisState(StepMethodState):
    """What is needed to go on: the proposal and what it was learned from."""

    tune: bool
    log_scale: float
    n_tuned: int
    mean: np.ndarray
    sum_squares: np.ndarray


class BlockMetropolis(Carrying, ArrayStepShared):
    """Random-walk Metropolis on all variables jointly.

    Parameters
    ----------
    vars
        Value variables to sample, all free ones by default.
    proposals
        Proposals, and so chip runs, to a draw.
    scale
        First standard deviation of a proposal in each weight, times 2.38 / sqrt(n_weights).
    """

    name = "block_metropolis"
    default_blocked = True
    stats_dtypes_shapes: ClassVar[dict[str, Any]] = {
        "accept": (np.float64, []),
        "scale": (np.float64, []),
        **Tally.stats_dtypes_shapes,
    }
    _state_class = BlockMetropolisState

    def __init__(
        self,
        vars: Any = None,
        *,
        proposals: int = PROPOSALS,
        scale: float = 1.0,
        model: pm.Model | None = None,
        rng: Any = None,
        initial_point: Any = None,
        compile_kwargs: dict[str, Any] | None = None,
        blocked: bool = True,
    ) -> None:
        model = pm.modelcontext(model)
        point = model.initial_point() if initial_point is None else initial_point
        shared = make_shared_replacements(point, vars, model)
        # potentials and other observed variables, if a model file has any, need no run of the chip
        terms = [term for term in (*model.basic_RVs, *model.potentials) if term is not model.likelihood.label]
        [prior], joined = join_nonshared_inputs(
            point=point, outputs=[model.logp(vars=terms)], inputs=vars, shared_inputs=shared
        )
        self.log_prior = compile_function([joined], prior, on_unused_input="ignore", **(compile_kwargs or {}))
        self.log_prior.trust_input = True
        self.log_likelihood = CarriedLikelihood(model, vars, shared, point, compile_kwargs)
        self.proposals = int(proposals)
        self._n = sum(int(np.size(point[v.name])) for v in vars)
        self._first_log_scale = float(np.log(scale))
        self.find_op(model)
        super().__init__(vars, shared, blocked=blocked, rng=rng)
        self.tune = True
        self.reset_tuning()

    def reset_tuning(self) -> None:
        """Forget what was learned of the posterior."""
        self.log_scale = self._first_log_scale
        self.n_tuned = 0
        self.mean = np.zeros(self._n)
        self.sum_squares = np.zeros(self._n)

    def astep(self, q0: RaveledVars) -> tuple[RaveledVars, list[dict[str, Any]]]:
        q = np.array(q0.data, dtype=np.float64)
        # hyperparameters may have moved since the last draw, the chip has not
        prior = float(self.log_prior(q))
        likelihood = self.log_likelihood.current(q)
        accepted = 0.0
        for _ in range(self.proposals):
            # 1. propose a jump of all weights
            proposal = q + self.step_sizes() * self.rng.normal(size=self._n)
            # 2. evaluate the posterior there: one chip run
            likelihood = self.log_likelihood.at_proposal(q, likelihood)
            new_prior, new_likelihood = float(self.log_prior(proposal)), self.log_likelihood(proposal)
            # 3. accept with probability min(1, p(proposal) / p(q)); a log-density of nan is never accepted
            log_ratio = (new_prior - prior) + (new_likelihood - likelihood)
            if np.log(self.rng.uniform()) < log_ratio:
                q, prior, likelihood = proposal, new_prior, new_likelihood
            acceptance = float(np.exp(min(log_ratio, 0.0))) if np.isfinite(log_ratio) else 0.0
            accepted += acceptance
            # 4. in the warm-up alone, learn from it
            if self.tune:
                self.learn(q, acceptance)
        self.log_likelihood.carry(q, likelihood)
        stats = {"accept": accepted / self.proposals, "scale": float(np.mean(self.step_sizes()))}
        return RaveledVars(q, q0.point_map_info), [{**stats, **self.tally()}]

    # nothing of its own beside what these tell
    checkpoint_state, restore_state = Carrying.checkpoint_state, Carrying.restore_state

    def step_sizes(self) -> np.ndarray:
        """Standard deviation of the proposal in each weight, (n_weights,)."""
        # shrunk towards one common variance, and that to 1 before anything is known
        total = self.n_tuned + _FIRST_WEIGHT
        variance = self.sum_squares + _FIRST_WEIGHT * (self.sum_squares.mean() / max(self.n_tuned, 1) or 1.0)
        relative = np.sqrt(variance / total)
        return np.asarray(np.exp(self.log_scale) * 2.38 / np.sqrt(self._n) * relative / relative.mean())

    def learn(self, q: np.ndarray, acceptance: float) -> None:
        """Welford's update of mean and variance, and a Robbins-Monro step of the scale."""
        self.n_tuned += 1
        deviation = q - self.mean
        self.mean += deviation / self.n_tuned
        self.sum_squares += deviation * (q - self.mean)
        self.log_scale += (acceptance - TARGET_ACCEPTANCE) * min(1.0, 5.0 * self.n_tuned**-0.6)

    @staticmethod
    def competence(var: Any, has_grad: bool) -> Competence:
        return Competence.INCOMPATIBLE  # PyMC never picks it by itself
