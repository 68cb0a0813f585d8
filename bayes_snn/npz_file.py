"""NumPy's .npz files of any origin: arrays alone, without pickle, and no larger than the file may hold."""

from __future__ import annotations

import io
import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from bayes_snn.files import UnreadableError, read_file

MOST_FILE = 4 * 2**30  # bytes
SPARE_BYTES = 64 * 2**20  # that a file may unpack to, beside 200 times its size
MOST_ENTRIES = 128
MOST_HEADER = 10_000  # bytes of an array's, which is parsed as a Python literal
# what NumPy, zipfile and json raise at files of another kind, or with wrong bytes
UNREADABLE: tuple[type[Exception], ...] = (
    *(ValueError, OSError, EOFError, KeyError, AttributeError, TypeError, OverflowError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, struct.error, SyntaxError, tokenize.TokenError, IndexError, lzma.LZMAError),
)


def read_arrays(path: Path) -> dict[str, Any]:
    """The arrays of an .npz file by name; an `UnreadableError` where it is missing, or one of `UNREADABLE`."""
    content = read_file(path, MOST_FILE)
    _check_archive(content)
    with np.load(io.BytesIO(content), allow_pickle=False, max_header_size=MOST_HEADER) as stored:
        return {name: stored[name] for name in stored.files}


def in_words(error: Exception) -> str:
    """One of `UNREADABLE` in one line."""
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _check_archive(content: bytes) -> None:
    """Raise an `UnreadableError` where an archive would unpack to more than weights of its size do."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        if len(entries) > MOST_ENTRIES:
            raise UnreadableError(f"it holds {len(entries):,} arrays, and at most {MOST_ENTRIES} are expected")
        if sum(entry.file_size for entry in entries) > SPARE_BYTES + 200 * len(content):
            raise UnreadableError("it unpacks to more than a file of its size may")
        for entry in entries:
            with archive.open(entry) as file:
                version = np.lib.format.read_magic(file)
                reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, _, dtype = reader[version](file, max_header_size=MOST_HEADER)
            # NumPy makes an array of the size that the header gives before it reads the values
            if math.prod(shape) * dtype.itemsize > entry.file_size:
                raise UnreadableError(f"{entry.filename} in it has the shape {shape}, and fewer values")
