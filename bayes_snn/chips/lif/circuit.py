"""A simulated chip's circuit: its frozen parameters as the kernels want them, and the weights it computes with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import ChipSpec, FloatArray, weight_matrices
from bayes_snn.chips.lif.compiled import kernel
from bayes_snn.chips.lif.distortion import Layer
from bayes_snn.chips.lif.recall import MOST_STEPS, drive_marks
from bayes_snn.chips.lif.smooth import comparator_edges, current_table
from bayes_snn.chips.rounding import clip_and_round, level_step, round_to
from bayes_snn.errors import InputError


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


class TabulatedLayer(NamedTuple):
    """What one layer of n_pre x n_post synapses and n_post neurons computes with, as `make_circuit` takes it.

    Attributes
    ----------
    decay
        (n_post,) float32, alpha.
    edges
        Of each neuron, ascending float32: it fires where an odd number of them are <= v. Empty for one that never does.
    gain
        (n_pre, n_post) float32, factor of each synapse, 0 where it is stuck.
    grid
        Resolution of the layer's weights, 0 in the first layer; see `current_step`.
    current
        (n_post, n_knots) float32, what is added to the input current, see `bend_current`; None for nothing.
    noise
        (n_post,) float32, standard deviation of the noise added to v at each step; empty without.
    """

    decay: NDArray[np.float32]
    edges: list[NDArray[np.float32]]
    gain: NDArray[np.float32]
    grid: np.float32
    current: NDArray[np.float32] | None
    noise: NDArray[np.float32]


class Programming(NamedTuple):
    """What becomes of weights that are written to a chip.

    Attributes
    ----------
    shapes
        (n_pre, n_post) of each layer.
    layers
        Those of the `Circuit`.
    saturation
        (3,) float32, the least and the largest weight, and the distance of their levels, 0 for none.
    gain, grid
        (n_weights,) and (n_layers,) float32, those of all layers, see `TabulatedLayer`; gain lies matrix by matrix.
    """

    shapes: tuple[tuple[int, int], ...]
    layers: NDArray[np.int64]
    saturation: NDArray[np.float32]
    gain: NDArray[np.float32]
    grid: NDArray[np.float32]

    def columns(self, weights: Sequence[FloatArray]) -> NDArray[np.float32]:
        """The weights that the circuit computes with, neuron by neuron; see `Circuit.starts`."""
        flat = np.concatenate([w.ravel() for w in weight_matrices(weights, self.shapes)])
        low, high, step = self.saturation
        programmed = np.empty(len(flat), np.float32)
        if not program_weights(flat, self.layers, low, high, step, self.gain, self.grid, programmed):
            raise InputError(
                "The weights hold NaN, but every weight must be a number: check the prior and the starting point."
            )
        return programmed


def make_programming(spec: ChipSpec, layers: Sequence[TabulatedLayer]) -> Programming:
    """How a chip of these layers is programmed."""
    step = level_step(spec.weight_range, spec.weight_bits)
    return Programming(
        tuple(spec.weight_shapes),
        np.array(spec.layers, np.int64),
        np.array([*spec.weight_range, step], np.float32),
        np.concatenate([layer.gain.ravel() for layer in layers]),
        np.array([layer.grid for layer in layers]),
    )


def tabulate(layer: Layer) -> TabulatedLayer:
    """A layer as `draw_layer` draws it, with its functions tabulated."""
    edges = layer_edges(layer, layer.threshold.astype(np.float32))
    current = None if layer.current is None else current_table(layer.current)
    return TabulatedLayer(layer.decay, edges, layer.gain, layer.grid, current, layer.noise)


def make_circuit(spec: ChipSpec, layers: Sequence[TabulatedLayer]) -> Circuit:
    """The circuit of a chip's layers."""
    edges = [each for layer in layers for each in layer.edges]
    tables = [layer.current for layer in layers if layer.current is not None]
    decay = np.concatenate([layer.decay for layer in layers])
    noise = np.concatenate([layer.noise for layer in layers])
    n_edges, padded = pad_edges(edges)
    table = np.concatenate(tables) if tables else np.zeros((0, 0), np.float32)
    inflow = np.float32(1.0) - decay
    sizes = np.array(spec.layers, np.int64)
    firsts = np.cumsum([0, *sizes[1:-1]])
    starts = np.cumsum([0, *np.repeat(sizes[:-1], sizes[1:])])
    n_first = spec.layers[1] if spec.n_steps <= MOST_STEPS and spec.deterministic and not len(noise) else 0
    marks = _pad_marks([drive_marks(decay[n], edges[n], spec.n_steps) for n in range(n_first)])
    return Circuit(sizes, firsts, starts, spec.n_steps, decay, inflow, n_edges, padded, table, noise, *marks)


def layer_edges(layer: Layer, thresholds: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Edges of each neuron's firing region at these thresholds, none for a silent neuron."""
    if layer.comparator is not None:
        edges = comparator_edges(layer.comparator, thresholds)
    else:
        edges = [thresholds[n : n + 1] for n in range(len(thresholds))]
    return [each[:0] if silent else each for each, silent in zip(edges, layer.silent, strict=True)]


def pad_edges(edges: list[NDArray[np.float32]]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Edges in one array, and how many each neuron has, one at least; +inf is never reached."""
    n_edges = [max(1, len(e)) for e in edges]
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


@kernel
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
                w = clip_and_round(w, low, high, step) * gain[i]
                if unit > 0:
                    w = round_to(w, unit)
                programmed[first + post * n_pre + pre] = w
                i += 1
        first += n_pre * n_post
    return True
