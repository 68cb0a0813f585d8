"""A fit in a few lines, and as a table."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_snn.data import shortened
from bayes_snn.estimates.distil import MOST_DIFFERING
from bayes_snn.groups import BIAS, SCALE
from bayes_snn.inference.twin_checks import twin_checks
from bayes_snn.likelihood import BETA

if TYPE_CHECKING:
    from bayes_snn.inference.result import FitResult

TOTAL = "log_likelihood"  # the row of log L, all training samples together


def describe_result(result: FitResult) -> str:
    """Five lines: the chip, how it was fitted, what it cost, its scores, and whether the chains have mixed."""
    arguments, sizes = result.arguments, result.posterior["posterior"].sizes
    n_samples, n_features = result.train_inputs.shape
    scores = result.scores.get("test") or result.scores.get("train") or {}
    part = "test" if result.scores.get("test") else "training"
    accuracies = {name: each.get("accuracy") for name, each in scores.items()}
    each_score = ", ".join(f"{name} {value:.3f}" for name, value in accuracies.items() if value is not None)
    lines = [
        f"Fit of {result.chip!r}",
        f"prior {arguments.get('model')}, sampler {arguments.get('sampler')}: {sizes['chain']} chains of "
        f"{sizes['draw']:,} draws; {n_samples:,} training samples, {n_features:,} features"
        f"{'; ended early by Ctrl-C' if result.interrupted else ''}",
        f"{result.presentations:,} presentations in training, {result.cost.total:,} in all; {result.seconds:,.0f} s",
        f"{part} accuracy: {each_score}"
        if each_score
        else "no scores yet: evaluate(inputs, labels), summary(), diagnosis.verdict",
        result.diagnosis.verdict,
    ]
    return shortened(lines)


def readout_in_words(result: FitResult) -> str:
    """What is made of spike counts, in words; empty for the plain readout, which all fits have that do not say."""
    readout, learned = result.readout("mean"), np.ndim(result.draws.bias) > 0
    if not learned and readout.beta == BETA:
        return ""
    means = ", posterior means" if learned else ""
    biases = ", ".join(f"{bias:.2f}" for bias in readout.biases(result.chip.spec.layers[-1]))
    return f"a spike weighs {readout.beta:.3g}, class biases are {biases}{means}"


def summarise(result: FitResult) -> pd.DataFrame:
    """`az.summary` of log L first, then of hyperparameters, then of the readout and the weights."""
    import arviz as az

    posterior = result.posterior["posterior"].dataset
    weights = list(result.chip.spec.weight_names)
    others = [str(name) for name in posterior.data_vars if name not in weights]
    others.sort(key=lambda name: name in (SCALE, BIAS))
    total = result.log_likelihood
    chosen = {name: posterior[name] for name in [*others, *weights]}
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({TOTAL: total, **chosen})})
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of few draws, whose R-hat and effective draws are then missing
        table: pd.DataFrame = az.summary(tree, round_to="none")
    return table


def weighted_in_words(result: FitResult) -> str:
    """How often samples count, in words; empty where each counts once."""
    counted = result.sample_weight
    if counted is None:
        return ""
    return (
        f"The likelihood is weighted: training samples count {counted.min():.3g} to {counted.max():.3g} times, "
        f"{counted.sum():,.1f} times in all, and the posterior is as sure as that many samples make it."
    )


def distilled_in_words(result: FitResult) -> str:
    """How well the distilled weights do on the chip, what they took, and whether a twin could be trusted, in words.

    Empty where nothing was distilled.
    """
    found = result.distilled
    if found is None:
        return ""
    text = (
        f"With the distilled weights the chip answers {found['agreement']:.1%} of the inputs as the ensemble does, and "
        f"they took {found['presentations']:,} presentations more."
    )
    if (differing := found.get("differing")) is None:
        return text
    text += (
        f" They were found on the twin, which answers {differing:.1%} of the inputs otherwise than the chip and has "
        f"{found.get('wrong', math.nan):.1%} of the counts wrong."
    )
    if differing > MOST_DIFFERING:
        text += (
            f" More than {MOST_DIFFERING:.0%} are too many: distil on the chip, result.distil(on='chip'), or learn the "
            "twin again."
        )
    return text


def twin_in_words(result: Any) -> str:
    """How good a twin was and what it cost, in words; empty for a fit without one."""
    checks = twin_checks(result.posterior)
    if checks is None:
        return ""
    text = f"The chip has accepted {checks.n_accepted:,} of {checks.n:,} draws from the twin"
    text += f", {checks.share_accepted:.0%}" if checks.n else ""
    if np.isfinite(checks.spread):
        text += f"; log-likelihoods of the two differ by a standard deviation of {checks.spread:.2f} nats"
    cost = result.cost
    if cost.learning:
        text += f"; {cost.learning:,} presentations taught the twin, {cost.training:,} checked its draws"
    if result.programmings is not None:
        text += f"; the weights were written {result.programmings:,} times"
    return f"{text}."
