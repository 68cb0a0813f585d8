"""Learning a twin of the family `conductance` from recordings, neuron by neuron, layer by layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.twins.conductance import neuron as names
from bayes_snn.twins.conductance.fitting import SHARPNESS, Heard, Prior, find_start, fit_from, pooled, vague
from bayes_snn.twins.conductance.neuron import FRACTIONS
from bayes_snn.twins.conductance.teacher import teach
from bayes_snn.twins.conductance.twin import ConductanceTwin, held_weights
from bayes_snn.twins.contract import SPIKES, Learned
from bayes_snn.twins.recordings import Recordings

MOST_PRESENTATIONS = 8_000  # the latest ones, that are learned from

Floats = NDArray[np.float64]


def fit_conductance(spec: ChipSpec, recordings: Recordings, start: ConductanceTwin | None = None) -> ConductanceTwin:
    """A twin of neurons with conductances that explains recordings.

    Parameters
    ----------
    spec
        Of the chip.
    recordings
        At least one presentation.
    start
        A twin to start from, learned from fewer recordings.
    """
    latest = slice(-MOST_PRESENTATIONS, None)
    programmed = recordings.programmed[latest]
    spikes = [np.ascontiguousarray(layer[latest].transpose(2, 0, 1)) for layer in recordings.spikes()]
    held = held_weights(spec, recordings.matrices())
    layers: list[Floats] = []
    times: Floats = np.zeros(0)
    with threadpool_limits(1):  # matrices are small
        for number, fired in enumerate(spikes):
            if number == 0:
                currents = _currents(recordings.inputs[latest].astype(np.float64), held[0], programmed)
                heard = [_of_first(currents[:, n], fired[n]) for n in range(len(fired))]
            else:
                arrivals = arriving(spikes[number - 1], times)
                heard = [_of_later(arrivals, held[number][:, :, n][programmed], fired[n]) for n in range(len(fired))]
            known = None if start is None else start.parameters[number]
            layers.append(_fit_layer(heard, layers[0] if layers else None, known))
            times = np.zeros(fired.shape)
            for n, each in enumerate(heard):
                teach(layers[-1][n], *each, SHARPNESS[-1], False, times[n])
    notes = (_in_words(layers),)
    return ConductanceTwin(spec, layers, Learned(SPIKES, len(recordings), len(recordings.weights), notes=notes))


def _fit_layer(heard: list[Heard], first_layer: Floats | None, known: Floats | None) -> Floats:
    """Parameters (n_neurons, n_parameters) of a layer, from those `known` of it."""
    first = first_layer is None
    if known is None:
        prior = vague(True) if first_layer is None else pooled(first_layer, False)
        known = np.stack([find_start(each, prior) for each in heard])
        known = _fitted(heard, prior, known)
        if not first:
            return known
    prior = pooled(known if first_layer is None else first_layer, first)
    # one that went astray starts anew where the others are
    other = prior.mean if first else None
    return _fitted(heard, prior, known, other, SHARPNESS[1:])


def _fitted(
    heard: list[Heard],
    prior: Prior,
    known: Floats,
    other: Floats | None = None,
    sharpness: tuple[float, ...] = SHARPNESS,
) -> Floats:
    fits = []
    for each, p in zip(heard, known, strict=True):
        starts = [p] if other is None else [p, other]
        fits.append(fit_from(each, prior, starts, sharpness).p)
    return np.stack(fits)


def arriving(spikes: NDArray[np.bool_], times: Floats) -> Floats:
    """What each spike gives to its step and to the next, by when in its step it was.

    Parameters: spikes (n_neurons, n_presentations, n_steps) and the part of the step before each, of the same shape.
    """
    part = np.rint(times * FRACTIONS) / FRACTIONS
    arrivals = np.where(spikes, 1.0 - part, 0.0)
    arrivals[:, :, 1:] += np.where(spikes, part, 0.0)[:, :, :-1]
    return arrivals


def _currents(inputs: Floats, held: Floats, programmed: NDArray[np.int64]) -> Floats:
    """Input currents (n_presentations, n_neurons), from weights (n_programmings, n_in, n_neurons)."""
    currents = np.empty((len(inputs), held.shape[2]))
    for row in np.unique(programmed):
        shown = programmed == row
        currents[shown] = inputs[shown] @ held[row]
    return currents


def _of_first(currents: Floats, spikes: NDArray[np.bool_]) -> Heard:
    nothing = np.zeros((len(currents), 1))
    return Heard(True, np.ascontiguousarray(currents), nothing, nothing, spikes)


def _of_later(arrivals: Floats, weights: Floats, spikes: NDArray[np.bool_]) -> Heard:
    """weights (n_presentations, n_pre) of one neuron."""
    excited, inhibited = (np.einsum("jst,sj->st", arrivals, np.maximum(sign * weights, 0.0)) for sign in (1.0, -1.0))
    return Heard(False, np.zeros(len(weights)), excited, inhibited, spikes)


def _in_words(layers: list[Floats]) -> str:
    leaks = np.exp(-np.exp(np.concatenate([layer[:, names.LEAK] for layer in layers])))
    rests = np.exp(np.concatenate([layer[:, names.REFRACTORY] for layer in layers]))
    return (
        f"Each neuron has a leak of its own, alpha from {leaks.min():.4f} to {leaks.max():.4f}, and rests after a "
        f"spike, {rests.min():.1f} to {rests.max():.1f} steps."
    )
