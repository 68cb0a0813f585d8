"""The figure scripts, on made-up studies: what they draw, what they print, and what they say without results."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pyarrow")

import bayes_snn
from bayes_snn.studies.cells import METHODS, Cell, make_grid, parse_strengths
from bayes_snn.studies.folder import read_study
from tests.helpers.studies import ROOT, made_up_study

# accuracy of a made-up chip: how much each method loses with the strength
LOSS = {"mh": 0.005, "backprop-spikes": 0.01, "backprop-outputs": 0.02, "backprop-noise-aware": 0.03}
FIGURES = ("figure2", "figure3", "atlas", "cost")


def accuracy(cell: Cell, rng: np.random.Generator) -> float:
    if cell.method == "logistic":
        return 0.97
    strength = min(cell.sigma, 12.0)
    best = 0.96 - LOSS.get(cell.method, 0.045) * strength - 0.3 / np.sqrt(cell.n_train)
    budget = 0.2 / np.sqrt(cell.draws) if cell.draws else 0.0
    return float(np.clip(best - budget + rng.normal(scale=0.015), 0.3, 1.0))


def options(grid: list[str]) -> dict[str, str]:
    return dict(zip(grid[::2], grid[1::2], strict=True))


def chips_of(script: ModuleType) -> int:
    """How many chips a script asks for."""
    first, last = map(int, options(script.GRIDS[0])["--chips"].split("-"))
    return last - first + 1


def grid_of(script: ModuleType, chips: int | None = None) -> list[Cell]:
    """The cells that a script asks the study for."""
    cells = {}
    for grid in script.GRIDS:
        given = {"--sigma": "0", "--n-train": "398", "--draws": "1000", "--sampler": "sitewise"} | options(grid)
        assert given["--methods"] == "all"
        for cell in make_grid(
            METHODS,
            parse_strengths(given["--distortion"].split(","), [float(s) for s in given["--sigma"].split(",")]),
            [int(n) for n in given["--n-train"].split(",")],
            list(range(chips or chips_of(script))),
            None if given.get("--splits") == "chip" else [0],
            [(int(n), int(n)) for n in given["--draws"].split(",")],
            sampler=given["--sampler"],
        ):
            cells[cell.id] = cell
    return list(cells.values())


@pytest.fixture(autouse=True)
def analysis(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Scripts find what they share beside them."""
    monkeypatch.syspath_prepend(str(ROOT / "analysis"))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(ROOT / "analysis")):
            del sys.modules[name]


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """Results and figures of a folder of their own: those of the repository are not touched."""
    module = importlib.import_module("saved")
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(module, "FIGURES", tmp_path / "figures")
    monkeypatch.setattr(module, "STUDIES", tmp_path / "sweeps")
    (tmp_path / "results").mkdir()
    return module


