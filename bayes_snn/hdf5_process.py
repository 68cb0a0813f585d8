"""The process in which an HDF5 file of unknown origin is read: run as a script, it writes plain arrays to its output.

    python -P hdf5_process.py FILE SECONDS DEADLINE SPARE_BYTES

The output is the length of a JSON text (8 bytes, little-endian), the text, and the bytes of the arrays that it names,
in its order. HDF5 trusts what stands in a file: wrong bytes can make it crash, run for ever or ask for any amount of
memory, and a file can have it read other files. So this process has a limit of time and of memory, cannot write to
files, and refuses whatever lies outside the file. It imports NumPy and h5py alone, so that it starts quickly.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import sys
import time
from typing import Any, BinaryIO

os.environ["HDF5_PLUGIN_PRELOAD"] = "::"  # no filter is loaded from a library beside HDF5
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # each thread would take address space, and none is needed

import h5py
import numpy as np

MOST_DEPTH, MOST_OBJECTS = 32, 20_000
_FILTERS = {1, 2, 3, 32000}  # deflate, shuffle, fletcher32, lzf: those that netCDF4 and h5py write
_KINDS = "biufSU"
# how netCDF4 keeps dims; they are read through `dims`
_DIM_SCALE = (
    "CLASS",
    "NAME",
    "DIMENSION_LIST",
    "REFERENCE_LIST",
    "_Netcdf4Dimid",
    "_Netcdf4Coordinates",
    "_NCProperties",
)
_NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"


class RefusedError(Exception):
    """What a file asks for that is not given."""


class Walk:
    """Describes a file; `datasets` are to be sent, in this order."""

    def __init__(self, most_bytes: int) -> None:
        self.left, self.datasets = most_bytes, list[Any]()
        self._seen = set[int]()

    def group(self, group: h5py.Group, depth: int = 0) -> dict[str, Any]:
        """A group as plain values: its attributes, groups and arrays."""
        if depth > MOST_DEPTH:
            raise RefusedError(f"its groups lie more than {MOST_DEPTH} deep")
        groups, arrays = {}, {}
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise RefusedError(f"{name!r} in it is a link to another place, and links are not followed")
            found = group[name]
            where = h5py.h5o.get_info(found.id).addr
            if where in self._seen or len(self._seen) >= MOST_OBJECTS:
                raise RefusedError(f"{name!r} in it comes twice, or there are more than {MOST_OBJECTS:,} parts")
            self._seen.add(where)
            if isinstance(found, h5py.Group):
                groups[name] = self.group(found, depth + 1)
            elif isinstance(found, h5py.Dataset):
                if not bytes(_attribute(found, "NAME") or b"").startswith(_NO_VARIABLE):
                    arrays[name] = self.array(name, found)
            else:
                raise RefusedError(f"{name!r} in it is neither a group nor an array")
        return {"attrs": _attributes(group), "groups": groups, "arrays": arrays}

    def array(self, name: str, found: h5py.Dataset) -> dict[str, Any]:
        """An array as plain values; it is read later."""
        if found.external or found.is_virtual:
            raise RefusedError(f"the values of {name!r} lie in another file, and no other file is read")
        layout = found.id.get_create_plist()
        if any(layout.get_filter(i)[0] not in _FILTERS for i in range(layout.get_nfilters())):
            raise RefusedError(f"{name!r} is compressed in a way that netCDF does not use")
        if found.shape is None:
            raise RefusedError(f"{name!r} is empty")
        is_text = h5py.check_string_dtype(found.dtype) is not None and found.dtype.kind == "O"
        if not is_text and (found.dtype.kind not in _KINDS or found.dtype.itemsize > 2**16):
            raise RefusedError(f"{name!r} holds {found.dtype} values, and numbers or texts are expected")
        self.left -= found.nbytes
        if self.left < 0:
            raise RefusedError(f"it unpacks to more than a file of its size may: {name!r} has the shape {found.shape}")
        described = {"name": name, "shape": found.shape, "text": is_text, "dims": _dims(name, found)}
        self.datasets.append((described, found))
        return described | {"attrs": _attributes(found), "number": len(self.datasets) - 1}


def _attribute(found: Any, name: str) -> Any:
    return found.attrs.get(name)


def _attributes(found: Any) -> dict[str, Any]:
    """Attributes as JSON has them; an array of one value is that value, as netCDF has it."""
    plain = {}
    for name in found.attrs:
        if name in _DIM_SCALE:
            continue
        value = found.attrs[name]
        if isinstance(value, h5py.Empty):
            continue
        array = np.asarray(value)
        if array.size > 2**16 or (array.dtype.kind not in _KINDS and array.dtype.kind != "O"):
            raise RefusedError(f"the attribute {name!r} is no number or text")
        value = array.tolist()
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        plain[name] = _as_text(value)
    return plain


def _as_text(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not isinstance(value, str | int | float | bool):
        raise RefusedError(f"an attribute holds a {type(value).__name__}")
    return value


def _dims(name: str, found: h5py.Dataset) -> list[str] | None:
    """Names of the dims, None for an array that has none, as those of NIR."""
    if _attribute(found, "CLASS") == b"DIMENSION_SCALE":
        return [name] if found.ndim == 1 else None
    names = [dim[0].name.rpartition("/")[2] if len(dim) else None for dim in found.dims]
    return None if None in names or len(set(names)) < len(names) else names  # type: ignore[return-value]


def read(found: h5py.Dataset, is_text: bool, most_bytes: int) -> np.ndarray:
    """The values, in C order and little-endian."""
    if is_text:
        texts = found.asstr(errors="replace")[()]
        flat = [texts] if found.shape == () else np.asarray(texts, object).ravel().tolist()
        if 4 * len(flat) * max(map(len, flat), default=0) > most_bytes:
            raise RefusedError(f"{found.name!r} holds texts that are too long")
        return np.array(flat, np.str_).reshape(found.shape)
    array = np.ascontiguousarray(found[()]).reshape(found.shape)
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def limit(seconds: float, clock: float, memory: int) -> None:
    """Limit what this process may take, and it writes to no file.

    Seconds of the processor and of the clock count from now, bytes of memory beside those that it has.
    """
    if hasattr(signal, "setitimer"):
        # both end the process, wherever it is: first by its own time, for which a busy computer does not count
        for number, timer, most in (
            (signal.SIGPROF, signal.ITIMER_PROF, seconds),
            (signal.SIGALRM, signal.ITIMER_REAL, clock),
        ):
            signal.signal(number, signal.SIG_DFL)
            signal.setitimer(timer, most)
    with contextlib.suppress(ImportError, OSError, ValueError, AttributeError):
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
        for what, most in (("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0), ("RLIMIT_AS", taken + memory)):
            number = getattr(resource, what)
            hard = resource.getrlimit(number)[1]
            if hard == resource.RLIM_INFINITY or most <= hard:
                resource.setrlimit(number, (most, most))


def send(output: BinaryIO, header: dict[str, Any]) -> None:
    text = json.dumps(header).encode()
    output.write(struct.pack("<Q", len(text)) + text)


def serve(path: str, seconds: float, deadline: float, spare: int, output: BinaryIO) -> None:
    """Read a file and write what is in it; of what cannot be read, why.

    `deadline` is of the monotonic clock, which this process has in common with the one that started it. However late
    the start was, there are as many seconds of the clock as of the processor.
    """
    size = os.path.getsize(path)
    most = spare + 200 * size
    limit(seconds, max(deadline - time.monotonic(), seconds), 2 * most + 2**28)
    try:
        with h5py.File(path, "r") as file:
            walk = Walk(most)
            tree = walk.group(file)
            arrays = []
            # the values are read before the first is sent: after that there is no way to say that one is torn
            for described, found in walk.datasets:
                arrays.append(read(found, described["text"], most))
            send(output, {"tree": tree, "arrays": [[array.dtype.str, array.shape] for array in arrays]})
        for array in arrays:
            output.write(array.reshape(-1).view(np.uint8).data if array.size else b"")
    except RefusedError as error:
        send(output, {"refused": str(error)})
    except MemoryError:
        send(output, {"refused": "it asks for more memory than a file of its size may"})
    except OSError as error:
        send(output, {"errno": error.errno, "reason": " ".join(str(error).split())[:300]})
    except Exception as error:  # h5py raises of all kinds at wrong bytes
        send(output, {"errno": None, "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "wb") as stream:
        os.dup2(2, 1)  # what HDF5 prints must not lie between the arrays
        serve(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), stream)
