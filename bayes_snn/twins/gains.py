"""Gains of synapses, fitted neuron by neuron where leaks alone do not explain a chip; stuck ones have a gain of 0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bayes_snn.twins.lines import gains_from_lines
from bayes_snn.twins.membrane import Floats, Neuron
from bayes_snn.twins.regions import PRICE, find_region
from bayes_snn.twins.scoring import FEW_ERRORS, WARM_GUESSES, Fit, score, straight_prior

WIDEST, NARROWEST, LARGEST = 0.5, 0.02, 3.0  # spread of gains before any is known, at least, and at most
GUESSED = 0.3  # spread of gains that were guessed from presentations of single lines, at least
BAD = 0.02  # share of the labels of a neuron against it, beyond which a fit is sought from nothing too
_SMALL = 0.15  # gains that may be those of stuck synapses


def cost_of(fit: Fit) -> float:
    """Errors and edges of a fit, for comparisons."""
    return fit.region.cost()


def fit_gains(neurons: Sequence[Neuron], plain: Sequence[Fit], starts: Sequence[Fit], spread: float) -> list[Fit]:
    """Gains, and leaks, of each neuron; one leak for all where that explains as much.

    Parameters: plain, fits without gains; starts, fits with those of an earlier twin, or the same; spread, of the
    gains over the chip, as far as it is known.
    """
    free = [_scored(*each, spread) for each in zip(neurons, plain, starts, strict=True)]
    common = float(np.median([fit.decay for fit in free]))
    tied = [_rescored(neuron, fit, common, spread) for neuron, fit in zip(neurons, free, strict=True)]
    return tied if sum(map(cost_of, tied)) <= sum(map(cost_of, free)) + PRICE * len(neurons) else free


def improve_gains(neurons: Sequence[Neuron], known: Sequence[Fit], spread: float) -> list[Fit]:
    """Gains that are nearly right made better: each neuron's leak is its own, or stays where all have one in common."""
    tied = len({fit.decay for fit in known}) == 1
    found = []
    for neuron, fit in zip(neurons, known, strict=True):
        fit = with_gain(neuron, fit, fit.gain)
        if fit.region.errors > FEW_ERRORS:
            prior = straight_prior(len(fit.gain), spread, not tied)
            scored = _with_stuck(neuron, score(neuron, fit.gain, fit.decay, fit.bend, prior, WARM_GUESSES))
            fit = min(fit, scored, key=cost_of)
        found.append(fit)
    return found


def _scored(neuron: Neuron, plain: Fit, start: Fit, spread: float) -> Fit:
    """From what single lines say, from a start, and if neither is any good, from nothing."""
    fits = []
    lines = gains_from_lines(neuron)
    if lines is not None and lines[0].any():
        gain, decay = lines[0] / lines[0].mean(), lines[1]
        prior = straight_prior(len(gain), float(np.clip(gain.std(), GUESSED, LARGEST)), True)
        fits.append(score(neuron, gain, decay, plain.bend, prior, WARM_GUESSES))
    if start is not plain and (not fits or fits[0].region.errors > FEW_ERRORS):
        prior = straight_prior(len(start.gain), spread, True)
        fits.append(score(neuron, start.gain, start.decay, start.bend, prior, WARM_GUESSES))
    least = min((fit.region.errors for fit in fits), default=None)
    if least is None or least > max(FEW_ERRORS, BAD * len(plain.points(neuron)[0])):
        prior = straight_prior(len(plain.gain), WIDEST, True)
        fits.append(score(neuron, plain.gain, plain.decay, plain.bend, prior))
    return _with_stuck(neuron, min(fits, key=cost_of))


def _rescored(neuron: Neuron, fit: Fit, decay: float, spread: float) -> Fit:
    """At a leak that is given, from a fit with one of its own."""
    prior = straight_prior(len(fit.gain), spread, False)
    return _with_stuck(neuron, score(neuron, fit.gain, decay, fit.bend, prior, WARM_GUESSES))


def _with_stuck(neuron: Neuron, fit: Fit) -> Fit:
    """With those small gains at 0 that explain as much there."""
    for synapse in np.flatnonzero((fit.gain > 0) & (fit.gain < _SMALL)):
        gain = fit.gain.copy()
        gain[synapse] = 0.0
        tried = with_gain(neuron, fit, gain)
        if cost_of(tried) <= cost_of(fit):
            fit = tried
    return fit


def with_gain(neuron: Neuron, fit: Fit, gain: Floats) -> Fit:
    """The same at other gains, its region found anew."""
    moved = fit._replace(gain=gain)
    return moved._replace(region=find_region(*moved.points(neuron)))


def whole_gains(fits: Sequence[Fit]) -> list[Floats]:
    """The gains nearest to fitted ones when each synapse is stuck at 0 or sound."""
    return [(fit.gain > 0.5 * np.median(fit.gain)).astype(np.float64) for fit in fits]


def spread_of(gains: Sequence[Floats]) -> float:
    """Spread of gains around 1, those of stuck synapses left out."""
    alive = np.concatenate([gain.ravel() for gain in gains])
    alive = alive[alive > 0]
    return float(np.clip(alive.std(), NARROWEST, LARGEST)) if len(alive) else WIDEST
