"""`python -m bayes_snn.fit --resume`: it continues with the options of the stopped fit, and with no others."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pymc as pm
import pytest

from bayes_snn.checkpoint.checkpoint import Checkpoint
from bayes_snn.checkpoint.identity import digest_of
from bayes_snn.cli import fit as command
from bayes_snn.data import load_data, split_data
from bayes_snn.errors import ChipError
from bayes_snn.inference.fit import fit
from bayes_snn.inference.load import load_fit
from bayes_snn.interrupt import InterruptGuard
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

pytestmark = pytest.mark.usefixtures("quickly_compiled")

ROOT = Path(__file__).parents[2]
GAUSSIAN = (ROOT / "models" / "gaussian.py").read_text()
OPTIONS = {
    "sampler": "sitewise",
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
    """A folder with a fit in `whole`, and in `stopped` and `plain` some that Ctrl-C ended after their second draw."""
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
        assert run(patch, *TINY, "--no-bias", "--out", "plain") == 0
    for name in ("stopped", "plain"):
        stored = json.loads((folder / name / "fit.json").read_text())
        assert stored["interrupted"], (name, stored["arguments"], stored["diagnosis"]["n_draws"])
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
@pytest.mark.parametrize("name", ["plain", "stopped"])
def test_a_fit_from_before_there_was_a_bias_goes_on_without(name, tmp_path, monkeypatch, capsys):
    """Its options say nothing of one."""
    opened = Checkpoint.open

    def from_before(path):
        checkpoint = opened(path)
        checkpoint.options = {option: value for option, value in checkpoint.options.items() if option != "bias"}
        return checkpoint

    shutil.copytree(name, tmp_path / name)
    monkeypatch.setattr(Checkpoint, "open", from_before)
    ended = run(monkeypatch, "--resume", str(tmp_path / name), "--trust")
    if name == "plain":
        assert ended == 0
        assert "bias" not in load_fit(tmp_path / name).arguments
    else:
        assert ended == 2
        assert "was begun with another" in capsys.readouterr().err


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


@forks
@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("a,b,kind", "a,c,kind", "begun with other feature names ('b', now 'c')"),
        (",r\n", ",s\n", "begun with other class names ('r', now 's')"),
    ],
)
def test_other_names_are_refused(before, after, said, refused):
    Path("mine.csv").write_text(ROWS.replace(before, after))
    assert said in refused("--resume", "stopped")
    Path("mine.csv").write_text(ROWS)


@forks
@pytest.mark.usefixtures("home")
def test_other_test_samples_are_refused(refused):
    def split(text):
        Path("mine.csv").write_text(text)
        return split_data(load_data("mine.csv", "kind"), n_train=30)

    now, lines = split(ROWS), ROWS.splitlines(keepends=True)
    for i in range(1, len(lines)):
        then = split("".join([*lines[:i], f"8{lines[i]}", *lines[i + 1 :]]))
        if (then.train_inputs == now.train_inputs).all() and (then.test_inputs != now.test_inputs).any():
            break
    assert "begun with other test samples" in refused("--resume", "stopped")
    Path("mine.csv").write_text(ROWS)


@forks
@pytest.mark.usefixtures("home")
def test_a_fit_from_elsewhere_runs_nothing_unless_it_is_trusted(tmp_path, refused, monkeypatch):
    monkeypatch.setattr("bayes_snn.posterior.priors._import", lambda path: pytest.fail(f"{path} was run"))
    monkeypatch.setattr("bayes_snn.cli.chip_options.chip_for_data", lambda *options: pytest.fail("the chip was made"))
    shutil.copytree("stopped", tmp_path / "forged")
    path = tmp_path / "forged" / "checkpoint" / "checkpoint.json"
    stored = json.loads(path.read_text())
    stored["fit"]["options"] |= {"own_chip": "os:listdir", "model": "gaussian"}
    path.write_text(json.dumps(stored | {"digest": digest_of(stored["fit"])}))
    said = refused("--resume", str(tmp_path / "forged"))
    assert "not begun by this user on this computer, and to continue with it would use the chip os:listdir" in said
    assert "add --trust" in said
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert "would run the model file " in refused("--resume", "stopped")
    Path("prior.py").write_text(GAUSSIAN + "# changed\n")
    assert "begun with another prior" in refused("--resume", "stopped", "--trust")
    Path("prior.py").write_text(GAUSSIAN)
    assert "--trust came without --resume" in refused("--trust")


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
    assert "stopped holds a fit that was stopped: continue with --resume stopped, or --overwrite" in said


@forks
@pytest.mark.usefixtures("home")
def test_a_stopped_fit_goes_on_from_any_directory(tmp_path, monkeypatch, capsys):
    home = Path.cwd()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # and by any user who trusts it
    stopped = shutil.copytree(home / "stopped", tmp_path / "stopped")  # other tests need the one at home
    stored = json.loads((stopped / "fit.json").read_text())
    assert stored["interrupted"] is True
    assert (stopped / "checkpoint").is_dir()
    # an option that says the same again is no other one
    assert run(monkeypatch, "--resume", str(stopped), "--draws", "5", "--trust") == 0, capsys.readouterr()
    whole, resumed = load_fit(home / "whole"), load_fit(stopped)
    assert resumed.arguments == whole.arguments
    assert resumed.presentations == whole.presentations
    assert resumed.cost.checks == whole.cost.checks + 2 * 30  # for each chain: is the chip the same?
    assert resumed.scores == whole.scores
    assert not resumed.interrupted
    for group in ("posterior", "sample_stats", "log_likelihood"):
        assert whole.posterior[group].dataset.equals(resumed.posterior[group].dataset)
    assert {path.name for path in stopped.iterdir()} == {*command.FILES, "ended"}
    np.testing.assert_array_equal(whole.predict(whole.train_inputs), resumed.predict(whole.train_inputs))


def test_a_fit_that_has_ended_is_extended_as_if_more_had_been_asked_for(tmp_path, home, monkeypatch, capsys):
    for name in ("mine.csv", "prior.py"):
        shutil.copy(home / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *TINY, "--out", "grown") == 0
    wanted = load_fit("grown").diagnosis.draws_wanted
    assert f"--extend grown --draws {wanted}\n" in capsys.readouterr().out
    assert run(monkeypatch, *[each for each in TINY if "--draws" not in each], "--draws=9", "--out", "long") == 0
    assert run(monkeypatch, "--extend", "grown", "--draws", "7") == 0, capsys.readouterr()
    assert load_fit("grown").posterior.posterior.sizes["draw"] == 7
    assert run(monkeypatch, "--extend", "grown", "--draws", "9") == 0, capsys.readouterr()
    grown, long = load_fit("grown"), load_fit("long")
    assert grown.arguments == long.arguments
    assert grown.scores == long.scores
    assert grown.posterior["posterior"].dataset.equals(long.posterior["posterior"].dataset)
    # another fit in the folder takes its state away with it
    assert run(monkeypatch, *TINY, "--seed=4", "--out", "grown", "--overwrite") == 0
    assert run(monkeypatch, "--extend", "grown", "--draws", "6") == 0, capsys.readouterr()
    assert load_fit("grown").arguments["seed"] == 4


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--extend", "whole"], "--extend came without --draws"),
        (["--extend", " ", "--draws", "9"], "--extend was empty"),
        (["--extend", "nowhere", "--draws", "9"], "nowhere holds no fit that can be extended"),
        (["--extend", "stopped", "--draws", "9"], "holds a fit that was stopped: continue with --resume stopped first"),
        (["--extend", "whole", "--draws", "5"], "and 5 were asked for, but an extended fit has more"),
        (["--extend", "whole", "--draws", "9", "--sigma", "2"], "--sigma was 2, but the fit in"),
    ],
)
def test_what_cannot_be_extended_is_refused_and_stays_as_it_is(arguments, told, home, refused, tmp_path, monkeypatch):
    for name in ("whole", "stopped"):
        shutil.copytree(home / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    before = sorted(str(path) for path in tmp_path.rglob("*") if path.name != "extended")
    assert told in refused(*arguments)
    assert sorted(str(path) for path in tmp_path.rglob("*") if path.name != "extended") == before
    assert load_fit("whole").posterior.posterior.sizes["draw"] == 5


LAB = """
from pathlib import Path

