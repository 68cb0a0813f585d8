"""Leave-one-out cross-validation (LOO) of a fit, from its draws alone: the chip is not run.

    elpd = sum_i log p(y_i | x_i, D without i),    1 / p(y_i | x_i, D without i) = E[1 / p(y_i | x_i, W) | D]

The expectation is over the posterior draws (of p^-m, where a sample counts m times), with Pareto-smoothed importance
sampling (PSIS; Vehtari, Gelman, Gabry, Statistics and Computing 27, 2017; Vehtari, Simpson, Gelman, Yao, Gabry, JMLR
25, 2024) by ArviZ.

Here the terms come from spike counts, of which there are few: many draws share their value. Where all of the largest
importance weights are equal there is no tail that a Pareto distribution could be fitted to. ArviZ refuses such a
posterior as a whole. Here those samples keep their plain importance weights, which are bounded, have no Pareto k (NaN),
and are counted and said.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr

from bayes_snn.errors import InputError
from bayes_snn.inference.result import FitResult
from bayes_snn.inference.stacking import smoothed

FEWEST_DRAWS = 25  # of all chains: fewer have no tail of 5 draws
_MOST_HIGH = 0.5  # share of samples whose Pareto k is too high, of a fit that is still ranked
_DIMS = ["chain", "draw"]


class LooWarning(UserWarning):
    """LOO cannot be relied on for some samples, or the chains it is computed from have not mixed."""


def loo(fit: FitResult) -> Any:
    """LOO of a fit by PSIS.

    Returns
    -------
    ArviZ's `ELPDData`: `elpd` (nats), `se`, `p`, and of each training sample `elpd_i` and `pareto_k`, (n_samples,).
    `pareto_k` is NaN where the largest importance weights are tied; see `reliability`. `az.compare` and
    `az.plot_khat` take it.

    Warns
    -----
    LooWarning
        In the words of `reliability`, when a Pareto k is too high or the chains have not mixed.

    Raises
    ------
    InputError
        When the fit has fewer than 25 draws.
    """
    found = pointwise_loo(fit)
    if not trustworthy(found, fit):
        warnings.warn(reliability(found, fit), LooWarning, stacklevel=2)
    return found


def compare(fits: Mapping[str, FitResult]) -> pd.DataFrame:
    """Fits of the same training samples by LOO, the best first: `az.compare`.

    Returns
    -------
    The table of `az.compare`, not rounded, without its two columns of diagnostics in words. Instead: `k_high`, the
    number of samples whose Pareto k is too high; `k_tied`, the number of those without one; `mixed`, whether the
    predictions of the chains have mixed. A fit whose Pareto k is too high for more than half of the samples is not
    ranked: it comes last, and its rank, differences and weight are missing.

    Warns
    -----
    LooWarning
        Once, naming the fits whose LOO cannot be relied on; and once, naming those that are not ranked.

    Raises
    ------
    InputError
        When there is no fit, or the fits are not of the same training samples.
    """
    if not isinstance(fits, Mapping) or not fits:
        raise InputError(
            f"compare got {type(fits).__name__ if not isinstance(fits, Mapping) else 'no fit'}, but fits by name are "
            'expected: pass for example {"gaussian": first, "horseshoe": second}.'
        )
    check_same_samples(fits)
    scores = {name: pointwise_loo(fit) for name, fit in fits.items()}
    if doubtful := [name for name, score in scores.items() if not trustworthy(score, fits[name])]:
        warnings.warn(
            f"LOO cannot be relied on for {', '.join(doubtful)}: see k_high (samples whose Pareto k is too high) and "
            "mixed (whether the chains have) in the table, and compare scores of test samples first.",
            LooWarning,
            stacklevel=2,
        )
    if (said := no_ranking(scores)) is not None:
        warnings.warn(said, LooWarning, stacklevel=2)
    table = compare_scores(scores).drop(columns=["diag_diff", "diag_elpd"])
    table["k_high"] = [n_high(scores[name]) for name in table.index]
    table["k_tied"] = [n_tied(scores[name]) for name in table.index]
    table["mixed"] = [fits[name].diagnosis.converged for name in table.index]
    return table


def reliability(found: Any, fit: FitResult) -> str:
    """What the Pareto shapes and the chains say of a LOO, in words."""
    n, high, tied = found.n_data_points, n_high(found), n_tied(found)
    said = [f"Pareto k is above {found.good_k:.2f} for {high} of {n} training samples"]
    if high:
        said[0] += (
            ": without such a sample the posterior would be too different from the one with it, and elpd is not to be "
            "relied on"
        )
    if tied:
        said.append(
            f"{tied} have no Pareto k, for their largest importance weights are tied, as spike counts make them: they "
            "keep plain importance weights"
        )
    if not fit.diagnosis.converged:
        said.append("the chains have not mixed in their predictions, so that other chains would give another elpd")
    end = "" if trustworthy(found, fit) else "; trust scores of test samples first, or draw longer"
    return "; ".join(said) + end + "."


def trustworthy(found: Any, fit: FitResult) -> bool:
    """No Pareto k is too high, and the chains have mixed in their predictions."""
    return n_high(found) == 0 and fit.diagnosis.converged


def n_high(found: Any) -> int:
    """Training samples whose Pareto k is above what so many draws allow."""
    return int((found.pareto_k.values > found.good_k).sum())


def n_tied(found: Any) -> int:
    """Training samples without a Pareto k."""
    return int(np.isnan(found.pareto_k.values).sum())


def check_same_samples(fits: Mapping[str, FitResult]) -> None:
    """Raise an `InputError` when fits were not trained on the same samples."""
    names = list(fits)
    first = fits[names[0]]
    labels = _array(first, "observed_data/label").values
    for name in names[1:]:
        other = fits[name]
        same_inputs = np.array_equal(other.train_inputs, first.train_inputs)
        if not (same_inputs and np.array_equal(_array(other, "observed_data/label").values, labels)):
            raise InputError(
                f"LOO compares fits of the same training samples, but those of {name} are not those of {names[0]}: fit "
                "both on one split."
            )


def compare_scores(scores: Mapping[str, Any]) -> pd.DataFrame:
    """`az.compare` of what `loo` returned, the best first; those that `unranked` names come last, without a rank.

    They keep `elpd`, `se` and `p`; what compares them with others is missing.
    """
    outside = unranked(scores)
    ranked = {name: score for name, score in scores.items() if name not in outside}
    with warnings.catch_warnings():
        # which `reliability` and `no_ranking` say, with numbers
        warnings.filterwarnings("ignore", ".*Pareto", UserWarning)
        table: pd.DataFrame = az.compare(ranked or dict(scores), round_to="none")
    if not outside:
        return table
    table = table.astype({"rank": "Int64"}).reindex([*(table.index if ranked else []), *outside])
    for name in outside:
        table.loc[name] = pd.NA
        table.loc[name, ["elpd", "se", "p"]] = [float(getattr(scores[name], each)) for each in ("elpd", "se", "p")]
    return table


def unranked(scores: Mapping[str, Any]) -> list[str]:
    """Fits that cannot be ranked: Pareto k is too high for more than half of the samples.

    Their elpd depends on the number of draws by more than its standard error says: more draws of one and the same
    posterior would be ranked below fewer. With one fit left, there is nothing to rank it against.
    """
    outside = [name for name, score in scores.items() if n_high(score) > _MOST_HIGH * score.n_data_points]
    return list(scores) if outside and len(scores) - len(outside) < 2 else outside


def no_ranking(scores: Mapping[str, Any]) -> str | None:
    """A sentence on the fits that are not ranked; None where all are."""
    if not (outside := unranked(scores)):
        return None
    which = "No fit is ranked" if len(outside) == len(scores) else f"{', '.join(outside)}: not ranked"
    worst = max(n_high(scores[name]) / scores[name].n_data_points for name in outside)
    return (
        f"{which}, for Pareto k is too high for up to {worst:.0%} of the training samples, where even draws of one "
        "posterior would be distinguished: compare the scores of test samples."
    )


def pointwise_loo(fit: FitResult) -> Any:
    """`loo` without its warning."""
    terms = _array(fit, "log_likelihood/label")
    n_draws = terms.sizes["chain"] * terms.sizes["draw"]
    if n_draws < FEWEST_DRAWS:
        raise InputError(
            f"The fit has {n_draws} draws, but LOO needs at least {FEWEST_DRAWS}: draw more, for example draws=500 in "
            "each of 4 chains."
        )
    efficiency = _relative_efficiency(fit, n_draws)
    n_samples = terms.sizes["observation"]
    counted = np.ones(n_samples) if fit.sample_weight is None else fit.sample_weight
    pairs = [smoothed(counted[i] * terms.isel(observation=[i]), efficiency) for i in range(n_samples)]
    log_weights, pareto_k = (xr.concat(parts, "observation") for parts in zip(*pairs, strict=True))
    with warnings.catch_warnings():
        # which `reliability` says, with numbers
        warnings.filterwarnings("ignore", "Estimated shape parameter of Pareto distribution", UserWarning)
        return az.loo(
            fit.posterior,
            pointwise=True,
            var_name="label",
            reff=efficiency,
            log_weights=log_weights,
            pareto_k=pareto_k,
        )


def _array(fit: FitResult, path: str) -> xr.DataArray:
    return fit.posterior[path]  # type: ignore[return-value]


def _relative_efficiency(fit: FitResult, n_draws: int) -> float:
    """Effective draws over draws, averaged over all variables, as `az.loo` does; it sets the length of the tail."""
    posterior = fit.posterior["posterior"].dataset
    if posterior.sizes["chain"] == 1:
        return 1.0
    with np.errstate(all="ignore"):
        effective = az.ess(posterior, method="mean")
    values = np.concatenate([np.ravel(array.values) for array in effective.data_vars.values()])
    mean = float(np.nanmean(values)) if np.isfinite(values).any() else float(n_draws)
    return mean / n_draws
