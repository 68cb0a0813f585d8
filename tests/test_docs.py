"""Every page of docs/: its code runs, and the commands, files, names and numbers on it are those of the package."""

from __future__ import annotations

import ast
import contextlib
import importlib
import logging
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import typer

import bayes_snn
from bayes_snn import LIFChip, RemoteChip, fit
from bayes_snn.checkpoint import checkpoint, steps
from bayes_snn.chips.lif.distortion import DRIFT_RUNS
from bayes_snn.chips.link import faults, link
from bayes_snn.chips.presentations import MEMORY_BYTES
from bayes_snn.chips.remote.server import MOST_WAITING, Server
from bayes_snn.chips.xylo import chip as xylo
from bayes_snn.estimates.predict import DISTIL_INPUTS, ENSEMBLE_SIZE
from bayes_snn.inference import diagnostics, sampling, twinning
from bayes_snn.names import CHAINS, MAX_BYTES, SAMPLERS, TWIN_TUNE
from bayes_snn.posterior.noisy import REMEASURE
from bayes_snn.samplers import sitewise, tempered, twin
from bayes_snn.samplers.shared import directional, joint, replicas, shift, sweepers
from tests.helpers.fits import hand_made_fit
from tests.helpers.pages import (
    PAGES,
    ROOT,
    commands,
    fences,
    indented_lines,
    python_on,
    run_blocks,
    short_fits,
    spans,
    text_of,
)

WITH_CODE = [name for name in PAGES if python_on(name) and name != "README.md"]  # which tests/test_readme.py runs
LANGUAGES = {"python", "mermaid", "yaml"}
USAGE_ERROR = typer.BadParameter.__base__  # which Typer does not export
COMMANDS = ("fit", "sweep", "report", "serve", "export", "twin")
OF_SCRIPTS = {
    option
    for path in (ROOT / "analysis").glob("*.py")
    for option in re.findall(r'"(--[\w-]+)"', path.read_text(encoding="utf-8"))
}
OF_DASK = {"--no-nanny"}
MADE_BY_THE_READER = {"my_prior.py"}

pytestmark = [
    pytest.mark.usefixtures("quickly_compiled"),
    pytest.mark.filterwarnings("ignore::bayes_snn.checks.leave_one_out.LooWarning"),  # of so few draws
    # other tests may leave threads behind, and PyMC forks
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]


# --- what a reader has: data, a fit, a server, a port -----------------------------------------------------------------


def samples(n_in, n=12, n_classes=2):
    return np.random.default_rng(0).normal(size=(n, n_in)), np.arange(n) % n_classes


def small_chip(stack, monkeypatch):
    inputs, labels = samples(3)
    return {"chip": LIFChip((3, 2, 2), n_steps=8), "inputs": inputs, "labels": labels}


def data_for_the_default_chip(stack, monkeypatch):
    inputs, labels = samples(30)
    return {"inputs": inputs, "labels": labels}


def a_fit(stack, monkeypatch):
    given = small_chip(stack, monkeypatch)
    return {**given, "result": hand_made_fit(**given)}


def a_saved_fit(stack, monkeypatch):
    given = a_fit(stack, monkeypatch)
    given["result"].save("fits/mine")
    return {"my_chip": given["chip"], "inputs": given["inputs"], "labels": given["labels"]}


def a_study(stack, monkeypatch):
    Path("sweeps/mine").mkdir(parents=True)
    shutil.copy(ROOT / "analysis" / "results" / "figure2.parquet", "sweeps/mine/sweep.parquet")
    return {}


def a_server(stack, monkeypatch):
    """One at a free port, which stands for the port of the page."""
    server = stack.enter_context(Server(LIFChip((3, 2, 2)), "tcp://127.0.0.1:*"))
    serving = threading.Thread(target=server.serve)
    serving.start()
    stack.callback(serving.join)
    stack.callback(server.stop)

    def connect(address):
        assert address == "tcp://127.0.0.1:5555"
        return RemoteChip(server.address)

    monkeypatch.setitem(bayes_snn.__dict__, "RemoteChip", connect)
    return {}


def xylo_data(stack, monkeypatch):
    features, labels = samples(8)
    return {"features": features, "labels": labels, "new": features[:3]}


