"""Has the chip moved away from its twin during a fit? A test of trend in the checks, and a judgement on it.

A twin is frozen before the first kept draw, and so is what it proposes. On a chip that stands still, log L_chip - log
L_twin at what a chain proposes is then a stationary series: its level and its scatter are the same early and late.
Where a chip drifts away, its answers to late proposals are worse than the twin says, or at least other: the series
falls, or lies further and further from its median. Both are tested, each at half of ALPHA (Bonferroni).

Neighbours in a chain are alike, so that no test for independent values will do. A series is cut into batches of about
the square root of its length, whose means are nearly independent (batch means: Jones, Haran, Caffo, Neath, J. Amer.
Statist. Assoc. 101, 2006). The slope of the means against their place, one slope for all chains and a level for each,
is held against Student's t. Three things make that safe:

- normal scores of ranks stand in the place of the values, whose tails are heavy; a check that was lost before all
  samples were shown has the lowest rank, and is furthest from the median;
- what correlation is left between neighbouring means, r, widens the standard error by sqrt((1 + r) / (1 - r)); r of few
  means less their trend is too low, so that 3 over their number is added;
- only a fall counts, and only a growing distance. A chain that begins where the twin's posterior is, and the chip's is
  not, rises at first.

How often a chip that stands still is said to move was simulated with 40 and 100 checks in each of 2 chains, 1,000 times
each: at most 0.009 where the autocorrelation of the checks is up to 0.5, 0.013 at 0.8, and 0.034 at 0.9.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bayes_snn.inference.drift import ALPHA, LARGEST_MOVE, Drift
from bayes_snn.inference.twin_checks import TwinChecks

FEWEST_CHECKS = 30  # of a chain
_SHORTEST = 5  # checks in a batch
_MOST_CORRELATED = 0.8  # of batches
_TOO_LOW = 3.0  # over the number of means: how much too low their correlation is, once their trend is taken away
_HALF = 0.5  # of the share accepted at first: with less left the chip has moved too far

Floats = NDArray[np.float64]


def judge_checks(checks: TwinChecks) -> Drift | None:
    """Whether the chip has moved away from its twin; None where the checks are too few to tell."""
    were = checks.accepted | checks.rejected
    kept = [chain for chain in range(len(were)) if were[chain].sum() >= FEWEST_CHECKS]
    if not kept:
        return None
    chains = [np.where(np.isfinite(gaps), gaps, -np.inf)[were[chain]] for chain, gaps in enumerate(checks.gaps)]
    chains = [chains[chain] for chain in kept]
    n, p_value = sum(map(len, chains)), p_of_trend(chains)
    first, last = np.mean([_squares(series) for series in chains], axis=0)
    move, scatter = float(np.sqrt(max(last - first, 0.0))), float(np.sqrt(first))
    before, after = np.mean([_shares(checks.accepted[chain][were[chain]]) for chain in kept], axis=0)
    if p_value > ALPHA:
        verdict = f"The chip is not seen to move away from its twin in {n:,} checks"
        return Drift(n, move, scatter, p_value, False, verdict)
    seen = (
        f"in the last third of {n:,} checks, log L of the chip less that of the twin was off by {move:.2g} nats (limit "
        f"{LARGEST_MOVE:g}) from where it was in the first third, besides a scatter of {scatter:.2g} nats, and "
        f"{after:.0%} of the checks were accepted in the place of {before:.0%}"
    )
    if move <= LARGEST_MOVE and after >= _HALF * before:
        return Drift(n, move, scatter, p_value, False, f"The chip moved a little away from its twin: {seen}")
    verdict = (
        f"The chip moved away from its twin, early draws are of another chip than late ones: {seen}. Learn the twin "
        "again and fit with a smaller budget, so that the fit ends before the chip has moved"
    )
    return Drift(n, move, scatter, p_value, True, verdict)


def p_of_trend(chains: list[Floats]) -> float:
    """Of so steep a fall, or so steep a rise of the distance from the median, in stationary series.

    -inf is lower than any number.
    """
    falls = _batch_means([-series for series in chains])
    distances = _batch_means([_distances(series) for series in chains])
    return min(1.0, 2.0 * min(_p_of_rise(falls), _p_of_rise(distances)))


def _distances(series: Floats) -> Floats:
    """Of each value from the median of the finite ones."""
    finite = series[np.isfinite(series)]
    return np.abs(series - (np.median(finite) if len(finite) else 0.0))


def _batch_means(chains: list[Floats]) -> list[Floats]:
    """Means of batches of normal scores, for each chain; what is left of the first batch is left out."""
    ranks = stats.rankdata(np.concatenate(chains))
    scores = stats.norm.ppf((ranks - 0.5) / len(ranks))
    found = []
    for part in np.split(scores, np.cumsum([len(series) for series in chains])[:-1]):
        size = max(_SHORTEST, round(len(part) ** 0.5))
        found.append(part[len(part) % size :].reshape(-1, size).mean(axis=1))
    return found


def _p_of_rise(series: list[Floats]) -> float:
    """Of so steep a common slope, or a steeper one, in series that have none."""
    series = [values - values.mean() for values in series]
    places = [np.arange(len(each)) - (len(each) - 1) / 2 for each in series]
    n, across = sum(map(len, series)), sum(float(each @ each) for each in places)
    slope = sum(float(y @ x) for y, x in zip(series, places, strict=True)) / across
    rest = [y - slope * x for y, x in zip(series, places, strict=True)]
    left, freedom = sum(float(each @ each) for each in rest), n - len(series) - 1
    if left <= 1e-12 * n:  # all checks alike
        return 1.0
    r = sum(float(each[1:] @ each[:-1]) for each in rest) / left + _TOO_LOW * len(series) / n
    r = min(max(r, 0.0), _MOST_CORRELATED)
    error = np.sqrt(left / freedom / across * (1.0 + r) / (1.0 - r))
    return float(stats.t.sf(slope / error, freedom))


def _squares(series: Floats) -> tuple[float, float]:
    """Mean squares of the first third of a chain's checks and of its last, about the mean of the first.

    Of those that were shown all samples; 0 where there are none.
    """
    third = len(series) // 3
    first, last = (part[np.isfinite(part)] for part in (series[:third], series[-third:]))
    if not len(first) or not len(last):
        return 0.0, 0.0
    return float(first.var()), float(np.mean((last - first.mean()) ** 2))


def _shares(accepted: NDArray[np.bool_]) -> tuple[float, float]:
    """Share accepted of the first third of a chain's checks, and of its last."""
    third = len(accepted) // 3
    return float(accepted[:third].mean()), float(accepted[-third:].mean())