from bayes_snn.chips.lif.chip import LIFChip


class Bench:
    copyable = {copyable}

    def __init__(self):
        self.chip = LIFChip((4, 3, 3), n_steps=8)
        self.spec, self.runs = self.chip.spec, 0

    def run(self, weights, inputs):
        self.runs += 1
        if Path("unplugged").exists() and self.runs > {runs}:
            raise OSError("the cable\\nis out")
        return self.chip.run(weights, inputs)
"""


@forks
@pytest.mark.parametrize(("copyable", "runs", "kept"), [(False, 150, True), (True, 150, True), (False, 50, False)])
def test_a_chip_that_raises_leaves_a_fit_to_go_on_with_and_says_so_last(
    copyable, runs, kept, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    name = f"lab_{copyable}_{runs}".lower()
    (tmp_path / f"{name}.py").write_text(LAB.format(copyable=copyable, runs=runs))
    Path("unplugged").touch()
    options = ["--data=iris", "--n-train=12", "--sampler=block", "--draws=2", "--tune=2", "--chains=2"]
    assert run(monkeypatch, f"--chip={name}:Bench", "--out=mine", *options) == 2
    error, *last = capsys.readouterr().err.splitlines()
    line = next(i for i, text in enumerate((tmp_path / f"{name}.py").read_text().splitlines(), 1) if "raise" in text)
    assert error.startswith(f"Error: The chip raised OSError (the cable is out) in {name}.py, line {line}: ")
    assert last == (["The fit is stored up to here: continue with --resume mine."] if kept else [])
    assert Path("mine").exists() == kept
    if kept:
        Path("unplugged").unlink()
        assert run(monkeypatch, "--resume", "mine") == 0, capsys.readouterr()
        assert json.loads(Path("mine/fit.json").read_text())["interrupted"] is False
