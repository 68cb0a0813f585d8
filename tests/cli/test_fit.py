"""`python -m bayes_snn.fit`: bad input gets one sentence and exit code 2, good input a fit folder, Ctrl-C its due.

Most runs call `main()` in this process, which saves the four seconds of importing PyMC; a few are real processes.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pymc as pm
import pytest
from rich.console import Console

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.cli import fit as command
from bayes_snn.cli.summary import score_table
from bayes_snn.data import BUILT_IN, load_data, split_data
from bayes_snn.errors import DataWarning, InputError
from bayes_snn.estimates.metrics import evaluate
from bayes_snn.estimates.predict import ESTIMATES
from bayes_snn.inference.load import load_fit
from bayes_snn.inference.result import FitResult
from bayes_snn.names import DISTORTIONS, SAMPLERS
from bayes_snn.posterior.build import available_models
from bayes_snn.reports.material import gather

pytestmark = pytest.mark.usefixtures("quickly_compiled")

ROOT = Path(__file__).parents[2]
# draws enough for R-hat, everything else as small as it can be
TINY = {"--data": "iris", "--n-train": "30", "--hidden": "3", "--steps": "8"}
TINY |= {"--sampler": "sitewise", "--draws": "4", "--tune": "2", "--chains": "2"}
SAMPLES = "".join(f"{i % 7},{i * i % 11}.5,{'pqr'[i % 3]}\n" for i in range(60))
GAUSSIAN = (ROOT / "models" / "gaussian.py").read_text()


@dataclass
class Ended:
    code: int | None
    out: str
    err: str


Run = Callable[..., Ended]


def tiny(*arguments: str) -> list[str]:
    """The arguments, and those of a tiny fit that they leave out."""
    given = {argument.split("=")[0] for argument in arguments}
    return [part for name, value in TINY.items() if name not in given for part in (name, value)] + list(arguments)


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process."""

    def run_main(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["fit", *tiny(*arguments)])
        code = 0
        try:
            command.main()
        except SystemExit as end:
            code = end.code  # type: ignore[assignment]
        return Ended(code, *capsys.readouterr())

    return run_main


@pytest.fixture
def no_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    def sample(**arguments: Any) -> NoReturn:
        pytest.fail("sampling began")

    monkeypatch.setattr(pm, "sample", sample)


