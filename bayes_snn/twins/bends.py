"""Input currents that neurons bend, I -> f(I), fitted neuron by neuron where leaks alone do not explain a chip.

    v[t] = (1 - alpha) sum_{r < k <= t} alpha^(t - k) f(I[k]),    f(I) = I + sum_m c_m B_m(I),    fires where v >= 1

A threshold would only scale f, so it is 1. The voltage is linear in the c_m: given alpha, what scoring.py makes as
likely as it can be has one maximum. Under a constant input alpha only scales f where it matters, so that a first layer
is given that of the layers behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.lif.current import TABLE_REACH
from bayes_snn.chips.lif.smooth import KNOTS
from bayes_snn.twins.gains import cost_of
from bayes_snn.twins.leaks import DECAYS
from bayes_snn.twins.membrane import Floats, Neuron
from bayes_snn.twins.regions import Region, judged
from bayes_snn.twins.scoring import Fit
from bayes_snn.twins.slopes import STRAIGHT, Bend, slopes

STEP = 0.5  # from spline to spline, in thresholds
ROUGH, LARGE = 2.0, 20.0  # standard deviations of a second difference of the coefficients, and of one of them
NOMINAL = 0.9  # alpha of a first layer with nothing behind it: any does
BLURS = (1.0, 0.4, 0.16, 0.064, 0.026, 0.01, 0.004, 0.0016)  # h, in thresholds, one after the other
NEAR = 3  # the first of them where a bend is nearly right
STEPS = 4  # for each
WINDOW = 6.0  # points further than so many h from the threshold, on the right side, teach nothing
MOST_POINTS = 8_000
MOST_OF_DECAY = 0.3  # of 1 - alpha, that alpha moves in a step
PRICE_OF_SPLINE = 0.25  # in labels
_FROM_1 = Region(np.ones(1), np.zeros(1), 0)


def bent_cost(fit: Fit) -> float:
    """Errors of a fit and what its splines cost, for comparisons."""
    return cost_of(fit) + PRICE_OF_SPLINE * len(fit.bend.coefficients)


def fit_bends(neurons: Sequence[Neuron], known: Sequence[Fit] | None = None) -> list[Fit]:
    """Bends of all neurons, and leaks of those behind the first layer; from earlier fits, if there are any."""
    found: dict[int, Fit] = {}
    for n, neuron in enumerate(neurons):
        if neuron.u.shape[1] > 1:
            start = None if known is None else known[n]
            found[n] = _bent(neuron, DECAYS if start is None else (start.decay,), start, True)
    common = float(np.median([fit.decay for fit in found.values()])) if found else NOMINAL
    for n, neuron in enumerate(neurons):
        if n not in found:
            start = None if known is None else known[n]
            found[n] = _bent(neuron, (common if start is None else start.decay,), start, False)
    return [found[n] for n in range(len(neurons))]


def _bent(neuron: Neuron, decays: Sequence[float], start: Fit | None, leak: bool) -> Fit:
    """The bend of one neuron, at the alpha of these that explains most, or about there if `leak`.

    A logistic regression, in which the neuron fires with probability 1 / (1 + exp(-(v - 1) / h)), for falling h: a few
    steps of Newton's method for each.
    """
    gain = np.ones(neuron.u.shape[2])
    currents = neuron.currents(gain)
    low, high = np.clip([currents.min(), currents.max()], -TABLE_REACH, TABLE_REACH).tolist()
    bend = Bend(low - STEP, STEP, np.zeros(int((high - low) / STEP) + 5))
    if start is not None:
        at = bend.low + STEP * np.arange(float(len(bend.coefficients)))
        bend = through(bend, start.bend(at) - at)
    telling, pull = _telling(neuron), _smoothness(len(bend.coefficients))

    def descend(fit: Fit, blurs: Sequence[float], leak: bool) -> Fit:
        best, decay, bend = fit, fit.decay, fit.bend
        for h in blurs:
            for _ in range(STEPS):
                decay, bend, gained = _step(neuron, currents, telling, pull, decay, bend, h, leak)
                if gained < 0.01:
                    break
            region = judged(_FROM_1, *neuron.points(bend(currents), decay))
            if region.errors < best.region.errors:
                best = Fit(gain, decay, bend, region, h)
            if not best.region.errors:
                break
        return best

    fits = []
    for decay in decays:
        fit = Fit(gain, decay, bend, judged(_FROM_1, *neuron.points(bend(currents), decay)), np.inf)
        fits.append(fit if start is not None else descend(fit, BLURS, False))
    best = min(fits, key=bent_cost)
    return descend(best, BLURS[NEAR:], leak) if leak or start is not None else best


def _telling(neuron: Neuron) -> NDArray[np.bool_]:
    """Where (n_presentations, n_steps) a voltage is looked at: under a constant current all others follow."""
    _, seen = neuron.traces(np.zeros(neuron.u.shape[:2]), 0.5)
    if not neuron.once:
        return seen
    last = seen.sum(axis=1) - 1
    steps = np.arange(seen.shape[1])
    return np.asarray((steps == last[:, None]) | (steps == last[:, None] - 1))


def _smoothness(n: int) -> Floats:
    """Precision (n, n) of the coefficients' prior, a Normal around 0: their second differences are small, too."""
    second = np.diff(np.eye(n), 2, axis=0) / ROUGH
    return np.asarray(second.T @ second + np.eye(n) / LARGE**2)


