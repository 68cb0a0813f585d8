"""Files of any origin: what is wrong with them is one sentence, soon, and nothing in them is run."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
import time
import warnings
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import xarray as xr

from bayes_snn.chips.describe import MOST_LAYERS, spec_from
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import ChangedFileWarning, InputError
from bayes_snn.exports.nir import from_nir, write_nir
from bayes_snn.exports.npz import read_weights, write_weights
from bayes_snn.files import UnreadableError, why
from bayes_snn.hdf5 import as_tree, read_hdf5
from bayes_snn.inference.load import load_fit
from tests.helpers.fits import hand_made_fit
from tests.helpers.refusals import refusal as refused

hostile = importlib.import_module("tests.benchmarks.hostile_files")
X = np.random.default_rng(0).normal(size=(15, 3))
Y = np.arange(15) % 2


@pytest.fixture(scope="module")
def result():
    return hand_made_fit(LIFChip((3, 4, 2), ["comparator", "gain"], [1.0, 0.1], 1, 20), X, Y, draws=6)


def edited(folder, change):
    stored = json.loads((folder / "fit.json").read_text())
    change(stored)
    (folder / "fit.json").write_text(json.dumps(stored))
    return folder


def refusal(function, *arguments):
    began = time.monotonic()
    message = refused(function, *arguments)
    assert time.monotonic() - began < 60.0  # of the clock; the reader has 5 s of its own time
    return message


# ---- fit.json


def put(*keys):
    *path, last, value = keys

    def change(stored):
        for key in path:
            stored = stored[key]
        stored[last] = value

    return change


def drop(*keys):
    *path, last = keys

    def change(stored):
        for key in path:
            stored = stored[key]
        del stored[last]

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (put("chip", "spec", "layers", [10**6, 10**6, 3]), "1,000,003,000,000 weights"),
        (put("chip", "spec", "layers", [4] * 16), "have the shape (3, 4), and those of the chip in fit.json (4, 4)"),
        (put("chip", "spec", "layers", [1] * 10**5), f"100,000 layers, but at most {MOST_LAYERS}"),
        (put("chip", "spec", "layers", [3, 5, 2]), "and those of the chip in fit.json (3, 5)"),
        (put("chip", "spec", "layers", "abc"), "Expected 'array', got 'str' at 'layers'"),
        (put("chip", "spec", "extra", 1), "has 'extra', but only deterministic, drifting, layers"),
        (put("chip", "spec", "n_steps", 10**9), "1,000,000,000 steps"),
        (put("chip", "spec", "weight_range", [1, -1]), "weight_range was (1.0, -1.0)"),
        (put("chip", "seed", "one"), "Expected 'int | null', got 'str' at 'chip.seed'"),
        (put("chip", "seed", -1), "seed was -1"),
        (drop("chip", "seed"), "it lacks seed"),
        (put("chip", "tau_m", [9.5]), "got 'array' at 'chip.tau_m'"),
        (drop("chip", "tau_m"), "it lacks tau_m"),
        (put("chip", "distortions", ["comparator"]), "got 'array' at 'chip.distortions'"),
        (put("chip", "distortions", {"comparator": 1e4}), "would take minutes to make again"),
        (put("chip", "distortions", {"comparater": 1.0}), "did you mean 'comparator'"),
        (put("chip", "class", None), "at 'chip.class'"),
        (put("chip", "other", 1), "'other', which no simulated chip has"),
        (put("presentations", "many"), "Expected 'int', got 'str' at 'presentations'"),
        (put("presentations", -1), "at 'presentations'"),
        (put("arguments", "draws", "x"), "at 'arguments.draws'"),
        (put("arguments", "repeats", 10**9), "at 'arguments.repeats'"),
        (put("interrupted", "no"), "at 'interrupted'"),
        (put("train", []), "at 'train'"),
        (put("train", {"mean": 1}), "got 'int' at 'train[...]'"),
        (put("test", {"mean": {"accuracy": "x"}}), "got 'str' at 'test[...].accuracy'"),
        (put("compile_seconds", [1.0]), "got 'array' at 'compile_seconds'"),
        (put("compile_seconds", "x"), "got 'str' at 'compile_seconds'"),
        (put("behaviour", [1]), "got 'array' at 'behaviour'"),
        (lambda stored: stored.update(format=2, versions={"bayes_snn": "1\n\x1b[2J"}), "'1\\n\\x1b[2J'"),
        (put("chip", "class", "a\n\x1b[2J"), "was a 'a\\n\\x1b[2J'"),
    ],
)
def test_a_description_is_checked_before_anything_is_made(result, tmp_path, change, says):
    folder = edited(result.save(tmp_path), change)
    assert says in refusal(load_fit, folder)


def test_what_is_told_of_a_fit_heeds_scores_that_are_missing(result, tmp_path):
    folder = edited(result.save(tmp_path), put("train", {"mean": {"accuracy": None}, "map": {}}))
    assert "no scores yet" in str(load_fit(folder))


def test_a_pipe_or_an_endless_file_is_no_description(result, tmp_path):
    folder = result.save(tmp_path)
    (folder / "fit.json").unlink()
    os.mkfifo(folder / "fit.json")
    assert "it is a pipe or a device" in refusal(load_fit, folder)
    (folder / "fit.json").unlink()
    (folder / "fit.json").symlink_to("/dev/zero")
    assert "it is a pipe or a device" in refusal(load_fit, folder)


def test_a_spec_is_one_schema_for_files_and_messages():
    for fields in ({"layers": [3, 2], "extra": 1}, {"layers": [3.5, 2]}, {"layers": [10**6] * 3}, [], None):
        with pytest.raises(InputError):
            spec_from(fields)


# ---- posterior.nc


def test_what_is_read_apart_is_what_xarray_reads(result, tmp_path):
    result.posterior["posterior"] = result.posterior["posterior"].dataset.assign_coords(pre_1=["age", "größe", "x"])
    folder = result.save(tmp_path)
    with xr.open_datatree(folder / "posterior.nc", engine="h5netcdf") as opened:
        assert as_tree(read_hdf5(folder / "posterior.nc")).identical(opened.load())


def test_a_digest_tells_that_a_file_was_changed(result, tmp_path):
    folder = result.save(tmp_path)
    load_fit(folder)  # nothing is said
    with h5py.File(folder / "posterior.nc", "r+") as file:
        file["posterior/w_1"][0, 0, 0, 0] += 1.0
    with pytest.warns(ChangedFileWarning, match=r"posterior\.nc is not the file that was written with"):
        load_fit(folder)
    edited(folder, drop("sha256"))  # as older folders are
    load_fit(folder)


def harmful(kind, path, secret):
    """Make the weights of a file come from another file."""
    with h5py.File(path, "r+") as file:
        old = file["posterior/w_1"]
        shape, dtype = old.shape, old.dtype
        del file["posterior/w_1"]
        if kind == "external storage":
            size = int(np.prod(shape)) * dtype.itemsize
            file.create_dataset("posterior/w_1", shape, dtype, external=[(str(secret), 0, size)])
        elif kind == "external link":
            file["posterior/w_1"] = h5py.ExternalLink(str(secret), "x")
        elif kind == "soft link":
            file["posterior/w_1"] = h5py.SoftLink("/posterior/w_2")
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape, dtype)
            layout[:] = h5py.VirtualSource(str(secret), "x", shape=shape, dtype=dtype)
            file.create_virtual_dataset("posterior/w_1", layout)
        elif kind == "cycle":
            file["posterior/w_1"] = file["posterior"]
        else:
            file.create_dataset("posterior/w_1", (2, 6, 10**5, 10**5), dtype, chunks=(1, 1, 100, 100))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("external storage", "lie in another file"),
        ("external link", "is a link to another place"),
        ("soft link", "is a link to another place"),
        ("virtual", "lie in another file"),
        ("cycle", "comes twice"),
        ("huge", "it unpacks to more than a file of its size may"),
    ],
)
def test_no_other_file_is_read(result, tmp_path, kind, says):
    folder, secret = result.save(tmp_path / "fit"), tmp_path / "secret"
    secret.write_bytes(os.urandom(4096))
    harmful(kind, folder / "posterior.nc", secret)
    assert says in refusal(load_fit, folder)
    path = write_nir(result, tmp_path / "net.nir")
    if kind == "external storage":
        with h5py.File(path, "r+") as file:
            weights = file["node/nodes/w_1/weight"]
            shape = weights.shape
            del file["node/nodes/w_1/weight"]
            file.create_dataset("node/nodes/w_1/weight", shape, "f4", external=[(str(secret), 0, 48)])
        assert says in refusal(from_nir, path)


def test_a_file_that_ends_or_holds_up_its_reader_is_one_sentence(tmp_path, monkeypatch):
    path = tmp_path / "x.nc"
    path.write_bytes(b"anything")
    for program, says in (
        ("import os; os.kill(os.getpid(), 11)", "ended the process that read it (SIGSEGV)"),
        ("import os; os._exit(3)", "ended the process that read it (exit code 3)"),
        ("import sys; sys.stdout.write('x' * 100)", "what it holds cannot be distinguished"),
    ):
        monkeypatch.setattr("bayes_snn.hdf5.start", lambda a, p=program: started([sys.executable, "-c", p]))
        with pytest.raises(UnreadableError) as error:
            read_hdf5(path)
        assert says in error.value.reason


@pytest.mark.parametrize(
    ("seconds", "clock", "program", "says"),
    [
        (0.2, 60.0, "while True: pass", "took more than 2 s of the processor"),
        (60.0, 0.2, "import time; time.sleep(60)", "took more than 8 s on a busy computer"),
    ],
)
def test_the_limits_of_time_are_those_of_the_reader_itself(tmp_path, monkeypatch, seconds, clock, program, says):
    path = tmp_path / "x.nc"
    path.write_bytes(b"anything")
    code = "import sys; sys.path.insert(0, 'bayes_snn'); import hdf5_process as h"
    code += f"; h.limit({seconds}, {clock}, 2**28)\n{program}"
    monkeypatch.setattr("bayes_snn.hdf5.start", lambda a: started([sys.executable, "-P", "-c", code]))
    with pytest.raises(UnreadableError, match=says):
        read_hdf5(path)


@pytest.mark.parametrize(("late", "left"), [(0.0, 8.0), (3.0, 5.0), (100.0, 2.0)])
def test_the_clock_runs_before_the_reader_does(tmp_path, monkeypatch, late, left):
    """Where a busy computer is slow to start it, there is less time to read, yet some: the whole stays below 10 s."""
    for name in ("HDF5_PLUGIN_PRELOAD", "OPENBLAS_NUM_THREADS"):  # the reader sets them, for itself alone
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    hdf5_process = importlib.import_module("bayes_snn.hdf5_process")
    path, asked = tmp_path / "x.nc", []
    path.write_bytes(b"")
    monkeypatch.setattr("bayes_snn.hdf5.time", SimpleNamespace(monotonic=lambda: 1000.0))
    monkeypatch.setattr(hdf5_process, "time", SimpleNamespace(monotonic=lambda: 1000.0 + late))
    monkeypatch.setattr(hdf5_process, "limit", lambda seconds, clock, memory: asked.append((seconds, clock)))

    def start(arguments):
        *_, file, seconds, deadline, spare = arguments
        hdf5_process.serve(file, float(seconds), float(deadline), int(spare), io.BytesIO())
        return started([sys.executable, "-c", ""])

    monkeypatch.setattr("bayes_snn.hdf5.start", start)
    with pytest.raises(UnreadableError):
        read_hdf5(path)
    assert asked == [(2.0, left)]


def started(arguments):
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def test_a_lock_is_no_reason_to_fit_again(result, tmp_path):
    folder = result.save(tmp_path)
    program = f"import h5py; f = h5py.File({str(folder / 'posterior.nc')!r}, 'a'); print('open', flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        message = refusal(load_fit, folder)
    finally:
        holder.communicate(b"\n")
    assert "another program holds it open: close it there and try again." in message
    assert "fit again" not in message.replace("try again", "")
    load_fit(folder)


def test_advice_fits_the_reason():
    assert why(FileNotFoundError(2, "No such file")).advice == "check the path, or take it from a copy"
    assert "permissions" in why(PermissionError(13, "Permission denied")).advice
    assert why(BlockingIOError(11, "locked")).advice == "close it there and try again"
    assert "try again" in why(OSError(5, "Input/output error")).advice
    assert why(OSError("truncated file")).advice is None  # wrong content


def test_loading_a_fit_imports_no_pymc(result, tmp_path):
    folder = result.save(tmp_path)
    program = (
        f"from bayes_snn import load_fit; import sys; r = load_fit({str(folder)!r}); r.predict([[0] * 3], 'map');"
        "print([m for m in sys.modules if m.split('.')[0] in ('pymc', 'pytensor')])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# ---- npz


@pytest.mark.parametrize("kind", range(3))
def test_archives_that_mean_harm(tmp_path, kind):
    class Fixed:
        def integers(self, *_):
            return kind

    path = tmp_path / "w.npz"
    path.write_bytes(hostile._hostile_npz(Fixed()))
    says = ("unpacks to more", "allow_pickle", "has the shape (9, 9)")[kind]
    assert says in refusal(read_weights, path)
    assert hostile.CANARY not in sys.modules


# ---- the short version of the trials


@pytest.mark.parametrize("kind", ["fit.json", "posterior.nc", "npz", "nir", "twin"])
def test_damaged_files(result, tmp_path, kind):
    """A dozen of the 2,000 trials of tests/benchmarks/hostile_files.py."""
    result.save(tmp_path / "fit")
    write_weights(result, tmp_path / "whole.npz")
    write_nir(result, tmp_path / "whole.nir")
    if kind == "twin":
        hostile.make_twin(tmp_path / "twin")
    (tmp_path / "work").mkdir()
    n = 4 if kind in ("posterior.nc", "nir") else 25
    for number in range(n):
        rng = np.random.default_rng([99, number])
        with warnings.catch_warnings(action="ignore"), contextlib.suppress(InputError):
            hostile.trial(kind, tmp_path, tmp_path / "work", rng, False)


def test_edges_to_nowhere(result, tmp_path):
    path = write_nir(result, tmp_path / "net.nir")
    with h5py.File(path, "r+") as file:
        edges = file["node/edges"][()]
        edges[1, 1] = b"wO1"
        file["node/edges"][...] = edges
    assert "edges from or to 'wO1', which is no node of it" in refusal(from_nir, path)
