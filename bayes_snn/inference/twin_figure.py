"""What is wrong with a chip, as its twin has learned it: pictures of firing regions, leaks and gains.

Each is drawn on axes that the caller has made, in the caller's colours, so that a figure in a folder and a page of a
report show the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bayes_snn.chips.lif.current import TABLE_REACH
from bayes_snn.chips.lif.neuron import TAU_M, THRESHOLD
from bayes_snn.inference.figures import COLOURS
from bayes_snn.twins.conductance.neuron import JUMP, LEAK, N_SHARED, REFRACTORY
from bayes_snn.twins.conductance.twin import ConductanceTwin
from bayes_snn.twins.families import AnyTwin
from bayes_snn.twins.lif import LIFTwin
from bayes_snn.twins.regions import FAR

MOST_NEURONS = 64  # that are drawn
IDEAL_LEAK = float(np.exp(-1.0 / TAU_M))  # alpha
_REACH = 4.0  # thresholds beyond the outermost edge
_FAR = 1e3  # thresholds: where an edge stands for "always"
_FAINT = "0.3"
FIRES_WHERE = "fires where v is (thresholds)"


class Neuron(NamedTuple):
    """A neuron of a twin: its name, its layer from 0, its ascending edges, alpha, and the gains of its synapses.

    Edges are those of the voltages at which it fires; of a neuron that bends its current, of the constant currents.
    """

    name: str
    layer: int
    edges: NDArray[np.float32]
    leak: float
    gains: NDArray[np.float32]

    @property
    def does(self) -> str:
        """ "never" or "always" where it fires so, "beyond" where it fires above one voltage, else "between"."""
        near = self.edges[self.edges > -_FAR]
        if len(near) == 0:
            return "always" if len(self.edges) % 2 else "never"
        return "beyond" if len(self.edges) == 1 else "between"

    def intervals(self, high: float) -> list[tuple[float, float]]:
        """Ends of the voltages at which it fires, in thresholds, the last of them at `high` where there is none."""
        ends = [*self.edges.tolist(), *([max(high, float(self.edges[-1]))] if len(self.edges) % 2 else [])]
        return list(zip(ends[::2], ends[1::2], strict=True))


def neurons_of(twin: LIFTwin) -> list[Neuron]:
    """The neurons of a twin, layer by layer; the last ones where they are too many to be drawn."""
    last = len(twin.layers) - 1
    found = []
    for k, layer in enumerate(twin.layers):
        for n, edges in enumerate(layer.edges):
            decay = float(layer.decay[n])
            if layer.current is not None:
                edges = _edges_of_current(layer.current[n], edges, 1.0 - decay**twin.spec.n_steps)
            found.append(Neuron(f"{'output' if k == last else 'hidden'} {n}", k, edges, decay, layer.gain[:, n]))
    return found[-MOST_NEURONS:]


def _edges_of_current(table: NDArray[np.float32], edges: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Constant currents from which on a neuron fires within a presentation, or no longer does, ascending.

    table (n_knots,) is what it adds to a current, and `share` of the sum is the voltage that it comes to.
    """
    currents = np.linspace(-TABLE_REACH, TABLE_REACH, len(table))
    fires = np.searchsorted(edges, share * (currents + table), side="right") % 2 == 1
    turns = np.flatnonzero(fires[1:] != fires[:-1])
    found = 0.5 * (currents[turns] + currents[turns + 1])
    return np.asarray(np.append(FAR, found) if fires[0] else found, np.float32)


def fires_where(twin: LIFTwin) -> str:
    """What the bars of `draw_regions` are, for an axis."""
    return "fires under a constant current of (thresholds)" if twin.bends_currents else FIRES_WHERE


def voltages_shown(neurons: Sequence[Neuron]) -> tuple[float, float]:
    """The range of voltages that shows all edges."""
    finite = np.concatenate([[THRESHOLD, 0.0], *(neuron.edges for neuron in neurons)])
    finite = finite[np.abs(finite) < _FAR]
    return float(finite.min()) - _REACH, float(finite.max()) + _REACH


def draw_regions(
    axes: Any, neurons: Sequence[Neuron], colours: Sequence[str], ink: str = _FAINT, where: str = FIRES_WHERE
) -> None:
    """A row for each neuron: bars where it fires, and the threshold of an ideal one; `where` names the axis."""
    low, high = voltages_shown(neurons)
    for row, neuron in enumerate(neurons):
        bars = [(start, end - start) for start, end in neuron.intervals(high)]
        axes.broken_barh(bars, (row - 0.4, 0.8), color=colours[neuron.layer % len(colours)])
    _mark(axes, THRESHOLD, ink)
    axes.set(xlim=(low, high), xlabel=where)
    name_rows(axes, neurons)


def draw_leaks(axes: Any, neurons: Sequence[Neuron], colours: Sequence[str], ink: str = _FAINT) -> None:
    """alpha of each neuron, a row each, and that of an ideal one."""
    leaks = [neuron.leak for neuron in neurons]
    axes.scatter(leaks, range(len(neurons)), c=[colours[neuron.layer % len(colours)] for neuron in neurons], s=12)
    _mark(axes, IDEAL_LEAK, ink)
    axes.set_xlabel("alpha")
    name_rows(axes, neurons)


def draw_gains(axes: Any, neurons: Sequence[Neuron], colours: Sequence[str], ink: str = _FAINT) -> None:
    """The gain of each synapse, in the row of its neuron, and that of an ideal one."""
    for row, neuron in enumerate(neurons):
        at = np.full(len(neuron.gains), row)
        axes.plot(neuron.gains, at, ".", color=colours[neuron.layer % len(colours)], ms=3, alpha=0.5)
    _mark(axes, 1.0, ink)
    axes.set_xlabel("gain of each synapse")
    name_rows(axes, neurons)


def name_rows(axes: Any, neurons: Sequence[Neuron]) -> None:
    """The neurons' names beside their rows, from above."""
    axes.set_yticks(range(len(neurons)), [neuron.name for neuron in neurons], fontsize=7)
    axes.set_ylim(len(neurons) - 0.4, -0.6)


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
    neurons = neurons_of(twin)
    figure = Figure(figsize=(10, 1.2 + 0.22 * len(neurons)), layout="constrained")
    regions, leaks, gains = figure.subplots(1, 3, width_ratios=(3, 1, 1), sharey=True)
    draw_regions(regions, neurons, COLOURS, where=fires_where(twin))
    draw_leaks(leaks, neurons, COLOURS)
    draw_gains(gains, neurons, COLOURS)
    regions.set_title("Bars: the neuron fires. Dashed: an ideal chip.", fontsize=9, loc="left")
    for axes in (regions, leaks, gains):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _mark(axes: Any, value: float, ink: str) -> None:
    axes.axvline(value, color=ink, lw=0.9, ls="--")
