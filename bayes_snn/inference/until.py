"""A fit that ends when its draws are enough: it looks at them now and then, and stops at the first look that says so.

Looks are at fixed numbers of draws, the same whatever the chains' processes take, and judge the first so many draws of
every chain. So a fit that stops by itself has the draws of one that was asked for that number of them.
"""

from __future__ import annotations

import math

import pymc as pm
import xarray as xr

from bayes_snn.chips.contract import Chip
from bayes_snn.errors import InputError
from bayes_snn.groups import LABELS
from bayes_snn.inference.diagnostics import ESS_PER_CHAIN, diagnose
from bayes_snn.inference.interleaved import can_take_turns
from bayes_snn.inference.pointwise import record_likelihood, take_counts
from bayes_snn.inference.rescue import Traces
from bayes_snn.inference.sampling import CONVERGED
from bayes_snn.posterior.op import ChipCounts

MORE = 1.25  # draws at a look, over those at the one before
FEWEST = 10  # draws of a chain, for R-hat to be more than luck


def check_chains(op: ChipCounts, chains: int, cores: int, keeps_counts: bool) -> None:
    """An `InputError` where a fit cannot be looked at while it runs."""
    reason = ""
    if chains < 2:
        reason = "R-hat compares chains, and there is one: take 2 or more"
    elif cores == 1 and not can_take_turns(op):
        reason = "the chains of this chip run one after the other: say how many draws instead"
    elif not (keeps_counts or op.chip.spec.deterministic):
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
    chains, draws
        Chains, and draws of each behind the warm-up, at most.

    Attributes
    ----------
    trace
        The draws, once they are enough.
    """

    def __init__(self, criterion: str | int, model: pm.Model, chip: Chip, chains: int, draws: int) -> None:
        self.criterion = criterion
        self._model, self._chip, self._chains, self._draws = model, chip, chains, draws
        least = ESS_PER_CHAIN if criterion == CONVERGED else math.ceil(int(criterion) / chains)
        self._next = max(FEWEST, least)
        self.trace: xr.DataTree | None = None

    def look(self, traces: Traces) -> None:
        """Called at each draw of each chain; raises a `KeyboardInterrupt`, which ends all chains, at enough draws."""
        lengths = traces.lengths
        while len(lengths) == self._chains and min(lengths) >= self._next < self._draws:
            n, self._next = self._next, math.ceil(MORE * self._next)
            found = traces.first(n)
            if self._is_enough(found.copy()):
                self.trace = found
                raise KeyboardInterrupt

    def _is_enough(self, trace: xr.DataTree) -> bool:
        likelihood = self._model.likelihood
        known = take_counts(trace, len(likelihood.labels), self._chip.spec.layers[-1])
        record_likelihood(trace, self._model, self._chip, known)
        weights = trace.posterior.dataset[list(self._chip.spec.weight_names)]
        found = diagnose(weights, trace.log_likelihood[LABELS], sample_weight=likelihood.sample_weight)
        if self.criterion == CONVERGED:
            return found.converged
        return found.agree and found.effective_draws >= int(self.criterion)
