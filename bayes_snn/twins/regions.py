"""The firing region of a neuron, from voltages at which it fired and voltages at which it did not.

Along the sorted voltages the labels are those of a union of intervals. The fewest intervals that contradict the fewest
labels are found by dynamic programming, as a hidden Markov chain of two states is decoded (Viterbi, IEEE Trans. Inf.
Theory 1967): each contradicted label costs 1, each edge `price`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.lif.compiled import kernel
from bayes_snn.twins.membrane import Floats

PRICE = 2.0  # of an edge, in labels: a label that stands alone is taken for wrong
FEW_ERRORS = 2  # labels that a region may contradict and still be taken for exact
FAR = -1e6  # an edge below all voltages


class Region(NamedTuple):
    """A union of intervals.

    Attributes
    ----------
    edges
        Ascending; the neuron fires where an odd number of them are <= v.
    widths
        (n_edges,) from the innermost voltage below to the one above: an edge lies somewhere between.
    errors
        Labels that it contradicts.
    """

    edges: Floats
    widths: Floats
    errors: int

    def cost(self, price: float = PRICE) -> float:
        """Errors, and what the edges cost."""
        return self.errors + price * len(self.edges)


def find_region(voltages: Floats, fired: NDArray[np.bool_], price: float = PRICE, heavy: float = 1.0) -> Region:
    """The region that explains points (n_points,) at the lowest cost; a spike that it contradicts costs `heavy`."""
    if not len(voltages):
        return Region(np.zeros(0), np.zeros(0), 0)
    v, labels = _in_order(voltages, fired)
    state = np.empty(len(v), np.bool_)
    _decode(labels, price, heavy, np.empty((len(v), 2), np.bool_), state)
    turns = np.flatnonzero(state[1:] != state[:-1])
    edges, widths = 0.5 * (v[turns] + v[turns + 1]), v[turns + 1] - v[turns]
    if state[0]:
        edges, widths = np.append(FAR, edges), np.append(0.0, widths)
    return Region(edges, widths, int((state != labels).sum()))


def judged(region: Region, voltages: Floats, fired: NDArray[np.bool_]) -> Region:
    """The same edges, with the labels that they contradict, and the widths that points leave them."""
    v = np.sort(voltages)
    above = np.searchsorted(v, region.edges)
    widths = np.append(v, np.inf)[above] - np.append(-np.inf, v)[above]
    inside = np.searchsorted(region.edges, voltages, side="right") % 2 == 1
    return Region(region.edges, np.where(np.isfinite(widths), widths, 0.0), int((inside != fired).sum()))


def settled_region(voltages: Floats, fired: NDArray[np.bool_]) -> Region:
    """The region that a neuron is given in the end.

    With few errors, labels that stand alone are narrow intervals; with many, they are what noise or something that was
    not learned makes of an edge, and feigns runs of labels as long as the root of their number.
    """
    region = find_region(voltages, fired)
    if region.errors <= FEW_ERRORS:
        return find_region(voltages, fired, 0.0)
    return find_region(voltages, fired, PRICE + np.sqrt(region.errors))


def _in_order(voltages: Floats, fired: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
    """Voltages, ascending, and their labels.

    A label is the last bit of its voltage meanwhile: NumPy sorts numbers faster than it finds their order.
    """
    bits = np.ascontiguousarray(voltages, np.float64).view(np.int64)
    marked = np.sort(((bits & ~1) | fired).view(np.float64))
    return marked, (marked.view(np.int64) & 1).astype(np.bool_)


@kernel
def _decode(labels, price, heavy, came, state):  # type: ignore[no-untyped-def]
    """Fill the cheapest sequence of states, (n_points,), for labels (n_points,).

    came (n_points, 2) bool is room: whether the cheapest way to each state led from the other one.
    """
    n = labels.shape[0]
    silent, firing = 0.0, price
    for i in range(n):
        came[i, 0], came[i, 1] = firing + price < silent, silent + price < firing
        silent, firing = min(silent, firing + price), min(firing, silent + price)
        if labels[i]:
            silent += heavy
        else:
            firing += 1.0
    now = firing < silent
    for i in range(n - 1, -1, -1):
        state[i] = now
        now ^= came[i, np.int64(now)]
