"""Has the chain converged? R-hat and effective sample size (ESS), in weight space and in function space, in words.

Hidden neurons can swap roles and signs can flip without any change in what the chip computes, so chains may
disagree about every weight and still agree about every prediction. Hence two looks: at the weights, and at what
they do (the log-likelihood, and the probability of each training label). R-hat and ESS are rank-normalised (Vehtari,
Gelman, Simpson, Carpenter, Buerkner, Bayesian Analysis 2021).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import arviz as az
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayes_snn.inference.drift import ALPHA, Drift, judge
from bayes_snn.inference.twin_checks import TwinChecks
from bayes_snn.inference.twin_drift import judge_checks

R_HAT_LIMIT = 1.05  # Vehtari et al. ask for 1.01; that is for means to be quoted, this for predictions to be used
ESS_PER_CHAIN = 50  # enough for R-hat and ESS themselves to be read
_PREDICTIVE = ("predictions", "log-likelihood")
_MOST_PROBABILITIES = 100  # training samples whose probabilities are looked at, evenly spaced


@dataclass(frozen=True)
class Space:
    """R-hat and ESS of a set of quantities: the worst, and the share of them beyond the limits."""

    r_hat: float
    ess: float
    share_r_hat_above: float
    n: int


@dataclass(frozen=True)
class Diagnosis:
    """What the chains say of themselves; `verdict` is the sentence to read.

    `drift` says whether the chip has moved, where the fit watched it, and `twin_drift` whether it has moved away from
    its twin, where the fit has one and checks enough. Draws of a chip that moved too far have not converged, whatever
    else they look like. `constant_outputs` names the output neurons whose spike count was the
    same for all training samples in most draws of a chain, and in how many chains: they may well agree on that.
    `divergences` counts, for each chain, the kept draws in which NUTS diverged, which it can for hyperparameters alone;
    empty where NUTS took no part. With any of them the draws have not converged. `hyperparameters` is None where the
    prior has none; `weights_converged` is about them too. `failed` holds the criteria that failed, in the words of the
    verdict: what was looked at, its value and its limit.
    """

    n_chains: int
    n_draws: int
    weights: Space
    function: Space
    log_likelihood: Space
    verdict: str
    converged: bool
    weights_converged: bool
    drift: Drift | None = None
    constant_outputs: dict[str, int] = field(default_factory=dict)
    divergences: list[int] = field(default_factory=list)
    hyperparameters: Space | None = None
    failed: list[str] = field(default_factory=list)
    twin_drift: Drift | None = None

    @property
    def effective_draws(self) -> float:
        """Of predictions and log-likelihood, the lesser of the two; nan of too few draws to tell."""
        return min(self.function.ess, self.log_likelihood.ess)

    @property
    def agree(self) -> bool:
        """Whether chains agree in predictions and log-likelihood: both R-hats are within the limit."""
        return bool(self.function.r_hat <= R_HAT_LIMIT and self.log_likelihood.r_hat <= R_HAT_LIMIT)

    @property
    def draws_wanted(self) -> int:
        """Draws of each chain that may do, by what these have come to: twice as many where chains do not agree."""
        if self.converged or self.n_chains < 2 or self.n_draws < 4:
            return max(self.n_draws, 2 * ESS_PER_CHAIN)
        return self.n_draws * (_times(self.effective_draws, self.n_chains) if self.agree else 2)

    def as_dict(self) -> dict[str, Any]:
        """Plain nested values, for JSON."""
        return asdict(self)


def diagnose(
    posterior: xr.Dataset,
    log_likelihood: xr.DataArray,
    looks: xr.Dataset | None = None,
    constant: xr.DataArray | None = None,
    diverging: xr.DataArray | None = None,
    hyperparameters: xr.Dataset | None = None,
    checks: TwinChecks | None = None,
    has_bias: bool = True,
    sample_weight: NDArray[np.float64] | None = None,
) -> Diagnosis:
    """Diagnose a posterior.

    Parameters
    ----------
    posterior
        The weights alone, each with dims (chain, draw, ...).
    log_likelihood
        log p(y_i | x_i, W) of each draw, dims (chain, draw, observation).
    looks
        The group `remeasured` of a fit that watched its chip.
    constant
        Whether an output neuron's spike count was the same for all training samples, dims (chain, draw, neuron).
    diverging
        Whether NUTS diverged in a draw, dims (chain, draw), and a third one where several steps are NUTS.
    hyperparameters
        All other variables of the prior, each with dims (chain, draw, ...).
    checks
        Those of a fit with a twin.
    has_bias
        Whether an input of the chip is the same, and not 0, for all samples.
    sample_weight
        How often each sample counts, (n_samples,); once without.
    """
    total = total_log_likelihood(log_likelihood, sample_weight)
    step = max(1, log_likelihood.sizes["observation"] // _MOST_PROBABILITIES)
    labels = np.exp(log_likelihood.isel(observation=slice(None, None, step)))
    n_chains, n_draws = total.sizes["chain"], total.sizes["draw"]
    spaces = {"predictions": _space(xr.Dataset({"p": labels})), "log-likelihood": _space(xr.Dataset({"l": total}))}
    spaces["weights"] = _space(posterior)
    if hyperparameters is not None and len(hyperparameters.data_vars):
        spaces["hyperparameters"] = _space(hyperparameters)
    verdict, failed = _verdict(n_draws, n_chains, spaces)
    good = {label: n_chains > 1 and _good(space, n_chains) for label, space in spaces.items()}
    found = Diagnosis(
        n_chains,
        n_draws,
        weights=spaces["weights"],
        function=spaces["predictions"],
        log_likelihood=spaces["log-likelihood"],
        verdict=verdict,
        converged=all(good[label] for label in _PREDICTIVE),
        weights_converged=all(well for label, well in good.items() if label not in _PREDICTIVE),
        hyperparameters=spaces.get("hyperparameters"),
        failed=failed,
    )
    found = found if constant is None else _with_constant_outputs(found, constant, has_bias)
    found = found if diverging is None else _with_divergences(found, diverging)
    found = found if looks is None else _with_drift(found, judge(looks))
    return found if checks is None else _with_twin_drift(found, judge_checks(checks))


def total_log_likelihood(terms: xr.DataArray, sample_weight: NDArray[np.float64] | None = None) -> xr.DataArray:
    """log L, dims (chain, draw): the sum of log p of each label, dims (chain, draw, observation), times its weight."""
    if sample_weight is not None:
        terms = terms * xr.DataArray(sample_weight, dims="observation")
    return terms.sum(dim="observation")


def unresponsive(found: Diagnosis) -> Diagnosis:
    """The diagnosis of a fit whose chip gave the same answer to every draw, and to draws from the prior before."""
    verdict = (
        "The chip answers the same whatever its weights, so nothing was learned: check that its driver writes them and "
        f"that its inputs reach it, then fit again. {found.verdict}"
    )
    return replace(found, verdict=verdict, converged=False, weights_converged=False)


def _with_constant_outputs(found: Diagnosis, constant: xr.DataArray, has_bias: bool) -> Diagnosis:
    chains = (constant.mean("draw") > 0.5).sum("chain")
    [neuron] = chains.dims
    outputs = {str(name): int(n) for name, n in zip(chains[neuron].values, chains.values, strict=True) if n > 0}
    if not outputs:
        return found
    named = " and ".join(f"{name!r} in {n} of {found.n_chains} chains" for name, n in outputs.items())
    remedy = "larger weights may reach it: compare with a wider prior and a longer warm-up."
    if not has_bias:
        remedy = (
            "a bias may reach it, which this chip has none of: give it one more input that is 1 for all samples "
            "(Split.with_bias), or compare with a wider prior and a longer warm-up."
        )
    verdict = (
        f"{found.verdict} Nothing is learned through an output neuron that gives all training samples the same spike "
        f"count: {named}. If it is not broken, {remedy}"
    )
    return replace(found, verdict=verdict, constant_outputs=outputs)


def _with_divergences(found: Diagnosis, diverging: xr.DataArray) -> Diagnosis:
    per_draw = diverging.any([dim for dim in diverging.dims if dim not in ("chain", "draw")])
    counts = [int(n) for n in per_draw.sum("draw").values]
    found = replace(found, divergences=counts)
    if not any(counts):
        return found
    verdict = (
        f"NUTS diverged in {sum(counts):,} of {found.n_chains * found.n_draws:,} draws (chain by chain "
        f"{', '.join(f'{n:,}' for n in counts)}), so that the hyperparameters, and the weights with them, may miss a "
        "part of the posterior, which R-hat does not show: double tune, and if that does not end it, take a prior with "
        f"less mass near 0 and lighter tails for each scale. {found.verdict}"
    )
    failed = [f"divergences {sum(counts):,} (limit 0)", *found.failed]
    return replace(found, verdict=verdict, converged=False, weights_converged=False, failed=failed)


def _with_drift(found: Diagnosis, drift: Drift) -> Diagnosis:
    if drift.too_far:
        verdict = f"{drift.verdict}. {found.verdict}"
        return replace(found, verdict=verdict, converged=False, weights_converged=False, drift=drift)
    return replace(found, verdict=f"{found.verdict} {drift.verdict}.", drift=drift)


def _with_twin_drift(found: Diagnosis, drift: Drift | None) -> Diagnosis:
    if drift is None:
        return found
    told = _with_drift(found, drift) if drift.p_value <= ALPHA else found
    return replace(told, drift=found.drift, twin_drift=drift)


def _space(dataset: xr.Dataset) -> Space:
    n_chains, n_draws = dataset.sizes["chain"], dataset.sizes["draw"]
    if n_draws < 4:
        return Space(float("nan"), float("nan"), float("nan"), 0)
    with np.errstate(all="ignore"):
        r_hat = _values(az.rhat(dataset)) if n_chains > 1 else np.array([np.nan])
        ess = _values(az.ess(dataset))
    # a quantity that never changes in any chain (a saturated probability) has neither; one that is constant in
    # each chain but differs between them has an infinite or missing R-hat and counts as not mixed
    constant = np.concatenate([_constant(array) for array in dataset.data_vars.values()])
    r_hat = np.where(np.isnan(r_hat), np.inf, r_hat)[~constant] if n_chains > 1 else r_hat
    ess = np.where(np.isnan(ess), 1.0, ess)[~constant]
    if len(ess) == 0:
        agreed = (1.0, 0.0) if n_chains > 1 else (float("nan"), float("nan"))
        return Space(agreed[0], float(n_chains * n_draws), agreed[1], 0)
    # the 95% quantile: of some hundred quantities the very worst is always somewhat unlucky; of a few it counts
    worst = float(np.quantile(r_hat, 0.95, method="higher")) if n_chains > 1 else float("nan")
    above = float(np.mean(r_hat > R_HAT_LIMIT)) if n_chains > 1 else float("nan")
    return Space(worst, float(np.quantile(ess, 0.05, method="lower")), above, len(ess))


def _values(result: Any) -> NDArray[np.float64]:
    dataset = result if isinstance(result, xr.Dataset) else result.to_dataset()
    return np.concatenate([np.ravel(array.values) for array in dataset.data_vars.values()])


def _constant(array: xr.DataArray) -> NDArray[np.bool_]:
    values = array.transpose("chain", "draw", ...).values
    return np.ravel(np.ptp(values, axis=(0, 1)) == 0)


def _times(effective: float, n_chains: int) -> int:
    """How many times as many draws would be enough, where so many of them are effective."""
    return math.ceil(ESS_PER_CHAIN * n_chains / max(effective, 1.0))


def _good(space: Space, n_chains: int) -> bool:
    return bool(space.r_hat <= R_HAT_LIMIT and space.ess >= ESS_PER_CHAIN * n_chains)


def shown_r_hat(r_hat: float) -> str:
    """R-hat with two decimals, or with four where two would not tell on which side of the limit it is."""
    if not r_hat < 100:
        return "above 100"
    two = f"{r_hat:.2f}"
    return two if (float(two) <= R_HAT_LIMIT) == (r_hat <= R_HAT_LIMIT) else f"{r_hat:.4f}"


def shown_ess(ess: float) -> str:
    """Effective draws, rounded down, so that too few never look like enough."""
    return f"{int(ess):,}"


def _criteria(spaces: Mapping[str, Space], n_chains: int) -> tuple[list[str], list[str]]:
    """The criteria that failed and those that are met, each with its value and its limit."""
    failed: list[str] = []
    met: list[str] = []
    wanted = ESS_PER_CHAIN * n_chains
    for label, space in spaces.items():
        text = f"R-hat of the {label} {shown_r_hat(space.r_hat)} (limit {R_HAT_LIMIT:.2f})"
        (met if space.r_hat <= R_HAT_LIMIT else failed).append(text)
    for label, space in spaces.items():
        text = f"effective draws of the {label} {shown_ess(space.ess)} (wanted {wanted:,})"
        (met if space.ess >= wanted else failed).append(text)
    return failed, met


def _verdict(n_draws: int, n_chains: int, spaces: Mapping[str, Space]) -> tuple[str, list[str]]:
    """The verdict, and the criteria that failed; `spaces` by what is looked at in them."""
    if n_draws < 4:
        few = f"{n_draws} draws are too few to tell anything"
        return f"{few}: ask for at least 100 draws in each of 4 chains.", [few]
    if n_chains < 2:
        single = f"A single chain of {n_draws} draws cannot be checked for convergence"
        return f"{single} (R-hat compares chains): run at least 2, better 4 chains.", [single]
    failed, met = _criteria(spaces, n_chains)
    bad = [label for label, space in spaces.items() if not _good(space, n_chains)]
    of_predictions = [spaces[label] for label in _PREDICTIVE]
    inner = _joined([f"the {label}" for label in bad if label not in _PREDICTIVE])
    if not bad:
        parts = _joined([label for label in ("weights", "hyperparameters", "predictions") if label in spaces])
        return f"{parts.capitalize()} have mixed. {'; '.join(met)}.", failed
    if not any(label in bad for label in _PREDICTIVE):
        verdict = (
            f"{inner[:1].upper()}{inner[1:]} have not mixed, the predictions have: use the ensemble, which averages "
            f"predictions, and do not read {'single weights or their mean' if 'weights' in bad else inner}."
        )
    elif max(space.r_hat for space in of_predictions) <= R_HAT_LIMIT:
        least = min(space.ess for space in of_predictions)
        verdict = (
            "The chains agree, but their draws are too correlated for error bars: draw longer, about "
            f"{_times(least, n_chains):,} times as many draws."
        )
    else:
        where = f", neither in {inner} nor in the predictions" if inner else " in the predictions"
        verdict = f"The chains have not mixed{where}: double tune and draws, and compare accuracies with this in mind."
    return f"{verdict} Failed: {'; '.join(failed)}. Met: {'; '.join(met) if met else 'none'}.", failed


def _joined(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
