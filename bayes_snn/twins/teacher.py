"""Learning LIF neurons by teacher forcing: spikes that were seen stand for those that the twin would make.

Each neuron is then learned alone (membrane.py): its leak, the gains of its synapses, and its firing region. The
simplest of the explanations that explains what was seen is kept.
"""

from __future__ import annotations

from itertools import chain

import numpy as np

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.lif.circuit import TabulatedLayer
from bayes_snn.chips.lif.distortion import current_step
from bayes_snn.twins.contract import SPIKES, Learned
from bayes_snn.twins.leaks import cost_of_decay, find_common_decay, find_decay
from bayes_snn.twins.lif import LIFTwin
from bayes_snn.twins.membrane import Floats, Neuron, neurons_of
from bayes_snn.twins.recordings import Recordings
from bayes_snn.twins.regions import PRICE, find_region

_FEW_ERRORS = 2  # labels that a region may contradict and still be taken for exact


def fit_lif(spec: ChipSpec, recordings: Recordings, start: LIFTwin | None = None) -> LIFTwin:
    """A twin of LIF neurons that explains recordings.

    Parameters
    ----------
    spec
        Of the chip.
    recordings
        At least one presentation.
    start
        A twin to start from, learned from fewer recordings.
    """
    layers = [neurons_of(recordings, layer) for layer in range(len(spec.layers) - 1)]
    gains = [np.ones(shape) for shape in spec.weight_shapes]
    currents = [
        [neuron.currents(gain[:, n]) for n, neuron in enumerate(neurons)]
        for neurons, gain in zip(layers, gains, strict=True)
    ]
    decays, note = _leaks(list(chain(*layers)), list(chain(*currents)), start)
    ends = np.cumsum(spec.layers[1:-1])
    tabulated = [
        _layer(spec, number, neurons, drives, gain, decay)
        for number, (neurons, drives, gain, decay) in enumerate(
            zip(layers, currents, gains, np.split(decays, ends), strict=True)
        )
    ]
    return LIFTwin(spec, tabulated, Learned(SPIKES, len(recordings), len(recordings.weights), notes=(note,)))


def _leaks(neurons: list[Neuron], currents: list[Floats], start: LIFTwin | None) -> tuple[Floats, str]:
    """alpha of each neuron, and what was found."""
    before = None if start is None else float(np.median(np.concatenate([layer.decay for layer in start.layers])))
    common = find_common_decay(neurons, currents, before)
    decays = np.array([find_decay(neuron, drive, common) for neuron, drive in zip(neurons, currents, strict=True)])
    pairs = list(zip(neurons, currents, strict=True))
    gained = sum(
        cost_of_decay(*pair, common) - cost_of_decay(*pair, decay) for pair, decay in zip(pairs, decays, strict=True)
    )
    if gained <= PRICE * len(neurons):
        return np.full(len(neurons), common), f"All neurons have the leak alpha = {common:.4f}."
    return decays, f"Each neuron has a leak of its own, alpha from {decays.min():.4f} to {decays.max():.4f}."


def _layer(
    spec: ChipSpec, number: int, neurons: list[Neuron], currents: list[Floats], gain: Floats, decays: Floats
) -> TabulatedLayer:
    """A layer as the kernels take it."""
    edges = []
    for neuron, drive, decay in zip(neurons, currents, decays, strict=True):
        points = neuron.points(drive, float(np.float32(decay)))
        region = find_region(*points)
        if region.errors <= _FEW_ERRORS:  # labels that stand alone are then narrow intervals
            region = find_region(*points, price=0.0)
        edges.append(region.edges.astype(np.float32))
    largest = max(abs(bound) for bound in spec.weight_range) * max(float(gain.max()), 1e-6)
    grid = current_step(len(gain), largest) if number > 0 else np.float32(0.0)
    none = np.zeros(0, np.float32)
    return TabulatedLayer(decays.astype(np.float32), edges, gain.astype(np.float32), grid, None, none)
