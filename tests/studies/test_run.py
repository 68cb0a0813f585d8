"""Studies in real processes: killed and started again, on a standing scheduler, with cells and workers that fail."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from bayes_snn.data import load_data, split_data
from bayes_snn.studies.cells import Cell, canonical
from bayes_snn.studies.folder import StudyFolder, read_study
from bayes_snn.studies.run_cell import make_chip, run_cell
from tests.helpers.studies import (
    PATIENCE,
    cell_files,
    processes_with,
    start,
    wait_until,
    without_times,
    worker_environment,
)

distributed = pytest.importorskip("distributed")
pytest.importorskip("pyarrow")

N_SPLITS = 8
GRID = ["--methods", "logistic", "--splits", f"0-{N_SPLITS - 1}", "--n-train", "50"]
MH = ["--methods", "mh", "--data", "iris", "--n-train", "20", "--hidden", "2", "--steps", "8"]
MH += ["--draws", "4", "--tune", "2", "--chains", "2"]
FEW_DEATHS = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": 1}  # each costs the start of a worker


class Started:
    """The real processes of a test; all of them, and what they started, are killed at its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = f"SWEEP_TEST={folder}"  # in the environment of every process, however it was started
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **variables: object) -> subprocess.Popen[str]:
        environment = worker_environment(self.folder, SWEEP_TEST=self.folder, **variables)
        self.processes.append(start(list(arguments), environment))
        return self.processes[-1]

    def study(self, output: Path, *arguments: str, **variables: object) -> subprocess.Popen[str]:
        return self.start("bayes_snn.sweep", "--output", str(output), *(arguments or GRID), **variables)

    def log(self) -> list[list[str]]:
        """Cell and process of each run that was begun."""
        log = self.folder / "begun.txt"
        return [line.split() for line in log.read_text().splitlines()] if log.exists() else []

    def begun(self) -> Counter[str]:
        """How often each cell was begun, by id."""
        return Counter(cell for cell, _ in self.log())


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    started = Started(tmp_path)
    yield started
    for process in started.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    wait_until(lambda: not processes_with(started.mark))


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    out, err = process.communicate(timeout=240)
    assert (process.returncode, err if code == 0 else "") == (code, ""), out + err
    assert "Traceback" not in out + err
    return out + err


def expected_rows(tmp_path: Path) -> pd.DataFrame:
    """The grid's rows without Dask: what any cluster must give, but for times."""
    folder = StudyFolder(tmp_path / "expected")
    with folder.locked():
        for split in range(N_SPLITS):
            folder.write(run_cell(canonical(Cell("logistic", n_train=50, split_seed=split))))
    return without_times(read_study(folder.path))


def check_complete(rows: pd.DataFrame) -> None:
    assert sorted(rows["split_seed"]) == list(range(N_SPLITS))
    assert rows["id"].is_unique
    assert rows["error"].isna().all()
    assert rows["test_chosen_accuracy"].between(0.8, 1).all()


def test_killed_and_started_again_no_cell_runs_twice_and_none_is_lost(started: Started, tmp_path: Path) -> None:
    output = tmp_path / "study"
    first = started.study(output, *GRID, "--workers", "2", SWEEP_DELAY=1)
    wait_until(lambda: len(cell_files(output)) >= 2, first)
    for _, worker in started.log():  # memory given back at once, as Dask would have it, makes backprop thrice as slow
        assert b"MALLOC_TRIM_THRESHOLD_" not in Path(f"/proc/{worker}/environ").read_bytes()
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    # the workers see that who started them is gone; a cell that they have in hand is lost
    wait_until(lambda: not processes_with(started.mark))
    before, begun_before = cell_files(output), started.begun()
    assert 2 <= len(before) < N_SPLITS

    out = ended(started.study(output, SWEEP_DELAY=0))
    assert f"{len(before)} were there already" in " ".join(out.split())
    after = cell_files(output)
    assert {key: after[key] for key in before} == before  # neither the content nor the time has changed
    assert all(started.begun()[key] == 1 for key in before)
    # of what was under way when the kill came, each cell ran once more; everything else ran once
    twice = {key for key, count in started.begun().items() if count > 1}
    assert twice <= begun_before.keys() - before.keys()
    assert set(started.begun().values()) <= {1, 2}
    check_complete(read_study(output))
    check_complete(read_study(output / "sweep.parquet"))
    assert read_study(output)["run"].nunique() == 2

    assert_frame_equal(without_times(read_study(output)), expected_rows(tmp_path))


def start_scheduler(started: Started, tmp_path: Path) -> tuple[subprocess.Popen[str], str]:
    """A Dask scheduler on a free port, and its address."""
    file = tmp_path / "scheduler.json"
    options = ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file), "--no-dashboard"]
    process = started.start("dask", "scheduler", *options)
    address = r"tcp://[\d.]+:\d+"
    wait_until(lambda: file.exists() and re.search(address, file.read_text()), process)
    found = re.search(address, file.read_text())
    assert found is not None
    return process, found.group()


