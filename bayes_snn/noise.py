"""Noise that is fresh at every run and the same on one thread and on several: a hash of where it is needed.

A counter-based generator has no state to share: the value at (key, neuron, step, sample) depends on these four
alone. The mixing function is the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014); two uniform numbers
become a normal one by Box and Muller's transform (1958).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True, error_model="numpy")
def mix(state):  # type: ignore[no-untyped-def]
    """SplitMix64's finaliser: 64 well mixed bits from 64."""
    z = np.uint64(state) * _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True, error_model="numpy")
def standard_normal(key, neuron, step, sample):  # type: ignore[no-untyped-def]
    """A standard normal number, float32, for neuron, time step and sample in the run named by `key` (uint64)."""
    place = mix(mix(mix(key ^ np.uint64(neuron)) ^ np.uint64(step)) ^ np.uint64(sample))
    # 32 bits each; half a unit above zero keeps the logarithm finite
    radius = (np.float64(place >> np.uint64(32)) + 0.5) / 4294967296.0
    angle = np.float64(place & np.uint64(0xFFFFFFFF)) / 4294967296.0
    return np.float32(math.sqrt(-2.0 * math.log(radius)) * math.cos(2.0 * math.pi * angle))
