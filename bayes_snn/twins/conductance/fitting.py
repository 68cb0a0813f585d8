"""Parameters of one neuron from what it received and did: penalised maximum likelihood by Levenberg and Marquardt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayes_snn.twins.conductance import neuron as names
from bayes_snn.twins.conductance.teacher import teach

Floats = NDArray[np.float64]

SHARPNESS = (8.0, 25.0, 80.0)  # of the logistic labels, one after the other: v - theta is known better and better
_ITERATIONS = 40
_DAMPINGS = (1e-4, 1e6)
_ENOUGH = 1e-4  # of the loss, gained in an iteration: too little to go on
_HELD = 1e-6  # standard deviation of a parameter that is not to move
_FEW = 400  # presentations that tell where to start
_NARROW = 0.15  # of a vague prior, how narrow that of a chip's neurons is at least

# where a neuron that nothing is known of starts, and how far it may be from there, one standard deviation
_START = {
    names.LEAK: (np.log(0.1), 0.7),
    names.OFFSET: (0.0, 0.03),
    names.ADAPT: (np.log(0.02), 0.7),
    names.JUMP: (0.005, 0.02),
    names.COUPLING: (0.0, 0.1),
    names.REFRACTORY: (np.log(1.5), 0.5),
    names.RESET: (0.0, 0.3),
    names.BEND: (0.0, 0.5),
    names.ONSET: (0.8, 0.1),
    names.H1: (0.0, 0.5),
    names.H2: (0.0, 0.5),
    names.H3: (0.0, 0.5),
}
_FIRST = {names.GAIN: (0.1, 0.1)}
_LATER = {
    names.DECAY_E: (np.log(0.4), 0.7),
    names.REVERSAL_E: (3.0, 1.0),
    names.DECAY_I: (np.log(0.4), 0.7),
    names.REVERSAL_I: (-1.0, 0.7),
    names.H4: (0.0, 0.5),
    names.H5: (0.0, 0.5),
    names.H6: (0.0, 0.5),
}
_SYNAPSE = 0.1  # spread of synapses' strengths
_TRIED_REFRACTORY, _TRIED_LEAKS, _TRIED_SYNAPSES = (1.2, 2.0, 3.0), (0.07, 0.15), (0.02, 0.05, 0.1)
_SYNAPSES = (names.E0, names.E1, names.E2, names.I0, names.I1, names.I2)
# what is fitted before all the rest, at the lowest sharpness: each starts where those before it ended
_STAGES_OF_FIRST = ((names.GAIN, names.LEAK, names.OFFSET), (names.JUMP, names.REFRACTORY))
_STAGES_OF_LATER = (_SYNAPSES, (names.LEAK, names.OFFSET, *_LATER))


class Heard(NamedTuple):
    """What one neuron received and did, see `teach`."""

    first: bool
    x: Floats
    excited: Floats
    inhibited: Floats
    spikes: NDArray[np.bool_]

    def part(self, n: int) -> Heard:
        """The first n presentations, all where there are fewer."""
        return Heard(self.first, self.x[:n], self.excited[:n], self.inhibited[:n], self.spikes[:n])


class Prior(NamedTuple):
    """Normal, independent: (n,) means and standard deviations."""

    mean: Floats
    sd: Floats


class Fitted(NamedTuple):
    """Parameters (n,), and minus their log-likelihood and log prior."""

    p: Floats
    loss: float


def vague(first: bool) -> Prior:
    """What is known of neurons of a chip that was never seen."""
    known = _START | (_FIRST if first else _LATER)
    if not first:
        known |= dict.fromkeys(_SYNAPSES, (0.0, _SYNAPSE))
    pairs = np.array([known[n] for n in range(names.N_FIRST if first else names.N_LATER)])
    return Prior(pairs[:, 0], pairs[:, 1])


def pooled(parameters: Floats, first: bool) -> Prior:
    """What neurons (n_neurons, n_parameters) of a chip tell of another one: all are of one kind.

    first
        Whether they are of the first layer; what they have in common with later ones is told in either case.
    """
    prior = vague(first)
    middle = np.median(parameters, axis=0)
    sd = np.maximum(1.5 * np.median(np.abs(parameters - middle), axis=0), _NARROW * vague(True).sd)
    shared = names.N_FIRST if first else names.N_SHARED
    mean, spread = prior.mean.copy(), prior.sd.copy()
    mean[:shared], spread[:shared] = middle[:shared], sd[:shared]
    return Prior(mean, spread)


def fit_from(heard: Heard, prior: Prior, starts: Sequence[Floats], sharpness: tuple[float, ...] = SHARPNESS) -> Fitted:
    """The best of the fits from these parameters, each with ever sharper labels."""
    fits = []
    for p in starts:
        fitted = Fitted(p, np.inf)
        for beta in sharpness:
            fitted = _descend(heard, prior, fitted.p, beta)
        fits.append(fitted)
    return min(fits, key=_loss_of)


def find_start(heard: Heard, prior: Prior) -> Floats:
    """Parameters to start from where none are known, fitted a few after the other to a few presentations."""
    few, fits = heard.part(_FEW), []
    for p in _places(heard.first, prior):
        fitted = Fitted(p, np.inf)
        free: tuple[int, ...] = ()
        for stage in _STAGES_OF_FIRST if heard.first else _STAGES_OF_LATER:
            free = (*free, *stage)
            fitted = _descend(few, _held(prior, fitted.p, free), fitted.p, SHARPNESS[0])
        fits.append(fitted)
    best = min(fits, key=_loss_of).p
    if not heard.first:
        return best
    free = tuple(n for n in range(names.N_FIRST) if n not in (names.BEND, names.ONSET))
    return _descend(heard, _held(prior, best, free), best, SHARPNESS[0]).p


def _loss_of(fitted: Fitted) -> float:
    return fitted.loss


def _places(first: bool, prior: Prior) -> list[Floats]:
    places = []
    if first:
        for refractory in _TRIED_REFRACTORY:
            for leak in _TRIED_LEAKS:
                p = prior.mean.copy()
                p[[names.REFRACTORY, names.LEAK, names.GAIN]] = np.log(refractory), np.log(leak), leak
                places.append(p)
    else:
        for strength in _TRIED_SYNAPSES:
            p = prior.mean.copy()
            p[[names.E1, names.I1]] = strength
            places.append(p)
    return places


def _held(prior: Prior, p: Floats, free: Sequence[int]) -> Prior:
    """The prior, with all other parameters where they are."""
    mean, sd = p.copy(), np.full(len(p), _HELD)
    mean[list(free)], sd[list(free)] = prior.mean[list(free)], prior.sd[list(free)]
    return Prior(mean, sd)


def _descend(heard: Heard, prior: Prior, p: Floats, sharpness: float) -> Fitted:
    """Levenberg's and Marquardt's steps on the expected Hessian (Quart. Appl. Math. 2, 1944; SIAM J. 11, 1963)."""
    precision, times = prior.sd**-2.0, np.empty(heard.spikes.shape)

    def objective(q: Floats, derive: bool) -> tuple[float, Floats, Floats]:
        loss, gradient, hessian = teach(q, *heard, sharpness, derive, times)
        away = q - prior.mean
        return loss + 0.5 * float(precision @ away**2), gradient + precision * away, hessian + np.diag(precision)

    loss, gradient, hessian = objective(p, True)
    damping = 1e-2
    for _ in range(_ITERATIONS):
        before, found = loss, np.inf
        while damping < _DAMPINGS[1]:
            tried = p - np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), gradient)
            found = objective(tried, False)[0]
            if found < loss:
                break
            damping *= 4.0
        if not found < loss:
            break
        p, damping = tried, max(damping / 5.0, _DAMPINGS[0])
        loss, gradient, hessian = objective(p, True)
        if before - loss < _ENOUGH * loss:
            break
    return Fitted(p, loss)
