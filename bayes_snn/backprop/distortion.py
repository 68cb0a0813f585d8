"""Random distortions of a chip's family and strength, for noise-aware training; the chip's own stay unknown.

They are drawn as a chip's are, by `draw_layer`, and tabulated here. Drift never ends: what is drawn is a chip after
1,000 runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.lif.current import TABLE_REACH
from bayes_snn.chips.lif.distortion import DRIFT_RUNS, Layer, draw_layer
from bayes_snn.chips.lif.smooth import N_FEATURES, SmoothFunctions

KNOTS = 16  # to the unit of the threshold, the length-scale of the smooth functions

Array = NDArray[np.float32]
NO_TABLE: Array = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class LayerDistortion:
    """What one layer of n_pre x n_post synapses and n_post neurons computes with.

    Attributes
    ----------
    decay, threshold
        (n_post,) alpha and theta of each neuron; an infinite threshold silences it.
    gain
        (n_pre, n_post) factor of each synapse, 0 where it is stuck; None where all are 1.
    grid
        Resolution of the layer's weights, 0 in the first layer; see `current_step`.
    current, comparator
        (n_post, n_knots) what is added to I and to v, over +-TABLE_REACH and +-reach; (0, 0) for nothing.
    reach
        Beyond it no comparator's addition can decide a spike.
    noise
        (n_post,) standard deviation of the noise added to v at each step; None without.
    """

    decay: Array
    threshold: Array
    gain: Array | None
    grid: np.float32
    current: Array
    comparator: Array
    reach: float
    noise: Array | None


def draw_distortion(
    strengths: Mapping[str, float], spec: ChipSpec, tau_m: float, stream_of: Callable[[str, int], np.random.Generator]
) -> list[LayerDistortion]:
    """One distorted circuit, layer by layer.

    The parameters are those of `draw_layer`.
    """
    drawn = [draw_layer(strengths, spec, n, tau_m, stream_of, DRIFT_RUNS) for n in range(len(spec.weight_shapes))]
    return [_tabulated(layer) for layer in drawn]


def _tabulated(layer: Layer) -> LayerDistortion:
    threshold = layer.threshold.astype(np.float32)
    current, comparator, reach = NO_TABLE, NO_TABLE, 0.0
    if layer.comparator is not None:
        reach = float(threshold.max()) + layer.comparator.sigma * np.sqrt(2.0 * N_FEATURES)
        comparator = tabulate(layer.comparator, reach)
    if layer.current is not None:
        current = tabulate(layer.current, TABLE_REACH)
    threshold[layer.silent] = np.inf
    gain = None if (layer.gain == 1.0).all() else layer.gain
    noise = layer.noise if len(layer.noise) else None
    return LayerDistortion(layer.decay, threshold, gain, layer.grid, current, comparator, reach, noise)


def tabulate(g: SmoothFunctions, reach: float) -> Array:
    """sigma g of each neuron at equidistant knots over [-reach, reach]: (n_neurons, n_knots), in single precision."""
    knots = np.linspace(-reach, reach, max(2, int(np.ceil(2 * reach * KNOTS)) + 1), dtype=np.float32)
    total = np.zeros((len(g.frequencies), len(knots)), np.float32)
    for k in range(N_FEATURES):
        total += np.cos(
            np.multiply.outer(g.frequencies[:, k].astype(np.float32), knots) + g.phases[:, k : k + 1].astype(np.float32)
        )
    return total * np.float32(g.sigma * np.sqrt(2.0 / N_FEATURES))
