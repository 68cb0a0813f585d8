"""One time step of a leaky integrate-and-fire neuron, GROUP samples at once (`bayes_snn.chips.lif.lanes`).

The arithmetic is float32 in a stated order, without fused multiply-add, so that a plain NumPy loop gives the same
spikes (tests/helpers/reference.py).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from bayes_snn.chips.lif.compiled import inlined
from bayes_snn.chips.lif.lanes import splat, where

DT = 1.0  # ms
TAU_M = -DT / np.log(0.9)  # ms
THRESHOLD = 1.0


class Cell(NamedTuple):
    """What one neuron computes with: alpha, 1 - alpha, and its edges, (n_edges,) float32."""

    decay: np.float32
    inflow: np.float32
    edges: NDArray[np.float32]


@inlined
def cell_of(circuit, neuron):  # type: ignore[no-untyped-def]
    """The `Cell` of a neuron of a `Circuit`."""
    edges = circuit.edges[neuron, : circuit.n_edges[neuron]]
    return Cell(circuit.decay[neuron], circuit.inflow[neuron], edges)


@register_jitable
def integrate(v, drive, decay):  # type: ignore[no-untyped-def]
    """One step of the membrane, alpha v + drive with drive = (1 - alpha) I; the NumPy reference calls it too."""
    return decay * v + drive


@inlined
def fires(v, edges):  # type: ignore[no-untyped-def]
    """Where an odd number of edges (n_edges,), at least one, are <= v."""
    odd = v >= splat(edges[0])
    for e in range(1, edges.shape[0]):
        odd = odd ^ (v >= splat(edges[e]))
    return odd


@inlined
def advance(v, train, drive, decay, edges, bit):  # type: ignore[no-untyped-def]
    """Integrate, fire and reset: the new v, and the spike train with `bit` set where the neuron fired."""
    v = integrate(v, drive, decay)
    fired = fires(v, edges)
    return where(fired, splat(np.float32(0.0)), v), where(fired, train | bit, train)
