"""Which neurons a twin is made of: those that predict best what was kept back, and no others are tried without need."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest
from matplotlib.figure import Figure

from bayes_snn.chips import LIFChip, NestChip
from bayes_snn.errors import InputError
from bayes_snn.inference.twin_figure import draw_twin
from bayes_snn.twins import from_spikes
from bayes_snn.twins.asking import AskedChip
from bayes_snn.twins.conductance.neuron import N_FIRST, N_LATER
from bayes_snn.twins.conductance.twin import ConductanceTwin
from bayes_snn.twins.contract import Twin
from bayes_snn.twins.families import FAMILIES, fit_again
from bayes_snn.twins.folder import load_twin
from bayes_snn.twins.learn import learn_twin
from tests.helpers.conductance_reference import ConductanceChip

LAYERS = (6, 5, 2)


@pytest.fixture(scope="module")
def twin():
    return learn_twin(ConductanceChip(LAYERS), 1100)


def wrong_of(twin, chip, seed=7, n=40):
    rng, wrong = np.random.default_rng(seed), []
    for _ in range(n):
        weights, inputs = from_spikes.random_weights(rng, chip.spec.weight_shapes), rng.normal(size=(8, LAYERS[0]))
        wrong.append((twin.run(weights, inputs) != chip.run(weights, inputs)).mean())
    return float(np.mean(wrong))


def test_the_family_that_predicts_better_is_taken_and_told(twin):
    assert twin.family == "conductance"
    assert isinstance(twin, Twin)
    assert twin.presentations == 1100 == twin.learned.presentations
    assert 0 < twin.programmings < 1100
    assert twin.learned.notes[0].endswith(": the latter were taken.")
    assert "leaky integrate-and-fire neurons had" in twin.learned.notes[0]
    assert twin.learned.mismatch < 0.05
    assert wrong_of(twin, ConductanceChip(LAYERS)) < 0.05


def test_it_is_learned_again_from_more(twin):
    chip, before = ConductanceChip(LAYERS), wrong_of(twin, ConductanceChip(LAYERS))
    again = fit_again(chip.spec, twin.recordings, twin)
    assert isinstance(again, ConductanceTwin)
    assert wrong_of(again, chip) < before + 0.02


@pytest.mark.parametrize(
    "distorted",
    [
        {"distortion": "comparator", "sigma": 3.0},
        {"distortion": ["leak", "threshold"], "sigma": [0.3, 0.3]},
        {"distortion": "noise", "sigma": 0.3},
    ],
)
def test_nothing_else_is_tried_on_leaky_integrate_and_fire_neurons(distorted, monkeypatch):
    def never(*_):
        raise AssertionError("another family was fitted")

    monkeypatch.setattr(from_spikes, "fit_conductance", never)
    twin = learn_twin(LIFChip(LAYERS, seed=101, **distorted), 600)
    assert twin.family == "lif"


def test_the_first_family_is_kept_where_the_other_does_no_better(monkeypatch):
    """With no patience for wrong counts both are tried on a chip of leaky neurons, whose comparators are distorted."""
    monkeypatch.setattr(from_spikes, "BAD", -1.0)
    monkeypatch.setattr(from_spikes, "FALLING", 0.0)
    twin, _ = from_spikes.learn_from_spikes(AskedChip(LIFChip(LAYERS, "comparator", 3.0, seed=102), 700), 0)
    assert twin.family == "lif"
    assert twin.learned.notes[0].endswith(": the former were kept.")


@pytest.mark.skipif(find_spec("nest") is None, reason="NEST is not installed")
def test_neurons_of_nest_are_learned():
    twin = learn_twin(NestChip(LAYERS, seed=103), 1200)
    assert twin.family == "conductance"
    assert wrong_of(twin, NestChip(LAYERS, seed=103), n=20) < 0.08


def test_a_twin_is_read_as_it_was_written(twin, tmp_path):
    again = load_twin(twin.save(tmp_path / "twin"))
    assert isinstance(again, ConductanceTwin)
    assert (again.spec, again.learned) == (twin.spec, twin.learned)
    for name, array in (twin.arrays() | twin.recordings.arrays()).items():
        np.testing.assert_array_equal((again.arrays() | again.recordings.arrays())[name], array)
    assert wrong_of(again, twin, n=3) == 0.0
    assert set(FAMILIES) == {"lif", "conductance"}


def test_damaged_twins_are_told_in_a_sentence(twin, tmp_path):
    folder = twin.save(tmp_path / "twin")
    good = dict(np.load(folder / "twin.npz"))
    spoiled = {
        "missing": {"parameters_2": None},
        "nan": {"parameters_1": np.full((5, N_FIRST), np.nan)},
        "huge": {"parameters_1": np.full((5, N_FIRST), 1e9)},
        "shape": {"parameters_2": np.zeros((3, N_LATER))},
        "text": {"parameters_1": np.full((5, N_FIRST), "a")},
    }
    for changes in spoiled.values():
        np.savez(folder / "twin.npz", **{k: v for k, v in (good | changes).items() if v is not None})
        with pytest.raises(InputError, match="twin") as error:
            load_twin(folder)
        assert "\n" not in str(error.value)
    np.savez(folder / "twin.npz", **good)
    described = json.loads((folder / "twin.json").read_text())
    (folder / "twin.json").write_text(json.dumps(described | {"family": "lif"}))
    with pytest.raises(InputError, match="no whole twin"):
        load_twin(folder)


def test_what_was_learned_can_be_drawn(twin):
    figure = draw_twin(twin)
    assert isinstance(figure, Figure)
    assert figure.axes[0].get_xlabel() == "alpha"
    assert len(figure.axes[0].get_yticklabels()) == 7
