"""One cell: its row, whichever the method, and what an error does to it."""

from __future__ import annotations

import json
import sys
import threading
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bayes_snn.errors import InputError
from bayes_snn.studies import run_cell as cell_run
from bayes_snn.studies.cells import BACKPROP, Cell, canonical
from bayes_snn.studies.run_cell import SCORES, TIMES, run_cell

SMALL: dict[str, Any] = {"data": "iris", "n_train": 20, "hidden": "2", "n_steps": 8}
TINY = {"sampler": "sitewise", **SMALL, "draws": 4, "tune": 2, "chains": 2}


def without_times(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in TIMES}


@pytest.mark.parametrize("distortion", ["comparator", "noise", "leak+gain"])
def test_a_row_depends_on_the_cell_alone(distortion: str) -> None:
    cell = Cell("mh", distortion=distortion, sigma=0.5, **TINY)
    first = run_cell(cell, "one")
    assert first.get("error") is None
    run_cell(Cell("mh", chip_seed=9, **TINY))
    rows: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: rows.append(run_cell(cell, "two")))  # as in a Dask worker
    thread.start()
    thread.join()
    np.testing.assert_equal(without_times(rows[0]), without_times(first))
    assert (first["run"], rows[0]["run"]) == ("one", "two")
    assert first["started"] <= first["finished"]


@pytest.fixture
def backprop(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A stand-in for bayes_snn.backprop and torch: it predicts the first class and notes what it was asked."""
    calls: list[dict[str, Any]] = []

    class Result:
        presentations = 60

        def predict(self, inputs: Any) -> Any:
            return np.tile([0.8, 0.1, 0.1], (len(inputs), 1))

    def train_backprop(chip: Any, inputs: Any, labels: Any, *, mode: str, seed: int, **budget: int) -> Result:
        calls.append({"mode": mode, "seed": seed, "n": len(inputs), "strengths": chip.strengths, **budget})
        return Result()

    module, torch = ModuleType("bayes_snn.backprop.train"), ModuleType("torch")
    module.train_backprop = train_backprop  # type: ignore[attr-defined]
    torch.set_num_threads = lambda n: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bayes_snn.backprop.train", module)
    monkeypatch.setitem(sys.modules, "torch", torch)
    return calls


@pytest.mark.parametrize("method", BACKPROP)
def test_backprop(method: str, backprop: list[dict[str, Any]]) -> None:
    cell = canonical(Cell(method, sigma=2.0, **SMALL))
    row = run_cell(cell)
    assert row.get("error") is None
    mode = method.removeprefix("backprop-")
    assert backprop == [{"mode": mode, "seed": cell.random_seed, "n": 20, "strengths": {"comparator": 2.0}}]
    assert row["test_chosen_accuracy"] == pytest.approx(1 / 3, abs=0.05)
    assert (row["presentations"], row["passes"], row["n_test"]) == (60, 3.0, 45)
    assert {f"{part}_chosen_{score}" for part in ("train", "test") for score in SCORES} <= row.keys()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("two\nlines"), "RuntimeError: two lines"),
        (MemoryError(), "MemoryError."),
        (InputError("A sentence."), "A sentence."),
    ],
)
def test_an_error_becomes_one_sentence(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> Any:
        raise error

    monkeypatch.setitem(cell_run._FAMILIES, "logistic", fail)
    cell = canonical(Cell("logistic"))
    row = run_cell(cell)
    assert (row["id"], row["error"]) == (cell.id, said)
    assert "test_chosen_accuracy" not in row


def test_a_cell_reads_its_file_as_the_study_was_told(tmp_path: Any) -> None:
    path = tmp_path / "mine.data"
    path.write_text("".join(f"{i % 7},5;{'ab'[i % 2]}\n" for i in range(40)))
    reading = json.dumps({"no_header": True, "decimal": ","})
    row = run_cell(canonical(Cell("logistic", data=str(path), target="2", n_train=20, reading=reading)))
    assert (row.get("error"), row["n_test"]) == (None, 12)
    assert row["reading"] == reading


def test_a_file_that_has_changed_is_not_used(tmp_path: Any) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("x,kind\n1,a\n2,b\n")
    row = run_cell(Cell("logistic", data=str(path), target="kind", data_digest="0" * 16))
    assert "give every worker the same file" in row["error"]


def test_a_chip_with_a_bias_is_trained_within_a_budget():
    cell = Cell(
        "mh",
        data="iris",
        n_train=20,
        hidden="3",
        n_steps=8,
        budget=900,
        bias=True,
        draws=0,
        tune=0,
        chains=2,
        sampler="twin",
        sigma=1.0,
    )
    row = run_cell(cell)
    assert row.get("error") is None
    assert row["presentations"] + row["check_presentations"] <= 900
    assert row["n_weights"] == (4 + 1) * 3 + 3 * 3


def test_backprop_on_a_twin_takes_the_budget(backprop: list[dict[str, Any]]) -> None:
    cell = canonical(Cell("backprop-twin", sigma=2.0, budget=700, **SMALL))
    assert run_cell(cell).get("error") is None
    assert (backprop[0]["mode"], backprop[0]["budget"]) == ("twin", 700)
