"""What is wrong with a chip, as its twin has learned it: a picture of firing regions, leaks and gains."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bayes_snn.chips.lif.neuron import TAU_M, THRESHOLD
from bayes_snn.inference.figures import COLOURS
from bayes_snn.twins.conductance.neuron import JUMP, LEAK, N_SHARED, REFRACTORY
from bayes_snn.twins.conductance.twin import ConductanceTwin
from bayes_snn.twins.families import AnyTwin
from bayes_snn.twins.lif import LIFTwin

MOST_NEURONS = 64  # that are drawn
_REACH = 4.0  # thresholds beyond the outermost edge
_FAR = 1e3  # thresholds: where an edge stands for "always"


def draw_twin(twin: AnyTwin) -> Figure:
    """What a twin has learned of each neuron: of LIF neurons beside those of an ideal chip."""
    return _draw_lif(twin) if isinstance(twin, LIFTwin) else _draw_conductance(twin)


def _draw_conductance(twin: ConductanceTwin) -> Figure:
    """The alpha of each neuron, how long it rests after a spike, and how its adaptation grows by one."""
    layers = twin.parameters
    labels = [
        (k, f"{'output' if k == len(layers) - 1 else 'hidden'} {i}")
        for k, layer in enumerate(layers)
        for i in range(len(layer))
    ][-MOST_NEURONS:]
    colours = [COLOURS[k % len(COLOURS)] for k, _ in labels]
    shared = np.concatenate([layer[:, :N_SHARED] for layer in layers])[-MOST_NEURONS:]
    figure = Figure(figsize=(10, 1.2 + 0.22 * len(labels)), layout="constrained")
    panels = (
        ("alpha", np.exp(-np.exp(shared[:, LEAK]))),
        ("rests after a spike (steps)", np.exp(shared[:, REFRACTORY])),
        ("adaptation at a spike (thresholds a step)", shared[:, JUMP]),
    )
    for axis, (name, values) in zip(figure.subplots(1, len(panels), sharey=True), panels, strict=True):
        axis.scatter(values, np.arange(len(labels)), c=colours, s=12)
        axis.set(xlabel=name, yticks=range(len(labels)))
        axis.set_yticklabels([label for _, label in labels], fontsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    axis.invert_yaxis()
    return figure


def _draw_lif(twin: LIFTwin) -> Figure:
    """Where each neuron fires, its alpha, and the gains of its synapses, beside those of an ideal chip."""
    layers = twin.layers
    edges = [each for layer in layers for each in layer.edges][-MOST_NEURONS:]
    decay = np.concatenate([layer.decay for layer in layers])[-MOST_NEURONS:]
    gains = [layer.gain[:, n] for layer in layers for n in range(layer.gain.shape[1])][-MOST_NEURONS:]
    of_layer = np.concatenate([np.full(len(layer.decay), n) for n, layer in enumerate(layers)])[-MOST_NEURONS:]
    n = len(edges)
    figure = Figure(figsize=(10, 1.2 + 0.22 * n), layout="constrained")
    regions, leaks, spread = figure.subplots(1, 3, width_ratios=(3, 1, 1), sharey=True)
    finite = np.concatenate([[THRESHOLD, 0.0], *edges])
    finite = finite[np.abs(finite) < _FAR]
    low, high = float(finite.min()) - _REACH, float(finite.max()) + _REACH
    for neuron, each in enumerate(edges):
        ends = [*each.tolist(), *([high] if len(each) % 2 else [])]
        bars = [(a, b - a) for a, b in zip(ends[::2], ends[1::2], strict=True)]
        colour = COLOURS[int(of_layer[neuron]) % len(COLOURS)]
        regions.broken_barh(bars, (neuron - 0.4, 0.8), color=colour)
        spread.plot(gains[neuron], np.full(len(gains[neuron]), neuron), ".", color=colour, ms=3, alpha=0.5)
    leaks.scatter(decay, np.arange(n), c=[COLOURS[int(k) % len(COLOURS)] for k in of_layer], s=12)
    ideal = {"color": "0.3", "lw": 0.9, "ls": "--"}
    regions.axvline(THRESHOLD, **ideal)
    leaks.axvline(float(np.exp(-1.0 / TAU_M)), **ideal)
    spread.axvline(1.0, **ideal)
    labels = [
        f"{'output' if k == len(layers) - 1 else 'hidden'} {i}"
        for k, layer in enumerate(layers)
        for i in range(len(layer.decay))
    ][-MOST_NEURONS:]
    regions.set(xlim=(low, high), xlabel="fires where v is (thresholds)", yticks=range(n))
    regions.set_yticklabels(labels, fontsize=7)
    leaks.set_xlabel("alpha")
    spread.set_xlabel("gain of each synapse")
    regions.invert_yaxis()
    regions.set_title("Bars: the neuron fires. Dashed: an ideal chip.", fontsize=9, loc="left")
    for axis in (regions, leaks, spread):
        axis.spines[["top", "right"]].set_visible(False)
    return figure
