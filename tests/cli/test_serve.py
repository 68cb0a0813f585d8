"""`python -m bayes_snn.serve`, and chips by name: what is served, what is refused, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bayes_snn.chips.by_name import find_chip, read_token
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.remote.client import RemoteChip
from bayes_snn.cli import fit as command
from bayes_snn.cli import serve
from bayes_snn.errors import InputError
from bayes_snn.inference.load import load_fit
from tests.chips.remote.test_remote import serving
from tests.helpers.fits import same_draws

ROOT = Path(__file__).parents[2]
LAB = """
import time

import numpy as np

from bayes_snn.chips.contract import ChipSpec

class MyChip:
    spec = ChipSpec((4, 3), 12)

    def run(self, weights, inputs):
        return np.rint(6 + 6 * np.tanh(inputs @ weights[0])).astype(int)

class Hanging(MyChip):
    def run(self, weights, inputs):
        print("hanging", flush=True)
        while True:
            time.sleep(0.01)

class Dying(MyChip):
    runs = 0
    def run(self, weights, inputs):
        self.runs += 1
        if self.runs > 1000:
            raise ConnectionError("the chip is gone")
        return super().run(weights, inputs)

def impatient():
    from bayes_snn import Link
    return Link(Dying(), timeout=None, retries=1, wait=0.0, patience=0.0, tell=print)

ready = MyChip()
number = 3

class Lab:
    chip = ready

class Spare(MyChip):
    spec = ChipSpec((5, 3), 20)

def broken():
    raise RuntimeError("no bench here")
