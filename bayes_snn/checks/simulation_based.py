"""Simulation-based calibration (SBC): are the draws of a fit what they claim to be, for this prior, chip and sampler?

Weights are drawn from the prior, and labels from what the chip makes of them. A fit to these labels does not know the
weights they came from, which are one more draw from its posterior: each rank among its draws is as likely (Cook,
Gelman, Rubin, J. Comput. Graph. Stat. 15, 2006; Talts and others, arXiv 1804.06788). A sampler that is wrong, or a
chain that is too short, leaves ranks that are not uniform. Posterior SBC asks the same where a fit is: the weights are
draws of the fit, and the labels that they bring are fitted together with the observed ones (arXiv 2502.03279).

Looked at are quantities that mean something whatever roles hidden neurons have: log L, which finds most faults (Modrak
and others, Bayesian Analysis 20, 2025), probabilities of labels, the size of each layer's weights, hyperparameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray
from scipy import stats

from bayes_snn.chips.contract import Chip, FloatArray, IntArray, ask_counts, check_chip, check_inputs, frozen
from bayes_snn.errors import InputError, check_whole
from bayes_snn.groups import BIAS, SCALE
from bayes_snn.inference.fit import fit
from bayes_snn.inference.result import FitResult
from bayes_snn.likelihood import BETA, Readout, draw_labels
from bayes_snn.posterior.build import build_model, other_terms
from bayes_snn.posterior.prior_draws import check_finite, draw_prior
from bayes_snn.posterior.priors import PriorFunction, ReadoutFunction, load_prior, load_readout
from bayes_snn.waiting import tracked

PRIOR, POSTERIOR = "prior_sbc", "posterior_sbc"  # groups, under the names that ArviZ looks for
LIMIT = 0.05  # p of all quantities together, below which ranks are called not uniform
N_SHOWN = 4  # samples whose probabilities are looked at
ORDER = 4  # of the smooth test

Truth = dict[str, NDArray[np.float64]]  # a value of each weight matrix and each hyperparameter, by name
Quantities = dict[str, NDArray[np.float64]]  # (n_draws,) of each


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranks of true values among draws.

    Attributes
    ----------
    data
        A DataTree with the group "prior_sbc" or "posterior_sbc": of each quantity the share of draws below the truth,
        dims (chain, draw), a draw for each replicate, ties and the step of a rank filled at random. It is what
        `az.plot_ecdf_pit` takes.
    ranks
        Dataset over `replicate`: the rank of the truth, from 0 to `n_draws`.
    n_draws
        Draws that the truth was ranked among, of each fit.
    effective
        (n_replicates,) effective draws of log L, of all draws of a fit.
    presentations
        Samples that were shown to the chip.
    """

    data: xr.DataTree
    ranks: xr.Dataset
    n_draws: int
    effective: NDArray[np.float64]
    presentations: int

    def table(self) -> pd.DataFrame:
        """A row for each quantity: p of a test of uniform ranks (Neyman's), mean and spread of the shares.

        Of uniform ranks the mean is 0.5 and the spread, a standard deviation over that of a uniform one, 1: above it
        draws are too narrow, below it too wide. A mean above 0.5 says that draws are too low.
        """
        rows = {}
        group = next(iter(self.data.children.values())).dataset
        for name in self.ranks:
            shares = group[name].values.ravel()
            rows[str(name)] = {
                "p": p_of_uniform(shares),
                "mean": float(shares.mean()),
                "spread": float(shares.std() * 12**0.5),
            }
        return pd.DataFrame.from_dict(rows, orient="index")

    @property
    def p(self) -> float:
        """The least p, times the number of quantities (Bonferroni's rule)."""
        return float(min(1.0, len(self.ranks) * self.table()["p"].min()))

    @property
    def verdict(self) -> str:
        """What the ranks say, in words."""
        table, p, n, short = self.table(), self.p, self.ranks.sizes["replicate"], ""
        if (typical := float(np.median(self.effective))) < self.n_draws:
            short = (
                f" Half of the fits have fewer than {typical:.0f} effective draws of log L, but {self.n_draws} are "
                "ranked, which makes ranks too extreme: draw longer, or rank fewer."
            )
        if p > LIMIT:
            told = f"Ranks of all {len(table)} quantities are uniform, as far as {n} fits can tell (p {p:.2f})."
            return f"{told}{short}"
        worst = table.loc[table["p"].idxmin()]
        faults = {
            "lie too low": (worst["mean"] - 0.5) * (12 * n) ** 0.5,
            "lie too high": (0.5 - worst["mean"]) * (12 * n) ** 0.5,
            "are too narrow": (worst["spread"] - 1.0) * (2.5 * n) ** 0.5,
            "are too wide": (1.0 - worst["spread"]) * (2.5 * n) ** 0.5,
        }
        return (
            f"Ranks of {table['p'].idxmin()!r} are not uniform in {n} fits (p {p:.2g}, of all quantities): its "
            f"draws {max(faults, key=faults.__getitem__)}. If longer chains do not end it, the sampler or the model is "
            f"wrong.{short}"
        )

    def __str__(self) -> str:
        return self.verdict


