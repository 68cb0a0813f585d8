"""Rows of a study on the disk: whole or not there, and never another cell's."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

pytest.importorskip("pyarrow")

import pyarrow.parquet as pq

from bayes_snn import __version__
from bayes_snn.errors import InputError
from bayes_snn.studies import folder as study_folder
from bayes_snn.studies import run as study_module
from bayes_snn.studies.cells import Cell
from bayes_snn.studies.folder import StudyFolder, mixed_versions, read_study
from bayes_snn.studies.run import study
from tests.helpers.studies import made_up_row

CELLS = [Cell("mh", chip_seed=seed) for seed in (2, 0, 1)]


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder(tmp_path / "study")
    with folder.locked():
        for cell in CELLS:
            folder.write(made_up_row(cell))
    return folder


def test_rows_come_back(folder: StudyFolder) -> None:
    rows, torn = folder.read()
    assert torn == []
    assert rows.keys() == {cell.id for cell in CELLS}
    for cell in CELLS:
        assert {name: rows[cell.id][name] for name in made_up_row(cell)} == made_up_row(cell)
    assert list(read_study(folder.path)["chip_seed"]) == [0, 1, 2]
    folder.write_all(rows.values())
    assert read_study(folder.path / "sweep.parquet").equals(read_study(folder.path))


def test_rows_of_before_files_could_be_read_in_other_ways(folder: StudyFolder) -> None:
    assert Cell("mh").id == "92edaf1fef62c4fc"  # as it was then
    saved = folder.write_all(folder.read()[0].values())
    for path in [saved, *folder.cells.iterdir()]:
        table = pq.read_table(path)
        pq.write_table(table.drop_columns(["reading", "budget", "bias"]), path)
    rows, torn = folder.read()
    assert (len(rows), torn) == (len(CELLS), [])
    assert len(read_study(saved)) == len(CELLS)
    assert study(CELLS, folder.path).kept == len(CELLS)


def test_torn_and_mistaken_files_are_told(folder: StudyFolder) -> None:
    torn, swapped, whole = (folder.cells / f"{cell.id}.parquet" for cell in CELLS)
    torn.write_bytes(torn.read_bytes()[:-20])
    swapped.write_bytes(whole.read_bytes())
    rows, found = folder.read()
    assert set(found) == {torn, swapped}
    assert rows.keys() == {CELLS[2].id}


def test_what_a_kill_left_half_written_goes_away(folder: StudyFolder) -> None:
    half = folder.cells / f".{CELLS[0].id}.123.parquet"
    half.write_bytes(b"PAR1")
    assert len(folder.read()[0]) == 3
    with folder.locked():
        assert not half.exists()


def test_a_failing_write_leaves_the_old_row(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(table: object, path: Path) -> None:
        path.write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    before = {path.name: path.read_bytes() for path in folder.cells.iterdir()}
    monkeypatch.setattr(study_folder.pq, "write_table", half)
    with pytest.raises(InputError, match="No space left"):
        folder.write(made_up_row(CELLS[0], 0.5))
    assert {path.name: path.read_bytes() for path in folder.cells.iterdir()} == before


def test_the_note_of_grids_grows_with_them(folder: StudyFolder) -> None:
    for grid in ({"chips": [0]}, {"chips": [0]}, {"chips": [0, 1]}):
        folder.note_grid(grid, "run")
    stored = json.loads((folder.path / "sweep.json").read_text())
    assert [entry["grid"] for entry in stored["grids"]] == [{"chips": [0]}, {"chips": [0, 1]}]
    assert stored["grids"][0]["versions"]["bayes_snn"]
    (folder.path / "sweep.json").write_text("{torn")
    folder.note_grid({}, "run")
    assert len(json.loads((folder.path / "sweep.json").read_text())["grids"]) == 1


def test_no_study_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no")
    pd.DataFrame({"method": ["float"], "bits": [4]}).to_parquet(tmp_path / "table.parquet")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "text.parquet", tmp_path / "table.parquet"):
        with pytest.raises(InputError, match="cannot be read as a study"):
            read_study(path)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="locks are those of Unix")
def test_the_lock_is_let_go(folder: StudyFolder) -> None:
    with folder.locked(), pytest.raises(InputError, match="Another study"), folder.locked():
        pass
    with folder.locked():
        pass


def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(study_folder, "pq", None)
    with pytest.raises(InputError, match=r"bayes_snn\[sweep\]"):
        read_study(tmp_path)


def test_cells_of_other_studies_are_taken_over(folder: StudyFolder, tmp_path: Path) -> None:
    rows = folder.read()[0]
    saved = folder.write_all(rows.values())
    failed = StudyFolder(tmp_path / "failed")
    with failed.locked():
        failed.write({**made_up_row(CELLS[0], 0.1), "error": "it broke"})
    # nothing is left to run, so no cluster is started; failures and other cells are not taken over
    outcome = study(CELLS[:2], tmp_path / "new", adopt=[failed.path, saved])
    assert (outcome.ran, outcome.kept) == (0, 2)
    taken = StudyFolder(tmp_path / "new").read()[0]
    assert taken == {cell.id: rows[cell.id] for cell in CELLS[:2]}
    # a row that is there already stays
    again = study(CELLS[:2], tmp_path / "new", adopt=[_with_accuracy(tmp_path / "better", 0.99)])
    assert again.ran == 0
    assert StudyFolder(tmp_path / "new").read()[0] == taken


def test_cells_of_another_version_are_not_taken_over(tmp_path: Path) -> None:
    """The same seed may give other draws there, so that a table would compare versions without a word."""
    ours, other, folder = (StudyFolder(tmp_path / name) for name in ("ours", "other", "new"))
    with ours.locked():
        ours.write(made_up_row(CELLS[0], 0.9, versions=json.dumps({"bayes_snn": __version__})))
    with other.locked():
        for cell in CELLS[:2]:
            other.write(made_up_row(cell, 0.1, versions=json.dumps({"bayes_snn": "0.1.0"})))
    with folder.locked():
        folder.write(made_up_row(CELLS[1], 0.8, versions=json.dumps({"bayes_snn": "0.1.0"})))
    outcome = study(CELLS[:1], folder.path, adopt=[other.path, ours.path])
    assert (outcome.kept, outcome.outdated) == (1, 0)  # another study of this version has it
    assert folder.read()[0][CELLS[0].id]["test_map_accuracy"] == 0.9
    # what is in the folder stays, and is said
    outcome = study(CELLS[:2], folder.path)
    assert outcome.kept == 2
    assert "0.1.0" in mixed_versions(outcome.rows)
    assert mixed_versions(outcome.rows[:1]) is None


def test_cells_of_another_version_are_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other, asked = StudyFolder(tmp_path / "other"), []
    with other.locked():
        other.write(made_up_row(CELLS[0], versions=json.dumps({"bayes_snn": "0.1.0"})))
    monkeypatch.setattr(study_module, "connect", lambda scheduler, workers: contextlib.nullcontext(SimpleNamespace()))
    monkeypatch.setattr(study_module, "dashboard_link", lambda client: None)
    monkeypatch.setattr(study_module, "run_cells", lambda client, cells, run: asked.extend(cells) or [])
    outcome = study(CELLS[:1], tmp_path / "new", adopt=[other.path])
    assert (asked, outcome.kept, outcome.outdated) == ([CELLS[0]], 0, 1)


def _with_accuracy(path: Path, accuracy: float) -> Path:
    other = StudyFolder(path)
    with other.locked():
        for cell in CELLS:
            other.write(made_up_row(cell, accuracy))
    return path


def test_what_cannot_be_taken_over_is_told(tmp_path: Path) -> None:
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(b"PAR1")
    with pytest.raises(InputError, match="cannot be read as a study"):
        study(CELLS, tmp_path / "new", adopt=[torn])
