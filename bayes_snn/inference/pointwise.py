"""What is computed from the draws of a fit once they are there: groups that estimates and verdicts need."""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray
from pymc.pytensorf import compile as compile_function
from pymc.stats import compute_log_prior

from bayes_snn.chips.contract import Chip, ask_counts
from bayes_snn.groups import (
    ALIKE,
    BIAS,
    CONSTANT,
    COUNTS,
    LABELS,
    OTHER_TERMS,
    OUTPUTS,
    READOUT,
    SAMPLE_WEIGHT,
    SCALE,
    SUPPORT,
)
from bayes_snn.likelihood import Readout
from bayes_snn.posterior.build import other_terms
from bayes_snn.posterior.support import find_support
from bayes_snn.posterior.values import value_of
from bayes_snn.waiting import tracked


def take_counts(trace: xr.DataTree, n_samples: int, n_classes: int) -> NDArray[np.int64] | None:
    """The chip's answers (chain, draw, run, sample, class) out of the sample stats, where a sampler keeps them."""
    if COUNTS not in trace.sample_stats:
        return None
    stats = trace.sample_stats.dataset
    trace.sample_stats.dataset = stats.drop_vars(COUNTS)
    answers = stats[COUNTS].values  # PyMC leaves dims of length 1 out
    if answers.dtype == object:
        answers = np.array(answers.tolist())
    chains, draws = stats.sizes["chain"], stats.sizes["draw"]
    return np.asarray(answers, np.int64).reshape(chains, draws, -1, n_samples, n_classes)


def evaluate_draws(trace: xr.DataTree, model: pm.Model, chip: Chip, known: NDArray[np.int64] | None = None) -> None:
    """Add the groups `log_likelihood` (of each sample), `log_prior` (of each variable) and `outputs` to a posterior.

    `outputs` has `constant` (chain, draw, output neuron): whether the neuron's spike count was the same for all
    training samples, so that nothing was learned through it.

    The chip is run once for each draw, `repeats` times where it is noisy, as it is at the end; where the answers to all
    draws are `known`, not at all. Values of a variable are
    summed in `log_prior`: it is their sum that `az.psense` and the best draw need. Where the model has terms beyond
    prior and labels, potentials or observed variables of its own, their log-densities are the group `other_terms`.
    Where the prior bounds, fixes or ties weights, the group `support` says so (see `find_support`).
    """
    record_likelihood(trace, model, chip, known)
    prior = compute_log_prior(trace, extend_inferencedata=False, model=model, progressbar=False)
    prior = xr.Dataset({name: a.sum([d for d in a.dims if d not in ("chain", "draw")]) for name, a in prior.items()})
    trace["log_prior"] = xr.DataTree(prior)
    if (support := find_support(model)) is not None:
        trace[SUPPORT] = xr.DataTree(support)
    if others := other_terms(model):
        trace[OTHER_TERMS] = xr.DataTree(_other_terms(trace, model, others))


def add_inputs(trace: xr.DataTree, model: pm.Model) -> None:
    """Add the training inputs, and how often each sample counts if not once, as the group `constant_data`."""
    inputs = xr.Dataset({"inputs": (("observation", "pre_1"), model.likelihood.op.inputs)})
    if (counted := model.likelihood.sample_weight) is not None:
        inputs[SAMPLE_WEIGHT] = ("observation", counted)
    trace["constant_data"] = xr.DataTree(inputs.assign_coords(pre_1=trace.posterior["pre_1"]))


def record_likelihood(trace: xr.DataTree, model: pm.Model, chip: Chip, known: NDArray[np.int64] | None = None) -> None:
    """Add the groups `log_likelihood` and `outputs`: a run of the chip for each draw whose answers are not known."""
    op, fixed = model.likelihood.op, model.likelihood.fixed
    labels = trace.observed_data[LABELS].values
    posterior = trace.posterior.dataset
    shape = (posterior.sizes["chain"], posterior.sizes["draw"])
    if model.likelihood.recorded:
        trace.posterior.attrs[READOUT] = 1
        if SCALE not in posterior:
            trace.posterior.attrs[SCALE] = float(value_of(model.likelihood.beta))
    moving: list[Any] = []
    if fixed is None:
        beta = posterior[SCALE].values if SCALE in posterior else np.full(shape, trace.posterior.attrs[SCALE])
        moving = [beta, posterior[BIAS].values]
    weights = [posterior[name].values for name in chip.spec.weight_names]
    terms = np.empty((*shape, len(labels)))
    constant = np.empty((*shape, chip.spec.layers[-1]), np.bool_)
    first, alike = None, True
    for draw in tracked(list(np.ndindex(shape)), "Recording the likelihood of each draw"):
        matrices = [layer[draw] for layer in weights]
        if known is not None:
            runs = list(known[draw])
            remember = getattr(chip, "remember", None)
            if remember is not None:
                remember(matrices, op.inputs, runs[0])
        else:
            runs = [ask_counts(chip, matrices, op.inputs) for _ in range(op.noise.repeats)]
        readout = fixed or Readout(*(part[draw] for part in moving))
        terms[draw] = readout.log_p(runs, labels)
        constant[draw] = np.ptp(np.concatenate(runs), axis=0) == 0
        first = runs[0] if first is None else first
        alike = alike and all(np.array_equal(first, counts) for counts in runs)
    chains = dict(posterior[["chain", "draw"]].coords)
    likelihood = xr.DataArray(
        terms, {**chains, "observation": trace.observed_data["observation"]}, ("chain", "draw", "observation")
    )
    trace["log_likelihood"] = xr.DataTree(likelihood.to_dataset(name=LABELS))
    neuron = f"post_{len(chip.spec.layers) - 1}"
    outputs = xr.DataArray(constant, {**chains, neuron: posterior[neuron]}, ("chain", "draw", neuron))
    trace[OUTPUTS] = xr.DataTree(outputs.to_dataset(name=CONSTANT).assign_attrs({ALIKE: int(alike)}))


def _other_terms(trace: xr.DataTree, model: pm.Model, terms: dict[str, Any]) -> xr.Dataset:
    """Each of these terms, (chain, draw)."""
    posterior = trace.posterior.dataset
    function = compile_function(model.free_RVs, list(terms.values()), mode="FAST_COMPILE", on_unused_input="ignore")
    draws = [posterior[rv.name].transpose("chain", "draw", ...).values for rv in model.free_RVs]
    shape = (posterior.sizes["chain"], posterior.sizes["draw"])
    found = np.array([function(*(values[draw] for values in draws)) for draw in np.ndindex(shape)], np.float64)
    variables = {name: (("chain", "draw"), found[:, i].reshape(shape)) for i, name in enumerate(terms)}
    return xr.Dataset(variables, posterior[["chain", "draw"]].coords)
