"""Noise that is fresh at every run and the same on one thread and on several: a hash of where it is needed.

A counter-based generator has no state to share: the number at (key, neuron, step, sample) depends on these four alone.
Two rounds of a 32-bit mixing function (multipliers of Wellons' Hash Prospector) give a uniform number, and Giles's
approximation of the inverse error function (GPU Computing Gems, 2011, single precision) a normal one. It is off by less
than 5e-6, and no number lies beyond 5.4 standard deviations. All is float32 without fused multiply-add, so plain NumPy
gives the same numbers (tests/helpers/reference.py). Keys are expected to be well mixed themselves.
"""

from __future__ import annotations

import numpy as np

from bayes_snn.chips.lif.compiled import inlined, kernel
from bayes_snn.chips.lif.lanes import as_floats, as_words, lane_numbers, splat, square_root, to_floats, where

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
ROUND = (16, 0x21F0AAAD, 15, 0x735A2D97, 15)  # shift, multiplier, shift, multiplier, shift
# log(1 + r) - r + r^2 / 2 as r^3 times a polynomial, highest power first (Cephes, logf), for 1 + r in [0.7, 1.42]
LOG = (
    *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
    *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
)
CENTRE = (
    *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087),
    *(-0.00125372503, -0.00417768164, 0.246640727, 1.50140941),
)
TAIL = (
    *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773),
    *(-0.0076224613, 0.00943887047, 1.00167406, 2.83297682),
)


@kernel
def mix(state):  # type: ignore[no-untyped-def]
    """SplitMix64's finaliser (Steele, Lea, Flood, OOPSLA 2014): 64 well mixed bits from 64."""
    z = np.uint64(state) * _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@inlined
def _whole(number):  # type: ignore[no-untyped-def]
    return splat(np.uint32(number))


@inlined
def _round(words):  # type: ignore[no-untyped-def]
    words = (words ^ (words >> _whole(ROUND[0]))) * _whole(ROUND[1])
    words = (words ^ (words >> _whole(ROUND[2]))) * _whole(ROUND[3])
    return words ^ (words >> _whole(ROUND[4]))


@inlined
def _real(number):  # type: ignore[no-untyped-def]
    return splat(np.float32(number))


@inlined
def _polynomial(x, coefficients):  # type: ignore[no-untyped-def]
    value = _real(coefficients[0])
    for i in range(1, len(coefficients)):
        value = value * x + _real(coefficients[i])
    return value


@inlined
def _logarithm(x):  # type: ignore[no-untyped-def]
    """Natural logarithm of normal positive numbers: x = 2^e (1 + r)."""
    bits = as_words(x)
    exponent = to_floats((bits >> _whole(23)) - _whole(126))
    mantissa = as_floats((bits & _whole(0x7FFFFF)) | _whole(0x3F000000))  # in [0.5, 1)
    low = _real(0.70710678) >= mantissa
    exponent = where(low, exponent - _real(1.0), exponent)
    r = where(low, mantissa + mantissa, mantissa) - _real(1.0)
    square = r * r
    log = r - _real(0.5) * square + r * square * _polynomial(r, LOG)
    return log + exponent * _real(0.69314718)


@inlined
def standard_normals(key, neuron, step, first_sample):  # type: ignore[no-untyped-def]
    """Standard normal numbers for one neuron and step and GROUP samples, in the run named by `key` (uint64)."""
    state = mix(mix(key ^ np.uint64(neuron)) ^ np.uint64(step))
    samples = lane_numbers() + _whole(first_sample)
    words = _round(_round(samples ^ _whole(state)) + _whole(state >> np.uint64(32)))
    # 2^24 numbers between -1 and 1, none of them at an end, all exact
    x = (to_floats(words >> _whole(8)) - _real(8388607.5)) * _real(2.0**-23)
    w = _real(0.0) - _logarithm((_real(1.0) - x) * (_real(1.0) + x))
    centre = _polynomial(w - _real(2.5), CENTRE)
    tail = _polynomial(square_root(w) - _real(3.0), TAIL)
    return where(w >= _real(5.0), tail, centre) * x * _real(1.41421356)