def a_registry(stack, monkeypatch):
    monkeypatch.setitem(SAMPLERS, "shrink", None)  # and so taken out again in the end
    return {}


GIVEN = {
    "backprop.md": small_chip,
    "export.md": a_fit,
    "integer_weights.md": data_for_the_default_chip,
    "noise.md": data_for_the_default_chip,
    "report.md": a_saved_fit,
    "samplers.md": a_registry,
    "serve.md": a_server,
    "studies.md": a_study,
    "xylo.md": xylo_data,
}


# --- what the code of a page leaves -----------------------------------------------------------------------------------


def backprop_left(made, printed):
    assert made["result"].predict(made["inputs"]).shape == (12, 2)


def estimator_left(made, printed):
    assert made["result"].diagnosis.verdict in printed
    assert made["reliance"]["feature"].values.tolist() == [*made["X"], "bias"]


def export_left(made, printed):
    same = made["chip"].run(made["result"].weights("map"), made["inputs"])
    assert np.array_equal(made["network"].chip().run(made["network"].weights, made["inputs"]), same)


def integer_weights_left(made, printed):
    levels = made["result"].weights("map")[0] * 7 / 4
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-5)


def links_left(made, printed):
    class Port:
        def send(self, *request):
            self.request = request

        def receive(self):
            tag, weights, inputs = self.request
            return tag, LIFChip().run(weights, inputs)

    connected = made["Link"](made["MyDriver"](Port()))
    counts = connected.run([np.ones((30, 16)), np.ones((16, 2))], np.ones((2, 30)))
    assert counts.shape == (2, 2)
    assert not connected.faults.counts


def noise_left(made, printed):
    assert made["result"].arguments["repeats"] == 4


def priors_left(made, printed):
    assert Path("prior.png").stat().st_size > 10_000
    assert list(made["before"]["student_t"].table().index) == ["hidden", "output"]
    assert str(made["before"]["student_t"]) in printed
    assert "Pareto k is above" in printed
    assert "mean p(label)" in printed
    for column in ("k_high", "k_tied", "mixed"):
        assert column in made["table"].columns
        assert f"`{column}`" in text_of("priors.md")
    assert (made["learned"].posterior["posterior/beta"] > 0).all()
    assert made["learned"].readout("map").bias.shape == (3,)


def report_left(made, printed):
    assert "<html" in Path("report.html").read_text(encoding="utf-8")


def resume_left(made, printed):
    assert Path("fits/stored/checkpoint.json").exists()


def samplers_left(made, printed):
    inputs, labels = samples(3)
    result = fit(LIFChip((3, 2, 2)), inputs, labels, sampler="shrink", draws=4, tune=4, chains=1)
    assert result.presentations


def serve_left(made, printed):
    inputs, _ = samples(3)
    weights = [np.ones((3, 2)), np.ones((2, 2))]
    assert np.array_equal(made["chip"].run(weights, inputs), LIFChip((3, 2, 2)).run(weights, inputs))


def studies_left(made, printed):
    assert {"method", "test_ensemble_accuracy", "error"} <= set(made["rows"].columns)


def twins_left(made, printed):
    assert made["result"].arguments["sampler"] == "twin"
    assert made["result"].cost.learning + made["result"].cost.training <= 3000


def nest_left(made, printed):
    assert made["counts"].shape == (5, 2)
    assert made["counts"].any()


def xylo_left(made, printed):
    assert made["result"].weights("map")[0].shape == (16, 16)


LEFT = {f"{name.removesuffix('_left')}.md": check for name, check in globals().copy().items() if name.endswith("_left")}


@pytest.mark.parametrize("page", WITH_CODE)
def test_the_code_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("arviz_stats"), "disabled", True)
    short_fits(monkeypatch)
    with contextlib.ExitStack() as stack:
        given = GIVEN[page](stack, monkeypatch) if page in GIVEN else {}
        made = run_blocks(page, python_on(page), given)
        LEFT[page](made, capsys.readouterr().out)


def test_every_page_with_code_has_its_check():
    assert LEFT.keys() == set(WITH_CODE)
    assert GIVEN.keys() <= LEFT.keys()


