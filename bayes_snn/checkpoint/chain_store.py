"""The store of one chain: its draws so far and all that is needed to continue from them, whole or not there.

    chain_0/state-0, state-1    the last two states, each with the draws that fill no chunk yet
    chain_0/draws/NAME/c.3.0.0  chunk 3 of an array, (draws, ...), in the Zarr format, version 3

A chunk is written once, when its draws are all there, and is flushed to the disk before the state that counts on it. A
state is written beside the older of the two and renamed over it. So a kill or a power loss at any moment leaves a good
state, and a torn file (a fault of the disk) is recognised by its digest: that of a state stands in its first line,
those of the chunks stand in the state. The chunks are plain enough to be written here: the zarr package would not flush
them, and it keeps threads, which a process that forks must not have.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from bayes_snn.checkpoint.packing import PackingError, pack, unpack
from bayes_snn.errors import CheckpointError
from bayes_snn.files import UnreadableError, read_file, what_helps, write_durably

CHUNK_BYTES = 2**20
MOST_DRAWS = 4096  # to a chunk
MOST_STATE = 2**36  # bytes of a state
STATES = ("state-0", "state-1")
_FIELDS = {"fit", "chain", "total", "serial", "n", "per_chunk", "fields", "digests", "tail", "state"}

Record = dict[str, np.ndarray]  # one draw: arrays by name, of the same shapes and dtypes at every draw


class ChainStore:
    """Draws and states of one chain.

    Parameters
    ----------
    folder
        Where the chain is kept; made at the first save.
    fit
        Digest of the fit, so that a chain of another one is not taken for it.
    chain, total
        Number of the chain, and draws of a complete one, warm-up included.
    chunk_bytes
        Size of a chunk of the largest array, about.

    Attributes
    ----------
    n_draws, n_saved
        Draws so far, and those that the last good state on the disk holds.
    notes
        What was found torn, in sentences.
    """

    def __init__(self, folder: Path, fit: str, chain: int, total: int, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.folder, self.fit, self.chain, self.total = folder, fit, chain, total
        self.n_draws = self.n_saved = 0
        self.notes: list[str] = []
        self._chunk_bytes, self._per_chunk = chunk_bytes, 0
        self._fields: list[tuple[str, str, tuple[int, ...]]] = []
        self._digests: list[str] = []
        self._tail: list[Record] = []
        self._serial, self._newest = 0, 1
        self._read: tuple[int, Record] = (-1, {})

    def load(self) -> Any:
        """The state to continue from, None before the first save; a `CheckpointError` when every state is torn."""
        found = [(name, self._read_state(self.folder / name)) for name in STATES]
        good = sorted(
            ((known["serial"], slot, known) for slot, (_, known) in enumerate(found) if isinstance(known, dict)),
            key=lambda entry: -entry[0],
        )
        reasons = [known for _, known in found if isinstance(known, str)]
        for _, slot, known in good:
            self._take(slot, known)
            torn = self._torn_chunk()
            if torn is None:
                if reasons:
                    self.notes.append(
                        f"Chain {self.chain} continues from the state before the last one, at draw {self.n_draws}, "
                        f"since {reasons[0]}."
                    )
                return known["state"]
            reasons.append(f"{torn} is torn")
        if reasons:
            raise CheckpointError(
                f"Chain {self.chain} cannot continue, because {reasons[-1]} and no other state of it is good: delete "
                f"the folder {self.folder} and resume again, and this chain alone begins anew."
            )
        return None

    def draw(self, i: int) -> Record:
        """A draw that was loaded, by its number; arrays of one draw each."""
        chunk, place = divmod(i, self._per_chunk)
        if chunk >= len(self._digests):
            return self._tail[i - len(self._digests) * self._per_chunk]
        if self._read[0] != chunk:
            self._read = (chunk, self._read_chunk(chunk))
        return {name: np.asarray(array[place]) for name, array in self._read[1].items()}

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a draw, in memory."""
        arrays = {name: np.array(value) for name, value in record.items()}
        fields = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
        if not self._fields:
            self._fields = fields
            largest = max(array.nbytes for array in arrays.values())
            self._per_chunk = min(max(self._chunk_bytes // max(largest, 1), 1), MOST_DRAWS)
        if fields != self._fields:
            raise CheckpointError(
                f"Draw {self.n_draws} of chain {self.chain} has other arrays than the draws before it, which cannot be "
                "stored: fit without a checkpoint."
            )
        self._tail.append(arrays)
        self.n_draws += 1

    def save(self, state: Any) -> None:
        """Write all draws so far with the state after them; a `CheckpointError` when the disk does not take them."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            while self._per_chunk and len(self._tail) >= self._per_chunk:
                self._write_chunk(self._tail[: self._per_chunk])
                del self._tail[: self._per_chunk]
            slot = 1 - self._newest
            record = pack(
                {
                    "fit": self.fit,
                    "chain": self.chain,
                    "total": self.total,
                    "serial": self._serial + 1,
                    "n": self.n_draws,
                    "per_chunk": self._per_chunk,
                    "fields": [[name, dtype, list(shape)] for name, dtype, shape in self._fields],
                    "digests": list(self._digests),
                    "tail": self._stacked(self._tail),
                    "state": state,
                }
            )
            write_durably(self.folder / STATES[slot], record)
        except OSError as error:
            raise CheckpointError(
                f"The checkpoint in {self.folder} cannot be written ({error.strerror or error}), but draws up to "
                f"{self.n_saved} of {self.total} of chain {self.chain} are safe there: {what_helps(error)}, then "
                f"continue with --resume {self.folder.parent}."
            ) from None
        except PackingError as error:
            raise CheckpointError(
                f"The state of chain {self.chain} cannot be stored, because {error}: fit without a checkpoint."
            ) from None
        self._serial, self._newest, self.n_saved = self._serial + 1, slot, self.n_draws

    # ---- reading

    def _read_state(self, path: Path) -> Any:
        """A state, None where there is no file, or what is wrong with it."""
        try:
            if not os.path.lexists(path):
                return None
            known = unpack(read_file(path, MOST_STATE))
        except UnreadableError as error:
            return f"{path} cannot be read ({error.reason})"
        except PackingError:
            return f"{path} is torn"
        if not isinstance(known, dict) or known.keys() != _FIELDS or not self._is_whole(known):
            return f"{path} is torn"
        if (known["fit"], known["chain"]) != (self.fit, self.chain):  # but `total` grows where a fit is extended
            return f"{path} belongs to another fit or chain"
        return known

    def _is_whole(self, known: dict[str, Any]) -> bool:
        """Whether the parts of a state fit to each other: a digest can be made by anybody."""
        n, per_chunk, digests, tail = (known[name] for name in ("n", "per_chunk", "digests", "tail"))
        # types first: a comparison with an array would be one
        numbers = ("chain", "total", "serial", "n", "per_chunk")
        if not all(type(known[name]) is int and known[name] >= 0 for name in numbers):
            return False
        if type(known["fit"]) is not str or type(digests) is not list or not all(type(each) is str for each in digests):
            return False
        if n > self.total or per_chunk > MOST_DRAWS:
            return False
        try:
            fields = [(name, np.dtype(dtype), tuple(shape)) for name, dtype, shape in known["fields"]]
            n_tail = n - len(digests) * per_chunk
            return (n == 0 or per_chunk > 0) and all(
                isinstance(name, str) and tail[name].dtype == dtype and tail[name].shape == (n_tail, *shape)
                for name, dtype, shape in fields
            )
        except (TypeError, ValueError, KeyError, AttributeError):
            return False

    def _take(self, slot: int, known: dict[str, Any]) -> None:
        self._fields = [(name, dtype, tuple(shape)) for name, dtype, shape in known["fields"]]
        self._per_chunk, self._digests = known["per_chunk"], list(known["digests"])
        tail, n_tail = known["tail"], known["n"] - len(self._digests) * self._per_chunk
        self._tail = [{name: np.asarray(tail[name][i]) for name, _, _ in self._fields} for i in range(n_tail)]
        self.n_draws = self.n_saved = known["n"]
        self._serial, self._newest = known["serial"], slot
        self._read = (-1, {})

    def _torn_chunk(self) -> str | None:
        """What cannot be read of the chunks that the state counts on, None when they are whole."""
        for chunk, digest in enumerate(self._digests):
            try:
                whole = _digest(self._read_chunk(chunk)) == digest
            except (UnreadableError, ValueError):
                whole = False
            if not whole:
                first = chunk * self._per_chunk
                return f"the chunk with draws {first} to {first + self._per_chunk - 1} in {self.folder / 'draws'}"
        return None

    def _read_chunk(self, chunk: int) -> Record:
        """Arrays (draws, ...) of one chunk."""
        arrays = {}
        for name, dtype, shape in self._fields:
            size = self._per_chunk * math.prod(shape) * np.dtype(dtype).itemsize
            data = read_file(self._chunk_path(name, chunk, len(shape)), size)
            arrays[name] = np.frombuffer(data, dtype).reshape((self._per_chunk, *shape))
        return arrays

    # ---- writing

    def _write_chunk(self, records: list[Record]) -> None:
        arrays, chunk = self._stacked(records), len(self._digests)
        if chunk == 0:
            self._write_metadata()
        for name, array in arrays.items():
            write_durably(self._chunk_path(name, chunk, array.ndim - 1), array.tobytes())
        self._digests.append(_digest(arrays))

    def _write_metadata(self) -> None:
        """What the zarr package must know to read the chunks; not needed to resume."""
        group = {"zarr_format": 3, "node_type": "group", "attributes": {}}
        write_durably(self.folder / "draws" / "zarr.json", json.dumps(group).encode())
        for name, dtype, shape in self._fields:
            array = {
                "zarr_format": 3,
                "node_type": "array",
                "shape": [self.total, *shape],
                "data_type": np.dtype(dtype).name,
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [self._per_chunk, *shape]}},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
                "fill_value": np.zeros((), dtype).item(),
                "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
                "attributes": {"name": name},
                "dimension_names": ["draw", *[None] * len(shape)],
            }
            write_durably(self.folder / "draws" / _file_name(name) / "zarr.json", json.dumps(array).encode())

    def _stacked(self, records: list[Record]) -> Record:
        """Arrays (draws, ...) of some draws, little-endian."""
        stacked = {}
        for name, dtype, shape in self._fields:
            array = np.array([record[name] for record in records], dtype).reshape((len(records), *shape))
            stacked[name] = array.astype(array.dtype.newbyteorder("<"), copy=False)
        return stacked

    def _chunk_path(self, name: str, chunk: int, n_dims: int) -> Path:
        return self.folder / "draws" / _file_name(name) / ".".join(["c", str(chunk), *["0"] * n_dims])


def _file_name(name: str) -> str:
    return quote(name, safe=" ")


def _digest(arrays: Record) -> str:
    found = hashlib.sha256()
    for name, array in arrays.items():
        found.update(f"{name} {array.dtype.str} {math.prod(array.shape)}\n".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
