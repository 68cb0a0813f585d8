"""A fit that ends when its draws are enough: it looks at them now and then, and stops at the first look that says so.

Looks are at fixed numbers of draws, the same whatever the chains' processes take, and judge the first so many draws of
every chain. So a fit that stops by itself has the draws of one that was asked for that number of them.
"""

from __future__ import annotations

import math
from typing import Any

import pymc as pm
import xarray as xr
from pymc.backends.base import MultiTrace

from bayes_snn.chips.contract import Chip
from bayes_snn.errors import InputError
from bayes_snn.inference.diagnostics import ESS_PER_CHAIN, R_HAT_LIMIT, diagnose
from bayes_snn.inference.pointwise import record_likelihood, take_counts
from bayes_snn.inference.sampling import CONVERGED

MORE = 1.25  # draws at a look, over those at the one before
FEWEST = 10  # draws of a chain, for R-hat to be more than luck


def check_chains(chip: Chip, keeps_counts: bool, chains: int, in_turns: bool) -> None:
    """An `InputError` where a fit cannot be looked at while it runs."""
    reason = ""
    if chains < 2:
        reason = "R-hat compares chains, and there is one: take 2 or more"
    elif not in_turns:
        reason = "the chains of this chip run one after the other: say how many draws instead"
    elif not (keeps_counts or chip.spec.deterministic):
        reason = "this chip is noisy, and the sampler keeps no answers to look at: take sampler 'twin', or say draws"
    if reason:
        raise InputError(f"A fit was to end by itself (until), but {reason}.")


class Until:
    """What ends a fit early.

    Parameters
    ----------
    criterion
        "converged", which is the verdict on the predictions; or effective draws that log-likelihood and predictions
        must have, at an R-hat within its limit.
    model, chip
        The posterior, and the chip, which is shown draws whose answers a sampler does not keep.
    chains, tune, draws
        Chains, and draws of each in the warm-up and behind it, at most.

    Attributes
    ----------
    trace
        The draws, once they are enough.
    """

    def __init__(self, criterion: str | int, model: pm.Model, chip: Chip, chains: int, tune: int, draws: int) -> None:
        self.criterion = criterion
        self._model, self._chip, self._chains, self._tune, self._draws = model, chip, chains, tune, draws
        self._traces: dict[int, Any] = {}
        least = ESS_PER_CHAIN if criterion == CONVERGED else math.ceil(int(criterion) / chains)
        self._next = max(FEWEST, least)
        self.trace: xr.DataTree | None = None

    def note(self, trace: Any) -> None:
        """Called at each draw of each chain; raises a `KeyboardInterrupt`, which ends all chains, at enough draws."""
        self._traces[trace.chain] = trace
        while len(self._traces) == self._chains and self._shortest >= self._next:
            n = self._next
            if n >= self._draws:
                return  # all that were asked for
            self._next = math.ceil(MORE * n)
            found = self._first(n)
            if self._is_enough(found):
                self.trace = self._first(n)
                raise KeyboardInterrupt

    @property
    def _shortest(self) -> int:
        return min(len(trace) for trace in self._traces.values()) - self._tune

    def _first(self, n: int) -> xr.DataTree:
        """The first n draws of each chain behind the warm-up."""
        traces = [self._traces[chain] for chain in sorted(self._traces)]
        tree: xr.DataTree = pm.to_inference_data(
            MultiTrace(traces)[self._tune : self._tune + n], model=self._model, log_likelihood=False
        )
        return tree

    def _is_enough(self, trace: xr.DataTree) -> bool:
        likelihood = self._model.likelihood
        known = take_counts(trace, len(likelihood.labels), self._chip.spec.layers[-1])
        record_likelihood(trace, self._model, self._chip, known)
        weights = trace.posterior.dataset[list(self._chip.spec.weight_names)]
        found = diagnose(weights, trace.log_likelihood["label"])
        if self.criterion == CONVERGED:
            return found.converged
        mixed = all(space.r_hat <= R_HAT_LIMIT for space in (found.function, found.log_likelihood))
        return mixed and found.effective_draws >= int(self.criterion)
