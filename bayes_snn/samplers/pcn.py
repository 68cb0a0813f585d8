"""`pcn`: preconditioned Crank-Nicolson, for Normal priors.

A proposal mixes the current weights with a draw from their prior, so that the prior alone would accept every one:

    w' = mu + sqrt(1 - beta^2) (w - mu) + beta sigma xi,    xi ~ Normal(0, 1)

It is accepted on the likelihood ratio, however many weights there are (Neal, Bayesian Statistics 6, 1999; Cotter,
Roberts, Stuart, White, Stat. Sci. 2013). mu and sigma of each weight are those of its prior, under the hyperparameters
of the moment. beta is tuned in the warm-up, by Robbins and Monro's rule towards the acceptance rate 0.234, and
frozen after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pymc as pm
from numpy.typing import NDArray

from bayes_snn.errors import InputError
from bayes_snn.samplers.shared.joint import Move, robbins_monro
from bayes_snn.samplers.shared.prior import normal_parameters, why_not_normal

BETA = 0.1  # at the start of the warm-up


@dataclass
class PCN(Move):
    """The current weights and a draw from the prior, mixed."""

    keeps_prior: ClassVar[bool] = True

    log_beta: float = float(np.log(BETA))
    n_tuned: int = 0

    def prepare(self, model: pm.Model, variables: Any, shared: dict[Any, Any], point: dict[str, np.ndarray]) -> None:
        reason = why_not_normal(model, variables)
        if reason is not None:
            raise InputError(
                f"Sampler 'pcn' needs weights with independent Normal priors, but {reason}: take 'sitewise' or 'block'."
            )
        self.prior = normal_parameters(model, variables, shared, point)

    def propose(self, q: NDArray[np.float64], rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
        mean, sigma = self.prior()
        fresh = sigma * rng.normal(size=len(q))
        return mean + np.sqrt(1.0 - self.beta**2) * (q - mean) + self.beta * fresh, 0.0

    def adapt(self, q: NDArray[np.float64], acceptance: float) -> None:
        self.n_tuned += 1
        self.log_beta = min(self.log_beta + robbins_monro(acceptance, self.n_tuned), 0.0)

    @property
    def beta(self) -> float:
        """Share of a fresh prior draw in a proposal; 1 proposes nothing else."""
        return float(np.exp(self.log_beta))

    scale = beta
