"""What a chip's server and its clients send each other, version 1; docs/serve.md describes it for other languages.

A message is a list of frames: a header, which is a JSON object in UTF-8, and one frame for each array, its bytes in C
order, little-endian. The header's `arrays` gives the dtype and the shape of each. Nothing in a message is ever
executed, and every size is checked before anything is made of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.errors import InputError
from bayes_snn.names import MAX_BYTES as MAX_BYTES

SCHEMA = "bayes_snn/1"
DTYPES = ("<f4", "<f8", "<i4", "<i8")
_DTYPES = {name: np.dtype(name) for name in DTYPES}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
MOST_ARRAYS = 64  # of a message: the layers of a network, and its inputs
MOST_DIMS = 2
MAX_HEADER = 65_536  # bytes
FRAME_BYTES = 65_536  # of the largest frame; a larger array takes several, so that a stranger's frame is small
ENCRYPTED_BYTES = 33  # that CURVE adds to a frame

Frames = list[Any]


class WireError(ValueError):
    """A message that does not keep to the schema; `code` names the fault to whoever sent it."""

    def __init__(self, sentence: str, code: str = "malformed") -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True)
class Message:
    """A message: its kind, what else is in the header, and its arrays, which cannot be written to."""

    kind: str
    request: int = 0
    fields: dict[str, Any] = field(default_factory=dict)
    arrays: tuple[NDArray[Any], ...] = ()


def encode(message: Message) -> Frames:
    """Frames of a message, the arrays without a copy where they are contiguous already."""
    described, frames = [], []
    for array in message.arrays:
        if array.dtype not in _NAMES or not array.flags.c_contiguous:
            array = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        described.append({"dtype": _NAMES.get(array.dtype, array.dtype.str), "shape": array.shape})
        content = array.reshape(-1).view(np.uint8).data
        frames += [content[start : start + FRAME_BYTES] for start in range(0, len(content) + 1, FRAME_BYTES)]
    header = {
        **message.fields,
        "schema": SCHEMA,
        "kind": message.kind,
        "request": message.request,
        "arrays": described,
    }
    return [json.dumps(header).encode(), *frames]


def decode(frames: Sequence[Any], max_bytes: int = MAX_BYTES) -> Message:
    """A message out of its frames (bytes), or a `WireError`: whatever they are, nothing else is raised."""
    most = 1 + MOST_ARRAYS + max_bytes // FRAME_BYTES
    if not 1 <= len(frames) <= most:
        raise WireError(f"The message has {len(frames)} frames, but 1 to {most} are expected.")
    size = sum(len(frame) for frame in frames)
    if size > max_bytes or len(frames[0]) > MAX_HEADER:
        raise WireError(
            f"The message has {size:,} bytes, its header {len(frames[0]):,}, but at most {max_bytes:,} and "
            f"{MAX_HEADER:,} are taken.",
            "too-large",
        )
    header = _header(frames[0])
    schema, kind, request, described = (header.pop(name, None) for name in ("schema", "kind", "request", "arrays"))
    if schema != SCHEMA:
        raise WireError(f"The message's schema is {schema!r:.60}, but this server speaks {SCHEMA}.", "schema")
    if not isinstance(kind, str) or not _is_whole(request, 2**63):
        raise WireError("The header has no kind (text) or no request (a whole number).")
    contents = _joined(frames[1:])
    if not isinstance(described, list) or len(described) != len(contents):
        raise WireError(f"The header does not describe the {len(contents)} arrays that came with it.")
    arrays = tuple(_array(entry, content) for entry, content in zip(described, contents, strict=True))
    return Message(kind, request, header, arrays)


def _joined(frames: Sequence[Any]) -> list[Any]:
    """The bytes of each array: after a frame of full size comes the rest of the same array, which may be empty."""
    contents: list[list[Any]] = []
    begins = True
    for frame in frames:
        if begins:
            contents.append([])
        contents[-1].append(frame)
        begins = len(frame) != FRAME_BYTES
    return [parts[0] if len(parts) == 1 else b"".join(parts) for parts in contents]


def _header(frame: Any) -> dict[str, Any]:
    try:
        header = json.loads(bytes(frame))
    except (ValueError, RecursionError):
        raise WireError("The header is no JSON.") from None
    if not isinstance(header, dict):
        raise WireError("The header is no JSON object.")
    return header


def _array(described: Any, frame: Any) -> NDArray[Any]:
    if not isinstance(described, dict):
        raise WireError("An array is not described by a JSON object.")
    name, shape = described.get("dtype"), described.get("shape")
    dtype = _DTYPES.get(name) if isinstance(name, str) else None
    if dtype is None:
        raise WireError(f"An array is of dtype {name!r:.60}, but {', '.join(DTYPES)} are taken.")
    if not isinstance(shape, list) or len(shape) > MOST_DIMS or not all(_is_whole(n, 2**31) for n in shape):
        raise WireError(f"An array has the shape {shape!r:.60}, but at most {MOST_DIMS} whole numbers are expected.")
    if math.prod(shape) * dtype.itemsize != len(frame):
        raise WireError(f"An array of shape {shape} and dtype {name} came with {len(frame):,} bytes.")
    return np.frombuffer(frame, dtype).reshape(shape)


def _is_whole(value: Any, limit: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < limit


def spec_fields(spec: ChipSpec) -> tuple[dict[str, Any], tuple[NDArray[np.float64], ...]]:
    """A `ChipSpec` for a header, and the arrays that go with it: `levels` of a parameter is the number of an array."""
    fields, arrays = spec.as_dict(), []
    for parameter in fields.get("parameters", ()):
        if parameter["levels"] is not None:
            arrays.append(np.array(parameter["levels"]))
            parameter["levels"] = len(arrays) - 1
    return fields, tuple(arrays)


def spec_from(fields: Any, arrays: Sequence[NDArray[Any]] = ()) -> ChipSpec:
    """A `ChipSpec` out of a header and the arrays that came with it, or a `WireError`."""
    from bayes_snn.chips.describe import spec_from as checked  # the schema of all descriptions

    try:
        known = dict(fields)
        parameters = [dict(parameter) for parameter in known.get("parameters") or ()]
        for parameter in parameters:
            number = parameter.get("levels")
            if number is not None:
                parameter["levels"] = arrays[number].tolist() if _is_whole(number, len(arrays)) else "missing"
        spec = checked({**known, "parameters": parameters})
    except (InputError, TypeError, ValueError, AttributeError, OverflowError):
        raise WireError(f"The description of the chip cannot be used: {fields!r:.200}.") from None
    return spec
