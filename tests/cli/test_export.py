"""`python -m bayes_snn.export`: a fit folder becomes a file; bad input gets one sentence and exit code 2."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from bayes_snn.chips.by_name import find_chip
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.cli import export
from bayes_snn.exports.npz import read_weights
from bayes_snn.inference.load import load_fit
from tests.helpers.fits import hand_made_fit


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rng = np.random.default_rng(0)
    fit = hand_made_fit(LIFChip((4, 6, 3), "comparator", 2.0), rng.normal(size=(30, 4)), rng.integers(0, 3, 30))
    return fit.save(tmp_path_factory.mktemp("fit"))


@pytest.fixture
def run(folder, tmp_path, monkeypatch, capsys):
    """Run the command in this process: exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run_main(*arguments):
        monkeypatch.setattr(sys, "argv", ["export", *arguments])
        code = 0
        try:
            export.main()
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run_main


def test_npz(run, folder, tmp_path):
    assert run(str(folder), "--output", "w.npz", "--estimate", "mean")[:2] == (0, "The weights (mean) are in w.npz\n")
    expected = load_fit(folder).weights("mean")
    for read, w in zip(read_weights(tmp_path / "w.npz"), expected, strict=True):
        np.testing.assert_array_equal(read, w)


def test_nir(run, folder, tmp_path):
    pytest.importorskip("nir", reason="nir is not installed")
    from bayes_snn.exports.nir import from_nir

    code, out, _ = run(str(folder), "--output", "net", "--format", "nir", "--draw", "4", "--dt", "1e-4")
    assert (code, out) == (0, "The weights (draw 4) are in net\n")
    network = from_nir(tmp_path / "net")
    np.testing.assert_array_equal(network.weights[0], load_fit(folder).draws[4][0].astype(np.float32))
    assert network.metadata["dt"] == 1e-4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--output", "w.npz", "--estimate", "ensemble"], "An ensemble is many sets"),
        (["--output", "w.npz", "--estimate", "maps"], "did you mean 'map'"),
        (["--output", "w.txt"], "does not end in .nir or .npz"),
        (["--output", "w", "--format", "nirr"], "did you mean 'nir'"),
        (["--output", " "], "--output was empty"),
        (["--output", "w.npz", "--effective"], "belong to NIR"),
        (["--output", "w.npz", "--draw", "many"], "--draw was 'many'"),
        (["--output", "w.npz", "--draw", "20"], "draw was 20"),
        (["--output", "w.nir", "--effective"], "comparator distortion cannot be written as NIR"),
        (["--output", "w.nir", "--dt", "0"], "dt was 0"),
        (["--output", "missing/w.npz"], "cannot be written"),
        ([], "--output"),
    ],
)
def test_bad_input_gets_one_sentence(run, folder, tmp_path, arguments, words):
    if "w.nir" in arguments:
        pytest.importorskip("nir", reason="nir is not installed")
    code, out, err = run(str(folder), *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert words in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_files_are_not_replaced_unasked(run, folder, tmp_path):
    (tmp_path / "w.npz").write_text("mine")
    code, _, err = run(str(folder), "--output", "w.npz")
    assert (code, (tmp_path / "w.npz").read_text()) == (2, "mine")
    assert "--overwrite to replace it" in err
    assert run(str(folder), "--output", "w.npz", "--overwrite")[0] == 0
    assert len(read_weights(tmp_path / "w.npz")) == 2


def test_folders_that_hold_no_fit(run, tmp_path):
    code, _, err = run(str(tmp_path), "--output", "w.npz")
    assert code == 2
    assert "holds no readable fit.json" in err


def test_help_is_quick_to_ask_for(folder, tmp_path):
    command = [sys.executable, "-m", "bayes_snn.export"]
    help_page = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=120)
    assert help_page.returncode == 0
    for name in ("--output", "--format", "--estimate", "--draw", "--effective", "--discretisation", "--dt"):
        assert name in help_page.stdout
    wrong = subprocess.run([*command, str(tmp_path / "none"), "--output", "w.npz"], capture_output=True, text=True)
    assert wrong.returncode == 2


OWN = """
import numpy as np
from bayes_snn.chips.contract import ChipSpec


class MyChip:
    spec = ChipSpec((4, 6, 3))

    def run(self, weights, inputs):
        return np.full((len(inputs), 3), 5)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A fit of a chip of one's own, which says so in its arguments."""
    place = tmp_path_factory.mktemp("own")
    (place / "my_own_lab.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        fit = hand_made_fit(find_chip("my_own_lab:MyChip"), np.zeros((30, 4)), np.arange(30) % 3)
    fit.arguments["chip"] = "my_own_lab:MyChip"
    sys.modules.pop("my_own_lab")
    return place, fit.save(place / "fit")


def test_a_fit_of_ones_own_chip_is_exported_without_the_chip(run, own, tmp_path):
    _, folder = own
    for options in (["--estimate", "mean"], ["--estimate", "map"], ["--draw", "3"]):
        assert run(str(folder), "--output", "w.npz", "--overwrite", *options)[0] == 0
    assert [w.shape for w in read_weights(tmp_path / "w.npz")] == [(4, 6), (6, 3)]
    code, _, err = run(str(folder), "--output", "w.npz", "--overwrite", "--estimate", "medoid")
    assert (code, err.count("\n")) == (2, 1)
    assert "The chip, a MyChip, cannot be made from its description" in err
    assert "give --chip MODULE:NAME to the command." in err
    assert "my_own_lab" not in sys.modules  # a name in a folder is nothing to import


def test_the_chip_can_be_named(run, own, tmp_path, monkeypatch):
    place, folder = own
    monkeypatch.syspath_prepend(str(place))
    named = ("--chip", "my_own_lab:MyChip")
    assert run(str(folder), "--output", "w.npz", "--estimate", "medoid", *named)[0] == 0
    (place / "other_lab.py").write_text(OWN.replace("MyChip", "Other"))
    code, _, err = run(str(folder), "--output", "v.npz", "--chip", "other_lab:Other")
    assert code == 2
    assert "--chip other_lab:Other is a Other, but" in err
    assert "was fitted on a MyChip: give the fit's own." in err