def python_in(line):
    """Whether a line is Python that does something: an import, an assignment, a call."""
    try:
        body = ast.parse(line).body
    except SyntaxError:
        return False
    calls = (ast.Import, ast.ImportFrom, ast.Assign)
    return any(isinstance(node, calls) or isinstance(getattr(node, "value", None), ast.Call) for node in body)


@pytest.mark.parametrize("page", PAGES)
def test_python_stands_in_blocks_that_are_run(page):
    text = text_of(page)
    assert {language for language, _ in fences(text)} <= LANGUAGES
    assert text.count("```") == 2 * len(fences(text))
    assert not [line for line in indented_lines(text) if python_in(line)]


def test_python_outside_blocks_is_found():
    assert python_in("result = fit(chip, inputs, labels)")
    assert python_in("from bayes_snn import fit")
    assert python_in("chip.run(weights, inputs)  # counts")
    assert not python_in("make fit")
    assert not python_in("v[t] = alpha v[t-1] + (1 - alpha) I[t]")


# --- commands ---------------------------------------------------------------------------------------------------------


def command_named(name):
    module = importlib.import_module(f"bayes_snn.cli.{name}")
    return typer.main.get_command(module.app)


def options_of(command):
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_understood(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in commands(text_of(page)):
        if words[0] == "-m":
            package, _, name = words[1].partition(".")
            assert package == "bayes_snn"
            with contextlib.suppress(typer.Exit):  # of --help and --new-keys
                command_named(name).make_context(name, [word.strip("'") for word in words[2:]])
        elif words[0] != "-c":
            assert (ROOT / words[0]).exists()
            assert {word for word in words[1:] if word.startswith("--")} <= OF_SCRIPTS


@pytest.mark.parametrize("line", ["fit --sigmas 3", "fit --draws many", "sweep --methods mh"])
def test_commands_that_are_wrong_are_found(line):
    name, *words = line.split()
    with pytest.raises(USAGE_ERROR):
        command_named(name).make_context(name, words)


@pytest.mark.parametrize("page", PAGES)
def test_options_exist(page):
    known = set().union(*(options_of(command_named(name)) for name in COMMANDS), OF_SCRIPTS, OF_DASK)
    assert {word for span in spans(text_of(page)) for word in re.findall(r"(?:^|\s)(--[\w-]+)", span)} <= known


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    text = text_of(page)
    said = {target for code in (*indented_lines(text), *spans(text)) for target in re.findall(r"\bmake ([a-z]+)", code)}
    assert said <= targets


# --- files, names and numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = text_of(page)
    for link_ in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link_:
            continue
        path, _, anchor = link_.partition("#")
        target = PAGES[page].parent / path if path else PAGES[page]
        assert target.exists(), link_
        if anchor:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, link_


@pytest.mark.parametrize("page", PAGES)
def test_files_exist(page):
    text = text_of(page)
    code = [*indented_lines(text), *spans(text), *(line for block in python_on(page) for line in block.splitlines())]
    mentioned = {path for line in code for path in re.findall(r"[\w./-]+\.(?:py|md|toml)\b", line)}
    mentioned |= {line for line in code if re.fullmatch(r"[\w.-]+/", line) and line != "fits/"}
    missing = {path for path in mentioned - MADE_BY_THE_READER if not (ROOT / path).exists()}
    if page == "architecture.md":  # names files as they are called in their room: tests/test_layout.py looks there
        missing = {path for path in missing if "/" in path and not (ROOT / "bayes_snn" / path).exists()}
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_dotted_names_exist(page):
    for span in spans(text_of(page)):
        for name in re.findall(r"(?<![\w.:/'\"-])bayes_snn(?:\.\w+)+", span):
            assert exists(name), name


def exists(name):
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:n]))
        except ImportError:
            continue
        try:
            for part in parts[n:]:
                found = getattr(found, part)
        except AttributeError:
            return False
        return True
    return False


def test_names_that_are_not_there_are_found():
    assert exists("bayes_snn.chips.levels.grid_levels")
    assert not exists("bayes_snn.chips.levels.levels_of_a_grid")
    assert not exists("bayes_snn.grid.grid_levels")