def sbc(
    chip: Chip,
    inputs: FloatArray,
    weights: str | Path | PriorFunction | None = None,
    *,
    n: int = 100,
    ranked: int = 49,
    seed: int = 0,
    beta: float = BETA,
    readout: ReadoutFunction | None = None,
    **options: Any,
) -> Calibration:
    """Calibrate a sampler under a prior.

    Parameters
    ----------
    chip
        Any chip; to spare one on a bench take its twin, which is a chip too.
    inputs
        (n_samples, n_in) floats, standardised as for a fit.
    weights, beta, readout
        The prior and the readout, as for `fit`.
    n
        Replicates: data sets, each with a fit.
    ranked
        Draws of each fit, evenly spaced, that the true weights are ranked among: no more than are effective.
    seed
        Of all that is random.
    options
        Of `fit`: sampler, draws, tune, chains and its like. By default sampler "sitewise" with one chain of 500 draws
        after 500, in this process.

    Raises
    ------
    InputError
        When an argument cannot be used, or the prior has terms that draws from it ignore.
    ChipError
        When the chip answers something else than spike counts.
    """
    spec = check_chip(chip).spec
    inputs = frozen(check_inputs(inputs, spec.layers[0]))
    prior = load_prior(weights)
    readout = load_readout(readout, prior)
    model = build_model(chip, inputs, np.zeros(len(inputs), int), prior, beta=beta, readout=readout)
    if other_terms(model):
        raise InputError(
            "The prior has terms beside its distributions (pm.Potential, or observed variables of its own), which its "
            "draws ignore, but calibration needs draws: state them as distributions."
        )
    likelihood, rng = model.likelihood, np.random.default_rng(seed)
    scalars = [rv for rv in model.free_RVs if rv.ndim == 0 or rv.name in (SCALE, BIAS)]
    moving = [] if likelihood.fixed is not None else [likelihood.beta, likelihood.bias]
    check_whole("n", n, 1, None, 100)
    variables = [*likelihood.weights, *moving, *scalars]
    drawn = draw_prior(variables, int(n), rng, "calibration needs draws from it")
    n_layers = len(likelihood.weights)
    check_finite(drawn[:n_layers])

    def truth(i: int) -> tuple[Truth, Readout]:
        known: Truth = dict(zip(spec.weight_names, (layer[i] for layer in drawn[:n_layers]), strict=True))
        own = likelihood.fixed or Readout(float(drawn[n_layers][i]), drawn[n_layers + 1][i])
        values = drawn[n_layers + len(moving) :]
        return known | {rv.name: value[i] for rv, value in zip(scalars, values, strict=True)}, own

    def fitted(i: int, labels: IntArray, seed: int) -> FitResult:
        return fit(chip, inputs, labels, prior, beta=beta, readout=readout, **_with_defaults(options, seed))

    return _ranked(PRIOR, chip, inputs, np.zeros(0, int), truth, fitted, int(n), ranked, rng)


def posterior_sbc(
    result: FitResult, chip: Chip | None = None, *, n: int = 50, ranked: int = 49, seed: int = 0, **options: Any
) -> Calibration:
    """Calibrate the sampler where a fit is.

    Parameters
    ----------
    result
        A fit. Its draws are the true weights, so it should have mixed.
    chip
        Another chip in the place of the fit's: its twin, to spare the chip on the bench.
    n, ranked, seed, options
        As for `sbc`; `weights`, `readout` and `beta` where they were not the default ones of the fit.

    Raises
    ------
    InputError, ChipError
        As `sbc` does.
    """
    chip = check_chip(result.chip if chip is None else chip)
    spec, draws, inputs = chip.spec, result.draws, result.train_inputs
    check_whole("n", n, 1, None, 50)
    observed = np.asarray(result.posterior["observed_data/label"].values)
    posterior = result.posterior["posterior"].dataset.stack(every=("chain", "draw"))
    names = [str(name) for name, values in posterior.items() if values.ndim == 1 or name in (SCALE, BIAS)]
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(draws), size=int(n), replace=len(draws) < n)
    weights = options.pop("weights", result.arguments.get("model"))
    both = frozen(np.concatenate([inputs, inputs]))

    def truth(i: int) -> tuple[Truth, Readout]:
        place = int(chosen[i])
        known: Truth = dict(zip(spec.weight_names, draws[place], strict=True))
        return known | {name: posterior[name].isel(every=place).values for name in names}, draws.readout(place)

    def fitted(i: int, labels: IntArray, seed: int) -> FitResult:
        return fit(chip, both, labels, weights, **_with_defaults(options, seed))

    return _ranked(POSTERIOR, chip, both, observed, truth, fitted, int(n), ranked, rng)


