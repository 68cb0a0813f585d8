"""Folders of fits that run at the same time: each has its own, and none touches what another one stores."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bayes_snn.checkpoint.checkpoint import Checkpoint
from bayes_snn.cli import fit as command
from bayes_snn.errors import CheckpointError, ChipError, InputError
from bayes_snn.files import take_lock
from bayes_snn.inference.load import load_fit
from bayes_snn.inference.resume import resume
from tests.cli.test_resume import GAUSSIAN, ROOT, ROWS, TINY, run
from tests.inference.test_resume import FailingChip, forks, small

pytestmark = pytest.mark.usefixtures("quickly_compiled")

SLOW = """
from pathlib import Path

from bayes_snn.checkpoint import checkpoint as checkpoint_module
from bayes_snn.interrupt import InterruptGuard

if Path("slow").exists():
    import time

    checkpoint_module.LOCK_PATIENCE, before = 1.0, InterruptGuard.callback

    def callback(self, trace, draw):
        time.sleep(1.0)
        before(self, trace, draw)

    InterruptGuard.callback = callback
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("bayes_snn.checkpoint.checkpoint.LOCK_PATIENCE", 0.1)
    (tmp_path / "mine.csv").write_text(ROWS)
    (tmp_path / "prior.py").write_text(GAUSSIAN + SLOW)
    return tmp_path


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@forks
@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]], ids=["plain", "overwrite"])
def test_of_two_fits_in_one_folder_one_is_refused_and_the_other_loses_nothing(overwrite, home, monkeypatch, capsys):
    (home / "slow").touch()
    line = [sys.executable, "-m", "bayes_snn.fit", *TINY, "--draws=60", "--out=one", *overwrite]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    both = [subprocess.Popen(line, env=environment, **pipes) for _ in range(2)]
    try:
        deadline = time.monotonic() + 240
        while not (ended := [process for process in both if process.poll() is not None]):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        [refused], [running] = ended, [process for process in both if process not in ended]
        assert refused.returncode == 2
        said = refused.stderr.read()
        assert said.startswith("Error: A fit is running in ")
        assert said.endswith("one: wait until it has ended, or give another folder.\n")
        assert said.count("\n") == 1
        while not list((home / "one").glob("checkpoint/chain_*/state-*")):  # stored from the first draw on
            assert running.poll() is None, running.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(running.pid, signal.SIGKILL)
    finally:
        for process in both:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    (home / "slow").unlink()
    monkeypatch.setattr("bayes_snn.checkpoint.checkpoint.LOCK_PATIENCE", 20.0)
    assert run(monkeypatch, "--resume", "one") == 0, capsys.readouterr()
    assert load_fit("one").posterior.posterior.sizes["draw"] == 60
    assert {path.name for path in Path("one").iterdir()} == {*command.FILES, "ended"}


@pytest.fixture
def running(home):
    """A fit folder whose checkpoint is locked, as by a process that fits."""
    with pytest.raises(ChipError):
        small(FailingChip(250), sampler="block", checkpoint=home / "one" / "checkpoint")
    handle = os.open(home / "one" / "checkpoint" / "lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    yield home / "one"
    os.close(handle)


@pytest.mark.parametrize("options", [[], ["--overwrite"], ["--overwrite", "--sampler=smc"]])
def test_a_running_fit_is_neither_replaced_nor_called_stopped(options, running, monkeypatch, capsys):
    before = contents(running)
    assert run(monkeypatch, *TINY, "--out=one", *options) == 2
    said = capsys.readouterr().err
    assert "A fit is running in" in said
    assert "stopped" not in said
    assert contents(running) == before


def test_a_running_fit_is_not_discarded(running):
    before = contents(running)
    with pytest.raises(CheckpointError, match=r"A fit is running in .*one: wait"):
        Checkpoint(running / "checkpoint").discard()
    assert contents(running) == before


def test_what_is_beside_a_checkpoint_stays_when_it_is_discarded(tmp_path):
    with pytest.raises(ChipError):
        small(FailingChip(250), sampler="block", checkpoint=tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    Checkpoint(tmp_path).discard()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_stopped_fit_outlives_an_overwrite_that_comes_to_nothing(home, monkeypatch, capsys):
    with pytest.raises(ChipError):
        small(FailingChip(250), sampler="block", checkpoint=home / "one" / "checkpoint")
    before = contents(home / "one")
    (home / "prior.py").write_text("import pymc as pm\n\n\ndef weights(chip):\n    raise KeyError('bad')\n")
    monkeypatch.setattr(sys.modules["bayes_snn.inference.fit"], "fit", lambda *arguments, **options: 1 / 0)
    for model in ("prior.py", "gaussian"):
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(ZeroDivisionError):
            run(patch, *TINY, f"--model={model}", "--out=one", "--overwrite")
        assert contents(home / "one") == before
    capsys.readouterr()


def test_a_fit_that_ended_while_another_waited_to_go_on_with_it_is_not_made_again(tmp_path):
    with pytest.raises(ChipError):
        small(FailingChip(250), sampler="block", checkpoint=tmp_path / "it")
    waiting = Checkpoint.open(tmp_path / "it")
    shutil.copytree(tmp_path / "it", tmp_path / "copy")
    Checkpoint(tmp_path / "it").discard()
    chip = FailingChip()
    with pytest.raises(CheckpointError):
        resume(waiting, chip)
    shutil.copytree(tmp_path / "copy", tmp_path / "it", ignore=shutil.ignore_patterns("checkpoint.json"))
    with pytest.raises(CheckpointError, match="ended, or was replaced, while this one waited"):
        resume(waiting, chip)
    assert chip.runs == 0


def test_fits_without_a_name_never_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    barrier, chosen = threading.Barrier(8), []

    def choose():
        barrier.wait()
        with command._made(None, "iris") as folder:
            chosen.append(folder)
            barrier.wait()

    threads = [threading.Thread(target=choose) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(chosen)) == 8
    assert not Path("fits").exists()  # nothing came of them


def test_a_lock_that_was_waited_for_is_not_one_on_a_deleted_file(tmp_path):
    path, busy = tmp_path / "folder" / "lock", InputError("busy")
    first = take_lock(path, 0.0, busy)
    found = []
    waiting = threading.Thread(target=lambda: found.append(take_lock(path, 20.0, busy)))
    waiting.start()
    time.sleep(0.2)
    shutil.rmtree(path.parent)
    os.close(first)
    waiting.join()
    with pytest.raises(InputError, match="busy"):
        take_lock(path, 0.0, busy)
    os.close(found[0])
