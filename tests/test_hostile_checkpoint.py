"""Checkpoints of any origin: what is wrong with them is one sentence, soon, whoever has sealed them."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

from bayes_snn.checkpoint.checkpoint import Checkpoint
from bayes_snn.checkpoint.packing import pack, unpack
from bayes_snn.chips.link.faults import FaultLog
from bayes_snn.inference.resume import resume
from tests.benchmarks.hostile_files import stopped_fit
from tests.helpers.refusals import refusal as refused

pytestmark = pytest.mark.usefixtures("quickly_compiled")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Made once: each test changes a copy."""
    folder = tmp_path_factory.mktemp("stopped") / "checkpoint"
    stopped_fit(folder)
    return folder


@pytest.fixture
def folder(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "checkpoint")


def reseal(folder, change):
    """Change both states of a chain, and make their digests again."""
    for name in ("state-0", "state-1"):
        path = folder / "chain_0" / name
        known = unpack(path.read_bytes())
        change(known)
        path.write_bytes(pack(known))


def refusal(function, *arguments, **options):
    message = refused(function, *arguments, **options)
    assert message.isprintable()
    return message


def test_the_whole_one_goes_on(folder):
    assert len(resume(folder, cores=1).draws) == 40


@pytest.mark.parametrize("name", ["fit", "chain", "total", "serial", "n", "per_chunk", "digests"])
@pytest.mark.parametrize("value", [np.zeros(0), np.zeros(2), [np.zeros(2)]], ids=["empty", "array", "list"])
def test_a_state_with_arrays_in_the_place_of_numbers_is_torn(folder, name, value):
    reseal(folder, lambda known: known.update({name: value}))
    assert "is torn and no other state of it is good" in refusal(Checkpoint.open(folder).states)


def renamed(known, old, new):
    """Another name for some arrays, those in chunks included."""
    known["fields"] = [[name.replace(old, new), *rest] for name, *rest in known["fields"]]
    known["tail"] = {name.replace(old, new): value for name, value in known["tail"].items()}
    cut(known)


def cut(known):
    """To the draws that are in no chunk, as if there had been no others."""
    known["n"] -= len(known["digests"]) * known["per_chunk"]
    known["digests"] = []


def reshaped(known, change):
    cut(known)
    known["tail"] = {name: change(value) for name, value in known["tail"].items()}
    known["fields"] = [
        [name, known["tail"][name].dtype.str, list(known["tail"][name].shape[1:])] for name, *_ in known["fields"]
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda known: renamed(known, "point ", "p"),
        lambda known: renamed(known, "point w_1", "point w_9"),
        lambda known: renamed(known, "stat 1", "stat 7"),
        lambda known: renamed(known, "stat 1", "stat x"),
        lambda known: renamed(known, "accept", "other"),
        lambda known: reshaped(known, lambda value: value[..., None]),
        lambda known: reshaped(known, lambda value: value[:, :1] if value.ndim > 1 else value),
        lambda known: reshaped(known, lambda value: value.astype("<U3")),
    ],
)
def test_draws_of_other_variables_are_not_replayed(folder, change):
    reseal(folder, change)
    message = refusal(resume, folder, cores=1)
    assert "not of the variables and steps of this fit" in message or "is not one that a fit stores" in message


@pytest.mark.parametrize(
    "memory",
    [[1], "x", [(b"x", np.zeros(3))], [(1, 2)], [("x",)], [(b"x" * 160, "abc")], [(b"", None)], None, np.ones(2)],
)
def test_a_memory_that_no_op_has_is_one_sentence(folder, memory):
    reseal(folder, lambda known: known["state"].update(op=memory))
    message = refusal(resume, folder, cores=1)
    assert "is not one that a fit stores" in message or "cannot be brought back" in message


@pytest.mark.parametrize(
    "own",
    [
        {"likelihood": 1},
        {"likelihood": ("x", 1.0)},
        {"likelihood": (np.zeros(3), "x")},
        {"presentations": "x"},
        {"watch": {"n_draws": [], "reference": np.zeros(0)}},
        {"watch": {}},
    ],
)
def test_steps_do_not_go_on_from_what_they_never_told(folder, own):
    reseal(folder, lambda known: known["state"]["steps"][-1]["own"].update(own))
    assert "cannot be brought back to where they were" in refusal(resume, folder, cores=1)


@pytest.mark.parametrize("runs", [-1, 2.5, "x", None, True])
def test_a_stream_of_noise_goes_on_from_a_whole_number_of_runs(folder, runs):
    reseal(folder, lambda known: known["state"]["chip"].update(n_runs=runs))
    assert "cannot be brought back to where they were" in refusal(resume, folder, cores=1)


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), -1.0, "x", np.ones(2)])
def test_seconds_are_a_finite_number(folder, seconds):
    reseal(folder, lambda known: known["state"].update(seconds=seconds))
    assert "is not one that a fit stores" in refusal(Checkpoint.open(folder).states)


def test_a_seal_that_is_no_text_of_utf_8_is_no_seal(folder):
    path = folder / "checkpoint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seal": "\ud800"}))
    assert not Checkpoint.open(folder).is_own


@pytest.mark.parametrize("name", ["checkpoint.json", "data", "chain_0/state-0", "chain_0/draws/point w_1/c.0.0.0"])
def test_a_pipe_does_not_hold_up_the_reader(folder, name):
    for slot in (name, name.replace("state-0", "state-1")):
        (folder / slot).unlink(missing_ok=True)
        os.mkfifo(folder / slot) if not (folder / slot).exists() else None
    message = refusal(resume, folder, cores=1)
    assert "pipe or a device" in message or "is torn" in message


def test_the_count_of_samples_asked_is_read_where_it_is_one(folder):
    os.symlink("/dev/zero", folder / "asked")
    assert len(resume(folder, cores=1).draws) == 40


@pytest.mark.parametrize(
    "line",
    [b"1", b"[]", b"{}", b'{"kind": []}', b'{"kind": "x"}', b'{"kind": "nan", "sentence": 1}', b"\xff", b"[" * 10**5],
)
def test_lines_that_are_no_faults_are_left_out(tmp_path, line):
    (tmp_path / "1-2.jsonl").write_bytes(line + b'\n{"kind": "nan"}\n')
    os.mkfifo(tmp_path / "2-2.jsonl")
    log = FaultLog()
    with log.gather(tmp_path):
        log.add("timeout", 1, 1, "Nothing came.")
    assert log.counts == {"nan": 1, "timeout": 1}
    other = FaultLog()
    (tmp_path / "2-2.jsonl").unlink()
    with other.gather(tmp_path):  # what was written down by the first is a fault still
        pass
    assert other.counts == {"nan": 1, "timeout": 1}
    assert len(other.as_dataset()["sentence"]) == 1