SHARES = {0.5: "half"}
MIB = 2**20
STATED = [
    ("twins.md", f"By default it is {sampling.PASSES} times the training samples, {sampling.LEAST_BUDGET:,} at least"),
    ("twins.md", f"At most {SHARES[twinning.LEARNING]} of it is for learning; draws take"),
    ("twins.md", f"A draw is {twin.N_MOVES} moves of {replicas.N_REPLICAS} copies, the first {twin.N_FIRST} times"),
    ("twins.md", f"each is fewer moves, {twinning.FEWEST_MOVES} at least"),
    ("twins.md", f"Where {CHAINS} chains would have less than {sampling.LONG_CHAIN} draws each"),
    ("twins.md", f"The verdict then wants {diagnostics.ESS_PER_CHAIN} effective draws of each"),
    ("twins.md", f"Above s = {twinning.MOST_SPREAD:g} `auto` takes `sitewise`"),
    ("README.md", f"By default a fit shows the chip {sampling.PASSES} times the training samples, or"),
    ("README.md", f"remembered, as long as they take less than {MEMORY_BYTES // MIB} MiB"),
    ("README.md", f"the training inputs and {DISTIL_INPUTS:,} inputs around them"),
    ("README.md", f"one for each draw, {ENSEMBLE_SIZE} at most"),
    ("samplers.md", f"| tempered | of each of {tempered.N_REPLICAS} replicas at most one for each weight"),
    ("samplers.md", f"at most one for each weight, {directional.JUMPS} for each neuron behind the first layer"),
    ("samplers.md", f"likelihood from 1 down to {replicas.LEAST_POWER:g}; neighbours swap"),
    ("samplers.md", f"| block | one for each of {joint.PROPOSALS} proposals | {joint.PROPOSALS} |"),
    ("samplers.md", f"first {sweepers.HARDEST}, then at most {sweepers.WIDEST}; up to {2 * sweepers.HARDEST} samples"),
    ("samplers.md", f"raised to powers, {sitewise.COLDEST:g} and {sitewise.WIDEST:g} at the start"),
    ("samplers.md", f"reach 1 at half of the warm-up or after {sitewise.TEMPERED} draws"),
    ("samplers.md", f"standard deviation {shift.SCALES[0]:g} or {shift.SCALES[1]:g}, accepted by"),
    ("samplers.md", f"rule towards {joint.TARGET_ACCEPTANCE:g}. No tempering."),
    ("samplers.md", f"- **twin**: {TWIN_TUNE} draws on the twin alone"),
    ("noise.md", f"| remeasure | --remeasure | {REMEASURE} if the chip drifts, else 0 |"),
    ("noise.md", f"a variance of 1 after {DRIFT_RUNS:,} runs"),
    ("resume.md", f"at most the last {checkpoint.SECONDS:g} seconds of draws are made again"),
    ("resume.md", f"after {steps.LEAST_PAUSE:g} times as long as a save takes"),
    ("links.md", f"waits that double from `wait` up to {link.LONGEST_WAIT:g} s"),
    ("links.md", f"pauses that double from `pause` up to {link.LONGEST_PAUSE:g} s"),
    ("links.md", f"`chip.faults.records` the latest {faults.MOST_KEPT:,}"),
    ("serve.md", f"Up to {MOST_WAITING} requests of one client wait"),
    ("serve.md", f"of the largest message that is read, {MAX_BYTES // MIB} MiB by default"),
    ("xylo.md", f"| integer / {xylo.WEIGHT_UNIT}: 256 levels"),
    ("xylo.md", f"Rates are whole multiples of 1 / {xylo.RATE_UNIT}."),
    ("estimator.md", f"one for each draw, {ENSEMBLE_SIZE} at most"),
]


@pytest.mark.parametrize(("page", "sentence"), STATED)
def test_numbers_are_those_of_the_code(page, sentence):
    assert sentence in " ".join(text_of(page).split())


@pytest.mark.parametrize("page", ["noise.md", "resume.md", "samplers.md"])
def test_pages_that_go_through_the_samplers_name_all(page):
    text = text_of(page)
    for name in SAMPLERS:
        assert re.search(rf"(\*\*|`|\| |, ){name}(\*\*|`| \||, )", text), name
