"""A simulated chip's circuit: every frozen parameter, drawn from the chip's seed, and the weights it computes with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.lif.distortion import (
    SmoothFunctions,
    comparator_edges,
    current_step,
    current_table,
    stream,
    stuck_elements,
)
from bayes_snn.chips.lif.neuron import DT, EDGE_COUNTS, THRESHOLD
from bayes_snn.chips.lif.recall import MOST_STEPS, drive_marks


class Circuit(NamedTuple):
    """All that the kernels know of a chip, neurons of all layers in one row (n_neurons = sum of layers[1:]).

    Attributes
    ----------
    layers
        (n_layers + 1,) neurons of each layer, inputs first.
    firsts, starts
        (n_layers,) the first neuron of each layer behind the inputs; (n_neurons + 1,) where the weights of each
        neuron start: programmed weights lie neuron by neuron, each neuron's in a row.
    n_steps
        Time steps of a presentation.
    decay, inflow
        (n_neurons,) alpha and 1 - alpha of each neuron.
    n_edges, edges
        (n_neurons,) and (n_neurons, max_edges): a neuron fires where an odd number of its edges are <= v.
        The ideal neuron has one edge, the threshold; that of a silent neuron is infinite.
    current_table
        (n_neurons or 0, n_knots): distortion added to the input current, tabulated; see `bend_current`.
    noise
        (n_neurons,) standard deviation of the noise added to v at each step; an empty array on a noiseless chip.
    n_marks, marks, flips, first_train
        (n_first,), (n_first, max_marks), (n_words, n_first, max_marks) and (n_words, n_first): the trains of the first
        layer as step functions of the drive, see recall.py; n_first is 0 where neurons are stepped instead.
    """

    layers: NDArray[np.int64]
    firsts: NDArray[np.int64]
    starts: NDArray[np.int64]
    n_steps: int
    decay: NDArray[np.float32]
    inflow: NDArray[np.float32]
    n_edges: NDArray[np.int64]
    edges: NDArray[np.float32]
    current_table: NDArray[np.float32]
    noise: NDArray[np.float32]
    n_marks: NDArray[np.int64]
    marks: NDArray[np.float32]
    flips: NDArray[np.uint32]
    first_train: NDArray[np.uint32]


def draw_circuit(
    spec: ChipSpec, strengths: dict[str, float], seed: int, tau_m: float
) -> tuple[Circuit, NDArray[np.float32], NDArray[np.float32]]:
    """The circuit of a chip, the gain of each synapse (n_weights,), and each layer's resolution (0 for none)."""
    low, high = spec.weight_range
    decays, edges, tables, gains, grids = [], [], [], [], []
    for layer, (n_pre, n_post) in enumerate(spec.weight_shapes):
        tau = tau_m * spread(strengths, seed, "leak", layer, n_post)
        decays.append(np.exp(-DT / tau).astype(np.float32))
        thresholds = (THRESHOLD * spread(strengths, seed, "threshold", layer, n_post)).astype(np.float32)
        edges += _edges(strengths, seed, layer, thresholds)
        if sigma := strengths.get("current"):
            g = SmoothFunctions.draw(stream(seed, "current", layer), n_post)
            tables.append(current_table(g, sigma))
        gain = spread(strengths, seed, "gain", layer, n_pre, n_post).astype(np.float32)
        # the resolution is set before synapses get stuck: it is the circuit's, not the weights'
        largest = max(abs(low), abs(high)) * float(gain.max())
        grids.append(current_step(n_pre, largest) if layer > 0 else np.float32(0.0))
        if fraction := strengths.get("stuck"):
            gain[stuck_elements(stream(seed, "stuck", layer), fraction, gain.shape)] = 0.0
        gains.append(gain.ravel())
    decay = np.concatenate(decays)
    noise = np.zeros(0, np.float32)
    if sigma := strengths.get("noise"):
        noise = (sigma * np.sqrt(1.0 - decay.astype(np.float64) ** 2)).astype(np.float32)
    n_edges, padded = pad_edges(edges)
    table = np.concatenate(tables) if tables else np.zeros((0, 0), np.float32)
    inflow = np.float32(1.0) - decay
    layers = np.array(spec.layers, np.int64)
    firsts = np.cumsum([0, *layers[1:-1]])
    starts = np.cumsum([0, *np.repeat(layers[:-1], layers[1:])])
    frozen = len(noise) == 0 and "drift" not in strengths
    n_first = spec.layers[1] if spec.n_steps <= MOST_STEPS and frozen else 0
    marks = _pad_marks([drive_marks(decay[n], edges[n], spec.n_steps) for n in range(n_first)])
    circuit = Circuit(layers, firsts, starts, spec.n_steps, decay, inflow, n_edges, padded, table, noise, *marks)
    return circuit, np.concatenate(gains), np.array(grids, np.float32)


