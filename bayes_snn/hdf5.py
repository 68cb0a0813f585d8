"""HDF5 files of any origin as plain arrays, read in a process of their own (see hdf5_process.py).

What HDF5 does with wrong bytes (crash, run for ever, ask for all memory) happens there, and is one sentence here.
"""

from __future__ import annotations

import json
import math
import signal
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import xarray as xr

from bayes_snn.files import UnreadableError, check_regular, why

READER = Path(__file__).with_name("hdf5_process.py")
SECONDS = 2.0  # of the processor, for a small file; a whole one of 60 MB takes some 0.1 s
BYTES_PER_SECOND = 20e6  # that a slow disk gives: a large file gets more seconds
CLOCK = 4.0  # seconds of the clock for one of the processor, on a busy computer; its start is among them
START_SECONDS = 60.0  # for Python to start on a busy computer
SPARE_BYTES = 2**30  # that a file may unpack to, beside 200 times its size
_MOST_HEADER = 2**28
_KINDS = "biufSU"


@dataclass(frozen=True)
class Array:
    """An array of a file; `dims` is None where it names none."""

    values: np.ndarray
    dims: tuple[str, ...] | None
    attrs: dict[str, Any]


@dataclass(frozen=True)
class Group:
    """A group of a file: attributes, groups and arrays by name."""

    attrs: dict[str, Any]
    groups: dict[str, Group]
    arrays: dict[str, Array]


def read_hdf5(path: Path) -> Group:
    """All that is in a file, or an `UnreadableError` that says why it cannot be had.

    Links to other files, and values that lie in them, are refused.
    """
    size = check_regular(path)
    seconds = SECONDS + size / BYTES_PER_SECOND
    clock = CLOCK * seconds
    deadline = time.monotonic() + clock
    arguments = [str(path.absolute()), repr(seconds), repr(deadline), str(SPARE_BYTES)]
    arguments = [sys.executable, "-P", str(READER), *arguments]
    with start(arguments) as process:
        assert process.stdout is not None  # of this module's own making
        watchdog = threading.Timer(START_SECONDS + clock, process.kill)  # should its own fail
        watchdog.start()
        try:
            answer = _answer(process.stdout, SPARE_BYTES + 200 * size)
        finally:
            watchdog.cancel()
            process.kill()  # of an answer that was not read to its end; else it has ended
    if answer is not None:
        return answer
    ended = _named(process.returncode)
    if ended == "SIGPROF":
        raise UnreadableError(f"reading it took more than {seconds:.3g} s of the processor")
    if ended == "SIGALRM":
        raise UnreadableError(
            f"reading it took more than {clock:.3g} s on a busy computer or a slow disk",
            "try again when there is less to do, and take it from a copy if that ends alike",
        )
    if ended == "SIGKILL":
        raise UnreadableError("reading it took more time or memory than there is")
    raise UnreadableError(f"its bytes ended the process that read it ({ended})")


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start the process that reads."""
    null = subprocess.DEVNULL
    return subprocess.Popen(arguments, stdin=null, stdout=subprocess.PIPE, stderr=null)


def as_tree(group: Group) -> xr.DataTree:
    """A file as netCDF has it; raises what xarray does at attributes that contradict each other."""
    datasets: dict[str, xr.Dataset] = {}

    def add(group: Group, path: str) -> None:
        variables = {}
        for name, array in group.arrays.items():
            if array.dims is None and array.values.ndim:
                raise UnreadableError(f"{path}/{name} in it has no named dims")
            values = array.values.astype(object) if array.values.dtype.kind == "U" else array.values
            variables[name] = xr.Variable(array.dims or (), values, array.attrs)
        decoded = xr.decode_cf(xr.Dataset(variables, attrs=group.attrs), decode_times=False, decode_timedelta=False)
        datasets[path] = decoded
        for name, below in group.groups.items():
            add(below, f"{path}/{name}".lstrip("/"))

    add(group, "")
    datasets["/"] = datasets.pop("")
    return xr.DataTree.from_dict(datasets)


def _answer(stream: IO[bytes], most_bytes: int) -> Group | None:
    """What the process has read; None where it ended first, and an `UnreadableError` where it says why it has not."""
    try:
        [length] = struct.unpack("<Q", _exactly(stream, 8, 8))
        header = json.loads(_exactly(stream, length, _MOST_HEADER))
        if "tree" not in header:
            raise _refusal(header)
        arrays = []
        for name, shape in header["arrays"]:
            dtype = np.dtype(name)
            n_bytes = math.prod(shape) * dtype.itemsize
            if dtype.kind not in _KINDS or n_bytes > most_bytes:
                raise UnreadableError("it unpacks to more than a file of its size may")
            most_bytes -= n_bytes
            arrays.append(np.frombuffer(_exactly(stream, n_bytes, n_bytes), dtype).reshape(shape))
    except EOFError:
        return None
    except MemoryError:
        raise UnreadableError(
            "it holds more than there is memory for", "close other programs, or take another computer"
        ) from None
    return _group(header["tree"], arrays)


def _exactly(stream: IO[bytes], length: int, most: int) -> bytearray:
    if length > most:
        raise UnreadableError("what it holds cannot be distinguished")
    data = bytearray(length)
    view, done = memoryview(data), 0
    while done < length:
        n = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not n:
            raise EOFError
        done += n
    return data


def _group(tree: dict[str, Any], arrays: list[np.ndarray]) -> Group:
    return Group(
        tree["attrs"],
        {name: _group(below, arrays) for name, below in tree["groups"].items()},
        {
            name: Array(arrays[of["number"]], None if of["dims"] is None else tuple(of["dims"]), of["attrs"])
            for name, of in tree["arrays"].items()
        },
    )


def _refusal(header: dict[str, Any]) -> UnreadableError:
    if "refused" in header:
        return UnreadableError(header["refused"])
    if (number := header["errno"]) is not None:
        return why(OSError(number, header["reason"]))
    return UnreadableError(f"it is damaged or of another kind ({header['reason']})")


def _named(code: int) -> str:
    try:
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"
    except ValueError:
        return f"signal {-code}"
