"""Has the chip moved during a fit? What was re-measured, draw by draw, and a judgement on it.

A fit that watches its chip (`remeasure`) measures one set of weights, the point of reference, again and again. On a
chip that stands still its log-likelihoods are one like the other, in whatever order: noise alone. If the chip drifts,
neighbours in time are more alike than others. Von Neumann's ratio says how much,

    ratio = sum of squared differences of neighbours / sum of squared deviations from the mean

(Ann. Math. Stat. 1941), and its permutation distribution, which is exact for noise of any law, how unlikely that is.
The two sums also part the variance of the measurements in noise, half the mean squared difference of neighbours, and
slow changes, the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayes_snn.groups import AFTER, BEFORE, NOTHING, REFERENCE, REMEASURED

ALPHA = 0.01  # how often a chip that stands still is said to move, at most
FEWEST = 8  # measurements of the point of reference
LARGEST_MOVE = 1.0  # nats; estimates that scatter as much still leave chains that move (Doucet et al. 2015)
_PERMUTATIONS = 1999


@dataclass(frozen=True)
class Drift:
    """How the log-likelihood of one set of weights changed while the chip was trained.

    Attributes
    ----------
    n
        Measurements.
    move, noise
        Standard deviations of slow changes and of noise, in nats.
    p_value
        Of these or slower changes on a chip that stands still.
    too_far
        Whether the chip has moved, and by more than noise that a chain can live with.
    verdict
        The same in words.
    """

    n: int
    move: float
    noise: float
    p_value: float
    too_far: bool
    verdict: str


def collect(trace: xr.DataTree, goes_on: bool) -> None:
    """Move what steps have logged from the sample stats to the group `remeasured`, an entry for each look.

    Parameters
    ----------
    trace
        Draws of steps that watch; changed in place.
    goes_on
        True where one point of reference served all chains, one after the other, on one chip.
    """
    stats = trace.sample_stats.dataset
    # where several steps share the weights, one of them looks, and the others leave nan
    columns = {name: _first_number(stats[name].transpose("chain", "draw", ...).values) for name in NOTHING}
    chain, draw = np.nonzero(~np.isnan(columns[AFTER]))
    looks = {
        "chain": stats["chain"].values[chain],
        "draw": stats["draw"].values[draw],
        "before": columns[BEFORE][chain, draw],
        "after": columns[AFTER][chain, draw],
        "reference": columns[REFERENCE][chain, draw],
    }
    group = xr.Dataset({name: ("look", values) for name, values in looks.items()}, attrs={"goes_on": int(goes_on)})
    trace["sample_stats"] = xr.DataTree(stats.drop_vars(list(NOTHING)))
    trace[REMEASURED] = xr.DataTree(group)


def _first_number(values: NDArray[np.float64]) -> NDArray[np.float64]:
    flat = values.reshape(*values.shape[:2], -1)
    found: NDArray[np.float64] = flat[:, :, 0].copy()
    for column in range(1, flat.shape[2]):
        found = np.where(np.isnan(found), flat[:, :, column], found)
    return found


def judge(looks: xr.Dataset) -> Drift:
    """Whether the chip has moved, from the group `remeasured` of a fit."""
    values, chain = looks["reference"].values, looks["chain"].values
    series = [values] if looks.attrs["goes_on"] else [values[chain == c] for c in np.unique(chain)]
    series = [part[~np.isnan(part)] for part in series]
    return judge_series([part for part in series if len(part) > 1])


def judge_series(series: list[NDArray[np.float64]]) -> Drift:
    """The same from log-likelihoods of points of reference in the order of their measurement, one series for each."""
    n = sum(map(len, series))
    if n < FEWEST:
        return Drift(
            n,
            *(float("nan"),) * 3,
            False,
            f"The chip was re-measured {n} times, too few to tell whether it moves (wanted {FEWEST}): draw longer, or "
            "set remeasure lower",
        )
    deviations = sum(float(((part - part.mean()) ** 2).sum()) for part in series)
    if all(np.ptp(part) == 0.0 for part in series):
        return Drift(
            n, 0.0, 0.0, 1.0, False, f"The chip stood still: {n} re-measurements of the same weights are equal"
        )
    rng = np.random.default_rng(n)  # the verdict on a fit is the same whenever it is asked for
    observed = sum(_neighbours(part) for part in series)
    permuted = sum(_neighbours(rng.permuted(np.tile(part, (_PERMUTATIONS, 1)), axis=1)) for part in series)
    p_value = float(1 + np.sum(permuted <= observed * (1 + 1e-9))) / (1 + _PERMUTATIONS)
    pairs = n - len(series)  # neighbours, and degrees of freedom of the deviations too
    noise_variance = float(observed) / (2 * pairs)
    move = float(np.sqrt(max(deviations / pairs - noise_variance, 0.0)))
    noise = float(np.sqrt(noise_variance))
    moved = p_value <= ALPHA
    seen = (
        f"the log-likelihood of the same weights, measured {n} times, changed slowly by {move:.2g} nats (standard "
        f"deviation, limit {LARGEST_MOVE:g}) besides noise of {noise:.2g} nats"
    )
    if not moved:
        verdict = (
            f"The chip is not seen to move: {n} measurements of the same weights differ as noise does, by {noise:.2g} "
            "nats (standard deviation of the log-likelihood)"
        )
    elif move <= LARGEST_MOVE:
        verdict = f"The chip moved a little: {seen}"
    else:
        verdict = (
            f"The chip moved too far, early draws are of another chip than late ones: {seen}. Take a sampler or a "
            "number of draws that asks for fewer runs, and trust the latest draws most"
        )
    return Drift(n, move, noise, p_value, moved and move > LARGEST_MOVE, verdict)


def _neighbours(series: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((np.diff(series, axis=-1) ** 2).sum(axis=-1))
