"""`python -m bayes_snn.sweep`: what its options ask for, what it says to bad ones, and its closing table."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

pytest.importorskip("distributed")
pytest.importorskip("pyarrow")

from bayes_snn.cli import sweep as sweep_command
from bayes_snn.cli.study_table import table_over_chips
from bayes_snn.errors import InputError
from bayes_snn.names import DISTORTIONS
from bayes_snn.studies import cluster
from bayes_snn.studies.cells import METHODS, Cell
from bayes_snn.studies.folder import read_study
from bayes_snn.studies.run import StudyOutcome
from tests.helpers.studies import made_up_study

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the command in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run_main(*arguments: str) -> tuple[int, str, str]:
        given = ["--output", "mine", *arguments] if "--output" not in arguments else list(arguments)
        monkeypatch.setattr(sys, "argv", ["sweep", *given])
        code: Any = 0
        try:
            sweep_command.main()
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run_main


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[list[Cell], dict[str, Any]]]:
    """What the command asks `study` for, which does nothing."""
    calls: list[tuple[list[Cell], dict[str, Any]]] = []

    def fake(cells: list[Cell], output: str, **arguments: Any) -> StudyOutcome:
        calls.append((cells, arguments))
        return StudyOutcome(read_study(made_up_study(tmp_path / "x.parquet", cells, lambda c, r: 0.9)), 1, 0, ())

    monkeypatch.setattr("bayes_snn.studies.run.study", fake)
    return calls


REFUSED = {
    "method": ("--methods mh,backprop-spike", [*METHODS, "did you mean 'backprop-spikes'"]),
    "distortion": ("--distortion leek", [*DISTORTIONS, "did you mean 'leak'"]),
    "sigma": ("--sigma 1,x", ["'x'", "number"]),
    "chips": ("--chips 3-1", ["--chips was '3-1'", "0-19"]),
    "chips in words": ("--chips two", ["--chips was 'two'", "0-19"]),
    "splits": ("--splits 0,,1", ["--splits", "comma"]),
    "n_train": ("--n-train ten", ["--n-train held 'ten'", "all"]),
    "too many samples": ("--n-train 9999", ["9999", "398"]),
    "data": ("--data irs", ["did you mean 'iris'"]),
    "hidden": ("--hidden x", ["--hidden was 'x'"]),
    "steps": ("--steps 0", ["--steps was 0"]),
    "model": ("--model gausian", ["did you mean 'gaussian'"]),
    "sampler": ("--sampler blok", ["did you mean 'block'"]),
    "draws": ("--draws 0", ["draws was 0"]),
    "draws in words": ("--draws many", ["--draws", "many"]),
    "workers": ("--workers 0", ["--workers was 0"]),
    "workers of a scheduler": ("--workers 2 --scheduler tcp://127.0.0.1:1", ["--scheduler"]),
    "an unknown option": ("--sigmas 3", ["--sigmas"]),
    "a folder without a name": ("--output=", ["--output was empty"]),
}


@pytest.mark.parametrize(("arguments", "said"), REFUSED.values(), ids=REFUSED)
def test_bad_options_get_one_sentence(arguments: str, said: list[str], run: Run, tmp_path: Path) -> None:
    code, out, err = run(*arguments.split())
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert [part for part in said if part not in err] == []
    assert list(tmp_path.iterdir()) == []


def test_a_missing_output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["sweep"])
    with pytest.raises(SystemExit) as end:
        sweep_command.main()
    assert end.value.code == 2
    assert "--output" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://127.0.0.1:8787/status", "that is the address of a dashboard"),
        ("https://lab.example", "that is the address of a dashboard"),
        ("gopher://127.0.0.1:1", "unknown address scheme"),
        ("tcp://127.0.0.1", "missing port"),
        ("tcp://::1", "brackets"),
        ("tcp://127.0.0.1:port", "port"),
        ("ucx://127.0.0.1:8786", "ucx"),
        ("", "missing port"),
    ],
)
def test_an_address_that_no_scheduler_has_makes_no_client(address: str, says: str, monkeypatch, capsys) -> None:
    import distributed

    monkeypatch.setattr(distributed, "Client", lambda *arguments, **options: pytest.fail("a client was made"))
    with pytest.raises(InputError, match=says) as error, cluster.connect(address, 1):
        pass
    assert str(error.value).startswith(f"No Dask scheduler answers at {address}")
    assert "\n" not in str(error.value)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x:1", "127.0.0.1:nowhere"])
def test_a_scheduler_that_does_not_answer(run: Run, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT", 0.5)
    code, _, err = run("--methods", "logistic", "--scheduler", address)
    assert code == 2
    assert f"No Dask scheduler answers at {address}" in err
    assert dask.config.get("scheduler", None) is None  # xarray, which saves fits, would look for the client
    assert "Traceback" not in err


def test_without_dask(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    code, _, err = run("--methods", "logistic")
    assert code == 2
    assert "bayes_snn[sweep]" in err


def test_the_options_make_the_grid(run: Run, asked: list[tuple[list[Cell], dict[str, Any]]]) -> None:
    options = (
        "--methods mh,backprop-spikes --distortion comparator,leak:0.5 --sigma 0,3 --chips 0-1,5 --n-train 10,all "
    )
    options += "--draws 7 --tune 6 --chains 3 --hidden 8,4 --splits 0 --scheduler tcp://here:1 --retry-failed"
    code, out, err = run(*options.split())
    assert (code, err) == (0, "")
    [(cells, arguments)] = asked
    assert len(cells) == 2 * 3 * 3 * 2
    assert {(cell.distortion, cell.sigma) for cell in cells} == {("comparator", 0), ("comparator", 3), ("leak", 0.5)}
    assert {cell.chip_seed for cell in cells} == {0, 1, 5}
    assert {cell.n_train for cell in cells} == {10, 398}
    assert {(c.draws, c.tune, c.chains, c.hidden) for c in cells if c.method == "mh"} == {(7, 6, 3, "8,4")}
    assert (arguments["scheduler"], arguments["workers"], arguments["retry_failed"]) == ("tcp://here:1", None, True)
    assert "The study is in mine/" in out


def test_each_chip_may_have_a_split_of_its_own(run: Run, asked: list[tuple[list[Cell], dict[str, Any]]]) -> None:
    assert run("--chips", "2-4", "--n-train", "40", "--splits", "chip")[0] == 0
    [(cells, _)] = asked
    assert {(cell.chip_seed, cell.split_seed) for cell in cells} == {(2, 2), (3, 3), (4, 4)}


def test_a_warm_up_is_as_long_as_the_draws(run: Run, asked: list[tuple[list[Cell], dict[str, Any]]]) -> None:
    assert run("--methods", "mh,backprop-spikes", "--draws", "10,30", "--chips", "0")[0] == 0
    [(cells, _)] = asked
    assert sorted((cell.method, cell.draws, cell.tune) for cell in cells) == [
        ("backprop-spikes", 0, 0),
        ("mh", 10, 10),
        ("mh", 30, 30),
    ]


def test_how_a_file_is_read_is_part_of_a_cell(run: Run, asked: list[tuple[list[Cell], dict[str, Any]]]) -> None:
    Path("mine.data").write_text("".join(f"{i % 7},5;{'pq'[i % 2]}\n" for i in range(40)))
    options = ["--data", "mine.data", "--target", "2", "--no-header", "--decimal", ",", "--missing=-9999"]
    assert run(*options, "--chips", "0", "--n-train", "20")[0] == 0
    [[cell]] = [cells for cells, _ in asked]
    assert json.loads(cell.reading) == {"no_header": True, "decimal": ",", "missing": ["-9999"]}


def test_a_changed_csv_makes_other_cells(run: Run, asked: list[tuple[list[Cell], dict[str, Any]]]) -> None:
    lines = ["x,y,kind", *(f"{i % 7},{i * i % 11},{'pq'[i % 2]}" for i in range(40))]
    for text in ("\n".join(lines), "\n".join([*lines, "3,4,p"])):
        Path("mine.csv").write_text(text + "\n")
        assert run(*["--data", "mine.csv", "--target", "kind", "--chips", "0", "--n-train", "20"])[0] == 0
    [[first], [second]] = [cells for cells, _ in asked]
    assert first.data_digest != second.data_digest
    assert first.id != second.id


def printed(rows: pd.DataFrame) -> list[str]:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table_over_chips(rows))
    return [line.rstrip() for line in console.export_text().splitlines() if line.strip()]


def test_the_closing_table(tmp_path: Path) -> None:
    cells = [
        Cell(method, distortion=distortion, chip_seed=chip, sigma=3.0)
        for method in ("mh", "backprop-noise-aware", "logistic")
        for distortion in ("comparator", "quantisation")
        for chip in range(4)
    ]
    path = made_up_study(tmp_path / "s.parquet", cells, lambda cell, rng: 0.8 + 0.02 * cell.chip_seed)
    lines = printed(read_study(path))
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    # 0.83 with a standard deviation of 0.02582 over 4 chips; t of 3 degrees of freedom is 2.3534
    assert [line.split() for line in lines if "chosen" in line] == [
        ["mh", "chosen", name, "3", "398", "4", "0.830", "0.030"] for name in ("comparator", "quantisation")
    ]
    assert sum("logistic" in line for line in lines) == 1
    assert sum("backprop-noise-aware" in line for line in lines) == 2


def test_cells_of_several_settings_stand_apart(tmp_path: Path) -> None:
    cells = [Cell("mh", draws=draws, chip_seed=chip) for draws in (10, 1000) for chip in range(3)]
    rows = read_study(made_up_study(tmp_path / "s.parquet", cells, lambda cell, rng: 0.9))
    chosen = [line.split() for line in printed(rows) if "chosen" in line]
    assert [line[5:7] for line in chosen] == [["10", "3"], ["1000", "3"]]


def test_help_names_everything(run: Run) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert [name for name in [*METHODS, *DISTORTIONS, "--scheduler", "--retry-failed"] if name not in out] == []