def test_a_standing_cluster_whose_worker_is_killed_gives_the_same_rows(started: Started, tmp_path: Path) -> None:
    output = tmp_path / "standing"
    scheduler, address = start_scheduler(started, tmp_path)
    options = [address, "--nthreads", "1", "--no-dashboard"]
    workers = [started.start("dask", "worker", *options, "--name", name, SWEEP_DELAY=1) for name in ("a", "b")]
    with distributed.Client(address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=PATIENCE)
    process = started.study(output, *GRID, "--scheduler", address)
    wait_until(lambda: len(cell_files(output)) >= 3, process)
    assert len({worker for _, worker in started.log()}) == 2  # both had a share
    os.killpg(workers[0].pid, signal.SIGKILL)
    ended(process)
    rows = read_study(output)
    check_complete(rows)
    assert_frame_equal(without_times(rows), expected_rows(tmp_path))

    # and once more, with the scheduler itself gone half-way
    process = started.study(tmp_path / "lost", *GRID, "--scheduler", address)
    wait_until(lambda: len(cell_files(tmp_path / "lost")) >= 1, process)
    os.killpg(scheduler.pid, signal.SIGKILL)
    out = ended(process, code=2)
    assert "every row so far is kept" in out
    assert 1 <= len(read_study(tmp_path / "lost" / "sweep.parquet")) < N_SPLITS


def test_a_failing_cell_and_one_that_kills_its_worker_leave_the_others_alone(started: Started, tmp_path: Path) -> None:
    output = tmp_path / "study"
    out = ended(started.study(output, *GRID, "--workers", "2", SWEEP_FAIL=2, SWEEP_DIE=5, **FEW_DEATHS))
    assert f"2 of {N_SPLITS} cells failed" in out
    rows = read_study(output).set_index("split_seed")
    assert rows.loc[2, "error"] == "RuntimeError: this cell fails"
    assert rows.loc[5, "error"].startswith("KilledWorker: ")
    assert rows["error"].notna().sum() == 2
    assert rows["test_chosen_accuracy"].notna().sum() == N_SPLITS - 2

    before = cell_files(output)
    ended(started.study(output))
    assert cell_files(output) == before  # failed cells are kept
    ended(started.study(output, *GRID, "--retry-failed"))
    check_complete(read_study(output))
    after = cell_files(output)
    assert sum(after[key] != before[key] for key in before) == 2


def test_mh_does_not_depend_on_the_worker_and_a_torn_row_is_run_again(started: Started, tmp_path: Path) -> None:
    output = tmp_path / "study"
    ended(started.study(output, *MH, "--chips", "0-1", "--workers", "1"))
    rows = read_study(output)
    assert list(rows["chip_seed"]) == [0, 1]
    assert rows["error"].isna().all()
    assert set(rows["chosen"]) <= {"mean", "map", "medoid"}
    for _, row in rows.iterrows():
        assert row["test_chosen_accuracy"] == row[f"test_{row['chosen']}_accuracy"]
        best = max(row[f"train_{name}_log_score"] for name in ("mean", "map", "medoid"))
        assert row["train_chosen_log_score"] == best
        assert row["presentations"] == row["passes"] * 20
    torn = output / "cells" / f"{rows['id'][1]}.parquet"
    torn.write_bytes(torn.read_bytes()[:100])
    out = ended(started.study(output, *MH, "--chips", "0-2", "--workers", "1"))  # a grid that has grown
    assert f"{torn.name} held no readable row" in out
    assert "2 cells were run, 1 were there already" in " ".join(out.split())
    again = read_study(output)
    assert list(again["chip_seed"]) == [0, 1, 2]
    assert_frame_equal(without_times(again[:2]), without_times(rows))


def test_ctrl_c_keeps_the_rows(started: Started, tmp_path: Path) -> None:
    output = tmp_path / "study"
    process = started.study(output, *GRID, "--workers", "2", SWEEP_DELAY=1)
    wait_until(lambda: len(cell_files(output)) >= 1, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, the workers included
    out = ended(process, code=130)
    assert "the same command continues from there" in " ".join(out.split())
    assert "Interrupted: the study is not complete." in out
    rows = read_study(output / "sweep.parquet")
    assert len(rows) == len(cell_files(output)) >= 1
    assert rows["error"].isna().all()


def test_two_studies_do_not_share_a_folder(started: Started, tmp_path: Path) -> None:
    with StudyFolder(tmp_path / "study").locked():
        out = ended(started.study(tmp_path / "study"), code=2)
    assert "Another study is writing" in out


def test_a_cell_of_the_ideal_chip() -> None:
    split = split_data(load_data("iris"))
    assert make_chip(Cell("mh", distortion="none", hidden="3,2"), split).strengths == {}
    assert make_chip(Cell("mh", distortion="leak+gain", sigma=0.5), split).strengths == {"leak": 0.5, "gain": 0.5}