def start_process(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    line = [sys.executable, "-m", "bayes_snn.fit", *tiny(*arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, env=environment, **pipes, **options)


def run_process(*arguments: str) -> Ended:
    process = start_process(*arguments)
    out, err = process.communicate(timeout=300)
    return Ended(process.returncode, out, err)


def everything(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with the content of files."""
    found = {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
    return {str(path): content for path, content in found.items() if "__pycache__" not in str(path)}


def sentence(ended: Ended) -> str:
    """The one sentence of a refusal."""
    assert ended.code == 2, ended
    assert "Traceback" not in ended.out + ended.err
    assert ended.err.startswith("Error: ")
    assert ended.err.count("\n") == 1
    assert ended.err.endswith((".\n", "?\n"))
    return ended.err


# ---- bad input

REFUSED = {  # arguments, and what the sentence must say
    "data": ("--data irs", [*BUILT_IN, "did you mean 'iris'"]),
    "data with capitals": ("--data Iris", [*BUILT_IN]),
    "data too long": (f"--data {'a' * 300}", [*BUILT_IN]),
    "distortion": ("--distortion comparater", [*DISTORTIONS, "none", "did you mean 'comparator'"]),
    "distortion in a list": ("--distortion leak,nois", [*DISTORTIONS, "did you mean 'noise'"]),
    "distortion and none": ("--distortion none --distortion leak", ["none", "1 more", "leave it out"]),
    "distortion twice": ("--distortion leak,leak", ["leak", "once"]),
    "model": ("--model gausian", [*available_models(), "did you mean 'gaussian'"]),
    "sampler": ("--sampler blok", [*SAMPLERS, "did you mean 'block'"]),
    "sigma negative": ("--sigma -1", ["--sigma was '-1'", ">= 0"]),
    "sigma nan": ("--sigma nan", ["'nan'", "number"]),
    "sigma infinite": ("--sigma inf", ["'inf'", "number"]),
    "sigma text": ("--sigma strong", ["'strong'", "number"]),
    "sigma half a list": ("--sigma 1,", ["''", "number"]),
    "sigma nan, but none": ("--distortion none --sigma nan", ["'nan'"]),
    "sigma twice": ("--sigma 1 --sigma 2", ["2 strengths", "1 distortions"]),
    "sigma too many": ("--distortion leak,gain --sigma 1,2,3", ["3 strengths", "2 distortions"]),
    "sigma too large": ("--sigma 1e300", ["1e+300", "10,000"]),
    "sigma no fraction": ("--distortion stuck --sigma 2", ["2", "from 0 to 1"]),
    "sigma no bits": ("--distortion quantisation --sigma 2.5", ["2.5", "2 to 16"]),
    "hidden 0": ("--hidden 0", ["--hidden was '0'", "positive whole numbers"]),
    "hidden negative": ("--hidden -3", ["'-3'", "positive whole numbers"]),
    "hidden text": ("--hidden abc", ["'abc'", "16, or 32,16"]),
    "hidden half a list": ("--hidden 16,", ["'16,'", "16, or 32,16"]),
    "hidden fraction": ("--hidden 1.5", ["'1.5'", "whole numbers"]),
    "hidden too many": ("--hidden 99999999", ["99999999", "1,000,000"]),
    "hidden too many together": ("--hidden 5000,5000", ["25,040,000 weights"]),
    "steps 0": ("--steps 0", ["--steps was 0", "from 1"]),
    "steps too many": ("--steps 99999999999999999999", ["99999999999999999999", "10,000"]),
    "steps text": ("--steps long", ["--steps was 'long'", "integer", "--help"]),
    "draws 0": ("--draws 0", ["draws was 0", "from 1"]),
    "draws fraction": ("--draws 1.5", ["--draws was '1.5'", "integer"]),
    "draws too many": ("--draws 999999999999999999999", ["10,000,000"]),
    "tune": ("--tune -1", ["tune was -1", "from 0"]),
    "chains 0": ("--chains 0", ["chains was 0", "from 1"]),
    "chains too many": ("--chains 100000", ["chains was 100000", "256"]),
    "noise": ("--distortion noise --noise mcmw", ["mcwm, pseudo-marginal", "did you mean 'mcwm'"]),
    "noise of none": ("--noise mcwm", ["noise was 'mcwm'", "deterministic"]),
    "repeats of none": ("--repeats 2", ["repeats was 2", "deterministic"]),
    "repeats 0": ("--distortion noise --repeats 0", ["repeats was 0", "from 1"]),
    "repeats text": ("--distortion noise --repeats many", ["--repeats was 'many'", "integer"]),
    "remeasure": ("--distortion drift --remeasure -1", ["remeasure was -1", "from 0"]),
    "until": ("--until soon", ["until was 'soon'", "'converged' or a number of effective draws"]),
    "until of a population": ("--until converged --sampler smc", ["a population, which does not end by itself"]),
    "a drifting population": ("--distortion drift --sampler smc", ["smc", "remeasure=0"]),
    "class weight": ("--class-weight even", ["'even'", "balanced", "setosa, versicolor, virginica", "setosa:2"]),
    "class weight of no class": ("--class-weight rose:2", ["'rose:2'", "setosa, versicolor, virginica"]),
    "class weight negative": ("--class-weight setosa:-2", ["-2.0 at 0", "0 leaves a sample out"]),
    "seed": ("--seed -1", ["seed was -1", "at least 0"]),
    "seed of the chip": ("--chip-seed -1", ["chip's seed was -1", "at least 0"]),
    "seed of the split": ("--split-seed -1", ["--split-seed was -1", "2**32"]),
    "seed of the split too large": ("--split-seed 4294967296", ["--split-seed was 4294967296"]),
    "n_train 0": ("--n-train 0", ["n_train was 0", "from 3", "to 105"]),
    "n_train 1": ("--n-train 1", ["n_train was 1", "from 3"]),
    "n_train too large": ("--n-train 100000", ["n_train was 100000", "to 105"]),
    "n_train text": ("--n-train abc", ["--n-train was 'abc'", "integer"]),
    "target of a built-in set": ("--target species", ["'species'", "'iris'", "CSV"]),
    "overwrite without out": ("--overwrite", ["--overwrite", "--out"]),
    "unknown option": ("--sigmas 3", ["--sigmas", "--sigma", "--help"]),
    "surplus argument": ("iris", ["iris", "--help"]),
    "option without value": ("--data", ["--data", "requires an argument"]),
}


@pytest.mark.usefixtures("no_sampling")
@pytest.mark.parametrize(("arguments", "said"), REFUSED.values(), ids=REFUSED)
def test_a_bad_argument_is_refused_in_one_sentence(arguments: str, said: list[str], run: Run, tmp_path: Path) -> None:
    message = sentence(run(*arguments.split()))
    assert [part for part in said if part not in message] == []
    assert everything(tmp_path) == {}


@pytest.mark.usefixtures("no_sampling")
@pytest.mark.parametrize("option", ["--data", "--distortion", "--sigma", "--hidden", "--model", "--sampler", "--out"])
def test_an_empty_argument_is_refused(option: str, run: Run, tmp_path: Path) -> None:
    sentence(run(option, ""))
    assert everything(tmp_path) == {}


CSV_FILES = {  # content (None: no file), target, and what the sentence must say
    "without a target": ("a,b,kind\n" + SAMPLES, None, ["target", "'a', 'b', 'kind'"]),
    "with another target": ("a,b,kind\n" + SAMPLES, "kin", ["'kin'", "a, b, kind", "did you mean 'kind'"]),
    "with an empty target": ("a,b,kind\n" + SAMPLES, "", ["a, b, kind"]),
    "with text in the features": ("a,b,kind\n1,red,p\n" + SAMPLES, "kind", ["'red'", "Line 2", "'b'"]),
    "with NaN": ("a,b,kind\n1,nan,p\n" + SAMPLES, "kind", ["'nan'", "Line 2", "'b'"]),
    "with a gap": ("a,b,kind\n" + SAMPLES + ",3,q\n", "kind", ["''", "Line 62", "'a'"]),
    "with one class": ("a,b,kind\n" + "1,2,p\n" * 30, "kind", ["'p'", "two classes"]),
    "with a continuous target": ("a,b,kind\n" + "".join(f"1,{i},{i / 7}\n" for i in range(30)), "kind", ["continuous"]),
    "with a header alone": ("a,b,kind\n", "kind", ["no samples"]),
    "with a target alone": ("kind\n" + "p\nq\n" * 20, "kind", ["no features"]),
    "empty": ("", "kind", ["cannot be read", "UTF-8"]),
    "of binary garbage": (bytes(range(256)) * 40, "kind", ["cannot be read", "UTF-8"]),
    "of zeros": (bytes(4000), "kind", ["mine.csv"]),
    "missing": (None, "kind", ["mine.csv", "No such file"]),
}


@pytest.mark.usefixtures("no_sampling")
@pytest.mark.parametrize(("content", "target", "said"), CSV_FILES.values(), ids=CSV_FILES)
def test_a_bad_csv_is_refused_in_one_sentence(
    content: str | bytes | None, target: str | None, said: list[str], run: Run, tmp_path: Path
) -> None:
    if content is not None:
        Path("mine.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    before = everything(tmp_path)
    message = sentence(run("--data", "mine.csv", *([] if target is None else ["--target", target])))
    assert [part for part in said if part not in message] == []
    assert everything(tmp_path) == before


@pytest.mark.usefixtures("no_sampling")
@pytest.mark.parametrize("name", ["folder", "folder.csv", "~nosuchuser/mine.csv"])
def test_data_that_is_no_file_is_refused(name: str, run: Run, tmp_path: Path) -> None:
    if "/" not in name:
        Path(name).mkdir()
    before = everything(tmp_path)
    assert name in sentence(run("--data", name, "--target", "kind"))
    assert everything(tmp_path) == before


EACH = "for n, d in zip(chip.spec.weight_names, chip.spec.weight_dims)]\n"
MODEL_FILES = {  # content (None: no file), and what the sentence must say
    "missing": (None, ["no model file mine.py", *available_models()]),
    "empty": ("", ["mine.py", "no function `weights(chip)`"]),
    "without weights": ("def weight(chip): ...\n", ["no function `weights(chip)`"]),
    "weights no function": ("weights = 3\n", ["no function `weights(chip)`"]),
    "broken": ("def weights(:\n", ["does not run", "SyntaxError"]),
    "binary": (b"\xff\xfe\x00def", ["does not run", "SyntaxError"]),
    "raising": ("raise RuntimeError('two\\nlines')\n", ["does not run", "RuntimeError: two lines"]),
    "importing what is not there": ("import nosuchmodule\n", ["does not run", "nosuchmodule"]),
    "exiting": ("import sys\nsys.exit(0)\n", ["does not run", "SystemExit"]),
    "weights raising": ("def weights(chip):\n    raise KeyError('two\\nlines')\n", ["mine.py", "KeyError"]),
    "weights without argument": ("def weights():\n    return []\n", ["mine.py", "TypeError"]),
    "returning nothing": ("def weights(chip): ...\n", ["None", "one weight matrix for each layer"]),
    "returning text": ("def weights(chip): return ['w_1', 'w_2']\n", ["one weight matrix for each layer"]),
    "returning one of two": ("def weights(chip): return [pm.Normal('w_1', dims=('pre_1', 'post_1'))]\n", ["(3, 3)"]),
    "of other shapes": ("def weights(chip): return [pm.Normal(n, shape=(2, 5)) " + EACH, ["(2, 5)", "(5, 3)"]),
    "transposed": ("def weights(chip): return [pm.Normal(n, dims=d[::-1]) " + EACH, ["(3, 5)", "(5, 3)"]),
    "of unknown dims": ("def weights(chip): return [pm.Normal(n, dims='x') " + EACH, ["mine.py", "KeyError", "'x'"]),
    "without randomness": ("def weights(chip): return [[[0.0] * 3] * 5, [[0.0] * 3] * 3]\n", ["random variable"]),
    "with a variable named label": (
        "def weights(chip):\n    pm.Normal('label')\n    return [pm.Normal(n, dims=d) " + EACH,
        ["'label'"],
    ),
    "with a negative sigma": ("def weights(chip): return [pm.Normal(n, sigma=-1, dims=d) " + EACH, ["'w_1'"]),
    "with NaN": ("def weights(chip): return [pm.Normal(n, float('nan'), dims=d) " + EACH, ["'w_1'", "nan"]),
    "improper": ("def weights(chip): return [pm.Flat(n, dims=d) " + EACH, ["cannot be drawn from", "proper"]),
}


@pytest.mark.usefixtures("no_sampling")
@pytest.mark.parametrize(("content", "said"), MODEL_FILES.values(), ids=MODEL_FILES)
def test_a_bad_model_file_is_refused_in_one_sentence(
    content: str | bytes | None, said: list[str], run: Run, tmp_path: Path
) -> None:
    if content is not None:
        header = "import pymc as pm\n" if isinstance(content, str) and "pm." in content else ""
        Path("mine.py").write_bytes(header.encode() + (content.encode() if isinstance(content, str) else content))
    before = everything(tmp_path)
    message = sentence(run("--model", "mine.py"))
    assert [part for part in said if part not in message] == []
    assert everything(tmp_path) == before


@pytest.mark.usefixtures("no_sampling")
@pytest.mark.parametrize("name", ["mine.txt", "./folder", "folder.py", "a" * 300 + ".py"])
def test_a_model_that_is_no_python_file_is_refused(name: str, run: Run, tmp_path: Path) -> None:
    Path("mine.txt").write_text(GAUSSIAN)
    Path(name).mkdir() if name.strip("./").startswith("folder") else None
    before = everything(tmp_path)
    sentence(run("--model", f"./{name}" if name == "mine.txt" else name))
    assert everything(tmp_path) == before


@pytest.mark.usefixtures("no_sampling")
@pytest.mark.parametrize("out", ["file", "file/below", "a" * 300, "new/" + "a" * 300, "/proc/nosuch"])
def test_an_out_that_cannot_be_made_is_refused(out: str, run: Run, tmp_path: Path) -> None:
    Path("file").write_text("mine")
    before = everything(tmp_path)
    assert "cannot be" in sentence(run("--out", out))
    assert everything(tmp_path) == before


@pytest.mark.usefixtures("no_sampling")
def test_an_out_that_cannot_be_written_to_is_refused(run: Run, tmp_path: Path) -> None:
    out = Path("locked")
    out.mkdir(mode=0o500)
    if os.access(out, os.W_OK):
        out = Path("/proc/self")  # which not even root can write to
    assert f"{out} cannot be written to" in sentence(run("--out", str(out)))


@pytest.mark.parametrize(
    "answer",
    [np.full((30, 3), np.nan), np.full((30, 2), 1), np.full((30, 3), 9)],
    ids=("NaN", "of another shape", "more spikes than steps"),
)
def test_a_chip_that_answers_nonsense_is_refused(
    answer: np.ndarray, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LIFChip, "run", lambda self, weights, inputs: answer)
    monkeypatch.setattr(LIFChip, "copyable", False)
    assert "The chip answered" in sentence(run())
    assert everything(tmp_path) == {}


# ---- a fit that is there already


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fit folder of a real process, and what it printed beside it."""
    folder = tmp_path_factory.mktemp("fitted") / "new" / "iris"
    ended = run_process("--out", str(folder))
    assert ended.code == 0, ended
    assert ended.err == ""
    (folder.parent / "out.txt").write_text(ended.out)
    return folder


@pytest.fixture
def old(fitted: Path, tmp_path: Path) -> Path:
    shutil.copytree(fitted, tmp_path / "old")
    return Path("old")


@pytest.mark.usefixtures("no_sampling")
@pytest.mark.parametrize("left", command.FILES)
def test_a_fit_is_not_overwritten_unasked(left: str, old: Path, run: Run, tmp_path: Path) -> None:
    for file in set(command.FILES) - {left}:
        (old / file).unlink()
    before = everything(tmp_path)
    message = sentence(run("--out", "old"))
    assert "old already holds a fit" in message
    assert "--overwrite" in message
    assert everything(tmp_path) == before


@pytest.mark.usefixtures("no_sampling")
def test_a_fit_outlives_a_bad_overwrite(old: Path, run: Run, tmp_path: Path) -> None:
    before = everything(tmp_path)
    sentence(run("--out", "old", "--overwrite", "--draws", "0"))
    assert everything(tmp_path) == before


def test_overwrite_replaces_the_whole_fit(old: Path, run: Run) -> None:
    (old / "notes.txt").write_text("mine")
    before = everything(old)
    (old / "twin").mkdir()
    for file in ("twin.json", "twin.npz"):  # of the old fit; the new one has none
        (old / "twin" / file).write_text("")
    ended = run("--out", "old", "--overwrite", "--seed", "1")
    assert ended.code == 0, ended
    after = everything(old)
    assert after.keys() == before.keys()
    kept = {name for name in after if after[name] == before[name] and not name.startswith("old/ended")}
    assert kept == {"old/notes.txt"}
    check_folder(old)


@pytest.fixture
def fit_again(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sampling is replaced by its known result."""
    monkeypatch.setattr(sys.modules["bayes_snn.inference.fit"], "fit", lambda *arguments, **options: load_fit(fitted))


@pytest.mark.usefixtures("fit_again")
@pytest.mark.parametrize("out", ["old", "another"])
@pytest.mark.parametrize("failing", ["save_figure", "draw_trace"])
def test_a_fit_outlives_a_failure_to_write_another(
    failing: str, out: str, old: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> NoReturn:
        raise InputError("The disk is full: make room.")

    before = everything(tmp_path)
    monkeypatch.setattr(f"bayes_snn.inference.figures.{failing}", fail)
    assert "disk is full" in sentence(run("--out", out, "--overwrite"))
    assert everything(tmp_path) == before


@pytest.mark.usefixtures("fit_again")
@pytest.mark.parametrize("out", ["old", "another"])
def test_ctrl_c_while_deploying_leaves_no_half_fit(
    out: str, old: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: Any) -> NoReturn:
        raise KeyboardInterrupt

    before = everything(tmp_path)
    monkeypatch.setattr(FitResult, "evaluate", interrupt)
    ended = run("--out", out, "--overwrite")
    assert (ended.code, ended.err) == (130, "Interrupted: no fit was written.\n")
    assert everything(tmp_path) == before


@pytest.mark.usefixtures("fit_again")
def test_each_fit_gets_a_folder_of_its_own(run: Run, tmp_path: Path) -> None:
    for _ in range(3):
        assert run("--distortion", "leak,noise", "--sigma", "0.2,0.1").code == 0
    name = "iris-leak-0.2-noise-0.1-chip0"
    assert {path.name for path in (tmp_path / "fits").iterdir()} == {name, f"{name}-2", f"{name}-3"}
    assert run("--distortion", "none").code == 0
    check_folder(tmp_path / "fits" / "iris-ideal-chip0")


@pytest.mark.usefixtures("fit_again")
def test_what_cannot_be_printed_does_not_end_a_fit(
    old: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", printed)
    assert run("--out", "Spüle").code == 0
    printed.seek(0)
    assert "The fit is in Sp?le/" in printed.read()
    check_folder(tmp_path / "Spüle")


# ---- good input


def check_folder(folder: Path) -> dict[str, Any]:
    """A fit folder with all its files, whose scores are those of its posterior; returns what fit.json holds."""
    assert {path.name for path in folder.iterdir()} >= set(command.FILES)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    for figure in ("trace.png", "reliability.png"):
        assert (folder / figure).read_bytes()[:4] == b"\x89PNG"
    stored: dict[str, Any] = json.loads((folder / "fit.json").read_text())
    for part in ("train", "test"):
        assert stored[part].keys() == set(ESTIMATES)
        for scores in (*stored[part].values(), stored["baselines"]["chance"][part]):
            assert scores.keys() == evaluate(np.array([[0.5, 0.5]]), np.array([0])).keys()
            assert 0 <= scores["accuracy"] <= 1
    assert stored["baselines"].keys() == {"chance", "logistic"}
    if "classes" in stored:  # of a deterministic chip
        recalls = [each["recall"] for each in stored["classes"].values()]
        assert stored["test"]["ensemble"]["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert stored["diagnosis"]["verdict"].endswith(".")
    assert stored["presentations"] > 0
    assert stored["passes"] == stored["presentations"] / stored["arguments"]["n_train"]
    assert stored["interrupted"] is False
    result = load_fit(folder)
    sizes = result.posterior.posterior.sizes
    assert (sizes["chain"], sizes["draw"]) == (stored["arguments"]["chains"], stored["arguments"]["draws"])
    if result.chip.spec.deterministic:
        split = split_data(
            load_data(stored["arguments"]["data"], stored["arguments"]["target"]),
            stored["arguments"]["n_train"],
            seed=stored["arguments"]["split_seed"],
        )
        split = split.with_bias() if stored["arguments"].get("bias") else split
        again = result.evaluate(split.test_inputs, split.test_labels)
        assert {name: pytest.approx(scores) for name, scores in again.items()} == stored["test"]
    return stored


def test_an_ensemble_is_distilled_where_that_is_asked_for(run: Run) -> None:
    ended = run("--distil", "--out", "mine")
    assert (ended.code, ended.err) == (0, "")
    result = load_fit("mine")
    stored = json.loads(Path("mine/fit.json").read_text())
    assert stored["test"].keys() == set(result.estimates) == {*ESTIMATES, "distilled"}
    out = " ".join(ended.out.split())
    assert "│ distilled" in out
    assert f"{stored['distilled']['presentations']:,} presentations more" in out
    assert f"answers {stored['distilled']['agreement']:.1%} of the inputs" in out


def test_classes_count_as_they_are_told_to(run: Run) -> None:
    ended = run("--class-weight", "setosa:2,virginica:0.5", "--out", "mine")
    assert (ended.code, ended.err) == (0, "")
    out = " ".join(ended.out.split())
    assert "The likelihood is weighted: training samples count 0.5 to 2 times" in out
    result = load_fit("mine")
    labels = result.posterior.observed_data["label"].values
    np.testing.assert_array_equal(result.sample_weight, np.array([2.0, 1.0, 0.5])[labels])
    assert json.loads(Path("mine/fit.json").read_text())["arguments"]["weighted"] is True
    ended = run("--class-weight", "balanced", "--out", "other")
    assert ended.code == 0
    sums = np.bincount(labels, weights=load_fit("other").sample_weight)
    np.testing.assert_allclose(sums, sums.mean())


def test_a_real_process_fits_iris(fitted: Path) -> None:
    stored = check_folder(fitted)
    expected = {
        "sampler": "sitewise",
        "data": "iris",
        "n_train": 30,
        "draws": 4,
        "tune": 2,
        "chains": 2,
        "model": "gaussian",
        "seed": 0,
    }
    assert stored["arguments"].items() >= expected.items()
    assert stored["chip"]["distortions"] == {"comparator": 3.0}
    out = (fitted.parent / "out.txt").read_text()
    assert "Verdict" in out
    assert f"The fit is in {fitted}/" in out.splitlines()
    for line in ("mean", "map", "medoid", "ensemble", "chance", "logistic (digital)"):
        assert f"│ {line} " in out


FITTED = {
    "wine": ("--data wine", (14, 3, 3), {"comparator": 3.0}),
    "digits": ("--data digits", (65, 3, 10), {"comparator": 3.0}),
    "two distortions with two sigmas": (
        "--distortion leak --distortion gain --sigma 0.2 --sigma 0.1",
        (5, 3, 3),
        {"leak": 0.2, "gain": 0.1},
    ),
    "two distortions with one sigma": ("--distortion leak,noise --sigma 0.2", (5, 3, 3), {"leak": 0.2, "noise": 0.2}),
    "a drifting chip": (
        "--distortion drift,noise --sigma 0.2 --sampler demetropolis --noise mcwm --repeats 2 --remeasure 1",
        (5, 3, 3),
        {"drift": 0.2, "noise": 0.2},
    ),
    "an ideal chip": ("--distortion none", (5, 3, 3), {}),
    "two hidden layers": ("--hidden 5,4", (5, 5, 4, 3), {"comparator": 3.0}),
    "one chain": ("--chains 1", (5, 3, 3), {"comparator": 3.0}),
    "no warm-up and one draw": ("--tune 0 --draws 1", (5, 3, 3), {"comparator": 3.0}),
    "no bias": ("--no-bias", (4, 3, 3), {"comparator": 3.0}),
    "other seeds": ("--seed 5 --chip-seed 6 --split-seed 7", (5, 3, 3), {"comparator": 3.0}),
}


@pytest.mark.parametrize(("arguments", "layers", "distortions"), FITTED.values(), ids=FITTED)
def test_a_fit(
    arguments: str, layers: tuple[int, ...], distortions: dict[str, float], run: Run, tmp_path: Path
) -> None:
    ended = run(*arguments.split())
    assert (ended.code, ended.err) == (0, "")
    [folder] = (tmp_path / "fits").iterdir()
    stored = check_folder(folder)
    assert tuple(stored["chip"]["spec"]["layers"]) == layers
    assert stored["chip"]["distortions"] == distortions
    assert stored["chip"]["seed"] == (6 if "--chip-seed" in arguments else 0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_sampler_fits(sampler: str, run: Run) -> None:
    assert run("--sampler", sampler, "--out", "mine").code == 0
    assert check_folder(Path("mine"))["arguments"]["sampler"] == sampler
    assert (Path("mine") / "twin" / "twin.json").exists() == (sampler == "twin")


@pytest.mark.parametrize("model", available_models())
def test_each_model_fits(model: str, run: Run) -> None:
    sampler = "sitewise" if model == "grid" else "block"
    assert run("--model", model, "--out", "mine", "--sampler", sampler).code == 0
    assert check_folder(Path("mine"))["arguments"]["model"] == model


def test_a_file_without_a_header_and_its_report(run: Run) -> None:
    Path("mine.data").write_text("".join(f"{i % 7};{i * i % 11},5;{'pqr'[i % 3]}\n" for i in range(60)) + "-9;1,5;p\n")
    options = ["--no-header", "--decimal", ",", "--separator", ";", "--missing", "-9", "--n-train", "20"]
    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        ended = run("--data", "mine.data", "--target", "3", *options, "--out", "mine")
    assert ended.code == 0
    assert ended.err.startswith("Warning: 1 of 61 samples")
    assert ended.err.count("\n") == 1
    reading = {"no_header": True, "separator": ";", "decimal": ",", "missing": ["-9"]}
    assert json.loads(Path("mine/fit.json").read_text())["arguments"]["reading"] == reading
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        material = gather("mine")
    assert (len(material.test[1]), material.why_no_test) == (18, "")


def test_a_model_by_path_and_a_csv_with_text_labels(run: Run) -> None:
    # brackets are markup to Rich, and a file name to everyone else
    Path("[mine].py").write_text(GAUSSIAN.replace("sigma=scale", "sigma=1e-3"))
    Path("[my] data.csv").write_text("height,width,kind\n" + SAMPLES)
    ended = run("--model", "[mine].py", "--data", "[my] data.csv", "--target", "kind", "--n-train", "20")
    assert (ended.code, ended.err) == (0, "")
    assert "[mine].py" in ended.out
    [folder] = Path("fits").iterdir()
    assert f"The fit is in {folder}/" in ended.out
    assert check_folder(folder)["arguments"]["target"] == "kind"
    posterior = load_fit(folder).posterior.posterior
    assert posterior["pre_1"].values.tolist() == ["height", "width", "bias"]
    assert posterior["post_2"].values.tolist() == ["p", "q", "r"]
    assert np.abs(posterior["w_1"]).max() < 0.1  # the prior is the file's


# ---- Ctrl-C

MARKER = """
from pathlib import Path
from bayes_snn.interrupt import InterruptGuard

counts, before = {}, InterruptGuard.callback


def callback(self, trace, draw):
    if draw.tuning == Path("watch-warm-up").exists():
        counts[draw.chain] = counts.get(draw.chain, 0) + 1
    if len(counts) == 2 and min(counts.values()) >= 3:
        Path("begun").touch()
    before(self, trace, draw)


InterruptGuard.callback = callback
"""


@pytest.fixture
def interrupt(tmp_path: Path) -> Iterator[Callable[..., Ended]]:
    """Start a real fit, wait until both chains have three draws of a kind, and press Ctrl-C."""
    processes = []

    def start_and_interrupt(*arguments: str) -> Ended:
        Path("marked.py").write_text(GAUSSIAN + MARKER)
        process = start_process("--model", "marked.py", "--out", "mine", *arguments, start_new_session=True)
        processes.append(process)
        deadline = time.monotonic() + 240
        while not Path("begun").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, the chains' processes included
        out, err = process.communicate(timeout=120)
        return Ended(process.returncode, out, err)

    yield start_and_interrupt
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def test_ctrl_c_among_the_draws_keeps_them(interrupt: Callable[..., Ended]) -> None:
    ended = interrupt("--tune", "1", "--draws", "1000000")
    assert (ended.code, ended.err) == (0, "")
    stored = json.loads(Path("mine/fit.json").read_text())
    assert stored["interrupted"] is True
    assert stored["test"].keys() == set(ESTIMATES)
    sizes = load_fit("mine").posterior.posterior.sizes
    assert 1 <= sizes["chain"] <= 2  # PyMC drops a chain that is too far behind
    assert 1 <= sizes["draw"] < 1000000
    kept = f"{sizes['chain']} of 2 chains were kept, with {sizes['draw']} of 1000000 draws each"
    assert kept in " ".join(ended.out.split())
    assert "continue with --resume mine." in ended.out
    assert {path.name for path in Path("mine").iterdir()} == {*command.FILES, "checkpoint"}


def test_ctrl_c_in_the_warm_up_leaves_what_can_be_gone_on_with(interrupt: Callable[..., Ended], tmp_path: Path) -> None:
    Path("watch-warm-up").touch()
    ended = interrupt("--tune", "1000000")
    told = "Interrupted: no fit was written.\nThe fit is stored up to here: continue with --resume mine.\n"
    assert (ended.code, ended.err) == (130, told)
    assert "Traceback" not in ended.out
    left = {path.name for path in tmp_path.iterdir()} - {"__pycache__"}
    assert left == {"marked.py", "watch-warm-up", "begun", "mine"}
    assert {path.name for path in Path("mine").iterdir()} == {"checkpoint"}


# ---- what is shown


def test_real_processes_refuse_alike(tmp_path: Path) -> None:
    for arguments, said in (
        (["--sampler", "blok"], "did you mean 'block'?"),
        (["--steps", "x"], "--steps was 'x'"),
        (["--model", "nosuch.py"], "nosuch.py"),
    ):
        ended = run_process(*arguments)
        assert said in sentence(ended)
        assert ended.out == ""
    assert everything(tmp_path) == {}


def test_a_fit_too_large_for_memory_is_refused(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sample(**arguments: Any) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr(pm, "sample", sample)
    assert "fewer draws" in sentence(run())
    assert everything(tmp_path) == {}


def test_help_fits_into_80_columns(run: Run) -> None:
    ended = run("--help")
    assert (ended.code, ended.err) == (0, "")
    assert max(map(len, ended.out.splitlines())) <= 80
    names = [*BUILT_IN, *DISTORTIONS, "none", *SAMPLERS, *available_models()]
    assert [name for name in [*TINY, "--target", "--out", "--overwrite", *names] if name not in ended.out] == []
    assert ended.out.index("--data") < ended.out.index("--help")


@pytest.mark.parametrize("score", [-1.5, -12.25, -np.inf])
def test_the_closing_table_fits_into_80_columns(score: float) -> None:
    scores = {"accuracy": 1.0, "log_score": score, "calibration_error": 0.1, "brier_score": 0.1}
    parts = {part: dict.fromkeys(ESTIMATES, scores) for part in ("train", "test")}
    baselines = {name: {"train": scores, "test": scores} for name in ("chance", "logistic")}
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(score_table({**parts, "baselines": baselines}, n_test=171))
    lines = console.export_text().splitlines()
    assert len(lines) == 1 + 1 + 1 + 4 + 1 + 2 + 1  # rules, header, estimates and baselines: no cell is wrapped
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)


@pytest.mark.parametrize(
    ("width", "chains", "style"), [(80, 4, "split"), (120, 4, "split+stats"), (120, 40, "combined")]
)
def test_the_progress_bar_suits_the_window(
    width: int, chains: int, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "console", Console(width=width, height=24))
    assert command._progress(chains) == style