def spread(strengths: dict[str, float], seed: int, name: str, layer: int, *shape: int) -> NDArray[np.float64]:
    """exp(sigma e) with e ~ Normal(0, 1), or ones without this distortion."""
    if name not in strengths:
        return np.ones(shape)
    return np.exp(strengths[name] * stream(seed, name, layer).normal(size=shape))


def _edges(
    strengths: dict[str, float], seed: int, layer: int, thresholds: NDArray[np.float32]
) -> list[NDArray[np.float32]]:
    """Edges of each neuron's firing region, none for a silent neuron."""
    if sigma := strengths.get("comparator"):
        g = SmoothFunctions.draw(stream(seed, "comparator", layer), len(thresholds), THRESHOLD)
        edges = comparator_edges(g, sigma, thresholds)
    else:
        edges = [thresholds[n : n + 1] for n in range(len(thresholds))]
    if fraction := strengths.get("silent"):
        silent = stuck_elements(stream(seed, "silent", layer), fraction, (len(edges),))
        edges = [e[:0] if off else e for e, off in zip(edges, silent, strict=True)]
    return edges


def pad_edges(edges: list[NDArray[np.float32]]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Edges in one array, their number rounded up to one that the kernels compile for; +inf is never reached."""
    n_edges = [next((n for n in EDGE_COUNTS if n >= len(e)), len(e)) for e in edges]
    padded = np.full((len(edges), max(n_edges)), np.inf, np.float32)
    for neuron, e in enumerate(edges):
        padded[neuron, : len(e)] = e
    return np.array(n_edges, np.int64), padded


def _pad_marks(
    found: list[tuple[NDArray[np.float32], NDArray[np.uint32], NDArray[np.uint32]]],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.uint32], NDArray[np.uint32]]:
    """Marks of all first-layer neurons in four arrays, see `Circuit`."""
    n_words = found[0][2].shape[0] if found else 1
    n_marks = [len(marks) for marks, _, _ in found]
    most = max([1, *n_marks])
    marks = np.zeros((len(found), most), np.float32)
    flips = np.zeros((n_words, len(found), most), np.uint32)
    first = np.zeros((n_words, len(found)), np.uint32)
    for neuron, (mark, flip, train) in enumerate(found):
        marks[neuron, : len(mark)] = mark
        flips[:, neuron, : len(mark)] = flip.T
        first[:, neuron] = train
    return np.array(n_marks, np.int64), marks, flips, first


@njit(cache=True, error_model="numpy")
def program_weights(weights, layers, low, high, step, gain, grid, programmed):  # type: ignore[no-untyped-def]
    """Saturate, quantise (step > 0), mismatch and round to the layer's grid (> 0); False when a weight is NaN.

    weights and gain lie matrix by matrix, (n_pre, n_post) each; programmed neuron by neuron, see `Circuit.starts`.
    """
    low, high, step = np.float32(low), np.float32(high), np.float32(step)
    i = first = 0
    for layer in range(layers.shape[0] - 1):
        unit, n_pre, n_post = grid[layer], layers[layer], layers[layer + 1]
        for pre in range(n_pre):
            for post in range(n_post):
                w = np.float32(weights[i])
                if np.isnan(w):
                    return False
                w = min(max(w, low), high)
                if step > 0:
                    w = min(max(np.rint(w / step) * step, low), high)
                w = w * gain[i]
                if unit > 0:
                    w = np.rint(w / unit) * unit
                programmed[first + post * n_pre + pre] = w
                i += 1
        first += n_pre * n_post
    return True
