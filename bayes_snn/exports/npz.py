"""Weights of a fit as a plain .npz file: w_1, w_2, ... (n_pre, n_post), and metadata as JSON.

NumPy alone reads it, without pickle: `numpy.load(path)["w_1"]`. The entry `metadata` is a JSON text that says which
estimate the weights are, of which chip, with which readout, and by which version they were written.
"""

from __future__ import annotations

import io
import json
import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bayes_snn.errors import InputError
from bayes_snn.estimates.predict import Weights
from bayes_snn.exports.deployment import check_chain, deployment, file_path
from bayes_snn.files import UnreadableError, read_file, write_then_rename
from bayes_snn.version import __version__

FORMAT = 1  # of the file, in its metadata
MOST_FILE = 4 * 2**30  # bytes
SPARE_BYTES = 64 * 2**20  # that a file may unpack to, beside 200 times its size
MOST_ENTRIES = 128
MOST_HEADER = 10_000  # bytes of an array's, which is parsed as a Python literal
_WRITE_AGAIN = "take it from a copy, or write it again with write_weights"
# what NumPy, zipfile and json raise at files of another kind, or with wrong bytes
UNREADABLE: tuple[type[Exception], ...] = (
    *(ValueError, OSError, EOFError, KeyError, AttributeError, TypeError, OverflowError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, struct.error, SyntaxError, tokenize.TokenError, IndexError, lzma.LZMAError),
)






def write_weights(result: Any, path: str | Path, estimate: str = "map", *, draw: int | None = None) -> Path:
    """Write weights, as they are programmed, to an .npz file: before the chip saturates or rounds them.

    Parameters
    ----------
    result
        A `FitResult`, a `BackpropResult`, or a sequence of (n_pre, n_post) arrays.
    path
        The file, replaced as a whole when it is there already.
    estimate, draw
        Which weights of a fit, see `deployment`.

    Returns
    -------
    The path of the file.

    Raises
    ------
    InputError
        When there is not one set of weights, they do not chain or are not finite, or the file cannot be written.
    """
    path = file_path(path)
    metadata: dict[str, Any] = {"format": FORMAT, "project": "bayes_snn", "version": __version__, "axes": "pre, post"}
    if isinstance(result, Sequence) and not isinstance(result, str | bytes):
        weights = check_chain(result)
    else:
        chosen = deployment(result, estimate, draw)
        weights, spec = check_chain(chosen.weights), chosen.chip.spec
        metadata |= {"estimate": chosen.source, "layers": list(spec.layers), "n_steps": spec.n_steps}
        metadata |= {"weight_range": list(spec.weight_range), "weight_bits": spec.weight_bits}
        metadata |= {"readout": chosen.described_readout()}
    named: dict[str, Any] = {f"w_{layer}": w for layer, w in enumerate(weights, 1)}
    buffer = io.BytesIO()
    np.savez(buffer, metadata=np.array(json.dumps(metadata)), **named)
    write_then_rename(path, lambda temporary: temporary.write_bytes(buffer.getvalue()))
    return path


def read_weights(path: str | Path) -> Weights:
    """Weights of a file that `write_weights` wrote, (n_pre, n_post) for each layer, as `Chip.run` takes them.

    Raises `InputError` when the file is missing, torn, or holds other things.
    """
    return _read(path)[0]


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What a file of `write_weights` says of its weights: estimate, layers, n_steps, weight_range, version and so on.

    Empty for an .npz file that was made elsewhere, with entries w_1, w_2, ...
    """
    return _read(path)[1]


def _read(path: str | Path) -> tuple[Weights, dict[str, Any]]:
    path = Path(path)
    try:
        content = read_file(path, MOST_FILE)
    except UnreadableError as error:
        raise error.input_error(path, _WRITE_AGAIN) from None
    try:
        _check_archive(content)
        with np.load(io.BytesIO(content), allow_pickle=False, max_header_size=MOST_HEADER) as stored:
            found = {name: stored[name] for name in stored.files}
        metadata = json.loads(str(found.pop("metadata", "{}")))
    except UnreadableError as error:
        raise error.input_error(path, _WRITE_AGAIN) from None
    except UNREADABLE as error:
        raise InputError(f"{path} is not a whole .npz file of weights ({_reason(error)}): {_WRITE_AGAIN}.") from None
    names = [f"w_{layer}" for layer in range(1, len(found) + 1)]
    if not found or set(found) != set(names) or not isinstance(metadata, dict):
        raise InputError(
            f"{path} holds {', '.join(sorted(found)) or 'no arrays'}, but weights are named w_1, w_2, ... without a "
            "gap: write them with write_weights."
        )
    if metadata.get("format", FORMAT) != FORMAT:
        raise InputError(
            f"{path} is of format {metadata['format']}, but this version reads format {FORMAT}: install bayes_snn "
            f"{metadata.get('version')}, or write the file again."
        )
    return check_chain([found[name] for name in names]), metadata


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


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__