"""
TINY = ["--data", "iris", "--n-train", "30", "--draws", "4", "--tune", "2", "--chains", "2", "--sampler", "block"]


@pytest.fixture(autouse=True)
def lab(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_lab", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    Path("my_lab.py").write_text(LAB)
    return tmp_path


def call(main, monkeypatch, capsys, *arguments):
    """Exit code, output and error of a command, in this process."""
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


@pytest.mark.parametrize("source", ["my_lab:MyChip", "my_lab:ready", "my_lab:Lab.chip"])
def test_a_chip_by_name(source):
    chip = find_chip(source)
    assert chip.spec.layers == (4, 3)
    assert chip.run([np.ones((4, 3))], np.ones((2, 4))).shape == (2, 3)


def test_the_simulated_chip_has_a_name_too():
    assert find_chip("bayes_snn:LIFChip") == LIFChip()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("my_lab", "MODULE:NAME"),
        ("my_lab:", "MODULE:NAME"),
        (":MyChip", "MODULE:NAME"),
        ("", "MODULE:NAME"),
        ("your_lab:MyChip", "no module 'your_lab'"),
        ("my_lab.sub:MyChip", "no module 'my_lab.sub'"),
        ("my_lab:YourChip", "has no 'YourChip'"),
        ("my_lab:number", "my_lab:number is not a chip"),
        ("my_lab:broken", "RuntimeError: no bench here"),
        ("torn:MyChip", "SyntaxError"),
        ("needy:MyChip", "ModuleNotFoundError"),
        ("http://10.0.0.7:5555", "tcp://HOST:PORT"),
    ],
)
def test_names_that_are_refused(source, says, monkeypatch):
    Path("torn.py").write_text("def")
    Path("needy.py").write_text("import no_such_driver")
    with pytest.raises(InputError, match=says) as error:
        find_chip(source)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


def test_tokens(monkeypatch):
    monkeypatch.delenv("BAYES_SNN_TOKEN", raising=False)
    assert read_token(None) is None
    monkeypatch.setenv("BAYES_SNN_TOKEN", "from outside")
    assert read_token(None) == "from outside"
    Path("token").write_text("secret\n")
    assert read_token("token") == "secret"
    Path("empty").write_text("\n")
    Path("binary").write_bytes(b"\xff")
    for name in ("empty", "binary", "missing"):
        with pytest.raises(InputError, match=name):
            read_token(name)


# ---- the command that serves


def start_server(*arguments, **environment):
    line = [sys.executable, "-m", "bayes_snn.serve", *arguments, "--bind", "tcp://127.0.0.1:*"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    first = process.stderr.readline()
    found = re.search(r"at (tcp://\S+), with", first)
    assert found, first + process.stderr.read()
    return process, found[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_ends_cleanly(number):
    Path("token").write_text("secret\n")
    process, address = start_server("my_lab:MyChip", "--token-file", "token")
    remote = RemoteChip(address, "secret")
    counts = remote.run([np.ones((4, 3))], np.ones((2, 4)))
    np.testing.assert_array_equal(counts, find_chip("my_lab:MyChip").run([np.ones((4, 3))], np.ones((2, 4))))
    with pytest.raises(InputError, match="token"):
        RemoteChip(address, "wrong")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out == ""
    assert err.splitlines()[-2:] == [
        "Refused, 1 so far (token): The token is wrong or missing.",
        "The server has ended.",
    ]
    assert "secret" not in err
    remote.close()


def test_a_second_ctrl_c_ends_a_run_that_hangs():
    process, address = start_server("my_lab:Hanging", BAYES_SNN_TOKEN="secret")
    remote = RemoteChip(address, "secret", timeout=60.0)
    remote.timeout = 0.05
    with pytest.raises(TimeoutError):
        remote.run([np.ones((4, 3))], np.ones((2, 4)))
    assert process.stdout.readline() == "hanging\n"
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "in the middle of a run" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "Missing argument"),
        ("my_lab:YourChip", "has no 'YourChip'"),
        ("my_lab:MyChip --bind tcp://0.0.0.0:0", "there is no token"),
        ("my_lab:MyChip --bind nowhere", "tcp://HOST:PORT"),
        ("my_lab:MyChip --bind tcp://127.0.0.1:99999", "tcp://HOST:PORT"),
        ("my_lab:MyChip --token-file missing", "token file missing cannot be read"),
        ("my_lab:MyChip --max-bytes 10", "--max-bytes was 10"),
        ("my_lab:MyChip --max-bytes many", "--max-bytes was 'many'"),
        ("my_lab:MyChip --curve missing", "key file missing cannot be used"),
        ("--new-keys my_lab/none/lab", "cannot be written"),
        ("my_lab:MyChip extra", "extra"),
    ],
)
def test_bad_arguments_of_the_server(arguments, says, monkeypatch, capsys):
    monkeypatch.delenv("BAYES_SNN_TOKEN", raising=False)
    code, out, err = call(serve.main, monkeypatch, capsys, *arguments.split())
    assert code == 2
    assert says in err
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert out == ""


def test_a_fit_over_an_encrypted_connection(monkeypatch, capsys):
    code, out, err = call(serve.main, monkeypatch, capsys, "--new-keys", "lab")
    assert (code, err) == (0, "")
    assert out == "lab.key_secret is for the server, lab.key for its clients.\n"
    Path("token").write_text("secret")
    process, address = start_server("my_lab:MyChip", "--token-file", "token", "--curve", "lab.key_secret")
    options = [*TINY, "--chip", address, "--token-file", "token"]
    code, _, err = call(command.main, monkeypatch, capsys, *options)
    assert code == 2
    assert "encrypts: give the file with its public key, with --curve" in err
    code, _, err = call(command.main, monkeypatch, capsys, *options, "--curve", "lab.key", "--out", "there")
    assert (code, err) == (0, "")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    process.communicate()
    assert Path("there/fit.json").exists()


# ---- the command that fits


def test_a_fit_of_one_s_own_chip_and_of_the_same_one_behind_a_server(monkeypatch, capsys):
    code, out, err = call(command.main, monkeypatch, capsys, *TINY, "--chip", "my_lab:MyChip", "--out", "here")
    assert (code, err) == (0, "")
    assert "faults" not in out
    Path("token").write_text("secret")
    with serving(find_chip("my_lab:MyChip"), token="secret") as server:
        there = ["--chip", server.address, "--token-file", "token", "--out", "there"]
        code, out, err = call(command.main, monkeypatch, capsys, *TINY, *there)
        assert (code, err) == (0, "")
        assert "The link had no faults during the fit." in out
        remote = RemoteChip(server.address, "secret")
        first, second = load_fit("here", find_chip("my_lab:MyChip")), load_fit("there", remote)
        assert same_draws(first, second)
        assert first.scores == second.scores
        assert second.arguments["chip"] == server.address
        assert "secret" not in Path("there/fit.json").read_text()
    with pytest.raises(InputError, match="pass chip="):
        load_fit("there")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            "--chip my_lab:MyChip --data wine",
            "4 inputs and 3 output neurons, but wine has 13 features, with a bias one",
        ),
        ("--chip my_lab:MyChip --data wine --no-bias", "but wine has 13 features and 3 classes"),
        ("--chip my_lab:Spare --no-bias", "5 inputs and 3 output neurons, but iris has 4 features and 3 classes"),
        ("--chip my_lab:MyChip --sigma 2", "--chip came with --sigma"),
        ("--chip my_lab:MyChip --hidden 8 --steps 9", "--chip came with --steps, --hidden"),
        ("--chip my_lab:number", "is not a chip"),
        ("--chip my_lab:MyChip --token-file missing", "token file missing"),
        ("--chip tcp://127.0.0.1", "tcp://HOST:PORT"),
        ("--token-file missing", "--token-file came without --chip"),
        ("--curve missing", "--curve came without --chip"),
        ("--chip my_lab:MyChip --curve missing", "--curve came without a server's address"),
    ],
)
def test_bad_chips_of_a_fit(arguments, says, monkeypatch, capsys):
    code, _, err = call(command.main, monkeypatch, capsys, *TINY, *arguments.split())
    assert code == 2
    assert says in err
    assert err.count("\n") == 1
    assert not Path("fits").exists()


def test_a_chip_with_an_input_to_spare_gets_a_bias(monkeypatch, capsys):
    for name, chip, bias in (("spare", "my_lab:Spare", True), ("none", "my_lab:MyChip", None)):
        code, out, err = call(command.main, monkeypatch, capsys, *TINY, "--chip", chip, "--out", name)
        assert (code, err) == (0, "")
        assert ("4 features and a bias" in out) is bool(bias)
        result = load_fit(name, find_chip(chip))
        assert result.arguments.get("bias") is bias
        assert (result.posterior.posterior["pre_1"].values.tolist()[-1] == "bias") is bool(bias)


def test_a_fit_that_its_link_ends_leaves_its_draws(monkeypatch, capsys):
    arguments = [*TINY, "--draws", "300", "--chip", "my_lab:impatient", "--out", "lost"]
    code, _, err = call(command.main, monkeypatch, capsys, *arguments)
    assert code == 2
    assert "the chip is gone" in err
    sizes = re.search(r"2 x (\d+) draws so far are in lost/draws.nc", err)
    assert sizes, err
    import xarray as xr

    with xr.open_datatree("lost/draws.nc", engine="h5netcdf") as tree:
        assert tree.posterior.sizes["draw"] == int(sizes[1])
        assert tree.faults.sizes["fault"] == 2
    assert sorted(os.listdir("lost")) == ["checkpoint", "draws.nc"]
    assert "--resume lost" in err
    code, _, err = call(command.main, monkeypatch, capsys, *TINY, "--tune", "50", *arguments[-4:-1], "warm")
    assert code == 2
    assert "There was no draw to keep." in err
    assert os.listdir("warm") == ["checkpoint"]
    assert "--resume warm" in err
