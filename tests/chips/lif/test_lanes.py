"""Vectors as values: each operation equals NumPy's, lane by lane, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numba import njit

from bayes_snn.chips.lif.lanes import (
    ALIGNMENT,
    GROUP,
    aligned_zeros,
    any_bit,
    count_bits,
    lacks_bit,
    load,
    splat,
    store,
    where,
)

FLOATS = arrays(np.float32, GROUP, elements=st.floats(-1e6, 1e6, width=32))
WORDS = arrays(np.uint32, GROUP, elements=st.integers(0, 2**32 - 1))

no_deadline = settings(deadline=None)  # the first example compiles


@njit
def compute_floats(a, b, c, out):
    x, y, z = load(a), load(b), splat(c)
    store(out[0], x + y)
    store(out[1], x - y)
    store(out[2], x * y + z)
    store(out[3], where(x >= y, x, z))
    store(out[4], where((x >= y) ^ (x >= z), x, y))
    store(out[5], where((x >= y) & (x >= z), x, y))
    store(out[6], where((x >= y) | (x >= z), x, y))


@njit
def compute_words(a, b, c, out):
    x, y, z = load(a), load(b), splat(c)
    store(out[0], x + y)
    store(out[1], x - y)
    store(out[2], x & y)
    store(out[3], x | y)
    store(out[4], x ^ z)
    store(out[5], where(lacks_bit(x, z), x, y))
    store(out[6], count_bits(x))
    return any_bit(x & y)


@no_deadline
@given(FLOATS, FLOATS, st.floats(-1e6, 1e6, width=32))
def test_floats(a, b, c):
    out = np.zeros((7, GROUP), np.float32)
    c = np.float32(c)
    compute_floats(a, b, c, out)
    expected = [
        a + b,
        a - b,
        a * b + c,  # two roundings: a fused multiply-add would have one
        np.where(a >= b, a, c),
        np.where((a >= b) ^ (a >= c), a, b),
        np.where((a >= b) & (a >= c), a, b),
        np.where((a >= b) | (a >= c), a, b),
    ]
    np.testing.assert_array_equal(out, np.array(expected, np.float32))


@no_deadline
@given(WORDS, WORDS, st.integers(0, 2**32 - 1))
def test_words(a, b, c):
    out = np.zeros((7, GROUP), np.uint32)
    c = np.uint32(c)
    found = compute_words(a, b, c, out)
    ones = np.unpackbits(a.view(np.uint8)).reshape(GROUP, 32).sum(axis=1)
    expected = [a + b, a - b, a & b, a | b, a ^ c, np.where(a & c == 0, a, b), ones]
    np.testing.assert_array_equal(out, np.array(expected, np.uint32))
    assert found == bool((a & b).any())


def test_rows_are_read_where_they_begin():
    @njit
    def copy(source, target):
        for row in range(source.shape[0]):
            store(target[row], load(source[row]))

    source, target = np.random.default_rng(0).normal(size=(3, GROUP)).astype(np.float32), np.zeros((3, GROUP), "f4")
    copy(source, target)
    np.testing.assert_array_equal(source, target)


def test_other_kinds_of_arrays_are_refused():
    @njit
    def read(row):
        return any_bit(load(row))

    assert not read(np.zeros(GROUP, np.uint32))
    for row in (np.zeros(GROUP), np.zeros(2 * GROUP, np.uint32)[::2], np.zeros((2, GROUP), np.uint32)):
        with pytest.raises(Exception, match="load"):
            read(row)


@pytest.mark.parametrize("shape", [(1, GROUP), (3, 5, GROUP), (0, GROUP)])
def test_aligned_zeros(shape):
    array = aligned_zeros(shape, np.float32)
    assert array.shape == shape
    assert array.ctypes.data % ALIGNMENT == 0 or array.size == 0
    assert array.flags.c_contiguous
    assert not array.any()
