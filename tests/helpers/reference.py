"""A chip in plain NumPy, written from the equations alone: what the kernels are held to, spike by spike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.lif.current import TABLE_REACH
from bayes_snn.chips.lif.distortion import current_step, stream, stuck_elements
from bayes_snn.chips.lif.neuron import DT, integrate
from bayes_snn.chips.lif.noise import CENTRE, LOG, ROUND, TAIL, mix
from bayes_snn.chips.lif.smooth import N_FEATURES, SmoothFunctions

F = np.float32


def reference_spikes(chip: LIFChip, weights: Sequence[np.ndarray], inputs: np.ndarray) -> list[np.ndarray]:
    """Spikes (n_samples, n_steps, n_neurons) of each layer, on the key of the chip's next run."""
    key = chip._begin_run()
    inputs = np.asarray(inputs, F)
    n_samples, n_steps = len(inputs), chip.spec.n_steps
    spikes: list[np.ndarray] = []
    first_neuron = 0
    for layer, (n_pre, n_post) in enumerate(chip.spec.weight_shapes):
        w = effective_weights(chip, layer, weights[layer])
        decay = np.exp(-DT / (chip.tau_m * spread(chip, "leak", layer, n_post))).astype(F)
        inflow = F(1) - decay
        v = np.zeros((n_samples, n_post), F)
        fired = np.zeros((n_samples, n_steps, n_post), bool)
        for t in range(n_steps):
            if layer == 0:
                current = np.zeros((n_samples, n_post), F)
                for i in range(n_pre):
                    current = current + inputs[:, i : i + 1] * w[i]
            else:
                # any order of summation: the weights lie on a grid on which sums are exact
                current = spikes[-1][:, t].astype(F) @ w
            drive = inflow * bent(chip, layer, current)
            if "noise" in chip.strengths:
                scale = (chip.strengths["noise"] * np.sqrt(1 - decay.astype(float) ** 2)).astype(F)
                xi = [standard_normals(key, first_neuron + n, t, n_samples) for n in range(n_post)]
                drive = drive + scale * np.array(xi).T
            v = integrate(v, drive, decay)
            fired[:, t] = fires(chip, layer, v)
            v[fired[:, t]] = 0
        spikes.append(fired)
        first_neuron += n_post
    return spikes


def spread(chip: LIFChip, name: str, layer: int, *shape: int) -> np.ndarray:
    e = stream(chip.seed, name, layer).normal(size=shape)
    return np.exp(chip.strengths.get(name, 0.0) * e)


def effective_weights(chip: LIFChip, layer: int, w: np.ndarray) -> np.ndarray:
    low, high = chip.spec.weight_range
    w = np.clip(np.asarray(w).astype(F), F(low), F(high))
    if bits := chip.strengths.get("quantisation"):
        step = F(max(abs(low), abs(high)) / (2 ** (int(bits) - 1) - 1))
        w = np.clip(np.rint(w / step) * step, F(low), F(high))
    gain = spread(chip, "gain", layer, *w.shape).astype(F)
    step = current_step(len(w), max(abs(low), abs(high)) * float(gain.max()))
    if fraction := chip.strengths.get("stuck"):
        gain[stuck_elements(stream(chip.seed, "stuck", layer), fraction, gain.shape)] = 0
    w = w * gain
    return w if layer == 0 else np.rint(w / step) * step


def bent(chip: LIFChip, layer: int, current: np.ndarray) -> np.ndarray:
    """I + sigma g(I), g linear between knots 1/32 apart."""
    if "current" not in chip.strengths:
        return current
    n_post = current.shape[1]
    g = SmoothFunctions.draw(stream(chip.seed, "current", layer), n_post)
    knots = np.linspace(-TABLE_REACH, TABLE_REACH, int(2 * TABLE_REACH) * 32 + 1)
    place = np.clip((current + F(TABLE_REACH)) * F(32), F(0), F(len(knots) - 1))
    left = np.minimum(place.astype(int), len(knots) - 2)
    out = np.empty_like(current)
    for n in range(n_post):
        table = (chip.strengths["current"] * g(n, knots)).astype(F)
        low, high = table[left[:, n]], table[left[:, n] + 1]
        out[:, n] = current[:, n] + (low + (place[:, n] - left[:, n].astype(F)) * (high - low))
    return out


def fires(chip: LIFChip, layer: int, v: np.ndarray) -> np.ndarray:
    """v + sigma g(v) >= theta with cosines in float64: no table, no edges."""
    n_post = v.shape[1]
    theta = (spread(chip, "threshold", layer, n_post) * drifted(chip, layer)).astype(F).astype(float)
    seen = v.astype(float)
    if sigma := chip.strengths.get("comparator"):
        g = SmoothFunctions.draw(stream(chip.seed, "comparator", layer), n_post)
        for n in range(n_post):
            total = np.zeros(len(v))
            for k in range(N_FEATURES):
                total += np.cos(g.frequencies[n, k] * v[:, n].astype(float) + g.phases[n, k])
            seen[:, n] += sigma * np.sqrt(2 / N_FEATURES) * total
    fired = seen >= theta
    if fraction := chip.strengths.get("silent"):
        fired[:, stuck_elements(stream(chip.seed, "silent", layer), fraction, (n_post,))] = False
    return fired


def drifted(chip: LIFChip, layer: int) -> np.ndarray:
    """exp(sigma B) of a layer's neurons in the run that the chip is at, B summed up from the first run on."""
    n_neurons, first = sum(chip.spec.layers[1:]), sum(chip.spec.layers[1 : layer + 1])
    walk = np.zeros(n_neurons)
    if "drift" in chip.strengths:
        key = int(mix(np.uint64(int(chip._noise_key) ^ 0xD21F7)))
        for run in range(1, chip.age + 1):
            run_key = np.uint64(int(mix(np.uint64(key ^ run))))
            walk += standard_normals(run_key, 0, 0, n_neurons).astype(float) * (1 / np.sqrt(1000.0))
    return np.exp(chip.strengths.get("drift", 0.0) * walk)[first : first + chip.spec.layers[layer + 1]]


def standard_normals(key: np.uint64, neuron: int, step: int, n_samples: int) -> np.ndarray:
    """Noise of the first n_samples samples, float32 (n_samples,)."""
    state = int(mix(np.uint64(int(mix(np.uint64(int(key) ^ neuron))) ^ step)))
    words = np.arange(n_samples, dtype=np.uint32) ^ np.uint32(state & 0xFFFFFFFF)
    words = mixed(mixed(words) + np.uint32(state >> 32))
    x = ((words >> 8).astype(F) - F(8388607.5)) * F(2.0**-23)
    w = -logarithm((F(1) - x) * (F(1) + x))
    centre, tail = polynomial(w - F(2.5), CENTRE), polynomial(np.sqrt(np.maximum(w, F(0))) - F(3), TAIL)
    return np.where(w >= 5, tail, centre) * x * F(1.41421356)


def mixed(words: np.ndarray) -> np.ndarray:
    a, m, b, n, c = (np.uint32(number) for number in ROUND)
    words = (words ^ (words >> a)) * m
    words = (words ^ (words >> b)) * n
    return words ^ (words >> c)


def logarithm(x: np.ndarray) -> np.ndarray:
    mantissa, exponent = np.frexp(x)
    low = mantissa <= F(0.70710678)
    r = np.where(low, mantissa + mantissa, mantissa) - F(1)
    square = r * r
    log = r - F(0.5) * square + r * square * polynomial(r, LOG)
    return log + (exponent - low).astype(F) * F(0.69314718)


def polynomial(x: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    value = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        value = value * x + F(c)
    return value
