"""Questions put to every neuron at once: inputs that are 0 but for one feature ask each neuron of the first layer about
a drive of its own, and hidden neurons that are on alone do the same for the layer behind.

A constant drive I takes a neuron through the voltages (1 - alpha^k) I, k = 1, 2, ... until it fires. Where its firing
region has an edge, the edge lies between the innermost voltages that were seen below and above; drives are chosen so
that one of these voltages falls in between, and what remains goes to the widest stretches where nothing was seen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.twins.lif import LIFTwin
from bayes_snn.twins.membership import fires_at
from bayes_snn.twins.membrane import Floats, neurons_of
from bayes_snn.twins.recordings import Recordings
from bayes_snn.twins.regions import FAR, settled_region

_NARROW = 1e-4  # edges known so well, relative to what they are or to 1, are not asked about
_SHARE = 0.7  # of the questions, those about edges
_SHIFTS = (0.0, 0.0, 0.5, 1.0)  # of the drives, in weights of the neurons that are always on
_TRIED = 6  # drives that are weighed for each that is shown
_GRID = 401  # drives among which those that switch a neuron on or off are looked for


class Known(NamedTuple):
    """What is known of a neuron: its decay, its edges, (n_points,) voltages seen, ascending."""

    decay: float
    edges: Floats
    voltages: Floats


def known_neurons(recordings: Recordings, twin: LIFTwin, layer: int) -> list[Known]:
    """Each neuron of a layer, counted from 0, by a twin's leaks and gains; edges are found anew."""
    learned, found = twin.layers[layer], []
    for n, neuron in enumerate(neurons_of(recordings, layer)):
        decay = float(learned.decay[n])
        voltages, fired = neuron.points(neuron.currents(learned.gain[:, n].astype(np.float64)), decay)
        found.append(Known(decay, settled_region(voltages, fired).edges, np.sort(voltages)))
    return found


def drives_to_ask(rng: np.random.Generator, neuron: Known, n: int, low: float, high: float, n_steps: int) -> Floats:
    """n constant drives between low and high that tell most about the neuron, in no order."""
    targets = _edge_targets(rng, neuron, int(_SHARE * n), low, high)
    drives = np.array([_drive_to(rng, neuron, target, low, high, n_steps) for target in targets])
    drives = drives[~np.isnan(drives)]
    return np.asarray(rng.permutation(np.append(drives, _scan(rng, neuron, n - len(drives), low, high, n_steps))))


