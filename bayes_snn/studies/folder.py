"""The folder of a study: a small Parquet file for each cell, written as the cell ends, and all of them in one.

    cells/<id>.parquet     one row; complete or not there, for it is renamed into place
    sweep.json             what was asked for, a grid for each start of the study, with versions
    sweep.parquet          all rows, sorted; written when the study ends
    sweep.lock             held while a study writes here; the system lets go of it when the process dies, however

Only the process that started the study writes here, never a worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from msgspec import Struct

from bayes_snn.errors import InputError
from bayes_snn.files import UnreadableError, make_folder, take_lock, why, write_then_rename
from bayes_snn.json_file import check, read_json
from bayes_snn.studies.cells import FORMAT, IDENTITY, LATER, Cell
from bayes_snn.studies.run_cell import score_names
from bayes_snn.version import package_versions

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ModuleNotFoundError:
    pa = pq = None

TEXT = {"method", "data", "target", "distortion", "hidden", "model", "sampler"}
TEXT |= {"data_digest", "model_digest", "reading"}
_CELL_FILE = re.compile(r"[0-9a-f]{16}\.parquet")


class Grid(Struct):
    """One start of a study."""

    grid: dict[str, Any]
    versions: dict[str, Any]


class StudyFields(Struct):
    """`sweep.json`."""

    grids: list[Grid]


def row_schema() -> Any:
    """Names and types of a row's columns; every column but the identity may be null."""
    need_pyarrow()
    types = {**dict.fromkeys(TEXT, pa.string()), "sigma": pa.float64(), "bias": pa.bool_()}
    identity = [(name, types.get(name, pa.int64())) for name in IDENTITY]
    time = pa.timestamp("us", tz="UTC")
    return pa.schema(
        [
            ("id", pa.string()),
            *identity,
            ("error", pa.string()),
            ("chosen", pa.string()),
            *((name, pa.float64()) for name in score_names()),
            ("presentations", pa.int64()),
            ("passes", pa.float64()),
            ("distil_presentations", pa.int64()),
            ("likelihood_presentations", pa.int64()),
            ("prediction_presentations", pa.int64()),
            ("check_presentations", pa.int64()),
            ("all_presentations", pa.int64()),
            ("n_test", pa.int64()),
            ("n_weights", pa.int64()),
            ("r_hat", pa.float64()),
            ("r_hat_weights", pa.float64()),
            ("ess", pa.float64()),
            ("diagnosis", pa.string()),
            ("seconds", pa.float64()),
            ("started", time),
            ("finished", time),
            ("run", pa.string()),
            ("versions", pa.string()),
        ]
    )


