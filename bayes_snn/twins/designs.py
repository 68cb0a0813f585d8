"""Questions put to every neuron at once: inputs that are 0 but for one feature ask each neuron of the first layer about
a drive of its own, and hidden neurons that are on alone do the same for the layer behind. Where a chip can be shown
real samples alone, the weights of the first layer are those under which a few of them give these drives.

A constant drive I takes a neuron through the voltages (1 - alpha^k) I, k = 1, 2, ... until it fires. Where its firing
region has an edge, the edge lies between the innermost voltages that were seen below and above; drives are chosen so
that one of these voltages falls in between, and what remains goes to the widest stretches where nothing was seen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bayes_snn.chips.contract import ChipSpec, FloatArray
from bayes_snn.twins.lif import LIFTwin
from bayes_snn.twins.membership import fires_at
from bayes_snn.twins.membrane import Floats, neurons_of
from bayes_snn.twins.recordings import Recordings
from bayes_snn.twins.regions import FAR, settled_region

_NARROW = 1e-4  # edges known so well, relative to what they are or to 1, are not asked about
_SHARE = 0.7  # of the questions, those about edges
_SHIFTS = (0.0, 0.0, 0.5, 1.0)  # of the drives, in weights of the neurons that are always on
_TRIED = 6  # drives that are weighed for each that is shown
PLANNED = 6  # given samples under one programming
_GRID = 401  # drives among which those that switch a neuron on or off are looked for


class OwnInputs:
    """Inputs that are 0 but for one feature, another in each sample.

    Attributes
    ----------
    amplitude
        What the feature is where it is not 0.
    most
        Samples under one programming.
    """

    def __init__(self, n_in: int, amplitude: float) -> None:
        self.most, self.amplitude = n_in, amplitude

    def choose(self, rng: np.random.Generator, n: int) -> Floats:
        """n samples, (n, n_in)."""
        return self.amplitude * np.eye(self.most)[rng.permutation(self.most)[:n]]

    def weights_for(self, samples: Floats, drives: Floats, gain: Floats) -> Floats:
        """Weights (n_in, n_neurons) that give each neuron its drives (n_samples, n_neurons); 0 where it is stuck."""
        wanted = np.zeros_like(gain)
        wanted[samples.argmax(axis=1)] = drives
        alive = gain > 0
        return np.where(alive, wanted / np.where(alive, gain * self.amplitude, 1.0), 0.0)


class GivenInputs:
    """Real samples (n_given, n_in), for a chip that can be shown no others. See `OwnInputs`.

    No more than PLANNED of them are shown under one programming: drives of many that are alike would take weights
    beyond any range. Weights that saturate give other drives than were wanted, which are questions as well.
    """

    def __init__(self, given: FloatArray) -> None:
        self.given = np.unique(np.asarray(given, np.float64), axis=0)
        self.most = min(PLANNED, len(self.given), self.given.shape[1])
        self.amplitude = typical_norm(self.given)

    def choose(self, rng: np.random.Generator, n: int) -> Floats:
        return self.given[rng.permutation(len(self.given))[:n]]

    def weights_for(self, samples: Floats, drives: Floats, gain: Floats) -> Floats:
        """The smallest weights that give each neuron its drives."""
        return np.stack([np.linalg.lstsq(samples * g, d)[0] for g, d in zip(gain.T, drives.T, strict=True)], axis=1)


def typical_norm(inputs: FloatArray) -> float:
    """The median of the Euclidean norms of inputs (n, n_in)."""
    return float(np.median(np.linalg.norm(inputs, axis=1)))


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
    rng: np.random.Generator, spec: ChipSpec, known: list[Known], gain: Floats, shown: OwnInputs | GivenInputs, n: int
) -> tuple[Floats, Floats]:
    """Weights (n_in, n_hidden) and inputs (n, n_in), n <= shown.most: each asks each neuron of the first layer."""
    low, high = (shown.amplitude * bound for bound in spec.weight_range)
    samples = shown.choose(rng, n)
    drives = [drives_to_ask(rng, neuron, len(samples), low, high, spec.n_steps) for neuron in known]
    return shown.weights_for(samples, np.stack(drives, axis=1), gain), samples


def ask_second(
    rng: np.random.Generator,
    spec: ChipSpec,
    hidden: list[Known],
    known: list[Known],
    gains: list[Floats],
    shown: OwnInputs | GivenInputs,
    n: int,
) -> tuple[list[Floats], Floats]:
    """Weights of two layers and inputs (n, n_in), n <= shown.most and the neurons of the layer before: in each sample
    one hidden neuron is on, and a few that are on in all of them shift the drives as far as many neurons together."""
    low, high = spec.weight_range
    switched = [switches(neuron, shown.amplitude * low, shown.amplitude * high, spec.n_steps) for neuron in hidden]
    on, off = (np.array(each) for each in zip(*switched, strict=True))
    n_hidden = len(hidden)
    always, chosen = np.split(rng.permutation(n_hidden), [n_hidden // 4])
    samples = shown.choose(rng, min(n, len(chosen)))
    chosen = chosen[: len(samples)]
    drives = np.tile(off, (len(samples), 1))
    drives[:, always] = on[always]
    drives[np.arange(len(samples)), chosen] = on[chosen]
    second = np.zeros((n_hidden, len(known)))
    for number, neuron in enumerate(known):
        each = rng.choice(_SHIFTS) * (high if rng.random() < 0.5 else low)
        shift = each * len(always)
        asked = drives_to_ask(rng, neuron, len(samples), low + shift, high + shift, spec.n_steps)
        second[always, number], second[chosen, number] = each, asked - shift
    second = np.where(gains[1] > 0, second / np.where(gains[1] > 0, gains[1], 1.0), 0.0)
    return [shown.weights_for(samples, drives, gains[0]), second], samples
