"""What can go wrong between a computer and a chip, and the log of what did.

A fault is never a likelihood and never a rejected proposal: the run is repeated, and the fault is written down.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayes_snn.arrays import ArrayError, as_array
from bayes_snn.chips.contract import ChipSpec, check_counts
from bayes_snn.errors import ChipError
from bayes_snn.files import UnreadableError, read_file

KINDS = {  # of faults, in the order in which they are listed
    "timeout": "no answer in time",
    "dropped": "the driver reported that the link had failed",
    "late": "an answer to a request that had been given up; it was dropped",
    "other": "an answer to another request",
    "shape": "counts of another shape",
    "type": "something that is no number",
    "nan": "NaN or infinite counts",
    "fraction": "counts that are not whole",
    "negative": "counts below 0",
    "range": "more spikes than there are steps",
    "refused": "the driver found its chip's answer wrong itself",
    "reset": "the driver's reset failed, or did not end in time",
}
MOST_KEPT = 50_000  # faults of which more is kept than their number; the latest stay
_MOST_FILE = 2**30  # bytes of faults that a process has written down


@dataclass(frozen=True)
class Fault:
    """One fault of a link.

    Attributes
    ----------
    kind
        One of KINDS.
    time
        Seconds since 1970, UTC.
    request
        Number of the request that it befell, counted from 1 in each process.
    attempt
        How often the same run had been tried by then, this time included.
    sentence
        What happened.
    process
        Number of the process in which it happened: chains may run in processes of their own.
    """

    kind: str
    time: float
    request: int
    attempt: int
    sentence: str
    process: int

    def as_dict(self) -> dict[str, Any]:
        """In plain values."""
        return asdict(self)


class AnswerError(ChipError):
    """An answer that is no spike count matrix; `kind` is one of KINDS."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def check_answer(answer: object, n_samples: int, spec: ChipSpec) -> NDArray[np.int32]:
    """Spike counts as int32 (n_samples, n_out), or an `AnswerError` that names the kind of fault."""
    try:
        return check_counts(answer, n_samples, spec)
    except ChipError as error:
        refused = error.__cause__  # where no array could be made of it
        expected = n_samples, spec.layers[-1]
        kind = refused.kind if isinstance(refused, ArrayError) else _kind(as_array("Counts", answer), expected)
        raise AnswerError(kind, str(error)) from None


def _kind(array: NDArray[Any], expected: tuple[int, int]) -> str:
    if array.shape != expected:
        return "shape"
    if not np.issubdtype(array.dtype, np.number):
        return "type"
    if not np.isfinite(array).all():
        return "nan"
    if (array != np.rint(array)).any():
        return "fraction"
    return "negative" if array.min() < 0 else "range"


class FaultLog:
    """The faults of a link: how many of each kind, and the latest of them in full.

    Attributes
    ----------
    counts
        Faults by kind, all of them.
    records
        The latest faults, MOST_KEPT at most.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.records: deque[Fault] = deque(maxlen=MOST_KEPT)
        self._spool: str | None = None
        self._owner = os.getpid()
        self._lasting = False  # what this process finds is written down as well

    def add(self, kind: str, request: int, attempt: int, sentence: str) -> None:
        """Write down a fault; in a copy of the log in another process, for `gather` to find."""
        fault = Fault(kind, time.time(), request, attempt, sentence, os.getpid())
        self._count(fault)
        if self._spool is not None and (self._lasting or fault.process != self._owner):
            known = fault.as_dict() if self.counts.total() <= MOST_KEPT else {"kind": kind}
            path = Path(f"{self._spool}-{fault.process}.jsonl")
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(known) + "\n")

    def carry(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Take over faults that were written down elsewhere, as `Fault.as_dict` gave them."""
        for record in records:
            if "sentence" in record:
                self._count(Fault(**record))
            else:
                self.counts[record["kind"]] += 1

    def since(self, before: Mapping[str, int]) -> FaultLog:
        """The faults that came after `before`, the counts of that moment."""
        log = FaultLog()
        log.counts = self.counts - Counter(before)
        n = log.counts.total()
        log.records.extend(list(self.records)[-n:] if n else [])
        return log

    @contextlib.contextmanager
    def gather(self, folder: str | Path | None = None) -> Iterator[None]:
        """Take over, at the end, what copies of this log in other processes of this computer have written down.

        Parameters
        ----------
        folder
            Where to write: files in it stay, and what an earlier part of the same fit left there is taken over first.
            Without, a temporary folder.
        """
        self._owner, self._lasting = os.getpid(), folder is not None
        with contextlib.ExitStack() as stack:
            if folder is None:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bayes_snn-faults-"))
            folder = Path(folder)
            self._take_over(sorted(folder.glob("*.jsonl")))
            part = f"{time.time_ns()}"  # names the files of this part of the fit
            self._spool = str(folder / part)
            try:
                yield
            finally:
                self._spool = None
                own = f"{part}-{self._owner}.jsonl"  # is in this log already
                self._take_over([path for path in sorted(folder.glob(f"{part}-*.jsonl")) if path.name != own])

    def _take_over(self, paths: Iterable[Path]) -> None:
        found = [record for path in paths for record in _read_lines(path)]
        self.carry(sorted(found, key=lambda record: record.get("time", np.inf)))

    def as_dataset(self) -> xr.Dataset:
        """One row for each record, along the dim `fault`; `counts` of all kinds in the attributes, as JSON."""
        columns = {
            "kind": np.array([fault.kind for fault in self.records], dtype=np.str_),
            "time": np.array([fault.time for fault in self.records], dtype=np.float64),
            "request": np.array([fault.request for fault in self.records], dtype=np.int64),
            "attempt": np.array([fault.attempt for fault in self.records], dtype=np.int64),
            "sentence": np.array([fault.sentence for fault in self.records], dtype=np.str_),
            "process": np.array([fault.process for fault in self.records], dtype=np.int64),
        }
        return xr.Dataset(
            {name: ("fault", values) for name, values in columns.items()}, attrs={"counts": json.dumps(self.counts)}
        )

    def _count(self, fault: Fault) -> None:
        self.counts[fault.kind] += 1
        self.records.append(fault)

    def __repr__(self) -> str:
        return f"FaultLog({in_words(self.counts)})"


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """Records of a file whose last line may be torn, where its process was killed; what is no record is left out."""
    try:
        content = read_file(path, _MOST_FILE)
    except UnreadableError:
        return []
    records = []
    for line in content.decode("utf-8", "replace").splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(line)
            if _is_record(record):
                records.append(record)
    return records


def _is_record(record: Any) -> bool:
    """Whether a line is what `FaultLog.add` writes: a checkpoint may come from anywhere."""
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str) or record["kind"] not in KINDS:
        return False
    if "sentence" not in record:
        return record.keys() == {"kind"}
    numbers = [record.get(name) for name in ("request", "attempt", "process")]
    return (
        record.keys() == {field.name for field in fields(Fault)}
        and isinstance(record["sentence"], str)
        and isinstance(record["time"], float)
        and all(type(number) is int and 0 <= number < 2**62 for number in numbers)
    )


def in_words(counts: Mapping[str, int]) -> str:
    """Faults in one line: "3 faults (2 timeout, 1 nan)"."""
    total = sum(counts.values())
    if not total:
        return "no faults"
    each = ", ".join(f"{counts[kind]:,} {kind}" for kind in KINDS if counts.get(kind))
    return f"{total:,} fault{'s' if total > 1 else ''} ({each})"
