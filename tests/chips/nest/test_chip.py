"""The chip of NEST's neurons: what it answers, against closed forms and NEST itself, alone and beside another one."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest

from bayes_snn.chips import Link, NestChip
from bayes_snn.chips.contract import check_chip, check_spikes
from bayes_snn.chips.nest import chip as nest_chip
from bayes_snn.chips.nest.neurons import LARGEST, MODELS
from bayes_snn.chips.nest.process import DT, RESOLUTION
from bayes_snn.chips.nest.simulator import Simulator, simulator
from bayes_snn.errors import ChipError, InputError

LAYERS = (3, 4, 2)


@pytest.fixture(autouse=True)
def _needs_nest(request):
    if "without_nest" not in request.fixturenames and find_spec("nest") is None:
        pytest.skip("NEST is not installed")


@pytest.fixture
def without_nest(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nest", None)


def problem(seed, n_samples=20):
    rng = np.random.default_rng(seed)
    weights = [2.0 * rng.normal(size=(3, 4)), 2.0 + rng.normal(size=(4, 2))]
    return weights, 2.0 * rng.normal(size=(n_samples, 3))


@pytest.mark.parametrize("model", MODELS)
def test_answers_the_same_each_time_whoever_else_runs(model):
    chip, other = check_chip(NestChip(LAYERS, model=model)), NestChip((2, 5, 1), 11, seed=1)
    weights, inputs = problem(0)
    spikes = check_spikes(chip.spikes(weights, inputs), len(inputs), chip)
    other.run([np.ones((2, 5)), np.ones((5, 1))], np.ones((4, 2)))
    counts = chip.run(weights, inputs)
    np.testing.assert_array_equal(counts, spikes[-1].sum(axis=1))
    assert 0 < counts.mean() < 0.5 * chip.spec.n_steps
    np.testing.assert_array_equal(NestChip(LAYERS, model=model).run(weights, inputs), counts)
    assert (NestChip(LAYERS, model=model, seed=1).run(weights, inputs) != counts).any()


def test_each_sample_has_a_network_of_its_own(monkeypatch):
    chip, (weights, inputs) = NestChip(LAYERS), problem(1)
    whole = chip.spikes(weights, inputs)
    for part in (slice(0, 1), slice(7, 20)):
        for alone, layer in zip(chip.spikes(weights, inputs[part]), whole, strict=True):
            np.testing.assert_array_equal(alone, layer[part])
    monkeypatch.setattr(nest_chip, "MOST_NEURONS", 40)  # in four simulations
    np.testing.assert_array_equal(chip.run(weights, inputs), whole[-1].sum(axis=1))


def test_no_two_spikes_fall_into_one_step():
    chip = NestChip((2, 40, 3), spread=0.5)
    weights = [np.full((2, 40), 4.0), np.full((40, 3), 4.0)]
    spikes = chip.spikes(weights, np.full((3, 2), 9.0))
    assert max(layer.sum(axis=1).max() for layer in spikes) > 0.3 * chip.spec.n_steps
    chip.neurons[0]["t_ref"] = np.full(40, 0.3)  # a driver that let it happen is not believed
    with pytest.raises(ChipError, match="twice in a step"):
        chip.spikes(weights, np.full((3, 2), 9.0))


def test_a_plain_neuron_fires_when_its_equation_says():
    """C dV/dt = -g (V - E_L) + I from rest: V_th is crossed at -tau log(1 - g (V_th - E_L) / I)."""
    chip = NestChip((1, 50, 1), 60, model="iaf_cond_exp")
    inputs = np.linspace(1.2, 8.0, 12)[:, None]
    hidden = chip.spikes([np.ones((1, 50)), np.zeros((50, 1))], inputs)[0]
    p = chip.neurons[0]
    ratio = p["g_L"] * (p["V_th"] - p["E_L"]) / (chip.units.current * inputs)
    with np.errstate(invalid="ignore"):
        due = np.where(ratio < 1, -p["C_m"] / p["g_L"] * np.log1p(-ratio), np.inf)
    first = np.where(hidden.any(axis=1), hidden.argmax(axis=1), np.inf)  # a step
    grid = RESOLUTION
    seen = due < 60 * DT - 2 * grid
    assert seen.mean() > 0.8
    assert np.isinf(first[due > 60 * DT]).all()
    assert (np.abs(due[seen] - first[seen] - 0.5) <= 0.5 * DT + 2 * grid).all()


def test_positive_weights_excite_and_negative_ones_inhibit():
    chip = NestChip((1, 6, 1), spread=0.0)
    first = np.full((1, 6), 3.0)

    def count(*signs):
        return int(chip.run([first, np.array(signs, float)[:, None]], np.ones((1, 1)))[0, 0])

    assert count(3, 3, 3, 3, 0, 0) > count(3, 3, 3, 3, -2, -2) > count(-1, -1, -1, -1, -1, -1) == 0
    assert count(9, 9, 9, 9, 9, 9) == count(4, 4, 4, 4, 4, 4)  # they saturate


def test_currents_saturate_and_no_drive_breaks_the_solver():
    chip = NestChip((4, 6, 2), spread=0.5)
    for sign in (-4.0, 4.0):
        weights = [np.full((4, 6), sign), np.full((6, 2), sign)]
        counts = chip.run(weights, np.array([[10.0] * 4, [1e6] * 4, [-10.0] * 4, [-1e6] * 4]))
        np.testing.assert_array_equal(counts[0], counts[1])
        np.testing.assert_array_equal(counts[2], counts[3])


@pytest.mark.parametrize("model", MODELS)
def test_parameters_spread_and_are_frozen(model):
    p = NestChip((1, 4000, 1), model=model, seed=3).neurons[0]
    for name in set(MODELS[model]) - {"E_L", "E_ex", "E_in", "V_reset", "V_th", "t_ref"}:
        logs = np.log(p[name] / MODELS[model][name])
        assert abs(logs.std() - 0.25) < 0.02  # cut at two standard deviations it is 0.24
        assert abs(logs).max() <= LARGEST * 0.25 + 1e-12
    assert (p["t_ref"] >= DT).all()
    assert (p["V_th"] > p["V_reset"]).all()
    same = NestChip((1, 4000, 1), model=model, seed=3).neurons[0]
    assert all((p[name] == same[name]).all() for name in p)
    assert all(np.ptp(value) == 0 for value in NestChip(LAYERS, model=model, spread=0.0).neurons[0].values())


def test_runs_in_other_processes_and_behind_a_link():
    chip, (weights, inputs) = NestChip(LAYERS), problem(2)
    counts = chip.run(weights, inputs)
    with ProcessPoolExecutor(2) as pool:
        for answer in [pool.submit(chip.run, weights, inputs) for _ in range(3)]:
            np.testing.assert_array_equal(answer.result(timeout=120), counts)
    np.testing.assert_array_equal(Link(chip).run(weights, inputs), counts)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(chip)).run(weights, inputs), counts)


def test_nest_that_ends_or_raises_is_told_and_started_again(monkeypatch):
    chip, (weights, inputs) = NestChip(LAYERS), problem(4)
    counts = chip.run(weights, inputs)
    simulator()._running.kill()
    with pytest.raises(ChipError, match="ended with code -9"):
        chip.run(weights, inputs)
    np.testing.assert_array_equal(chip.run(weights, inputs), counts)
    chip.neurons[0]["C_m"] = -chip.neurons[0]["C_m"]
    with pytest.raises(ChipError, match=r"NEST cannot run the chip \(.*C_m >0"):
        chip.run(weights, inputs)
    np.testing.assert_array_equal(NestChip(LAYERS).run(weights, inputs), counts)

    def interrupted(stream):
        raise KeyboardInterrupt

    alone = Simulator()
    with monkeypatch.context() as patched:
        patched.setattr("bayes_snn.chips.nest.process.receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            alone.ask()
    assert alone.close() is None  # the answer that was not read is gone with its process


def test_says_nothing_by_itself(capfd):
    chip, (weights, inputs) = NestChip(LAYERS), problem(3, 2)
    chip.run(weights, inputs)
    assert "".join(capfd.readouterr()) == ""
    assert repr(chip) == "NestChip(3-4-2, model='aeif_cond_exp', spread=0.25, seed=0, n_steps=32)"


def test_errors_of_a_chip_that_cannot_be():
    for arguments, said in (
        ({"model": "aeif_cond_exq"}, "did you mean 'aeif_cond_exp'"),
        ({"spread": 0.6}, "from 0 to 0.5"),
        ({"spread": float("nan")}, "from 0 to 0.5"),
        ({"seed": -1}, "seed"),
        ({"layers": (3,)}, "at least two"),
    ):
        with pytest.raises(InputError, match=said):
            NestChip(**arguments)
    chip = NestChip(LAYERS)
    with pytest.raises(InputError, match="shapes"):
        chip.run([np.zeros((3, 4))], np.ones((1, 3)))
    with pytest.raises(InputError, match="NaN"):
        chip.run([np.full((3, 4), np.nan), np.zeros((4, 2))], np.ones((1, 3)))
    with pytest.raises(InputError, match="inputs have shape"):
        chip.run([np.zeros((3, 4)), np.zeros((4, 2))], np.ones((1, 2)))


@pytest.mark.usefixtures("without_nest")
def test_missing_nest_is_told():
    with pytest.raises(InputError, match=r"bayes_snn\[nest\]"):
        NestChip()
