"""Non-idealities of an analog chip, each drawn once from the chip's seed, but for noise and drift.

Every distortion has a strength sigma, and strength 0 leaves the ideal chip bit for bit. Each draws from a random
stream of its own, named by the chip's seed, the distortion and the layer: adding one distortion to a chip leaves
the others as they were, and changing sigma scales the same pattern. The equations are this project's own choice;
DISTORTIONS gives each in one line.

`draw_layer` is the one place where they are drawn: for the simulated chip, which then looks for the edges of its firing
regions (circuit.py), and for backprop's noise-aware mode, which tabulates them (backprop/distortion.py).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.lif.neuron import DT, THRESHOLD
from bayes_snn.chips.lif.smooth import SmoothFunctions
from bayes_snn.errors import InputError, unknown_name
from bayes_snn.names import DISTORTION_ROWS

DRIFT_RUNS = 1000  # in which drift spreads log theta by sigma


def check_distortions(names: str | Sequence[str] | None, sigmas: float | Sequence[float]) -> dict[str, float]:
    """Strength of each distortion by name, those of strength 0 left out.

    Raises `InputError` for an unknown name, one given twice, or strengths that do not fit the names.
    """
    listed = [] if names is None else [names] if isinstance(names, str) else list(names)
    for name in listed:
        if name not in DISTORTION_ROWS:
            raise unknown_name("distortion", name, DISTORTION_ROWS)
    if len(set(listed)) < len(listed):
        raise InputError(f"Distortions were {listed}, but each can be given once: drop the one given twice.")
    values = [sigmas] * len(listed) if np.ndim(sigmas) == 0 else list(sigmas)  # type: ignore[arg-type]
    if len(values) != len(listed):
        raise InputError(
            f"{len(values)} strengths came for {len(listed)} distortions, but one for each is expected, or a single "
            "one for all: give as many sigmas as names."
        )
    strengths = {}
    for name, value in zip(listed, values, strict=False):
        try:
            sigma = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            sigma = float("nan")
        row = DISTORTION_ROWS[name]
        if not row.holds(sigma):
            given = repr(value) if np.isnan(sigma) else f"{sigma:g}"
            raise InputError(
                f"sigma of {name} was {given}, but a number from {row.range} is expected ({row.unit}): try "
                f"{row.example:g}."
            )
        if sigma > 0:
            strengths[name] = sigma
    return strengths


def stream(seed: int, name: str, layer: int) -> np.random.Generator:
    """The random stream of one distortion in one layer of the chip with this seed."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), layer])


class Layer(NamedTuple):
    """What one layer of n_pre x n_post synapses and n_post neurons computes with, nothing of it tabulated yet.

    Attributes
    ----------
    decay
        (n_post,) alpha.
    threshold
        (n_post,) theta, that of a silent neuron too.
    silent
        (n_post,) True for neurons that never spike.
    gain
        (n_pre, n_post) factor of each synapse, 0 where it is stuck.
    grid
        Resolution of the layer's weights, 0 in the first layer; see `current_step`.
    comparator, current
        What is added to v and to I, None for nothing.
    noise
        (n_post,) standard deviation of the noise added to v at each step; empty without.
    """

    decay: NDArray[np.float32]
    threshold: NDArray[np.float64]
    silent: NDArray[np.bool_]
    gain: NDArray[np.float32]
    grid: np.float32
    comparator: SmoothFunctions | None
    current: SmoothFunctions | None
    noise: NDArray[np.float32]


def draw_layer(
    strengths: Mapping[str, float],
    spec: ChipSpec,
    layer: int,
    tau_m: float,
    stream_of: Callable[[str, int], np.random.Generator],
    n_runs: int = 0,
) -> Layer:
    """Every frozen parameter of a layer.

    Parameters
    ----------
    strengths
        Strength of each distortion by name, as `check_distortions` returns them; {} is the ideal chip.
    tau_m
        Membrane time constant in ms.
    stream_of
        Random stream of the distortion of this name in this layer. Several may share one: the order of the draws is
        fixed.
    n_runs
        Runs that a drifting chip has behind it.
    """
    n_pre, n_post = spec.weight_shapes[layer]

    def spread(name: str, *shape: int, times: float = 1.0) -> NDArray[np.float64]:
        """exp(sigma e) with e ~ Normal(0, 1), or ones without this distortion."""
        if name not in strengths or times == 0:
            return np.ones(shape)
        return np.exp(times * strengths[name] * stream_of(name, layer).normal(size=shape))

    def bend(name: str, length: float) -> SmoothFunctions | None:
        if name not in strengths:
            return None
        return SmoothFunctions.draw(stream_of(name, layer), n_post, length, strengths[name])

    def chosen(name: str, *shape: int) -> NDArray[np.bool_]:
        if name not in strengths:
            return np.zeros(shape, np.bool_)
        return stuck_elements(stream_of(name, layer), strengths[name], shape)

    decay = np.exp(-DT / (tau_m * spread("leak", n_post))).astype(np.float32)
    threshold = THRESHOLD * spread("threshold", n_post)
    threshold = threshold * spread("drift", n_post, times=np.sqrt(n_runs / DRIFT_RUNS))
    comparator, current = bend("comparator", THRESHOLD), bend("current", 1.0)
    silent = chosen("silent", n_post)
    gain = spread("gain", n_pre, n_post).astype(np.float32)
    # the resolution is set before synapses get stuck: it is the circuit's, not the weights'
    grid = weight_grid(spec, layer, gain)
    gain[chosen("stuck", n_pre, n_post)] = 0.0
    noise = np.zeros(0, np.float32)
    if sigma := strengths.get("noise"):
        noise = (sigma * np.sqrt(1.0 - decay.astype(np.float64) ** 2)).astype(np.float32)
    return Layer(decay, threshold, silent, gain, grid, comparator, current, noise)


def stuck_elements(rng: np.random.Generator, fraction: float, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """True for a fraction of the elements, rounded to a whole number; a higher fraction keeps those of a lower."""
    n = int(np.prod(shape))
    stuck = np.zeros(n, np.bool_)
    stuck[rng.permutation(n)[: round(fraction * n)]] = True
    return stuck.reshape(shape)


def weight_grid(spec: ChipSpec, layer: int, gain: NDArray[np.floating]) -> np.float32:
    """Resolution of a layer's weights at gains (n_pre, n_post); 0 in the first layer, and where no gain is above 0."""
    largest = max(abs(bound) for bound in spec.weight_range) * float(gain.max())
    return current_step(len(gain), largest) if layer > 0 and largest > 0 else np.float32(0.0)


def current_step(n_pre: int, largest_weight: float) -> np.float32:
    """Resolution of the weights behind spiking neurons: a power of two, 2^-24 of the largest possible current.

    With it every partial sum of weights is a whole number of steps below 2^24, which float32 holds exactly: the
    sum does not depend on its order, on threads, or on whether a neuron is re-run alone.
    """
    full_scale = 2.0 ** np.ceil(np.log2(n_pre * largest_weight))
    return np.float32(full_scale * 2.0**-24)
