"""Weights as .npz: what is read is what was written, and other files get one sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bayes_snn.backprop.train import BackpropResult
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.exports.npz import read_metadata, read_weights, write_weights
from tests.chips.lif.test_chip import random_network
from tests.helpers.fits import hand_made_fit


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(0)
    return hand_made_fit(LIFChip((4, 6, 3)), rng.normal(size=(30, 4)), rng.integers(0, 3, 30))


def same(first, second):
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("estimate", ["mean", "map", "medoid"])
def test_estimates_come_back_bit_for_bit(fit, tmp_path, estimate):
    path = write_weights(fit, tmp_path / "w.npz", estimate)
    read = read_weights(path)
    assert same(read, fit.weights(estimate))
    inputs = fit.train_inputs
    np.testing.assert_array_equal(fit.chip.run(read, inputs), fit.chip.run(fit.weights(estimate), inputs))
    told = read_metadata(path)
    assert (told["estimate"], told["layers"], told["n_steps"]) == (estimate, [4, 6, 3], 32)
    assert (told["weight_range"], told["weight_bits"], told["axes"]) == ([-4.0, 4.0], None, "pre, post")


def test_numpy_alone_reads_it(fit, tmp_path):
    path = write_weights(fit, tmp_path / "w.npz", draw=3)
    with np.load(path, allow_pickle=False) as stored:
        assert sorted(stored.files) == ["metadata", "w_1", "w_2"]
        np.testing.assert_array_equal(stored["w_2"], fit.draws[3][1])
        assert json.loads(str(stored["metadata"]))["estimate"] == "draw 3"


def test_results_of_backprop_and_bare_weights(tmp_path):
    chip = LIFChip((4, 6, 3))
    weights, _ = random_network((4, 6, 3), 1, 0)
    trained = BackpropResult(chip, weights, {"mode": "spikes"}, 0, 1, 0.1, 0, 1, [])
    path = write_weights(trained, tmp_path / "w.npz")
    assert same(read_weights(path), weights)
    assert read_metadata(path)["estimate"] == "backprop spikes"
    assert same(read_weights(write_weights(weights, path)), weights)
    assert "estimate" not in read_metadata(path)
    np.savez(path, w_2=weights[1], w_1=weights[0])  # by hand
    assert same(read_weights(path), weights)
    assert read_metadata(path) == {}


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([], "one .n_pre, n_post. array"),
        ([np.ones(3)], "one .n_pre, n_post. array"),
        ([np.ones((3, 0))], "one .n_pre, n_post. array"),
        ([["a"]], "an array of real numbers is expected"),
        ([np.ones((3, 2)), np.ones((3, 2))], "transposed if they are"),
        ([np.full((3, 2), np.inf)], "NaN or infinity"),
        ("weights", "The result was a str"),
        (None, "The result was a NoneType"),
    ],
)
def test_weights_that_cannot_be_written(tmp_path, weights, words):
    with pytest.raises(InputError, match=words):
        write_weights(weights, tmp_path / "w.npz")
    assert list(tmp_path.iterdir()) == []


def test_an_ensemble_is_not_one_set(fit, tmp_path):
    with pytest.raises(InputError, match="An ensemble is many sets"):
        write_weights(fit, tmp_path / "w.npz", "ensemble")
    with pytest.raises(InputError, match="did you mean 'mean'"):
        write_weights(fit, tmp_path / "w.npz", "meen")


def test_files_that_are_torn_or_foreign(fit, tmp_path):
    path = write_weights(fit, tmp_path / "w.npz")
    whole = path.read_bytes()
    for part in (0, 3, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:part])
        with pytest.raises(InputError, match="write it again with write_weights"):
            read_weights(path)
    middle = bytearray(whole)
    middle[200] ^= 255
    path.write_bytes(middle)
    with pytest.raises(InputError, match="write it again with write_weights"):
        read_weights(path)
    np.save(tmp_path / "w.npy", np.ones(3))
    with pytest.raises(InputError, match="write it again with write_weights"):
        read_weights(tmp_path / "w.npy")
    with pytest.raises(InputError, match="cannot be read"):
        read_weights(tmp_path / "missing.npz")
    with pytest.raises(InputError, match="cannot be read"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"weights": np.ones((2, 3))}, "holds weights, but weights are named w_1"),
        ({"w_1": np.ones((2, 3)), "w_3": np.ones((3, 3))}, "without a gap"),
        ({}, "no arrays"),
        ({"w_1": np.array([{}], object)}, "write it again"),  # pickled
        ({"w_1": np.ones((2, 3)), "metadata": np.array("{")}, "write it again"),
        ({"w_1": np.ones((2, 3)), "metadata": np.array('{"format": 7, "version": "9.1"}')}, "install bayes_snn 9.1"),
        ({"w_1": np.array([["a"]])}, "an array of real numbers is expected"),
    ],
)
def test_files_with_other_entries(tmp_path, entries, words):
    np.savez(tmp_path / "w.npz", **entries)
    with pytest.raises(InputError, match=words):
        read_weights(tmp_path / "w.npz")


def test_files_are_replaced_whole(fit, tmp_path, monkeypatch):
    path = write_weights(fit, tmp_path / "w.npz")
    before = path.read_bytes()

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(InputError, match="No space left"):
        write_weights(fit, path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["w.npz"]
    with pytest.raises(InputError, match="the name of a file"):
        write_weights(fit, tmp_path)
