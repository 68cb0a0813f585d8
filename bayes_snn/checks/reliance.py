"""Which features does the chip rely on? Asked of the chip by shuffling a feature, and of its weights.

Hidden neurons can swap roles and signs without any change in what the chip computes, so the mean of a weight may vanish
where the feature matters. Shuffling asks the function, not the weights: believe `feature_reliance`, and read
`weight_signal` beside it, above all the norm of a feature's weights, which knows neither signs nor the neurons' order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayes_snn.chips.contract import FloatArray, IntArray, check_inputs, check_labels
from bayes_snn.errors import InputError, check_whole
from bayes_snn.estimates.metrics import LEVEL, check_level, credit
from bayes_snn.estimates.predict import run_draws
from bayes_snn.inference.result import FitResult
from bayes_snn.posterior.build import build_model, warn_of_potentials
from bayes_snn.posterior.prior_draws import draw_prior
from bayes_snn.posterior.priors import PriorFunction

_RESAMPLES = 2000  # of the interval
_SMALLEST = float(np.finfo(np.float64).tiny)  # a probability that underflowed still has a logarithm


def feature_reliance(
    result: FitResult,
    inputs: FloatArray,
    labels: IntArray,
    *,
    n_repeats: int = 5,
    size: int = 20,
    level: float = LEVEL,
    seed: int = 0,
) -> xr.Dataset:
    """How much worse the chip does when one feature is shuffled among the samples (Breiman 2001; Fisher et al. 2019).

    A feature that another one can stand in for shows a small drop, and so does one that the chip never learned to use.
    Shuffling makes samples that the chip has never met where features depend on each other.

    Parameters
    ----------
    inputs, labels
        (n_samples, n_in) and (n_samples,), best not those that the chip was trained on.
    n_repeats
        Shuffles of each feature, averaged.
    size
        Draws at most, evenly spaced over the chains. The chip is run size (1 + n_in n_repeats) times.
    level, seed
        Coverage of the intervals, and the seed of shuffles and intervals.

    Returns
    -------
    Dataset with dim `feature`, named as in the posterior, and a `_low` and a `_high` to each variable, its interval.
    `accuracy_drop` and `log_score_drop` (nats per sample) are means over draws of the drop in a draw's own score, with
    intervals over posterior draws and, by Bayesian bootstrap (Rubin 1981), over samples. `ensemble_accuracy_drop` and
    `ensemble_log_score_drop` are those of the ensemble of these draws, with intervals over samples alone: an ensemble
    may hardly need a feature that each draw needs. Drops of a feature that is not used scatter around 0.

    Raises
    ------
    InputError
        When inputs or labels do not fit the chip, or an argument is out of range.
    """
    spec = result.chip.spec
    checked = check_inputs(inputs, spec.layers[0])
    codes = check_labels(labels, len(checked), spec.layers[-1])
    check_whole("n_repeats", n_repeats, 1, None, 5)
    check_level(level)
    chosen = result.draws.spread(size)

    def scores(shown: FloatArray) -> NDArray[np.float64]:
        """Accuracy and log score (2, n_draws + 1, n_samples) of each draw, and of their ensemble, on each sample."""
        each = run_draws(result.asked, result.draws, chosen, shown)
        probabilities = np.concatenate([each, each.mean(axis=0, keepdims=True)])
        of_label = probabilities[:, np.arange(len(codes)), codes].clip(min=_SMALLEST)
        right = credit(probabilities.reshape(-1, spec.layers[-1]), np.tile(codes, len(probabilities)))
        return np.stack([right.reshape(of_label.shape), np.log(of_label)])

    rng = np.random.default_rng(seed)
    intact = scores(checked)
    # one set of draws and weighted samples for all features, so that they can be compared
    which = rng.integers(len(chosen), size=_RESAMPLES)
    shares = rng.dirichlet(np.ones(len(codes)), size=_RESAMPLES)
    found = np.empty((2, 2, 3, spec.layers[0]))  # of draws or ensemble, score, mean and ends
    for feature in range(spec.layers[0]):
        shuffled = checked.copy()
        drop = np.zeros_like(intact)
        for _ in range(n_repeats):
            shuffled[:, feature] = rng.permutation(checked[:, feature])
            drop += (intact - scores(shuffled)) / n_repeats
        found[0, :, 0, feature] = drop[:, :-1].mean(axis=(1, 2))
        found[0, :, 1:, feature] = _ends(np.einsum("krs,rs->kr", drop[:, which], shares), level, axis=1).T
        found[1, :, 0, feature] = drop[:, -1].mean(axis=1)
        found[1, :, 1:, feature] = _ends(drop[:, -1] @ shares.T, level, axis=1).T
    variables = {
        of + name + end: ("feature", found[i, j, k])
        for i, of in enumerate(("", "ensemble_"))
        for j, name in enumerate(("accuracy_drop", "log_score_drop"))
        for k, end in enumerate(("", "_low", "_high"))
    }
    return xr.Dataset(variables, {"feature": _feature_names(result)})


def weight_signal(
    result: FitResult,
    weights: str | Path | PriorFunction | None = None,
    *,
    n_prior: int = 1000,
    level: float = LEVEL,
    seed: int = 0,
) -> xr.Dataset:
    """What the posterior says of each first-layer weight, and what the prior said before the data.

    Weights count as the chip holds them, saturated at `spec.weight_range`: so their moments exist under any prior.

    Parameters
    ----------
    weights
        The prior the chip was trained with; by default that of `result.arguments`, which names a model file. Pass the
        function if the prior was one.
    n_prior
        Draws from the prior to compare with. The chip is not run.
    level, seed
        Coverage of the interval of the norms, and the seed of the prior draws.

    Returns
    -------
    Dataset with dims `feature` and `neuron`, named as in the posterior. Per weight: posterior `mean`, `sd`,
    `magnitude` (mean of |w|), `signal` (|mean| / sd) and `shrinkage` (sd / prior sd, 1 where the data had no say). Per
    feature: `norm`, the posterior mean of the root mean square of its weights, `norm_low` and `norm_high`, and
    `prior_norm`, the prior mean. Only the norms are safe from neurons that swap roles and signs.

    Warns
    -----
    UserWarning
        When the prior has potentials (`pm.Potential`), which draws from it ignore.

    Raises
    ------
    InputError
        When the prior cannot be found, or an argument is out of range.
    """
    check_whole("n_prior", n_prior, 2, None, 1000)  # a standard deviation needs two
    check_level(level)
    low, high = result.chip.spec.weight_range
    posterior = result.draws.weights[0].clip(low, high)
    prior = _from_prior(result, weights, int(n_prior), seed).clip(low, high)
    mean, sd = posterior.mean(axis=0), posterior.std(axis=0)
    norms, prior_norms = (np.sqrt((draws**2).mean(axis=2)) for draws in (posterior, prior))
    with np.errstate(divide="ignore", invalid="ignore"):  # a weight that never moves has no sd
        per_weight = {
            "mean": mean,
            "sd": sd,
            "magnitude": np.abs(posterior).mean(axis=0),
            "signal": np.abs(mean) / sd,
            "shrinkage": sd / prior.std(axis=0),
        }
    norm_low, norm_high = _ends(norms, level, axis=0)
    per_feature = {
        "norm": norms.mean(axis=0),
        "norm_low": norm_low,
        "norm_high": norm_high,
        "prior_norm": prior_norms.mean(axis=0),
    }
    variables = {name: (("feature", "neuron"), values) for name, values in per_weight.items()}
    coords = {"feature": _feature_names(result), "neuron": _names(result, "post_1", 1)}
    return xr.Dataset(variables | {name: ("feature", values) for name, values in per_feature.items()}, coords)


def _from_prior(
    result: FitResult, weights: str | Path | PriorFunction | None, n_prior: int, seed: int
) -> NDArray[np.float64]:
    """First-layer weights (n_prior, n_in, n_post) from the prior."""
    weights = result.arguments["model"] if weights is None else weights
    labels = result.posterior.observed_data["label"].values
    try:
        model = build_model(result.chip, result.train_inputs, labels, weights)
    except InputError as error:
        raise InputError(f"The prior of the fit is needed to compare with: pass weights=. {error}") from error
    warn_of_potentials(model)
    (draws,) = draw_prior(model.likelihood.weights[:1], n_prior, np.random.default_rng(seed))
    return np.asarray(draws, np.float64)


def _ends(values: NDArray[np.float64], level: float, axis: int) -> NDArray[np.float64]:
    return np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=axis)


def _feature_names(result: FitResult) -> list[object]:
    return _names(result, "pre_1", 0)


def _names(result: FitResult, dim: str, layer: int) -> list[object]:
    """Coordinates of a dim of the first layer's weights; numbers where there are none."""
    weights = result.posterior.posterior["w_1"]
    return list(weights[dim].values) if dim in weights.coords else list(range(result.chip.spec.layers[layer]))
