"""Random distortions of a chip's family and strength, for noise-aware training; the chip's own stay unknown.

Each is drawn as distortion.py draws a chip's; DISTORTIONS gives the equations. Drift never ends: what
is drawn is a chip after 1,000 runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.lif.current import TABLE_REACH
from bayes_snn.chips.lif.distortion import N_FEATURES, SmoothFunctions, current_step, stuck_elements
from bayes_snn.chips.lif.neuron import DT, THRESHOLD

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
    strengths: Mapping[str, float], spec: ChipSpec, tau_m: float, stream: Callable[[str, int], np.random.Generator]
) -> list[LayerDistortion]:
    """One distorted circuit, layer by layer.

    Parameters
    ----------
    strengths
        Strength of each distortion by name, as `check_distortions` returns them; {} is the ideal chip.
    tau_m
        Membrane time constant in ms.
    stream
        Random stream of the distortion of this name in this layer.
    """
    return [_draw_layer(strengths, spec, tau_m, stream, layer) for layer in range(len(spec.weight_shapes))]


def _draw_layer(
    strengths: Mapping[str, float],
    spec: ChipSpec,
    tau_m: float,
    stream: Callable[[str, int], np.random.Generator],
    layer: int,
) -> LayerDistortion:
    n_pre, n_post = spec.weight_shapes[layer]

    def spread(name: str, *shape: int) -> NDArray[np.float64]:
        return np.exp(strengths[name] * stream(name, layer).normal(size=shape)) if name in strengths else np.ones(shape)

    decay = np.exp(-DT / (tau_m * spread("leak", n_post))).astype(np.float32)
    threshold = (THRESHOLD * spread("threshold", n_post) * spread("drift", n_post)).astype(np.float32)
    current, comparator, reach = NO_TABLE, NO_TABLE, 0.0
    if sigma := strengths.get("comparator"):
        g = SmoothFunctions.draw(stream("comparator", layer), n_post, THRESHOLD)
        reach = float(threshold.max()) + sigma * np.sqrt(2.0 * N_FEATURES)
        comparator = tabulate(g, sigma, reach)
    if sigma := strengths.get("current"):
        current = tabulate(SmoothFunctions.draw(stream("current", layer), n_post), sigma, TABLE_REACH)
    if fraction := strengths.get("silent"):
        threshold[stuck_elements(stream("silent", layer), fraction, (n_post,))] = np.inf
    gain = spread("gain", n_pre, n_post).astype(np.float32)
    largest = max(abs(bound) for bound in spec.weight_range) * float(gain.max())
    grid = current_step(n_pre, largest) if layer > 0 else np.float32(0.0)
    if fraction := strengths.get("stuck"):
        gain[stuck_elements(stream("stuck", layer), fraction, gain.shape)] = 0.0
    noise = None
    if sigma := strengths.get("noise"):
        noise = (sigma * np.sqrt(1.0 - decay.astype(np.float64) ** 2)).astype(np.float32)
    ideal_gain = not {"gain", "stuck"} & strengths.keys()
    return LayerDistortion(decay, threshold, None if ideal_gain else gain, grid, current, comparator, reach, noise)


def tabulate(g: SmoothFunctions, sigma: float, reach: float) -> Array:
    """sigma g of each neuron at equidistant knots over [-reach, reach]: (n_neurons, n_knots), in single precision."""
    knots = np.linspace(-reach, reach, max(2, int(np.ceil(2 * reach * KNOTS)) + 1), dtype=np.float32)
    total = np.zeros((len(g.frequencies), len(knots)), np.float32)
    for k in range(N_FEATURES):
        total += np.cos(
            np.multiply.outer(g.frequencies[:, k].astype(np.float32), knots) + g.phases[:, k : k + 1].astype(np.float32)
        )
    return total * np.float32(sigma * np.sqrt(2.0 / N_FEATURES))
