"""One Metropolis-Hastings step for all weights at once; what a sampler adds to it is a `Move`.

A proposal moves every weight and costs one chip run, against one run a weight for one-at-a-time samplers (Hastings,
Biometrika 57, 1970; parted into step and moves as in Foreman-Mackey, Hogg, Lang, Goodman, PASP 125, 2013).
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
import pymc as pm
from numpy.typing import NDArray
from pymc.blocking import RaveledVars
from pymc.pytensorf import make_shared_replacements
from pymc.step_methods.arraystep import ArrayStepShared
from pymc.step_methods.compound import Competence, StepMethodState
from pymc.step_methods.state import dataclass_state

from bayes_snn.errors import InputError
from bayes_snn.samplers.shared.carried import CarriedLikelihood, Carrying
from bayes_snn.samplers.shared.ravelled import ravelled_function
from bayes_snn.samplers.shared.tally import Tally

TARGET_ACCEPTANCE = 0.234  # of Roberts, Gelman, Gilks, Ann. Appl. Probab. 7, 1997
PROPOSALS = 100


class Move:
    """What a sampler proposes, and what it learns from the answers.

    A subclass is a dataclass. Its fields are what it learns in the warm-up: plain values and arrays, which are stored
    with a fit, and are as `prepare` left them when a chain begins. Nothing else may change from proposal to proposal.
    """

    keeps_prior: ClassVar[bool] = False  # the prior alone would accept every proposal, so the likelihood decides

    def prepare(self, model: pm.Model, variables: Any, shared: dict[Any, Any], point: dict[str, np.ndarray]) -> None:
        """See what is to be moved: value variables, shared ones in place of all others, and a point, for shapes.

        An `InputError` says what the move cannot do.
        """

    def propose(self, q: NDArray[np.float64], rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
        """A point to go to from q (n_weights,), and log [r(q | new) / r(new | q)] of the proposal density r.

        Of a move that keeps the prior, that with the ratio of the priors: 0.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it proposes.")

    def adapt(self, q: NDArray[np.float64], acceptance: float) -> None:
        """Learn from the point that the chain is at after a proposal, and from the probability to accept that one."""

    @property
    def scale(self) -> float:
        """How far it proposes to go, for the sample stats."""
        return float("nan")


def robbins_monro(acceptance: float, n_tuned: int) -> float:
    """What to add to the logarithm of a scale after n_tuned proposals (Ann. Math. Stat. 22, 1951)."""
    return float((acceptance - TARGET_ACCEPTANCE) * min(1.0, 5.0 * n_tuned**-0.6))


@dataclass_state
class JointState(StepMethodState):
    """What is needed to continue."""

    tune: bool
    learned: dict[str, Any]


