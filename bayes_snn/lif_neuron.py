"""Numba kernels of single neurons: leaky integration, firing, reset, and spike trains of 32 steps to a word.

Samples lie contiguous and every inner loop runs over them, so that it is a vector loop. The arithmetic is float32 in a
stated order, without fused multiply-add, so that a plain NumPy loop gives the same spikes (tests/reference.py).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numba.extending import register_jitable

from bayes_snn.bits import set_bit, xor

STEPS = 4  # time steps that `follow` advances a block of samples by; steps beyond n_steps are masked
EDGE_COUNTS = (0, 1, 3, 5)  # numbers of edges that `hold` and `follow` are compiled for

# Functions compiled with _nrt=False count no references: they allocate nothing, are called thousands of times a run,
# and would spend much of it on counting the views that they take of their arguments' rows.

_ZERO = np.float32(0.0)


@register_jitable
def integrate(v, drive, decay):  # type: ignore[no-untyped-def]
    """One step of the membrane, alpha v + drive with drive = (1 - alpha) I; the NumPy reference calls it too."""
    return decay * v + drive


@njit(inline="always")
def _fires(v, edges):  # type: ignore[no-untyped-def]
    odd = v >= edges[0]
    for e in range(1, len(edges)):
        odd = xor(odd, v >= edges[e])
    return odd


@njit(inline="always")
def advance_step(v, drive, decay, edges, word, bit):  # type: ignore[no-untyped-def]
    v = integrate(v, drive, decay)
    fired = _fires(v, edges)
    return (_ZERO if fired else v), set_bit(word, bit, fired)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _hold(v_a, v_b, train_a, train_b, drive_a, drive_b, decay, edges, n_steps):  # type: ignore[no-untyped-def]
    """A word of steps of one neuron under a constant drive, two parts of a block at once; edges is a tuple.

    One part's latencies hide behind the other's arithmetic. Shapes: each array (n,), n the same.
    """
    for bit in range(0, n_steps, 8):
        bit0, bit1, bit2, bit3 = np.uint32(1 << bit), np.uint32(2 << bit), np.uint32(4 << bit), np.uint32(8 << bit)
        bit4, bit5, bit6, bit7 = np.uint32(16 << bit), np.uint32(32 << bit), np.uint32(64 << bit), np.uint32(128 << bit)
        for s in range(v_a.shape[0]):
            a, b, word_a, word_b, in_a, in_b = v_a[s], v_b[s], train_a[s], train_b[s], drive_a[s], drive_b[s]
            a, word_a = advance_step(a, in_a, decay, edges, word_a, bit0)
            b, word_b = advance_step(b, in_b, decay, edges, word_b, bit0)
            a, word_a = advance_step(a, in_a, decay, edges, word_a, bit1)
            b, word_b = advance_step(b, in_b, decay, edges, word_b, bit1)
            a, word_a = advance_step(a, in_a, decay, edges, word_a, bit2)
            b, word_b = advance_step(b, in_b, decay, edges, word_b, bit2)
            a, word_a = advance_step(a, in_a, decay, edges, word_a, bit3)
            b, word_b = advance_step(b, in_b, decay, edges, word_b, bit3)
            a, word_a = advance_step(a, in_a, decay, edges, word_a, bit4)
            b, word_b = advance_step(b, in_b, decay, edges, word_b, bit4)
            a, word_a = advance_step(a, in_a, decay, edges, word_a, bit5)
            b, word_b = advance_step(b, in_b, decay, edges, word_b, bit5)
            a, word_a = advance_step(a, in_a, decay, edges, word_a, bit6)
            b, word_b = advance_step(b, in_b, decay, edges, word_b, bit6)
            a, word_a = advance_step(a, in_a, decay, edges, word_a, bit7)
            b, word_b = advance_step(b, in_b, decay, edges, word_b, bit7)
            v_a[s], v_b[s], train_a[s], train_b[s] = a, b, word_a, word_b


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _follow(v, train, drive0, drive1, drive2, drive3, decay, edges, bit):  # type: ignore[no-untyped-def]
    """STEPS steps of one neuron, each with its own drive; shapes: each array (n,), edges a tuple."""
    bit0, bit1, bit2, bit3 = np.uint32(1 << bit), np.uint32(2 << bit), np.uint32(4 << bit), np.uint32(8 << bit)
    for s in range(v.shape[0]):
        x, word = v[s], train[s]
        x, word = advance_step(x, drive0[s], decay, edges, word, bit0)
        x, word = advance_step(x, drive1[s], decay, edges, word, bit1)
        x, word = advance_step(x, drive2[s], decay, edges, word, bit2)
        x, word = advance_step(x, drive3[s], decay, edges, word, bit3)
        v[s], train[s] = x, word


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _any_edges(v, train, drive, decay, edges, bit, odd):  # type: ignore[no-untyped-def]
    """The same as `_follow` for any number of edges, an array; drive (n_rows, n), the last row held; odd (n,)."""
    for step in range(STEPS):
        mask = np.uint32(1 << (bit + step))
        row = drive[min(step, drive.shape[0] - 1)]
        for s in range(v.shape[0]):
            v[s] = integrate(v[s], row[s], decay)
            odd[s] = 0
        for e in range(edges.shape[0]):
            for s in range(v.shape[0]):
                odd[s] ^= v[s] >= edges[e]
        for s in range(v.shape[0]):
            train[s] = set_bit(train[s], mask, odd[s] != 0)
            v[s] = _ZERO if odd[s] != 0 else v[s]


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def hold(v, train, drive, decay, edges, n_steps, odd):  # type: ignore[no-untyped-def]
    """At most 32 steps of one neuron under a constant drive; the steps are rounded up to a multiple of 8.

    Parameters: v (n,) float32 and train (n,) uint32, both updated, n even; drive (1, n) float32; decay alpha;
    edges (n_edges,) float32, compiled into registers for the common numbers of them; odd (n,) uint8, scratch.
    """
    half, held, n_edges = v.shape[0] // 2, drive[0], edges.shape[0]
    v_a, v_b, train_a, train_b = v[:half], v[half:], train[:half], train[half:]
    held_a, held_b = held[:half], held[half:]
    if n_edges == 1:
        _hold(v_a, v_b, train_a, train_b, held_a, held_b, decay, (edges[0],), n_steps)
    elif n_edges == 3:
        _hold(v_a, v_b, train_a, train_b, held_a, held_b, decay, (edges[0], edges[1], edges[2]), n_steps)
    elif n_edges == 5:
        five = (edges[0], edges[1], edges[2], edges[3], edges[4])
        _hold(v_a, v_b, train_a, train_b, held_a, held_b, decay, five, n_steps)
    elif n_edges > 0:
        for bit in range(0, n_steps, STEPS):
            _any_edges(v, train, drive, decay, edges, bit, odd)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def follow(v, train, drive, decay, edges, bit, odd):  # type: ignore[no-untyped-def]
    """STEPS steps of one neuron from place `bit` of the word on; as `hold`, with drive (STEPS, n)."""
    n_edges = edges.shape[0]
    if n_edges == 1:
        _follow(v, train, drive[0], drive[1], drive[2], drive[3], decay, (edges[0],), bit)
    elif n_edges == 3:
        three = (edges[0], edges[1], edges[2])
        _follow(v, train, drive[0], drive[1], drive[2], drive[3], decay, three, bit)
    elif n_edges == 5:
        five = (edges[0], edges[1], edges[2], edges[3], edges[4])
        _follow(v, train, drive[0], drive[1], drive[2], drive[3], decay, five, bit)
    elif n_edges > 0:
        _any_edges(v, train, drive, decay, edges, bit, odd)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def mask_bits(train, mask):  # type: ignore[no-untyped-def]
    """Forget the spikes past n_steps: steps are simulated in fours or eights."""
    for s in range(train.shape[0]):
        train[s] &= mask
