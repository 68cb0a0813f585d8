"""A chip that is asked in order to be learned: what it is shown is counted, ends at a budget, and is written down."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import Chip, FloatArray, ask_counts, ask_spikes
from bayes_snn.chips.presentations import Programmings

_HEAD = struct.Struct("<16sIQ")  # of a record: digest of the question, CRC and bytes of the answer
_MOST_ANSWER = 2**31  # bytes


class BudgetSpentError(Exception):
    """The chip may be shown no more."""


class AskedChip:
    """A chip, counted.

    Parameters
    ----------
    chip
        Any chip.
    budget
        Presentations that it may be shown; None for any number. A question that would go beyond raises
        `BudgetSpentError` and is not asked.
    journal
        A file that every answer is added to. Answers that are in it already, of the same questions in the same order,
        are given again and the chip is not shown anything: who asks is then where he was when he was stopped.

    Attributes
    ----------
    presentations
        Samples shown so far, those of the journal included.
    replayed
        Presentations whose answers came out of the journal.
    """

    def __init__(self, chip: Chip, budget: int | None = None, journal: Path | None = None) -> None:
        self.chip, self.spec, self.budget = chip, chip.spec, budget
        self.presentations = self.replayed = 0
        self._programmings = Programmings()
        self._journal = journal
        self._known, self._good = read_journal(journal) if journal is not None else ([], 0)
        self._known.reverse()

    @property
    def given_inputs(self) -> bool:
        """Whether it can be shown real samples alone."""
        return bool(getattr(self.chip, "given_inputs", False))

    @property
    def programmings(self) -> int:
        """Times that its weights were written."""
        return self._programmings.n

    @property
    def left(self) -> float:
        """Presentations that are left."""
        return float("inf") if self.budget is None else self.budget - self.presentations

    def run(self, weights: Sequence[FloatArray], inputs: FloatArray) -> NDArray[np.int32]:
        """Spike counts (n_samples, n_out); a `ChipError` when the chip answers nonsense."""
        shape = (len(inputs), self.spec.layers[-1])
        digest = self._charge(b"run", weights, inputs)
        answer = self._replay(digest, 4 * shape[0] * shape[1], len(inputs))
        if answer is not None:
            return np.frombuffer(answer, "<i4").reshape(shape).astype(np.int32)
        counts = ask_counts(self.chip, weights, inputs)
        self._write(digest, counts.astype("<i4").tobytes())
        return counts

    def spikes(self, weights: Sequence[FloatArray], inputs: FloatArray) -> list[NDArray[Any]]:
        """Spikes (n_samples, n_steps, n_neurons) of each layer, bool."""
        shape = (len(inputs), self.spec.n_steps, sum(self.spec.layers[1:]))
        digest = self._charge(b"spikes", weights, inputs)
        answer = self._replay(digest, -(-int(np.prod(shape)) // 8), len(inputs))
        if answer is not None:
            bits = np.unpackbits(np.frombuffer(answer, np.uint8), count=int(np.prod(shape)))
            joined = bits.reshape(shape).astype(np.bool_)
        else:
            joined = np.concatenate(ask_spikes(self.chip, weights, inputs), axis=2).astype(np.bool_)
            self._write(digest, np.packbits(joined).tobytes())
        return np.split(joined, np.cumsum(self.spec.layers[1:-1]), axis=2)

    def _charge(self, method: bytes, weights: Sequence[FloatArray], inputs: FloatArray) -> bytes:
        """Count a question; its digest."""
        if len(inputs) > self.left:
            raise BudgetSpentError
        self.presentations += len(inputs)
        self._programmings.note(weights)
        digest = hashlib.blake2b(method, digest_size=16)
        for array in (*weights, inputs):
            digest.update(np.ascontiguousarray(array, np.float64).tobytes())
        return digest.digest()

    def _replay(self, digest: bytes, n_bytes: int, n_samples: int) -> bytes | None:
        """The journal's answer; where it is that of another question, the rest of the journal is of no use."""
        if not self._known:
            return None
        known, answer = self._known.pop()
        if known != digest or len(answer) != n_bytes:
            self._known = []
            return None
        self._good += _HEAD.size + len(answer)
        self.replayed += n_samples
        return answer

    def _write(self, digest: bytes, answer: bytes) -> None:
        if self._journal is None:
            return
        with open(self._journal, "r+b" if self._journal.exists() else "w+b") as file:
            file.truncate(self._good)  # what a kill cut short, or what is of no use
            file.seek(self._good)
            file.write(_HEAD.pack(digest, zlib.crc32(answer), len(answer)) + answer)
        self._good += _HEAD.size + len(answer)


def read_journal(path: Path) -> tuple[list[tuple[bytes, bytes]], int]:
    """Digest and answer of each whole record of a journal, and 0: none of it is used yet."""
    if not path.exists():
        return [], 0
    data, at, found = path.read_bytes(), 0, []
    while at + _HEAD.size <= len(data):
        digest, crc, n_bytes = _HEAD.unpack_from(data, at)
        answer = data[at + _HEAD.size : at + _HEAD.size + n_bytes]
        if n_bytes > _MOST_ANSWER or len(answer) < n_bytes or zlib.crc32(answer) != crc:
            break
        found.append((digest, answer))
        at += _HEAD.size + n_bytes
    return found, 0
