"""What is packed comes back bit for bit, and a record with a single other bit is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bayes_snn.checkpoint.packing import PackingError, pack, unpack

arrays = hnp.arrays(
    st.sampled_from([np.float64, np.float32, np.int64, np.uint8, np.bool_, np.dtype("<U3")]),
    hnp.array_shapes(min_dims=0),
)
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=9) | arrays
nested = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=8,
)


def identical(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(identical(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(identical, a, b))
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return a == b or (a != a and b != b)


@given(nested)
@settings(max_examples=60, deadline=None)
def test_every_plain_value_comes_back(value):
    assert identical(unpack(pack(value)), value)


def test_a_generator_and_a_long_history_come_back():
    state = np.random.default_rng(3).bit_generator.state  # whole numbers of 128 bits
    history = list(np.random.default_rng(0).normal(size=(500, 7)))
    value = {"rng": state, "history": history, "scalars": [np.float64(0.1), np.int64(3)], "nothing": np.zeros((0, 3))}
    assert identical(unpack(pack(value)), value)
    assert len(pack(history)) < 1.02 * 500 * 7 * 8


@given(st.data())
@settings(deadline=None)
def test_a_torn_record_is_told(data):
    record = pack({"a": np.arange(5.0), "b": [1, "two", None]})
    place = data.draw(st.integers(0, len(record) - 1))
    kind = data.draw(st.sampled_from(["cut", "flip", "longer"]))
    torn = {
        "cut": record[:place],
        "flip": record[:place] + bytes([record[place] ^ (1 << data.draw(st.integers(0, 7)))]) + record[place + 1 :],
        "longer": record + b"\0",
    }[kind]
    with pytest.raises(PackingError):
        unpack(torn)


@pytest.mark.parametrize("value", [object(), {1: 2}, {1, 2}, np.array([None]), [np.array([object()])], 1j])
def test_what_is_no_plain_value_is_refused(value):
    with pytest.raises(PackingError, match="no plain value"):
        pack(value)
