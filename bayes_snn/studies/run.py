"""`study()`: many cells on a Dask cluster, each kept as it ends.

A study that is killed continues where it was: what has a row is not run again, what was under way is. Only the process
that calls `study` writes rows, so a worker that dies loses its cell and nothing else; Dask gives the cell to another.
"""

from __future__ import annotations

import contextlib
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from bayes_snn.errors import InputError, in_one_sentence
from bayes_snn.studies.cells import Cell
from bayes_snn.studies.cluster import connect, cpu_count, dashboard_link, need_distributed
from bayes_snn.studies.folder import StudyFolder, need_pyarrow, read_rows, read_study, version_of
from bayes_snn.studies.run_cell import run_cell
from bayes_snn.version import __version__

TICK = 0.5  # s between looks at who is there

__all__ = ["Progress", "StudyOutcome", "read_study", "study"]


@dataclass(frozen=True)
class Progress:
    """How far a study is: cells of the grid with a row, in all, those that failed, workers, and the dashboard."""

    done: int
    total: int
    failed: int
    workers: int
    dashboard: str | None


@dataclass(frozen=True)
class StudyOutcome:
    """What a study did: `rows` of its grid, how many cells it `ran` and found done (`kept`), files that were torn.

    `outdated` cells of other studies were not adopted, for another version of bayes_snn made them.
    """

    rows: pd.DataFrame
    ran: int
    kept: int
    torn: tuple[Path, ...]
    outdated: int = 0


def study(
    cells: Sequence[Cell],
    output: str | Path,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    retry_failed: bool = False,
    adopt: Sequence[str | Path] = (),
    grid: dict[str, Any] | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> StudyOutcome:
    """Run the cells that have no row yet in a folder, and write a row for each as it ends.

    Parameters
    ----------
    cells
        What to run, from `bayes_snn.studies.cells.make_grid`; the folder may hold other cells too, which are kept.
    output
        The study's folder; see `bayes_snn.studies.folder`.
    scheduler
        Address of a Dask scheduler, "tcp://host:port"; by default a cluster of its own on this computer. Its workers
        need bayes_snn, in the same version.
    workers
        Processes of a cluster of its own, as many as there are cores by default.
    retry_failed
        Run the cells again whose row holds an error.
    adopt
        Other studies, folders or Parquet files: cells of the grid that ended well there are taken over, not run, if the
        version of bayes_snn that made them is this one: draws may differ between versions.
    grid
        A note on the cells for `sweep.json`.
    report
        Called at every change, and about twice a second.

    Raises
    ------
    InputError
        When Dask or pyarrow is missing, the folder cannot be used, or the scheduler does not answer or is lost.
    KeyboardInterrupt
        On Ctrl-C; the rows so far are kept.
    """
    need_pyarrow()
    need_distributed()
    folder, run = StudyFolder(output), uuid.uuid4().hex[:8]
    with folder.locked():
        rows, torn = folder.read()
        wanted = {cell.id: cell for cell in cells}
        outdated = set()
        for other in adopt:
            for known in read_rows(other):
                if known["id"] in wanted and known["id"] not in rows and known["error"] is None:
                    if version_of(known) not in (None, __version__):
                        outdated.add(known["id"])
                        continue
                    folder.write(known)
                    rows[known["id"]] = known
        outdated -= rows.keys()
        kept = {key for key in wanted if key in rows and not (retry_failed and rows[key]["error"])}
        missing = [cell for key, cell in wanted.items() if key not in kept]
        failed = sum(rows[key]["error"] is not None for key in kept)
        done = len(kept)
        folder.note_grid(grid or {"cells": len(wanted)}, run)
        try:
            if missing:
                with connect(scheduler, min(workers or cpu_count(), len(missing))) as client:
                    dashboard = dashboard_link(client)
                    for row, n_workers in run_cells(client, missing, run):
                        if row is not None:
                            folder.write(row)
                            rows[row["id"]] = row
                            done += 1
                            failed += row.get("error") is not None
                        report(Progress(done, len(wanted), failed, n_workers, dashboard))
        finally:
            rows, _ = folder.read()
            folder.write_all(rows.values())
        table = read_study(folder.path)
    return StudyOutcome(
        table[table["id"].isin(list(wanted))].reset_index(drop=True),
        done - len(kept),
        len(kept),
        tuple(torn),
        len(outdated),
    )


def run_cells(client: Any, cells: Sequence[Cell], run: str) -> Iterator[tuple[dict[str, Any] | None, int]]:
    """Rows as they end, with the number of workers; None for a row when nothing ended for a while.

    No more cells are handed out than there are workers: a worker that is killed takes one cell down with it, so that
    Dask does not hold others for the cause, and workers that join later get their share.
    """
    waiting, running = deque(cells), dict[Any, Cell]()
    try:
        while waiting or running:
            n_workers = _count_workers(client)
            while waiting and len(running) < max(1, n_workers):
                cell = waiting.popleft()
                key = f"{cell.method}-{cell.id}-{run}"
                running[client.submit(run_cell, cell, run, key=key, pure=False)] = cell
            ended = _wait_for_some(running)
            for future in ended:
                yield _row(future, running.pop(future), run), n_workers
            if not ended:
                yield None, n_workers
    finally:
        if running:
            with contextlib.suppress(Exception):  # the scheduler may be gone, and then there is nothing to cancel
                client.cancel(list(running))


def _wait_for_some(running: dict[Any, Cell]) -> list[Any]:
    """Futures that have ended; none of them after a while."""
    from distributed import CancelledError, wait

    with contextlib.suppress(TimeoutError, CancelledError):  # the latter where the scheduler was lost, see _row
        wait(list(running), timeout=TICK, return_when="FIRST_COMPLETED")
    return [future for future in running if future.done()]


def _count_workers(client: Any) -> int:
    lost = InputError(
        "The Dask scheduler was lost: every row so far is kept, so start a scheduler and run the same command again."
    )
    if client.status != "running":
        raise lost
    try:
        return len(client.nthreads())
    except Exception:
        raise lost from None


def _row(future: Any, cell: Cell, run: str) -> dict[str, Any]:
    """The row of a cell, or a row that says why Dask could not run it."""
    from distributed import KilledWorker

    if future.status == "finished":
        return dict(future.result())
    if future.status in ("lost", "cancelled"):
        raise InputError(
            "The Dask scheduler was lost, or restarted: every row so far is kept, so run the same command again."
        )
    error = future.exception()
    said = in_one_sentence(error)
    if isinstance(error, KilledWorker):
        said = "KilledWorker: every worker process that ran this cell died, the last of them without a word."
    now = datetime.now(UTC)
    return {"id": cell.id, **asdict(cell), "error": said, "run": run, "finished": now, "versions": "{}"}