def _with_defaults(options: dict[str, Any], seed: int) -> dict[str, Any]:
    plain = {"sampler": "sitewise", "chains": 1, "cores": 1}
    if options.get("sampler", "sitewise") == "sitewise":
        plain |= {"draws": 500, "tune": 500}
    return plain | options | {"seed": seed}


def _ranked(
    group: str,
    chip: Chip,
    inputs: FloatArray,
    observed: IntArray,
    truth: Callable[[int], tuple[Truth, Readout]],
    fitted: Callable[[int, IntArray, int], FitResult],
    n: int,
    ranked: int,
    rng: np.random.Generator,
) -> Calibration:
    """Fit labels that each truth brings, behind those that were observed, and rank the truth among the draws."""
    check_whole("ranked", ranked, 1, None, 49)
    names = chip.spec.weight_names
    rows: list[dict[str, tuple[int, float]]] = []
    effective, shown, n_draws = [], 0, ranked
    for i in tracked(list(range(n)), "Fitting to simulated labels"):
        known, readout = truth(i)
        counts = ask_counts(chip, [known[name] for name in names], inputs)
        shown += len(inputs)
        labels = draw_labels(readout.probabilities(counts), rng)
        labels[: len(observed)] = observed
        result = fitted(i, labels, int(rng.integers(2**31)))
        shown += result.cost.total
        terms = readout.log_p([counts], labels)
        true = _quantities({name: np.asarray(value)[None] for name, value in known.items()}, terms[None], names)
        posterior = result.posterior["posterior"].dataset.stack(every=("chain", "draw"))
        log_p = result.posterior["log_likelihood/label"].stack(every=("chain", "draw")).transpose("every", ...).values
        chosen = result.draws.spread(ranked)
        n_draws = len(chosen)
        values = {name: posterior[name].transpose("every", ...).values[chosen] for name in known}
        found = _quantities(values, log_p[chosen], names)
        rows.append({name: _rank(float(true[name][0]), found[name], rng) for name in true})
        effective.append(result.diagnosis.log_likelihood.ess)
    ranks = {name: ("replicate", np.array([row[name][0] for row in rows])) for name in rows[0]}
    shares = {name: (("chain", "draw"), np.array([[row[name][1] for row in rows]])) for name in rows[0]}
    data = xr.DataTree.from_dict({group: xr.Dataset(shares, {"chain": [0], "draw": range(n)})})
    return Calibration(data, xr.Dataset(ranks), n_draws, np.array(effective), shown)


def _quantities(values: Quantities, log_p: NDArray[np.float64], weights: Sequence[str]) -> Quantities:
    """What is ranked, (n_draws,) each: values (n_draws, ...) by name, log_p (n_draws, n_samples) of the labels."""
    found = {"log L": log_p.sum(axis=1).round(9)}
    for sample in np.unique(np.linspace(0, log_p.shape[1] - 1, N_SHOWN).round().astype(int)):
        found[f"log p of label {sample}"] = log_p[:, sample].round(9)
    for name, array in values.items():
        flat = np.asarray(array, np.float64).reshape(len(array), -1)
        if name in weights:
            found[f"size of {name}"] = np.sqrt((flat**2).mean(axis=1))
        elif flat.shape[1] == 1:
            found[name] = flat[:, 0]
        else:
            found |= {f"{name} {k}": column for k, column in enumerate(flat.T)}
    return found


def _rank(true: float, drawn: NDArray[np.float64], rng: np.random.Generator) -> tuple[int, float]:
    """Rank of a value among draws, from 0 to their number, drawn among those that ties leave; and a share in it."""
    rank = int((drawn < true).sum() + rng.integers(0, (drawn == true).sum() + 1))
    return rank, (rank + rng.random()) / (len(drawn) + 1)


def p_of_uniform(shares: NDArray[np.float64]) -> float:
    """p of Neyman's smooth test that shares (n,) are uniform on (0, 1), of order 4.

    Each normalised Legendre polynomial of 2 u - 1 is nearly Normal in the mean of many uniform u: the first finds draws
    that lie too low or too high, the second those that are too narrow or too wide, the others a lack of symmetry and
    heavier tails (Neyman, Skand. Aktuarietidskr. 20, 1937).
    """
    orders = np.arange(1, ORDER + 1)
    components = legvander(2.0 * shares - 1.0, ORDER)[:, 1:] * np.sqrt(2 * orders + 1)
    return float(stats.chi2.sf((components.sum(axis=0) ** 2).sum() / len(shares), ORDER))
