"""Twins are what they were when they are read again, and folders that hold none are told in a sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.twins.contract import Twin
from bayes_snn.twins.folder import load_twin
from bayes_snn.twins.learn import learn_twin

X = np.random.default_rng(5).normal(size=(50, 3))


def weights_of(chip, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in chip.spec.weight_shapes]


@pytest.fixture(scope="module")
def twin():
    return learn_twin(LIFChip((3, 4, 2), ["comparator", "quantisation"], [2.0, 4], seed=102, n_steps=16), 400)


@pytest.fixture
def folder(twin, tmp_path):
    return twin.save(tmp_path / "twin")


def test_a_twin_is_read_as_it_was_written(twin, folder):
    again = load_twin(folder)
    assert isinstance(again, Twin)
    assert again.spec == twin.spec
    assert again.learned == twin.learned
    for seed in range(3):
        weights = weights_of(twin, seed)
        np.testing.assert_array_equal(again.run(weights, X), twin.run(weights, X))
    for name, array in twin.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    for name, array in twin.recordings.arrays().items():
        np.testing.assert_array_equal(again.recordings.arrays()[name], array)


def test_a_twin_is_replaced_by_another(twin, folder):
    other = learn_twin(LIFChip((3, 2, 2), n_steps=8), 200)
    other.save(folder)
    assert load_twin(folder).spec == other.spec


def test_no_twin(tmp_path):
    with pytest.raises(InputError, match=r"holds no twin.json.*bayes_snn.twin"):
        load_twin(tmp_path)


def edited(folder, **fields):
    described = json.loads((folder / "twin.json").read_text())
    (folder / "twin.json").write_text(json.dumps(described | fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"family": "rabbit"}, "family 'rabbit'"),
        ({"format": 99}, "format 99"),
        ({"spec": {"layers": [10**6, 10**6, 3]}}, "weights"),
        ({"spec": {"layers": [3, 5, 2], "n_steps": 16}}, "no whole twin"),
        ({"learned": {"way": "magic", "presentations": 1, "programmings": 1}}, "'magic'"),
        ({"learned": {"way": "spikes", "presentations": -1, "programmings": 1}}, "presentations"),
        ({"learned": None}, "learned"),
    ],
)
def test_what_is_wrong_with_a_description_is_told(folder, fields, message):
    edited(folder, **fields)
    with pytest.raises(InputError, match=message) as error:
        load_twin(folder)
    assert "\n" not in str(error.value)


def test_damaged_arrays_are_told(folder):
    content = (folder / "twin.npz").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(content[: rng.integers(len(content) // 2, len(content) + 1)])
        for place in rng.integers(len(damaged), size=3):
            damaged[place] ^= int(rng.integers(1, 256))
        (folder / "twin.npz").write_bytes(bytes(damaged))
        told = ""
        try:
            load_twin(folder).run(weights_of(load_twin(folder)), X)
        except InputError as error:
            told = str(error)
        assert "\n" not in told


def test_parameters_of_no_neuron_are_refused(twin, folder):
    arrays = dict(np.load(folder / "twin.npz"))
    for name, value in (("decay_1", 2.0), ("gain_1", np.nan), ("grid_2", np.inf), ("edges_1", -np.inf)):
        wrong = {**arrays, name: np.full_like(arrays[name], value)}
        np.savez(folder / "twin.npz", **wrong)
        if name == "edges_1":
            load_twin(folder)  # fires at every voltage: a neuron all the same
            continue
        with pytest.raises(InputError, match="none of LIF neurons"):
            load_twin(folder)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"current_1": np.zeros((4, 9))}, "some layers have a table of currents"),
        ({"current_2": np.zeros((2, 9))}, "some layers have a table of currents"),
        ({"noise_1": np.ones(4)}, "some layers have a table of currents or a noise"),
        ({"noise_1": np.full(4, np.nan), "noise_2": np.ones(2)}, "none of LIF neurons"),
        ({"grid_1": np.zeros(1)}, "none of LIF neurons"),
        ({"edges_1": np.tile(np.arange(4000.0), (4, 1))}, "would take minutes"),
    ],
)
def test_arrays_that_the_kernels_cannot_take_are_refused(folder, changed, message):
    """Where one layer has a table and another one has none, neurons would be looked up behind its end."""
    with np.load(folder / "twin.npz") as stored:
        arrays = dict(stored)
    np.savez(folder / "twin.npz", **(arrays | changed))
    with pytest.raises(InputError, match=message) as error:
        load_twin(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mismatch", [float("nan"), float("inf"), -0.1])
def test_a_mismatch_is_a_share(folder, mismatch):
    described = json.loads((folder / "twin.json").read_text())
    edited(folder, learned=described["learned"] | {"mismatch": mismatch})
    with pytest.raises(InputError, match="mismatch"):
        load_twin(folder)
