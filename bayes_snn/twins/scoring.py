"""Gains, leak, bend and edges of one neuron together, by logistic regression near the edges of its firing region.

What is not yet right of them blurs the edges: near an edge e the neuron fires with probability

    1 / (1 + exp(-(v - e) / h)),

or one less that where the region ends there. The voltage is linear in the gains, so each step is one of Fisher
scoring with a Normal prior (Gelman and others, Bayesian Data Analysis, 16.2); h is that of greatest likelihood, and
falls as the fit gets better. Between two steps the region is found anew, with the price of an edge set by what the
blur can feign.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from bayes_snn.twins.membrane import Floats, Neuron
from bayes_snn.twins.regions import FAR, PRICE, Region, find_region
from bayes_snn.twins.slopes import Bend, slopes

_WINDOW = 6.0  # points further than so many h from every edge teach nothing
_MOST_POINTS = 20_000
_STEPS = 40
_PATIENCE = 5  # steps without success
_ODD = 0.01  # share of the labels that no blur explains
_LONGEST = 0.3  # step of the gains, root mean square
FEW_ERRORS = 5  # labels that a blur cannot feign
# how long a run of labels the blur can feign, in standard deviations, and whether spikes weigh as much as silence
GUESSES = ((1.0, True), (0.3, True), (0.3, False), (2.0, True), (1.0, False))
WARM_GUESSES = GUESSES[:2]  # where the parameters are nearly right
NO_REGION = Region(np.zeros(0), np.zeros(0), 0)


class Fit(NamedTuple):
    """What a neuron computes with.

    Attributes
    ----------
    gain, decay, bend
        (n_pre,) g, alpha, and f.
    region
        Where it fires.
    blur
        h, in units of the voltage.
    """

    gain: Floats
    decay: float
    bend: Bend
    region: Region
    blur: float

    def points(self, neuron: Neuron) -> tuple[Floats, NDArray[np.bool_]]:
        """Voltages and labels, see `Neuron.points`."""
        return neuron.points(self.bend(neuron.currents(self.gain)), self.decay)


class Prior(NamedTuple):
    """Normal(means, 1 / precisions), of gains, alpha and coefficients in one row; where free is False they stay."""

    means: Floats
    precision: Floats  # (n, n)
    free: NDArray[np.bool_]


def score(
    neuron: Neuron,
    gain: Floats,
    decay: float,
    bend: Bend,
    prior: Prior,
    guesses: Sequence[tuple[float, bool]] = GUESSES,
) -> Fit:
    """Fit one neuron, from these parameters on: of several first guesses of its region, the one that ends best."""
    best = None
    for feigned, balanced in guesses:
        fit = _descend(neuron, Fit(gain, decay, bend, NO_REGION, np.inf), prior, feigned, balanced)
        if best is None or _cost(fit) < _cost(best):
            best = fit
        if best.region.errors <= FEW_ERRORS and len(best.region.edges):
            break
    assert best is not None
    return best


def _cost(fit: Fit) -> float:
    return fit.region.cost() + 1e3 * min(fit.blur, 1.0)


def _descend(neuron: Neuron, fit: Fit, prior: Prior, feigned: float, balanced: bool) -> Fit:
    """Steps of scoring, each with the region found anew, as long as they help."""
    best = fit = _with_region(neuron, fit, feigned, balanced)
    since = 0
    for _ in range(_STEPS):
        if not (fit.region.edges > FAR).any():
            return best
        fit = _with_region(neuron, _step(neuron, fit, prior), feigned, balanced)
        if _cost(fit) < _cost(best):
            best, since = fit, 0
        else:
            since += 1
        if since == _PATIENCE:
            break
    return best


def _with_region(neuron: Neuron, fit: Fit, feigned: float, balanced: bool) -> Fit:
    """With the region and the blur that go with the parameters."""
    voltages, fired = fit.points(neuron)
    region = _found(voltages, fired, fit, feigned, balanced)
    if not (region.edges > FAR).any():
        return fit._replace(region=region)
    distance, _, rises = _nearest(voltages, region.edges)
    inside = np.where(rises, 1.0, -1.0) * distance
    signs = np.where(fired, 1.0, -1.0) * inside
    widths = region.widths[region.edges > FAR]
    least = max(0.25 * float(np.median(widths)), 1e-6)
    signs = signs[np.abs(signs) < 2.0]

    def loss(log_h: float) -> float:
        # a label may be odd without being near an edge: of an interval that was not found
        p = 1.0 / (1.0 + np.exp(-np.clip(signs / np.exp(log_h), -30.0, 30.0)))
        return -float(np.log(_ODD + (1.0 - _ODD) * p).sum())

    found = minimize_scalar(loss, bounds=(np.log(least), np.log(least + 2.0)), method="bounded", options={"xatol": 0.1})
    blur = max(least, float(np.exp(found.x)))
    return fit._replace(region=region, blur=blur if np.isinf(fit.blur) else max(blur, 0.3 * fit.blur))


def _found(voltages: Floats, fired: NDArray[np.bool_], fit: Fit, feigned: float, balanced: bool) -> Region:
    """The region at a price that runs of labels which the blur feigns cannot pay."""
    region = find_region(voltages, fired)
    if region.errors <= FEW_ERRORS:
        return region
    n_silent, n_fired = int((~fired).sum()), int(fired.sum())
    expected = float(region.errors)
    if (fit.region.edges > FAR).any():
        distance = _nearest(voltages, fit.region.edges)[0]
        expected = float((1.0 / (1.0 + np.exp(np.minimum(np.abs(distance) / fit.blur, 30.0)))).sum())
    # where spikes are rare everywhere, silence would explain them best
    heavy = min(max(n_silent / n_fired, 1.0), 50.0) if balanced and expected > 0.1 * n_fired else 1.0
    return find_region(voltages, fired, (PRICE + feigned * np.sqrt(expected)) * np.sqrt(heavy), heavy)


def _nearest(voltages: Floats, edges: Floats) -> tuple[Floats, NDArray[np.int64], NDArray[np.bool_]]:
    """Distance v - e to the nearest edge, its number, and whether the neuron fires above it."""
    upper = np.clip(np.searchsorted(edges, voltages), 1, len(edges) - 1) if len(edges) > 1 else None
    if upper is None:
        which = np.zeros(len(voltages), np.int64)
    else:
        which = np.where(voltages - edges[upper - 1] < edges[upper] - voltages, upper - 1, upper)
    return voltages - edges[which], which, which % 2 == 0


def _step(neuron: Neuron, fit: Fit, prior: Prior) -> Fit:
    """One step of Fisher scoring, halved until the posterior density rises."""
    currents = fit.bend(neuron.currents(fit.gain))
    distance, near, which, rises, fired = _window(neuron, currents, fit)
    by = slopes(neuron, fit.gain, fit.decay, fit.bend, near)
    free = np.flatnonzero(prior.free)
    n_edges = len(fit.region.edges)
    design = np.zeros((len(by), len(free) + n_edges))
    design[:, : len(free)] = by[:, free]
    design[np.arange(len(by)), len(free) + which] = -1.0
    sign = np.where(rises, 1.0, -1.0) / fit.blur
    p = 1.0 / (1.0 + np.exp(-np.clip(sign * distance, -30.0, 30.0)))
    now = np.concatenate([fit.gain, [fit.decay], fit.bend.coefficients])
    pull = prior.precision[np.ix_(free, free)]
    gradient = design.T @ (sign * (fired - p))
    gradient[: len(free)] -= pull @ (now - prior.means)[free]
    weight = np.sqrt(p * (1.0 - p)) * np.abs(sign)
    scaled = design * weight[:, None]
    information = scaled.T @ scaled
    information[: len(free), : len(free)] += pull
    information[np.diag_indices(len(information))] += 1e-6 * np.trace(information) / len(information) + 1e-9
    change = np.linalg.solve(information, gradient)

    def loss(share: float) -> float:
        moved = (now - prior.means)[free] + share * change[: len(free)]
        margin = sign * (distance + share * (design @ change))
        return float(np.logaddexp(0.0, np.where(fired, -margin, margin)).sum() + 0.5 * moved @ pull @ moved)

    n_gains = int(prior.free[: len(fit.gain)].sum())
    length = float(np.sqrt((change[:n_gains] ** 2).mean())) if n_gains else 0.0
    share, before = min(1.0, _LONGEST / max(length, 1e-9)), loss(0.0)
    while share > 0.01 and loss(share) > before:
        share *= 0.5
    now[free] += share * change[: len(free)]
    n_pre = len(fit.gain)
    decay = float(np.clip(now[n_pre], 1e-4, 0.9995))
    gain, blur = now[:n_pre], fit.blur
    if prior.free[:n_pre].any():  # the scale of gains and edges is free: it would shrink with the prior's pull
        gain = np.maximum(gain, 0.0)
        scale = float(gain.mean()) or 1.0
        gain, blur = gain / scale, blur / scale
    return fit._replace(gain=gain, decay=decay, bend=fit.bend._replace(coefficients=now[n_pre + 1 :]), blur=blur)


def _window(
    neuron: Neuron, currents: Floats, fit: Fit
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Points near an edge: distances, where they are (n_presentations, n_steps), edges, ways, labels."""
    voltages, seen = neuron.traces(currents, fit.decay)
    where = np.flatnonzero(seen.ravel())
    distance, which, rises = _nearest(voltages.ravel()[where], fit.region.edges)
    kept = np.flatnonzero(np.abs(distance) < _WINDOW * fit.blur)
    if len(kept) > _MOST_POINTS:
        kept = kept[:: -(-len(kept) // _MOST_POINTS)]
    near = np.zeros(seen.size, np.bool_)
    near[where[kept]] = True
    fired = neuron.spikes.ravel()[where[kept]]
    return distance[kept], near.reshape(seen.shape), which[kept], rises[kept], fired


def straight_prior(n_pre: int, spread: float, leak: bool) -> Prior:
    """Gains ~ Normal(1, spread^2), alpha free or not, no bend."""
    precision = np.diag(np.append(np.full(n_pre, 1.0 / spread**2), 0.0))
    return Prior(np.append(np.ones(n_pre), 0.0), precision, np.append(np.ones(n_pre, np.bool_), leak))
