"""`smc`: tempered sequential Monte Carlo, by `pm.sample_smc`.

No chain but a population: `draws` particles begin as draws from the prior. Stage by stage the likelihood is raised to a
power that grows from 0 to 1, each time so far that half of the particles would still count; particles are resampled
by their weights and moved by a few Metropolis steps, whose scale and shape come from the population (Del Moral, Doucet,
Jasra, J. R. Stat. Soc. B 2006; Ching and Chen, J. Eng. Mech. 2007). It costs one chip run for each particle and step.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pymc as pm
import xarray as xr
from pymc.pytensorf import compile as compile_function
from pymc.pytensorf import reseed_rngs
from pymc.smc.kernels import MH
from pytensor.tensor.random.type import RandomGeneratorType

from bayes_snn.errors import InputError
from bayes_snn.samplers.shared.tally import Tally

# a stage's moves end when the particles' correlation with where they began falls by less than this in a move; PyMC's
# 0.01 ends them after two where there are tens of weights, with copies of particles still side by side
CORRELATION_THRESHOLD = 1e-4
LEAST_ALIVE = 0.1  # share of the first particles that must have a density above 0


class CountingMH(Tally, MH):
    """PyMC's Metropolis kernel that counts presentations; its stats are those of a stage."""

    stats_dtypes_shapes: ClassVar[dict[str, Any]] = {
        "accept": (np.float64, [None]),  # of each particle
        "beta": (np.float64, []),  # power of the likelihood
        "log_marginal_likelihood": (np.float64, []),
        **Tally.stats_dtypes_shapes,
    }

    def __init__(self, *args: Any, model: pm.Model | None = None, **kwargs: Any) -> None:
        super().__init__(*args, model=model, **kwargs)
        self.find_op(model)
        self._draw, updates = compile_function([], self._prior_expression, random_seed=False, return_updates=True)
        self._generators = list(updates)

    def _initialize_kernel(self) -> None:
        """Particles that the model's other terms rule out are there, but count for nothing from the first stage on."""
        super()._initialize_kernel()
        prior, likelihood = np.atleast_1d(self.prior_logp), np.atleast_1d(self.likelihood_logp)  # type: ignore[has-type]
        alive = np.isfinite(prior) & ~np.isnan(likelihood) & ~np.isneginf(likelihood)
        self.likelihood_logp = np.where(alive, likelihood, -np.inf)  # nan would spread to the weights of all
        if alive.sum() < max(2, LEAST_ALIVE * self.draws):
            raise InputError(
                f"smc begins with draws from the prior, but the model's other terms, such as a pm.Potential, leave "
                f"{alive.sum()} of {self.draws} with a density above 0: put the constraint into the distribution of "
                "the weights (pm.Truncated or pm.HalfNormal, for example), or take another sampler."
            )

    def initialize(self, start: dict[str, Any] | None, rng: np.random.Generator) -> None:
        """Draw a population from the prior; it is run too."""
        self.start_count(rng)
        super().initialize(start, rng)

    def set_rng(self, rng: np.random.Generator) -> None:
        """PyMC copies the densities for each population, at the cost of compiling them; it is of use to random ones."""
        densities = (self.prior_logp_func, self.likelihood_logp_func)
        if any(isinstance(shared.type, RandomGeneratorType) for each in densities for shared in each.get_shared()):
            super().set_rng(rng)
        self.rng = rng

    def initialize_population(self) -> dict[str, Any]:
        """Draws from the prior; PyMC compiles the function that draws them for each population."""
        reseed_rngs(self._generators, int(self.rng.integers(2**63)))
        drawn = zip(*(self._draw() for _ in range(self.draws)), strict=True)
        return dict(zip(self._prior_var_names, map(np.stack, drawn), strict=True))

    def mutate(self) -> None:
        """Move every particle."""
        with np.errstate(divide="ignore", invalid="ignore"):  # the correlation of a population that is one point
            super().mutate()

    def sample_stats(self) -> dict[str, Any]:
        """Of the stage that has just ended."""
        stats = super().sample_stats()
        kept = {name: stats[name] for name in ("beta", "log_marginal_likelihood")}
        return {"accept": np.array(self.chain_acc_rate), **kept, **self.tally()}


def sample_smc(model: pm.Model, draws: int, chains: int, seed: np.random.Generator, progress: bool) -> xr.DataTree:
    """Populations of `draws` particles, as many as `chains`, one after the other.

    Returns
    -------
    A DataTree as of `pm.sample`. Its sample stats are the acceptance rate of each particle in the last stage, the
    presentations of its population from first to last, and for each population the number of stages and the log of the
    marginal likelihood.
    """
    with model.likelihood.op.fresh_estimates():
        trace = pm.sample_smc(
            draws=draws,
            kernel=CountingMH,
            model=model,
            chains=chains,
            cores=1,  # one object counts all presentations
            random_seed=seed,
            progressbar=progress,
            correlation_threshold=CORRELATION_THRESHOLD,
            compute_convergence_checks=False,
            return_inferencedata=False,
        )
    stages = {name: getattr(trace.report, name) for name in CountingMH.stats_dtypes_shapes}
    if chains == 1:  # PyMC leaves this axis out then
        stages = {name: [found] for name, found in stages.items()}
    last = {name: np.array([chain[-1] for chain in found]) for name, found in stages.items()}
    stats = {
        "accept": (("chain", "draw"), last["accept"]),
        "presentations": (("chain", "draw"), np.repeat(last["presentations"][:, None], draws, axis=1)),
        "stages": ("chain", [len(chain) for chain in stages["beta"]]),
        "log_marginal_likelihood": ("chain", last["log_marginal_likelihood"]),
    }
    tree: xr.DataTree = pm.to_inference_data(trace, model=model)
    coords = {dim: tree.posterior[dim] for dim in ("chain", "draw")}
    tree["sample_stats"] = xr.DataTree(xr.Dataset(stats, coords))
    return tree
