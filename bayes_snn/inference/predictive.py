"""Groups that ArviZ's predictive checks take: labels drawn from the posterior, weights and labels from the prior."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayes_snn.errors import InputError, check_whole
from bayes_snn.estimates.predict import Draws, run_draws
from bayes_snn.groups import BIAS, READOUT, SCALE
from bayes_snn.likelihood import BETA
from bayes_snn.names import available_models
from bayes_snn.posterior.class_biases import no_biases
from bayes_snn.posterior.prior_draws import check_finite, draw_prior

if TYPE_CHECKING:
    from bayes_snn.inference.result import FitResult
    from bayes_snn.posterior.priors import PriorFunction, ReadoutFunction

GROUPS = ("posterior_predictive", "prior", "prior_predictive")


def add_predictive(
    result: FitResult,
    draws: int,
    seed: int,
    weights: str | Path | PriorFunction | None = None,
    readout: ReadoutFunction | None = None,
) -> None:
    """See `FitResult.add_predictive`."""
    from bayes_snn.posterior.build import build_model

    tree = result.posterior
    sizes = tree["posterior"].sizes
    check_whole("draws", draws, 1, None, 200)
    check_whole("seed", seed, 0, None, 0)
    if weights is None:
        weights = result.arguments.get("model")
        if weights not in available_models():
            raise InputError(
                f"The fit's prior was {weights!r}, which is code of your own, and is not run again unasked: pass "
                "weights=, the function or the model file."
            )
    labels, inputs = tree["observed_data"].dataset["label"], result.train_inputs
    beta = float(result.arguments.get("beta") or BETA)
    if readout is None and not tree["posterior"].attrs.get(READOUT):
        readout = no_biases  # whatever the model file has by now
    model = build_model(result.chip, inputs, labels.values, weights, beta=beta, readout=readout)
    if model.likelihood.recorded != bool(tree["posterior"].attrs.get(READOUT)):
        raise InputError(
            "The fit had a readout of its own and this prior has none, or the other way round: pass readout= as to "
            "fit, or the model file that holds both."
        )
    posterior_seed, prior_seed, label_seed = np.random.SeedSequence(seed).spawn(3)

    names = [str(name) for name in tree["posterior"].data_vars if name in model.named_vars]
    variables = [*model.likelihood.weights, *(model[name] for name in names)]
    drawn = draw_prior(variables, draws, np.random.default_rng(prior_seed))
    check_finite(drawn)
    matrices, others = drawn[: len(model.likelihood.weights)], drawn[len(model.likelihood.weights) :]
    by_name = dict(zip(names, others, strict=True))
    recorded = model.likelihood.recorded
    scale, bias = (by_name.get(SCALE, result.draws.beta), by_name[BIAS]) if recorded else (beta, 0.0)
    prior = Draws([np.asarray(matrix, np.float64) for matrix in matrices], np.zeros(draws), scale, bias)

    each = np.unique(np.linspace(0, sizes["draw"] - 1, max(1, min(sizes["draw"], draws // sizes["chain"]))).astype(int))
    chosen = (np.arange(sizes["chain"])[:, None] * sizes["draw"] + each).ravel()
    after = run_draws(result.asked, result.draws, chosen, inputs, result.repeats)
    before = run_draws(result.asked, prior, np.arange(draws), inputs, result.repeats)

    after_labels = _labels(after, posterior_seed).reshape(sizes["chain"], len(each), -1)
    posterior = tree["posterior"].dataset
    coords = {"chain": posterior["chain"].values, "draw": posterior["draw"].values[each]}
    tree["posterior_predictive"] = _group({"label": ("observation", after_labels)}, coords, labels)
    coords = {"chain": np.arange(1), "draw": np.arange(draws)}
    tree["prior"] = _group(
        {name: (posterior[name].dims[2:], values[None]) for name, values in by_name.items()},
        coords,
        posterior,
    )
    tree["prior_predictive"] = _group({"label": ("observation", _labels(before, label_seed)[None])}, coords, labels)


def _labels(probability: NDArray[np.float64], seed: np.random.SeedSequence) -> NDArray[np.int64]:
    """Labels (n, n_samples) drawn from class probabilities (n, n_samples, n_classes)."""
    uniform = np.random.default_rng(seed).random((*probability.shape[:2], 1))
    return np.asarray((uniform > probability.cumsum(axis=2)[:, :, :-1]).sum(axis=2), np.int64)


def _group(variables: dict[str, Any], coords: dict[str, Any], named: Any) -> xr.DataTree:
    """A group with dims (chain, draw, ...), and the coordinates that `named` has for the others."""
    arrays = {
        name: (("chain", "draw", *((dims,) if isinstance(dims, str) else dims)), values)
        for name, (dims, values) in variables.items()
    }
    dataset = xr.Dataset(arrays, coords)
    others = [dim for dim in dataset.dims if dim not in coords and dim in named.coords]
    return xr.DataTree(dataset.assign_coords({dim: named.coords[dim].values for dim in others}))