def _edge_targets(rng: np.random.Generator, neuron: Known, n: int, low: float, high: float) -> Floats:
    """Voltages that cut the stretches in which edges lie, each stretch in as many parts."""
    edges = neuron.edges[(neuron.edges > low) & (neuron.edges < high) & (neuron.edges > FAR)]
    right = np.searchsorted(neuron.voltages, edges)
    inner = (right > 0) & (right < len(neuron.voltages))
    edges, right = edges[inner], right[inner]
    below, above = neuron.voltages[right - 1], neuron.voltages[right]
    wide = above - below > _NARROW * np.maximum(1.0, np.abs(edges))
    below, above = below[wide], above[wide]
    if not len(below) or n < 1:
        return np.zeros(0)
    each = max(1, n // len(below))
    chosen = rng.permutation(len(below))[:n]
    cuts = (np.arange(each) + rng.random()) / each
    return (below[chosen, None] + cuts * (above - below)[chosen, None]).ravel()[:n]


def _scan(rng: np.random.Generator, neuron: Known, n: int, low: float, high: float, n_steps: int) -> Floats:
    """Drives that come to voltages furthest from all that were seen."""
    drives = rng.uniform(low, high, _TRIED * max(n, 1))
    voltages = drives[:, None] * (1.0 - neuron.decay ** np.arange(1, n_steps + 1))
    fired = fires_at(neuron.edges, voltages)
    over = np.cumsum(fired, axis=1) - fired > 0
    seen, chosen = np.concatenate([[-np.inf], neuron.voltages, [np.inf]]), np.empty(n)
    right = np.searchsorted(seen, voltages)
    distance = np.minimum(voltages - seen[right - 1], seen[right] - voltages)
    distance[over] = 0.0
    for number in range(n):
        best = int(distance.max(axis=1).argmax())
        chosen[number] = drives[best]
        for voltage in voltages[best][~over[best]]:
            np.minimum(distance, np.abs(voltages - voltage), out=distance)
    return chosen


def _drive_to(rng: np.random.Generator, neuron: Known, target: float, low: float, high: float, n_steps: int) -> float:
    """A drive under which the neuron comes to a voltage before it has fired; nan where there is none."""
    rise = 1.0 - neuron.decay ** np.arange(1, n_steps + 1)
    drives = target / rise
    for k in rng.permutation(n_steps):
        if low <= drives[k] <= high and not fires_at(neuron.edges, drives[k] * rise[:k]).any():
            return float(drives[k])
    return float("nan")


def switches(neuron: Known, low: float, high: float, n_steps: int) -> tuple[float, float]:
    """A drive under which the neuron fires most, at each step if it can, and one under which it never does, if any;
    of those that do, the ones furthest from doing something else."""
    drives = np.append(0.0, np.linspace(low, high, _GRID))
    rise = 1.0 - neuron.decay ** np.arange(1, n_steps + 1)
    voltages = drives[:, None] * rise
    fired = fires_at(neuron.edges, voltages)
    first = np.where(fired.any(axis=1), fired.argmax(axis=1), n_steps)  # under a constant drive the rest repeats it
    distance = np.abs(voltages[:, :, None] - neuron.edges).min(axis=2, initial=1e3)
    margin = np.array([distance[d, : min(first[d] + 1, n_steps)].min() for d in range(len(drives))])
    on, off = (np.flatnonzero(first == extreme) for extreme in (first.min(), first.max()))
    return float(drives[on[margin[on].argmax()]]), float(drives[off[margin[off].argmax()]])


def ask_first(
    rng: np.random.Generator, spec: ChipSpec, known: list[Known], gain: Floats, amplitude: float, n: int
) -> tuple[Floats, Floats]:
    """Weights (n_in, n_hidden) and inputs (n, n_in), n <= n_in: each sample asks each neuron of the first layer."""
    low, high = (amplitude * bound for bound in spec.weight_range)
    rows = rng.permutation(spec.layers[0])[:n]
    drives = np.zeros((spec.layers[0], len(known)))
    for number, neuron in enumerate(known):
        drives[rows, number] = drives_to_ask(rng, neuron, len(rows), low, high, spec.n_steps)
    return _weights_for(drives, gain, amplitude), amplitude * np.eye(spec.layers[0])[rows]


def ask_second(
    rng: np.random.Generator,
    spec: ChipSpec,
    hidden: list[Known],
    known: list[Known],
    gains: list[Floats],
    amplitude: float,
    n: int,
) -> tuple[list[Floats], Floats]:
    """Weights of two layers and inputs (n, n_in), n <= the neurons of each layer before: in each sample one hidden
    neuron is on, and a few that are on in all of them shift the drives as far as many neurons together would."""
    low, high = spec.weight_range
    switched = [switches(neuron, amplitude * low, amplitude * high, spec.n_steps) for neuron in hidden]
    on, off = (np.array(each) for each in zip(*switched, strict=True))
    n_in, n_hidden = spec.layers[:2]
    order = rng.permutation(n_hidden)
    always, chosen = np.split(order, [n_hidden // 4])
    rows, chosen = rng.permutation(n_in)[: min(n, len(chosen))], chosen[: min(n, n_in)]
    drives = np.tile(off, (n_in, 1))
    drives[:, always] = on[always]
    drives[rows, chosen] = on[chosen]
    second = np.zeros((n_hidden, len(known)))
    for number, neuron in enumerate(known):
        each = rng.choice(_SHIFTS) * (high if rng.random() < 0.5 else low)
        shift = each * len(always)
        asked = drives_to_ask(rng, neuron, len(rows), low + shift, high + shift, spec.n_steps)
        second[always, number], second[chosen, number] = each, asked - shift
    second = np.where(gains[1] > 0, second / np.where(gains[1] > 0, gains[1], 1.0), 0.0)
    return [_weights_for(drives, gains[0], amplitude), second], amplitude * np.eye(n_in)[rows]


def _weights_for(drives: Floats, gain: Floats, amplitude: float) -> Floats:
    """Weights that give these drives to inputs of one feature; 0 where a synapse is stuck."""
    alive = gain > 0
    return np.where(alive, drives / np.where(alive, gain * amplitude, 1.0), 0.0)