def _step(
    neuron: Neuron,
    currents: Floats,
    telling: NDArray[np.bool_],
    pull: Floats,
    decay: float,
    bend: Bend,
    h: float,
    leak: bool,
) -> tuple[float, Bend, float]:
    """One of Newton's steps, halved until the posterior density rises: alpha, the bend, and the loss it took away."""
    voltages, _ = neuron.traces(bend(currents), decay)
    over = voltages - 1.0
    wanted = telling & ((np.abs(over) < WINDOW * h) | ((over >= 0) != neuron.spikes))
    places = np.flatnonzero(wanted)
    if len(places) > MOST_POINTS:
        wanted = np.zeros_like(wanted)
        wanted.ravel()[places[:: -(-len(places) // MOST_POINTS)]] = True
    n_pre = neuron.u.shape[2]
    by = slopes(neuron, np.ones(n_pre), decay, bend, wanted)[:, n_pre if leak else n_pre + 1 :]
    now = bend.coefficients
    if leak:
        pull, now = np.pad(pull, ((1, 0), (1, 0))), np.append(decay, now)
        pull[0, 0] = 1e-3
    sign = np.where(neuron.spikes[wanted], 1.0, -1.0)
    margin = sign * over[wanted] / h
    by *= (sign / h)[:, None]
    p = 1.0 / (1.0 + np.exp(np.clip(margin, -30.0, 30.0)))
    centred = now.copy()
    if leak:
        centred[0] = 0.0  # alpha has no prior, but for the numbers' sake
    gradient = by.T @ p - pull @ centred
    # where a label is wrong by far the likelihood is nearly straight: the curvature of a bound keeps the step short
    far = np.maximum(np.abs(margin), 1e-6)
    curvature = np.where(margin < 0, np.tanh(0.5 * far) / (2.0 * far), p * (1.0 - p))
    scaled = by * np.sqrt(curvature)[:, None]
    change = np.linalg.solve(scaled.T @ scaled + pull, gradient)
    along = by @ change

    def loss(share: float) -> float:
        moved = centred + share * change
        return float(np.logaddexp(0.0, -(margin + share * along)).sum() + 0.5 * moved @ pull @ moved)

    before, share = loss(0.0), 1.0
    if leak:
        share = min(1.0, MOST_OF_DECAY * (1.0 - decay) / max(abs(float(change[0])), 1e-12))
    after = loss(share)
    while share > 1e-6 and after > before:
        share *= 0.5
        after = loss(share)
    if after > before:
        return decay, bend, 0.0
    moved = now + share * change
    if leak:
        decay, moved = float(np.clip(moved[0], 1e-4, 0.9995)), moved[1:]
    return decay, bend._replace(coefficients=moved), before - after


def through(bend: Bend, values: Floats) -> Bend:
    """The bend that adds these values (n_splines,) where the splines have their centres, about 0 beyond them."""
    n = len(values)
    nearest = np.eye(n, k=1) + np.eye(n, k=-1)
    return bend._replace(coefficients=np.linalg.solve((4.0 * np.eye(n) + nearest) / 6.0, values))


def table_of(bend: Bend) -> NDArray[np.float32]:
    """What is added to currents at the knots of a table, (NKNOTS,), as the kernels take it.

    Beyond the currents that were seen nothing is known: what is added stays as it is at the last one.
    """
    n = len(bend.coefficients)
    at = np.clip(KNOTS, bend.low + bend.step, bend.low + (n - 4) * bend.step) if n > 4 else KNOTS.copy()
    return np.asarray(bend(at) - at, np.float32)


def bend_of(table: NDArray[np.float32]) -> Bend:
    """The bend of a table."""
    if not table.any():
        return STRAIGHT
    n = int(2 * TABLE_REACH / STEP) + 1
    bend = Bend(-TABLE_REACH, STEP, np.zeros(n))
    return through(bend, np.interp(bend.low + STEP * np.arange(n), KNOTS, np.asarray(table, np.float64)))
