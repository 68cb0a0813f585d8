"""`python -m bayes_snn.fit --resume`: it goes on with the options of the stopped fit, and with no others."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pymc as pm
import pytest

from bayes_snn import command
from bayes_snn.errors import ChipError
from bayes_snn.fit import fit
from bayes_snn.interrupt import InterruptGuard
from bayes_snn.result import load_fit
from tests.toys import INPUTS, LABELS, SigmoidChip

ROOT = Path(__file__).parent.parent
GAUSSIAN = (ROOT / "models" / "gaussian.py").read_text()
OPTIONS = {
    "data": "mine.csv",
    "target": "kind",
    "n-train": 30,
    "hidden": 3,
    "steps": 8,
    "draws": 5,
    "tune": 2,
    "chains": 2,
}
TINY = [f"--{name}={value}" for name, value in {**OPTIONS, "model": "prior.py", "seed": 3}.items()]
ROWS = "a,b,kind\n" + "".join(f"{i % 7},{i * i % 11}.5,{'pqr'[i % 3]}\n" for i in range(60))
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a fit in `whole`, and in `stopped` one that Ctrl-C ended after its second draw."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "mine.csv").write_text(ROWS)
    (folder / "prior.py").write_text(GAUSSIAN)
    before = InterruptGuard.callback

    def callback(self, trace, draw):
        before(self, trace, draw)
        self.interrupted = not draw.tuning and draw.draw_idx >= 3

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLUMNS", "80")
        assert run(patch, *TINY, "--out", "whole") == 0
        patch.setattr(InterruptGuard, "callback", callback)
        assert run(patch, *TINY, "--out", "stopped") == 0
    return folder


@pytest.fixture(autouse=True)
def at_home(request, monkeypatch):
    if "home" in request.fixturenames:
        monkeypatch.chdir(request.getfixturevalue("home"))


def run(patch, *arguments):
    """Run the command in this process; its exit code."""
    patch.setattr(sys, "argv", ["fit", *arguments])
    try:
        command.main()
    except SystemExit as end:
        return end.code
    return 0


@pytest.fixture
def refused(monkeypatch, capsys):
    """The one sentence with which the command refuses, before it samples."""

    def run_main(*arguments):
        monkeypatch.setattr(pm, "sample", lambda **options: pytest.fail("sampling began"))
        assert run(monkeypatch, *arguments) == 2
        shown = capsys.readouterr()
        assert "Traceback" not in shown.out + shown.err
        assert shown.err.startswith("Error: ")
        assert shown.err.count("\n") == 1
        return shown.err

    return run_main


@forks
@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--draws 6", "--draws was 6, but the fit in "),
        ("--distortion leak", "was begun with comparator: leave it out"),
        ("--data iris", "--data was iris"),
        ("--out other", "--out came with --resume"),
        ("--overwrite", "--overwrite came with --resume"),
    ],
)
def test_other_options_are_refused(options, said, refused):
    assert said in refused("--resume", "stopped", *options.split())


@forks
@pytest.mark.usefixtures("home")
def test_a_fit_that_was_written_is_no_stopped_one(refused):
    assert "holds no checkpoint of a fit" in refused("--resume", "whole")
    assert "holds no checkpoint of a fit" in refused("--resume", "nowhere")
    assert "--resume was empty" in refused("--resume", " ")


@forks
@pytest.mark.usefixtures("home")
def test_other_data_are_refused(refused):
    Path("mine.csv").write_text(ROWS.replace("\n3,", "\n9,"))
    assert "was begun with other training inputs" in refused("--resume", "stopped")
    Path("mine.csv").write_text(ROWS)


def test_a_fit_begun_from_python_is_refused(tmp_path, refused):
    class Failing(SigmoidChip):
        def run(self, weights, inputs):
            if self.runs > 250:
                raise ChipError("The link broke.")
            return super().run(weights, inputs)

    with pytest.raises(ChipError):
        fit(Failing(), INPUTS, LABELS, sampler="block", draws=3, tune=2, chains=1, checkpoint=tmp_path / "it")
    assert "was begun from Python" in refused("--resume", str(tmp_path / "it"))


@forks
@pytest.mark.usefixtures("home")
def test_the_folder_of_a_stopped_fit_is_not_taken_for_another(refused):
    for file in command.FILES:
        Path("stopped", file).rename(file)
    said = refused(*TINY, "--out", "stopped")
    for file in command.FILES:
        Path(file).rename(Path("stopped") / file)
    assert "stopped holds a fit that was stopped: go on with --resume stopped, or --overwrite" in said


@forks
@pytest.mark.usefixtures("home")
def test_a_stopped_fit_goes_on_from_any_directory(tmp_path, monkeypatch, capsys):
    home = Path.cwd()
    monkeypatch.chdir(tmp_path)
    stored = json.loads((home / "stopped" / "fit.json").read_text())
    assert stored["interrupted"] is True
    assert (home / "stopped" / "checkpoint").is_dir()
    # an option that says the same again is no other one
    assert run(monkeypatch, "--resume", str(home / "stopped"), "--draws", "5") == 0, capsys.readouterr()
    whole, resumed = load_fit(home / "whole"), load_fit(home / "stopped")
    assert resumed.arguments == whole.arguments
    assert resumed.presentations == whole.presentations
    assert resumed.scores == whole.scores
    assert not resumed.interrupted
    for group in ("posterior", "sample_stats", "log_likelihood"):
        assert whole.posterior[group].dataset.equals(resumed.posterior[group].dataset)
    assert {path.name for path in (home / "stopped").iterdir()} == set(command.FILES)
    np.testing.assert_array_equal(whole.predict(whole.train_inputs), resumed.predict(whole.train_inputs))