class StudyFolder:
    """Reads and writes the rows of a study."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.cells = self.path / "cells"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and keep other studies out of it; raises `InputError` when one is at work in it."""
        make_folder(self.cells)
        busy = InputError(
            f"Another study is writing into {self.path}: wait until it has ended, or give another folder."
        )
        lock = take_lock(self.path / "sweep.lock", 0.0, busy)
        try:
            for path in self.cells.iterdir():  # what a killed study left half-written
                if not _CELL_FILE.fullmatch(path.name) and path.name.startswith("."):
                    path.unlink()
            yield
        finally:
            os.close(lock)

    def read(self) -> tuple[dict[str, dict[str, Any]], list[Path]]:
        """Rows by the id of their cell, and the files that hold no readable row of the cell they are named after."""
        rows, torn = {}, []
        for path in sorted(self.cells.glob("*.parquet")):
            if not _CELL_FILE.fullmatch(path.name):
                continue
            try:
                [row] = _rows_of(path)
                if row["id"] != path.stem or Cell(**{name: row[name] for name in IDENTITY}).id != path.stem:
                    raise ValueError("the row is another cell's")
            except (OSError, ValueError, TypeError, pa.ArrowException) as error:
                if isinstance(error, OSError) and error.errno is not None:  # pyarrow's own say nothing of the system
                    raise why(error).input_error(path) from None
                torn.append(path)
            else:
                rows[path.stem] = row
        return rows, torn

    def write(self, row: dict[str, Any]) -> None:
        """Write the row of one cell, whole or not at all."""
        table = pa.Table.from_pylist([row], schema=row_schema())
        write_then_rename(self.cells / f"{row['id']}.parquet", lambda path: pq.write_table(table, path))

    def write_all(self, rows: Iterable[dict[str, Any]]) -> Path:
        """Write `sweep.parquet`, sorted by what the cells are."""
        ordered = sorted(rows, key=lambda row: tuple(row[name] for name in IDENTITY))
        table = pa.Table.from_pylist(ordered, schema=row_schema())
        path = self.path / "sweep.parquet"
        write_then_rename(path, lambda temporary: pq.write_table(table, temporary))
        return path

    def note_grid(self, grid: dict[str, Any], run: str) -> None:
        """Add what was asked for to `sweep.json`, unless the last start asked for the same."""
        path = self.path / "sweep.json"
        try:
            stored = read_json(path)
            check(stored, StudyFields)
            grids = list(stored["grids"])
        except UnreadableError:
            grids = []  # it is a note for readers: the rows say all that a study needs to continue
        entry = {"grid": grid, "versions": package_versions()}
        if not grids or {key: grids[-1].get(key) for key in entry} != entry:
            grids.append({"run": run, "started": datetime.now(UTC).isoformat(timespec="seconds"), **entry})
        text = json.dumps({"format": FORMAT, "grids": grids}, indent=2) + "\n"
        write_then_rename(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_study(path: str | Path) -> pd.DataFrame:
    """The rows of a study as a table, sorted by what the cells are.

    Parameters
    ----------
    path
        The folder of a study, ended or not, or a file `sweep.parquet`.

    Raises
    ------
    InputError
        When there is no study, or the file cannot be read.
    """
    table = pa.Table.from_pylist(read_rows(path), schema=row_schema())
    return table.to_pandas().sort_values(list(IDENTITY), ignore_index=True)


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a study, as `read_study` reads them, each with the id of its cell."""
    need_pyarrow()
    path = Path(path)
    if (path / "cells").is_dir():
        rows, _ = StudyFolder(path).read()
        return list(rows.values())
    file = path / "sweep.parquet" if path.is_dir() else path
    try:
        if not holds_study(file):
            raise ValueError("columns of a study are missing")
        found = _rows_of(file)
    except (OSError, ValueError, pa.ArrowException) as error:
        fault = UnreadableError(f"it is another file ({' '.join(str(error).split())[:200]})")
        if isinstance(error, OSError) and error.errno is not None:  # pyarrow's own say nothing of the system
            fault = why(error)
        advice = None if isinstance(error, FileNotFoundError) else fault.advice
        raise InputError(
            f"{file} cannot be read as a study, because {fault.reason}: "
            f"{advice or 'give the folder that --output named, or its sweep.parquet'}."
        ) from None
    return [row for row in found if Cell(**{name: row[name] for name in IDENTITY}).id == row["id"]]


def holds_study(file: Path) -> bool:
    """Whether a Parquet file tells of each of its rows what cell it is of."""
    need_pyarrow()
    return {"id", *IDENTITY} - set(LATER) <= set(pq.read_schema(file).names)


def _rows_of(file: Path) -> list[dict[str, Any]]:
    """The rows in a file; those of before have not all columns of a cell."""
    rows = pq.read_table(file, schema=row_schema()).to_pylist()
    nothing = {field.name: field.default for field in fields(Cell) if field.name in LATER}
    return [{**row, **{name: row[name] or nothing[name] for name in LATER}} for row in rows]


def version_of(row: dict[str, Any]) -> str | None:
    """The version of bayes_snn that made a row; None where the row does not say."""
    try:
        found = json.loads(row["versions"]).get("bayes_snn")
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return None if found is None else str(found)


def mixed_versions(rows: pd.DataFrame) -> str | None:
    """A sentence where several versions of bayes_snn made the rows of method mh; None where one did."""
    sampled = rows[rows["method"] == "mh"].to_dict("records")
    counts = Counter(version for row in sampled if (version := version_of(row)) is not None)
    if len(counts) < 2:
        return None
    listed = ", ".join(f"{n} by {version}" for version, n in sorted(counts.items()))
    return (
        f"Several versions of bayes_snn made these rows of mh ({listed}), and their draws may differ: do not compare "
        "rows of different versions, or run all in a new folder."
    )


def need_pyarrow() -> None:
    """Raise an `InputError` when pyarrow is not installed."""
    if pq is None:
        raise InputError("A study needs pyarrow, which is not installed: install bayes_snn[sweep].")
