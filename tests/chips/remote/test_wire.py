"""The schema of the server's messages: what is encoded comes back, and whatever else comes is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bayes_snn.chips.contract import ChipSpec, Parameter
from bayes_snn.chips.remote.wire import (
    DTYPES,
    FRAME_BYTES,
    MAX_HEADER,
    SCHEMA,
    Message,
    WireError,
    decode,
    encode,
    spec_fields,
    spec_from,
)
from bayes_snn.chips.xylo.chip import XyloChip

ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(np.dtype(dtype), hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=5))
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.dictionaries(st.sampled_from(["token", "inputs", "code", "x"]), st.text(max_size=9), max_size=3)


def wire(frames):
    """Frames as they come out of a socket."""
    return [bytes(frame) for frame in frames]


@settings(deadline=None)
@given(st.text(max_size=9), st.integers(0, 2**63 - 1), FIELDS, st.lists(ARRAYS, max_size=4))
def test_a_message_comes_back(kind, request, fields, arrays):
    found = decode(wire(encode(Message(kind, request, fields, tuple(arrays)))))
    assert (found.kind, found.request, found.fields) == (kind, request, fields)
    assert len(found.arrays) == len(arrays)
    for back, array in zip(found.arrays, arrays, strict=True):
        assert back.dtype == array.dtype
        assert back.shape == array.shape
        assert back.tobytes() == array.tobytes()  # NaN too
        assert not back.flags.writeable


def test_large_arrays_come_in_frames_of_bounded_size():
    sizes = [0, 1, FRAME_BYTES // 8 - 1, FRAME_BYTES // 8, FRAME_BYTES // 8 + 1, FRAME_BYTES // 4, 100_000]
    arrays = tuple(np.arange(float(n)) for n in sizes)
    frames = wire(encode(Message("run", 1, arrays=arrays)))
    assert max(map(len, frames)) == FRAME_BYTES
    for back, array in zip(decode(frames).arrays, arrays, strict=True):
        np.testing.assert_array_equal(back, array)
    for torn in (frames[:-1], [*frames, b""], [*frames[:3], b"", *frames[3:]]):
        with pytest.raises(WireError):
            decode(torn)


def test_arrays_of_any_layout_are_sent_as_they_read():
    array = np.arange(12.0).reshape(3, 4)
    for sent in (array.T, array[:, ::2], array.astype(">f8")):
        [back] = decode(wire(encode(Message("run", 1, arrays=(sent,))))).arrays
        np.testing.assert_array_equal(back, sent)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=40), max_size=5))
def test_bytes_of_any_kind_are_refused(frames):
    with pytest.raises(WireError):
        decode(frames)


@settings(deadline=None, max_examples=300)
@given(JSON)
def test_any_json_as_a_header(header):
    with pytest.raises(WireError):
        decode([json.dumps(header).encode(), b"12345678"])


@settings(deadline=None, max_examples=500)
@given(st.dictionaries(st.sampled_from(["schema", "kind", "request", "arrays", "token"]), JSON, max_size=3), st.data())
def test_a_header_with_any_parts_replaced(replaced, data):
    frames = wire(encode(Message("run", 3, {"inputs": 1}, (np.ones((2, 3)), np.ones(2, "<i4")))))
    header = {**json.loads(frames[0]), **replaced}
    if data.draw(st.booleans()):
        header["arrays"] = [{"dtype": data.draw(JSON), "shape": data.draw(JSON)}, data.draw(JSON)]
    try:
        message = decode([json.dumps(header).encode(), *frames[1:]])
    except WireError as error:
        text = str(error)
    else:
        text = "."
        assert isinstance(message.kind, str)
        assert [array.nbytes for array in message.arrays] == [48, 8]
    assert text.endswith(".")
    assert len(text) < 500


@pytest.mark.parametrize(
    ("described", "says"),
    [
        ({"dtype": "<f8", "shape": [2**30, 2**30]}, "came with 48 bytes"),
        ({"dtype": "<f8", "shape": [-1, 6]}, "has the shape"),
        ({"dtype": "<f8", "shape": [True, 6]}, "has the shape"),
        ({"dtype": "<f8", "shape": [10**400]}, "has the shape"),
        ({"dtype": "<f8", "shape": [1, 2, 3]}, "at most 2"),
        ({"dtype": "<f8", "shape": "23"}, "has the shape"),
        ({"dtype": "<f8"}, "has the shape"),
        ({"dtype": "O", "shape": [6]}, "is of dtype 'O'"),
        ({"dtype": ["<f8"], "shape": [6]}, "is of dtype"),
        ({"dtype": "<f8" * 1000, "shape": [6]}, "is of dtype"),
        ("<f8", "not described by a JSON object"),
    ],
)
def test_an_array_that_is_described_wrongly(described, says):
    header = {"schema": SCHEMA, "kind": "run", "request": 1, "arrays": [described]}
    with pytest.raises(WireError, match=says):
        decode([json.dumps(header).encode(), bytes(48)])


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([], "malformed"),
        ([b"{}"] * 100, "malformed"),
        ([b" " * (MAX_HEADER + 1)], "too-large"),
        ([b"{}", bytes(2**20)], "too-large"),
        ([b"[" * 60_000], "malformed"),
        ([b'{"schema": "bayes_snn/2"}'], "schema"),
        ([b"1" * 6000], "malformed"),
        ([b"\xff\xfe"], "malformed"),
    ],
)
def test_messages_that_are_refused(frames, code):
    with pytest.raises(WireError) as error:
        decode(frames, max_bytes=2**19)
    assert error.value.code == code


def test_a_spec_comes_back():
    many = tuple(np.linspace(-1.0, 1.0, 70_000))  # more than a header holds
    odd = Parameter("w_1", (30, 16), ("pre_1", "post_1"), many), Parameter("bias", (1, 16), ("one", "neuron"))
    for spec in (ChipSpec((30, 16, 2), 20, (-1.0, 2.0), 6, False), ChipSpec((30, 16), parameters=odd), XyloChip().spec):
        fields, levels = spec_fields(spec)
        message = decode(wire(encode(Message("chip", 1, {"spec": fields}, levels))))
        assert spec_from(message.fields["spec"], message.arrays) == spec
    assert "parameters" not in spec_fields(ChipSpec((2, 2)))[0]  # a client knows them by the layers


FIELDS_OF_A_SPEC, _ = spec_fields(XyloChip((2, 2, 2)).spec)
PARAMETERS = st.lists(st.dictionaries(st.sampled_from(["name", "shape", "dims", "levels"]), JSON), max_size=3)


@settings(deadline=None, max_examples=300)
@given(JSON, st.dictionaries(st.sampled_from(list(FIELDS_OF_A_SPEC)), JSON), PARAMETERS)
def test_a_spec_of_any_json_is_one_or_is_refused(anything, replaced, parameters):
    some = [{**known, **given} for known, given in zip(FIELDS_OF_A_SPEC["parameters"], parameters, strict=False)]
    for fields in (anything, {**FIELDS_OF_A_SPEC, **replaced}, {**FIELDS_OF_A_SPEC, "parameters": some}):
        try:
            spec = spec_from(fields, [np.arange(3.0)] * 3)
        except WireError:
            continue
        assert isinstance(spec, ChipSpec)
