"""Nested plain values to bytes and back, bit for bit: what the state of a chain is stored as.

Dicts with text keys, lists, tuples, NumPy arrays and scalars, bytes, numbers, texts, booleans and None. Nothing is
pickled, so reading a file runs no code. A sealed record is one line with a name and the SHA-256 digest of the rest, one
line of JSON, and the bytes of the arrays one after the other.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import numpy as np

_NAME = b"bayes_snn-state-1"
_KINDS = "biufcSU"  # of dtypes that are plain values


class PackingError(ValueError):
    """A value that cannot be packed, or bytes that are not what was packed."""


def pack(value: Any) -> bytes:
    """A value as a sealed record; a `PackingError` names what is no plain value."""
    arrays: list[np.ndarray] = []
    tree = _encode(value, arrays)
    layout = [[array.dtype.str, list(array.shape)] for array in arrays]
    header = json.dumps({"tree": tree, "arrays": layout}).encode()
    body = b"".join([header, b"\n", *(array.tobytes() for array in arrays)])
    return b" ".join([_NAME, hashlib.sha256(body).hexdigest().encode()]) + b"\n" + body


def unpack(record: bytes) -> Any:
    """The value of a sealed record; a `PackingError` when a single bit of it is another."""
    first, _, body = record.partition(b"\n")
    if first != b" ".join([_NAME, hashlib.sha256(body).hexdigest().encode()]):
        raise PackingError("the digest is not that of the content")
    header, _, data = body.partition(b"\n")
    try:
        known = json.loads(header)
        arrays, offset = [], 0
        for name, shape in known["arrays"]:
            dtype = np.dtype(name)
            if dtype.kind not in _KINDS:
                raise PackingError(f"an array of {dtype} is no plain value")
            array = np.frombuffer(data, dtype, math.prod(shape), offset).reshape(shape).copy()
            arrays.append(array)
            offset += array.nbytes
        return _decode(known["tree"], arrays)
    except PackingError:
        raise
    # a record that was sealed, but not by `pack`
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise PackingError(f"it was not packed here ({type(error).__name__})") from None


def _encode(value: Any, arrays: list[np.ndarray]) -> Any:
    """JSON for a value; arrays are put aside and referred to by number. A dict of one key says what is no JSON."""
    if isinstance(value, np.generic | np.ndarray):
        if value.dtype.kind not in _KINDS:
            raise PackingError(f"an array of {value.dtype} is no plain value")
        return {"array" if isinstance(value, np.ndarray) else "scalar": _put(np.asarray(value), arrays)}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is bytes:
        return {"bytes": _put(np.frombuffer(value, np.uint8), arrays)}
    if type(value) is tuple:
        return {"tuple": [_encode(item, arrays) for item in value]}
    if type(value) is dict:
        if not all(type(key) is str for key in value):
            raise PackingError("a dict with keys that are no texts is no plain value")
        return {"dict": [[key, _encode(item, arrays)] for key, item in value.items()]}
    if type(value) is list:
        if len(value) > 1 and _alike(value):  # a long history is one array, not thousands
            return {"stack": _put(np.stack(value), arrays)}
        return [_encode(item, arrays) for item in value]
    raise PackingError(f"a {type(value).__name__} is no plain value")


def _decode(tree: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(tree, list):
        return [_decode(item, arrays) for item in tree]
    if not isinstance(tree, dict):
        return tree
    [(kind, content)] = tree.items()
    if kind == "dict":
        return {key: _decode(item, arrays) for key, item in content}
    if kind == "tuple":
        return tuple(_decode(item, arrays) for item in content)
    array = arrays[content]
    if kind == "scalar":
        return array[()]
    if kind == "bytes":
        return array.tobytes()
    return list(array.copy()) if kind == "stack" else array


def _put(array: np.ndarray, arrays: list[np.ndarray]) -> int:
    arrays.append(array)
    return len(arrays) - 1


def _alike(values: list[Any]) -> bool:
    first = values[0]
    return (
        isinstance(first, np.ndarray)
        and first.ndim > 0
        and all(
            isinstance(v, np.ndarray) and v.dtype == first.dtype and v.shape == first.shape and v.dtype.kind in _KINDS
            for v in values
        )
    )
