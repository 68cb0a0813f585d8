"""`pcn`: preconditioned Crank-Nicolson, for Normal priors.

A proposal mixes the current weights with a draw from their prior, so that the prior alone would accept every one:

    w' = mu + sqrt(1 - beta^2) (w - mu) + beta sigma xi,    xi ~ Normal(0, 1)

It is accepted on the likelihood ratio, however many weights there are (Neal, Bayesian Statistics 6, 1999; Cotter,
Roberts, Stuart, White, Stat. Sci. 2013). mu and sigma of each weight are those of its prior, under the hyperparameters
of the moment. beta is tuned in the warm-up, by Robbins and Monro's rule towards the acceptance rate 0.234, and
frozen after it.
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

from bayes_snn.errors import InputError
from bayes_snn.samplers.shared.carried import CarriedLikelihood, Carrying
from bayes_snn.samplers.shared.prior import normal_parameters, why_not_normal
from bayes_snn.samplers.shared.tally import Tally

TARGET_ACCEPTANCE = 0.234
PROPOSALS = 100
BETA = 0.1  # at the start of the warm-up


@dataclass_state
class PCNState(StepMethodState):
    """What is needed to go on: beta, and how long it was tuned."""

    tune: bool
    log_beta: float
    n_tuned: int


class PCNMetropolis(Carrying, ArrayStepShared):
    """Preconditioned Crank-Nicolson moves of all weights jointly.

    Parameters
    ----------
    vars
        Value variables to sample, each with a Normal prior.
    proposals
        Proposals, and so chip runs, to a draw.
    beta
        First share of a fresh prior draw in a proposal, above 0 and at most 1.

    Raises
    ------
    InputError
        When the prior is another.
    """

    name = "pcn_metropolis"
    default_blocked = True
    stats_dtypes_shapes: ClassVar[dict[str, Any]] = {
        "accept": (np.float64, []),
        "scale": (np.float64, []),
        **Tally.stats_dtypes_shapes,
    }
    _state_class = PCNState

    def __init__(
        self,
        vars: Any = None,
        *,
        proposals: int = PROPOSALS,
        beta: float = BETA,
        model: pm.Model | None = None,
        rng: Any = None,
        initial_point: Any = None,
        compile_kwargs: dict[str, Any] | None = None,
        blocked: bool = True,
    ) -> None:
        model = pm.modelcontext(model)
        reason = why_not_normal(model, vars)
        if reason is not None:
            raise InputError(
                f"Sampler 'pcn' needs weights with independent Normal priors, but {reason}: take 'sitewise' or 'block'."
            )
        point = model.initial_point() if initial_point is None else initial_point
        shared = make_shared_replacements(point, vars, model)
        self.prior = normal_parameters(model, vars, shared, point)
        self.log_likelihood = CarriedLikelihood(model, vars, shared, point, compile_kwargs)
        self.proposals = int(proposals)
        self._first_log_beta = float(np.log(beta))
        self.find_op(model)
        super().__init__(vars, shared, blocked=blocked, rng=rng)
        self.tune = True
        self.reset_tuning()

    def reset_tuning(self) -> None:
        """Forget the tuning of beta."""
        self.log_beta = self._first_log_beta
        self.n_tuned = 0

    @property
    def beta(self) -> float:
        """Share of a fresh prior draw in a proposal; 1 proposes nothing else."""
        return float(np.exp(self.log_beta))

    def astep(self, q0: RaveledVars) -> tuple[RaveledVars, list[dict[str, Any]]]:
        q = np.array(q0.data, dtype=np.float64)
        # hyperparameters may have moved since the last draw, the chip has not
        mean, sigma = self.prior()
        likelihood = self.log_likelihood.current(q)
        accepted = 0.0
        for _ in range(self.proposals):
            # 1. propose: the current weights and a draw from the prior, mixed
            fresh = sigma * self.rng.normal(size=len(q))
            proposal = mean + np.sqrt(1.0 - self.beta**2) * (q - mean) + self.beta * fresh
            # 2. evaluate the likelihood there: one chip run
            likelihood = self.log_likelihood.at_proposal(q, likelihood)
            new_likelihood = self.log_likelihood(proposal)
            # 3. accept with probability min(1, L(proposal) / L(q)): the priors cancel against the proposal densities
            log_ratio = new_likelihood - likelihood
            if np.log(self.rng.uniform()) < log_ratio:
                q, likelihood = proposal, new_likelihood
            acceptance = float(np.exp(min(log_ratio, 0.0)))
            accepted += acceptance
            # 4. in the warm-up alone, tune beta
            if self.tune:
                self.n_tuned += 1
                self.log_beta += (acceptance - TARGET_ACCEPTANCE) * min(1.0, 5.0 * self.n_tuned**-0.6)
                self.log_beta = min(self.log_beta, 0.0)
        self.log_likelihood.carry(q, likelihood)
        stats = {"accept": accepted / self.proposals, "scale": self.beta}
        return RaveledVars(q, q0.point_map_info), [{**stats, **self.tally()}]

    # nothing of its own beside what these tell
    checkpoint_state, restore_state = Carrying.checkpoint_state, Carrying.restore_state

    @staticmethod
    def competence(var: Any, has_grad: bool) -> Competence:
        return Competence.INCOMPATIBLE  # PyMC never picks it by itself