class JointMetropolis(Carrying, ArrayStepShared):
    """Metropolis-Hastings on all variables jointly.

    Parameters
    ----------
    vars
        Value variables to sample, all free ones by default.
    move
        What is proposed. The step has a copy of its own.
    proposals
        Proposals, and so chip runs, to a draw.
    """

    name = "joint_metropolis"
    default_blocked = True
    dtype: ClassVar[Any] = np.float64
    stats_dtypes_shapes: ClassVar[dict[str, Any]] = {
        "accept": (np.float64, []),
        "scale": (np.float64, []),
        **Tally.stats_dtypes_shapes,
    }
    _state_class = JointState

    def __init__(
        self,
        vars: Any = None,
        *,
        move: Move,
        proposals: int = PROPOSALS,
        model: pm.Model | None = None,
        rng: Any = None,
        initial_point: Any = None,
        compile_kwargs: dict[str, Any] | None = None,
        blocked: bool = True,
    ) -> None:
        if "__dataclass_fields__" not in type(move).__dict__:  # one that is inherited does not know what was added
            raise InputError(f"{type(move).__name__} is no dataclass, but its fields are what is stored: make it one.")
        model = pm.modelcontext(model)
        point = model.initial_point() if initial_point is None else initial_point
        shared = make_shared_replacements(point, vars, model)
        self.move, self.proposals = deepcopy(move), int(proposals)
        self.move.prepare(model, vars, shared, point)
        self.log_prior = nothing if move.keeps_prior else log_prior(model, vars, shared, point, compile_kwargs)
        self.log_likelihood = CarriedLikelihood(model, vars, shared, point, compile_kwargs)
        self.find_op(model)
        super().__init__(vars, shared, blocked=blocked, rng=rng)
        self.tune = True
        self.acceptance = float("nan")  # of the last palindrome
        self._at_first = deepcopy(self.learned)

    def astep(self, q0: RaveledVars) -> tuple[RaveledVars, list[dict[str, Any]]]:
        q = np.array(q0.data, dtype=np.float64)
        # hyperparameters may have moved since the last draw, the chip has not
        prior, likelihood = float(self.log_prior(q)), self.log_likelihood.current(q)
        accepted = 0.0
        for _ in range(self.proposals):
            likelihood = self.log_likelihood.at_proposal(q, likelihood)
            q, prior, likelihood, acceptance = self._propose(q, prior, likelihood, (1.0, 1.0), self.tune)
            accepted += acceptance
        self.log_likelihood.carry(q, likelihood)
        stats = {"accept": accepted / self.proposals, "scale": self.move.scale}
        return RaveledVars(q, q0.point_map_info), [{**stats, **self.tally()}]

    def _propose(
        self, q: NDArray[np.float64], prior: float, likelihood: float, powers: tuple[float, float], learn: bool
    ) -> tuple[NDArray[np.float64], float, float, float]:
        """A proposal from q, of these log prior and log L, at powers of likelihood and prior.

        Returns where the chain is then, log prior and log L there, and the probability of the accept.
        """
        # 1. propose a point, and tell how much easier the way back is
        proposal, log_ratio = self.move.propose(q, self.rng)
        # 2. evaluate the posterior there: one chip run
        new_prior, new_likelihood = float(self.log_prior(proposal)), self.log_likelihood(proposal)
        # 3. accept with probability min(1, p(proposal) r(q | proposal) / [p(q) r(proposal | q)]), never if nan
        log_ratio += powers[1] * (new_prior - prior) + powers[0] * (new_likelihood - likelihood)
        if np.log(self.rng.uniform()) < log_ratio:
            q, prior, likelihood = proposal, new_prior, new_likelihood
        acceptance = float(np.exp(min(log_ratio, 0.0))) if np.isfinite(log_ratio) else 0.0
        # 4. in the warm-up alone, learn from it
        if learn:
            self.move.adapt(q, acceptance)
        return q, prior, likelihood, acceptance

    def palindrome(self, q: Any, powers: tuple[float, float], learn: bool, shifts: bool = True) -> tuple[Any, float]:
        """A draw that is reversible with respect to the posterior whose likelihood and prior have these powers.

        All its proposals are of one reversible kind, and none is a shift. Returns the weights and log L there; adapts
        if `learn`.
        """
        prior, likelihood = float(self.log_prior(q)), self.log_likelihood(q)
        accepted = 0.0
        for _ in range(self.proposals):
            q, prior, likelihood, acceptance = self._propose(q, prior, likelihood, powers, learn)
            accepted += acceptance
        self.acceptance = accepted / self.proposals
        return q, likelihood

    def log_likelihood_at(self, q: Any) -> float:
        """log L at q (n_weights,): a run of the chip, unless it is remembered."""
        return self.log_likelihood(q)

    def answers_at(self, q: Any) -> Any:
        """Spike counts (n_runs, n_samples, n_classes) at q: a run of the chip, unless it is remembered."""
        return self.log_likelihood.answers_at(q)

    def forget_chain(self) -> None:
        """Be as before a chain; whatever a copy of this step holds is left alone."""
        self.move = deepcopy(self.move)
        self.reset_tuning()

    def forget_answers(self) -> None:
        """Hold nothing of what the chip has answered: it is another one, or is to be asked anew."""
        self.log_likelihood.forget()

    def learned_state(self) -> dict[str, Any]:
        """What was learned, in plain values."""
        return deepcopy(self.learned)

    def restore_learned(self, state: dict[str, Any]) -> None:
        """Take back what `learned_state` returned."""
        self.learned = deepcopy(state)

    @property
    def learned(self) -> dict[str, Any]:
        """What the move has learned, by name."""
        return {field.name: getattr(self.move, field.name) for field in fields(self.move)}  # type: ignore[arg-type]

    @learned.setter
    def learned(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(self.move, name, value)

    def reset_tuning(self) -> None:
        """Forget what was learned."""
        self.learned = deepcopy(self._at_first)

    # nothing of its own beside what these give
    checkpoint_state, restore_state = Carrying.checkpoint_state, Carrying.restore_state

    @staticmethod
    def competence(var: Any, has_grad: bool) -> Competence:
        return Competence.INCOMPATIBLE  # PyMC never picks it by itself


def log_prior(
    model: pm.Model, variables: Any, shared: dict[Any, Any], point: dict[str, np.ndarray], compile_kwargs: Any = None
) -> Any:
    """log p of all that is no label, (n_weights,) -> float: the prior, and potentials and other observed variables."""
    terms = [term for term in (*model.basic_RVs, *model.potentials) if term is not model.likelihood.label]
    options = {"on_unused_input": "ignore", **(compile_kwargs or {})}
    return ravelled_function(model.logp(vars=terms), variables, shared, point, **options)


def nothing(q: NDArray[np.float64]) -> float:
    """The log-density that a move which keeps the prior is held to beside the likelihood."""
    return 0.0