def run(saved: ModuleType, script: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    try:
        saved.main(name, script.GRIDS, script.draw, script.tell)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure(
    name: str,
    saved: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = importlib.import_module(name)
    path = made_up_study(tmp_path / "results" / f"{name}.parquet", grid_of(script), accuracy)
    assert run(saved, script, name, monkeypatch) == 0
    out = capsys.readouterr().out
    assert "hours on 2 cores" in out
    assert "nan" not in out
    png, svg = (tmp_path / "figures" / f"{name}.{kind}" for kind in ("png", "svg"))
    assert png.read_bytes().startswith(b"\x89PNG")
    text = svg.read_text()
    for expected in (
        f"{chips_of(script)} chips",
        "test accuracy",
        "MH distilled, one set",
        "backprop, spikes",
        "90% intervals",
    ):
        assert expected in text
    # every chip is there as a dot: one for each row of each series drawn, at least
    rows = read_study(path)
    figure = script.draw(rows)
    dots = sum(len(line.get_xdata()) for axis in figure.axes for line in axis.lines if line.get_marker() == ".")
    assert dots >= len(rows[rows["method"].isin(["mh", "backprop-spikes"])])
    assert (svg.read_bytes(), png.read_bytes()) == drawn_again(saved, script, name, monkeypatch, svg, png)


def drawn_again(
    saved: ModuleType, script: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch, svg: Path, png: Path
) -> tuple[bytes, bytes]:
    assert run(saved, script, name, monkeypatch) == 0
    return svg.read_bytes(), png.read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_of_part_of_its_grid(name: str, tmp_path: Path) -> None:
    """Studies under way can be looked at: one chip, and MH alone."""
    script = importlib.import_module(name)
    for cells in (grid_of(script, chips=1), [cell for cell in grid_of(script, chips=3) if cell.method == "mh"]):
        rows = read_study(made_up_study(tmp_path / "part.parquet", cells, accuracy))
        script.draw(rows).canvas.draw()
        assert script.tell(rows)


def test_without_results(
    saved: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = importlib.import_module("figure2")
    assert run(saved, script, "figure2", monkeypatch) == 2
    assert "python analysis/figure2.py --run" in capsys.readouterr().err
    assert run(saved, script, "figure2", monkeypatch, "--rum") == 2
    assert "only --run is known" in capsys.readouterr().err


def test_rows_of_several_versions_are_said(
    saved: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same cell has other draws in another version, so that a figure would compare versions."""
    path = made_up_study(
        tmp_path / "results" / "figure2.parquet", grid_of(importlib.import_module("figure2")), accuracy
    )
    for versions in (["0.1.0"], ["0.1.0", "0.2.0"]):
        rows = pd.read_parquet(path)
        rows["versions"] = [json.dumps({"bayes_snn": versions[n % len(versions)]}) for n in range(len(rows))]
        rows.to_parquet(path)
        assert len(saved.load("figure2")) == len(rows)
        said = capsys.readouterr().out
        assert ("do not compare rows of different versions" in said) == (len(versions) > 1)


def test_run_starts_the_sweep_and_saves_its_rows(
    saved: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, called = importlib.import_module("figure2"), []

    def call(line: list[str]) -> int:
        called.append(line[1:])
        (tmp_path / "sweeps" / "figure2").mkdir(parents=True)
        made_up_study(tmp_path / "sweeps" / "figure2" / "sweep.parquet", grid_of(script, chips=2), accuracy)
        return 0

    monkeypatch.setattr(saved.subprocess, "call", call)
    assert run(saved, script, "figure2", monkeypatch, "--run", "--workers", "1") == 0
    output = str(tmp_path / "sweeps" / "figure2")
    assert called == [["-m", "bayes_snn.sweep", "--output", output, *script.GRIDS[0], "--workers", "1"]]
    assert (tmp_path / "results" / "figure2.parquet").exists()
    assert (tmp_path / "figures" / "figure2.svg").exists()


def test_rows_that_are_no_sweep_s_are_drawn_and_never_adopted(
    saved: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, swept = importlib.import_module("bits"), importlib.import_module("figure2")
    rows = pd.read_parquet(ROOT / "analysis" / "results" / "bits.parquet").to_dict("records")

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["bits.py", *arguments])
        try:
            saved.main_of_rows("bits", make, script.draw, script.tell)
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    def make(known: list[dict[str, Any]]) -> None:
        saved.keep_rows("bits", [*known, *rows[len(known) :]])

    assert call() == 2
    assert "python analysis/bits.py --run" in capsys.readouterr().err
    assert call("--run", "--workers") == 2
    assert "--workers came after --run" in capsys.readouterr().err
    for _ in range(2):  # made at once, and with all rows there
        assert call("--run") == 0
    assert "4 bits" in capsys.readouterr().out
    assert (tmp_path / "figures" / "bits.svg").exists()

    made_up_study(tmp_path / "results" / "cost.parquet", grid_of(swept, chips=2), accuracy)
    lines: list[list[str]] = []
    monkeypatch.setattr(saved.subprocess, "call", lambda line: lines.append(line) or 3)
    assert run(saved, swept, "figure2", monkeypatch, "--run") == 3
    assert lines[0][lines[0].index("--adopt") + 1] == str(tmp_path / "results" / "cost.parquet")


def two_chips(**accuracies: Any) -> pd.DataFrame:
    """Rows of two chips, test accuracies by method; training scores favour backprop-outputs on chip 0."""
    rows = [
        {
            "method": method.replace("_", "-"),
            "chip_seed": chip,
            "test_chosen_accuracy": value,
            "test_distilled_accuracy": value + 0.02 if method == "mh" else None,
            "train_chosen_log_score": -0.1 if (method == "backprop_outputs") == (chip == 0) else -0.2,
        }
        for method, values in accuracies.items()
        for chip, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_differences_are_chip_by_chip() -> None:
    comparison, drawing = importlib.import_module("comparison"), importlib.import_module("drawing")
    rows = two_chips(
        mh=(0.9, 0.8), backprop_outputs=(0.7, 0.6), backprop_spikes=(0.9, 0.5), backprop_offline=(0.5, 0.5)
    )
    best = comparison.best_in_the_loop(rows)
    assert best.method == "backprop-spikes"  # 0.7 against 0.65, on the test data
    assert comparison.difference_to(rows, best, drawing.CHOSEN).mean == pytest.approx(0.15)
    assert comparison.difference_to(rows, best).mean == pytest.approx(0.17)  # distilled
    assert comparison.best_by_training(rows).to_dict() == {0: 0.7, 1: 0.5}
    titles = [line for line in comparison.difference_tables(rows, "here") if line.startswith("here")]
    assert titles == [f"here: {series.label}, minus" for series in (drawing.DISTILLED, drawing.CHOSEN)]
    lines = comparison.difference_lines(rows, drawing.CHOSEN)
    assert "(spikes)" in lines[0]
    assert "+0.150" in lines[0]
    assert "+0.250" in lines[1]  # 0.9 - 0.7 and 0.8 - 0.5
    assert len(lines) == 2 + 3  # noise-aware is not there
    assert comparison.best_in_the_loop(two_chips(mh=(0.9, 0.8))) is None


def test_fewer_samples_are_compared_with_all_of_backprops() -> None:
    comparison = importlib.import_module("comparison")
    few, many = (two_chips(mh=values, backprop_outputs=(0.7, 0.8)) for values in ((0.9, 0.8), (0.95, 0.95)))
    rows = pd.concat([few.assign(n_train=40), many.assign(n_train=398)])
    rows["test_ensemble_accuracy"] = rows["test_chosen_accuracy"] - 0.05
    lines = comparison.fewer_samples_lines(rows)
    assert len(lines) == 2  # one mode of two
    assert "40 samples, minus outputs with 398" in lines[0]
    assert "+0.050" in lines[0]  # 0.85 - 0.7 and 0.75 - 0.8
    assert "+0.150" in lines[1]


def test_the_winner_of_the_atlas() -> None:
    atlas = importlib.import_module("atlas")
    rows = two_chips(mh=(0.9, 0.8), backprop_spikes=(0.8, 0.7001), backprop_offline=(0.5, 0.5))
    series, apart = atlas.winner(rows)
    assert (series.method, apart) == ("mh", True)
    rows = two_chips(mh=(0.9, 0.8), backprop_spikes=(0.95, 0.5))
    assert atlas.winner(rows)[1] is False
    assert atlas.winner(rows[:0]) is None


def made_up_fit(**known: Any) -> dict[str, Any]:
    """A row of a fit with a twin."""
    counts = {"budget": 5000, "shown": 4924, "told": 4924, "programmings": 72, "learning": 656, "chains": 2, "draws": 5}
    scores = {"s": 0.2, "accepted": 0.9, "test_ensemble_accuracy": 0.95, "test_mean_accuracy": 0.94}
    scores |= {"test_distilled_accuracy": 0.945, "version": "0.2.0", "code": "0" * 12}
    found = {"r_hat": 1.2, "ess": 12.0, "converged": False, "seconds": 30.0}
    return {"way": "spikes", "chip_seed": 0, **counts, **scores, **found, **known}


def test_budgets_are_told_and_drawn() -> None:
    script = importlib.import_module("budgets")
    cells = [(way, budget, sigma) for way, budget in script.FITS for sigma in script.SIGMAS]
    rows = pd.DataFrame(
        [
            made_up_fit(way=way, budget=budget, sigma=sigma, chip_seed=chip, told=4924 + chip)
            for way, budget, sigma in cells
            for chip in range(2)
        ]
    )
    told = script.tell(rows)
    assert f"{len(cells)} of {2 * len(cells)} fits report another number" in told
    assert len(told.split("\n")) == len(cells) + 7
    assert len(script.draw(rows).axes) == len(script.SIGMAS)


def test_families_that_cannot_be_learned_are_told_with_the_reason() -> None:
    script = importlib.import_module("families")
    rows = [
        {"family": family, **made_up_fit(chip_seed=chip, refused="")} for family in script.FAMILIES for chip in range(2)
    ]
    refused = {"family": "noise", "way": "counts", "budget": 10_000, "chip_seed": 1, "refused": "It is too noisy."}
    refused |= {"version": "0.2.0", "code": "0" * 12}
    told = script.tell(pd.DataFrame([*rows, refused]))
    assert "noise, from counts, chips 1: It is too noisy." in told
    assert "nan" not in told
    [axis] = script.draw(pd.DataFrame([*rows, refused])).axes
    assert [label.get_text() for label in axis.get_xticklabels()] == list(script.FAMILIES)


def test_data_sets_are_told_and_drawn() -> None:
    script = importlib.import_module("data_sets")
    cells = [(data, sigma, chip) for data in script.HIDDEN for sigma in script.SIGMAS for chip in range(2)]
    scores = {"ensemble": 0.96, "logistic": 0.95, "mlp": 0.97, "version": "0.2.0", "code": "0" * 12}
    cost = {"converged": True, "presentations": 100_000, "seconds": 60.0, "processor_seconds": 59.0}
    rows = pd.DataFrame(
        [{"data": data, "sigma": sigma, "chip_seed": chip, **scores, **cost} for data, sigma, chip in cells]
    )
    lines = script.tell(rows).split("\n")
    assert len(lines) == 3 + len(cells) // 2 + 4
    assert "1.0000" in lines[3]
    assert "-1.0000" in lines[3]
    assert len(script.draw(rows).axes) == len(script.SIGMAS)


def test_one_sample_of_ten_is_malignant_where_they_are_rare() -> None:
    script = importlib.import_module("data_sets")
    split = script.split_of(script.RARE)
    labels = np.concatenate([split.train_labels, split.test_labels])
    assert np.mean(labels == 0) == pytest.approx(0.1, abs=0.002)
    assert (labels == 1).sum() == 357
    assert script.score_of(script.RARE) == "balanced_accuracy"
    found = script.classifiers("iris")
    assert min(found.values()) > 0.8


def test_jobs_that_run_side_by_side_are_saved_as_they_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = importlib.import_module("saved")
    monkeypatch.setattr(script, "RESULTS", tmp_path / "results")
    rows = [{"n": 0, "code": "of before"}]
    script.run_jobs("mine", rows, [([("n", n)],) for n in (1, 2, 3)], dict)
    table = pd.read_parquet(tmp_path / "results" / "mine.parquet")
    assert sorted(table["n"]) == [0, 1, 2, 3]
    assert set(table["version"]) == {bayes_snn.__version__}
    assert list(table["code"]) == ["of before", *[script.code_digest()] * 3]
    assert script.made_by(table) == f"Made by bayes_snn {bayes_snn.__version__}, 2 states of its code."
