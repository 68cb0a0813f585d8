"""Weights of a fit as a plain .npz file: w_1, w_2, ... (n_pre, n_post), and metadata as JSON.

NumPy alone reads it, without pickle: `numpy.load(path)["w_1"]`. The entry `metadata` is a JSON text that says which
estimate the weights are, of which chip, with which readout, and by which version they were written.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bayes_snn.errors import InputError
from bayes_snn.estimates.predict import Weights
from bayes_snn.exports.deployment import check_chain, deployment, file_path
from bayes_snn.files import UnreadableError, write_then_rename
from bayes_snn.npz_file import UNREADABLE, in_words, read_arrays
from bayes_snn.version import __version__

FORMAT = 1  # of the file, in its metadata
_WRITE_AGAIN = "take it from a copy, or write it again with write_weights"


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
        found = read_arrays(path)
        metadata = json.loads(str(found.pop("metadata", "{}")))
    except UnreadableError as error:
        raise error.input_error(path, _WRITE_AGAIN) from None
    except UNREADABLE as error:
        raise InputError(f"{path} is not a whole .npz file of weights ({in_words(error)}): {_WRITE_AGAIN}.") from None
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
