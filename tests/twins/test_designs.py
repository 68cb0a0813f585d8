"""Questions to neurons: drives come where they should, switches switch, and edges are found with fewer samples."""

import numpy as np
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.twins.asking import AskedChip
from bayes_snn.twins.designs import (
    GivenInputs,
    Known,
    OwnInputs,
    ask_first,
    ask_second,
    drives_to_ask,
    known_neurons,
    switches,
)
from bayes_snn.twins.from_spikes import learn_from_spikes
from bayes_snn.twins.teacher import fit_lif
from tests.twins.test_teacher import recorded

CHIP = LIFChip((6, 5, 3), "comparator", 3.0, seed=103)


def first_fired(neuron, drive, n_steps=32):
    v = drive * (1 - neuron.decay ** np.arange(1, n_steps + 1))
    return v, np.flatnonzero(np.searchsorted(neuron.edges, v, side="right") % 2)[:1]


def test_drives_cut_the_stretches_in_which_edges_lie():
    seen = np.sort(np.random.default_rng(0).uniform(-5, 5, 30))
    neuron = Known(0.9, np.array([1.1, 2.2]), seen)
    drives = drives_to_ask(np.random.default_rng(1), neuron, 20, -20.0, 20.0, 32)
    assert drives.shape == (20,)
    assert (np.abs(drives) <= 20).all()
    for edge in neuron.edges:
        below, above = seen[seen < edge].max(), seen[seen > edge].min()
        hits = 0
        for drive in drives:
            voltages, fired = first_fired(neuron, drive)
            visited = voltages[: fired[0] + 1] if len(fired) else voltages
            hits += ((visited > below) & (visited < above)).any()
        assert hits >= 3


@pytest.mark.parametrize("edges", [[1.0], [-2.0, -1.0, 0.5], [-1.0, 1.5], []])
def test_switches(edges):
    neuron = Known(0.9, np.array(edges), np.zeros(0))
    on, off = switches(neuron, -20.0, 20.0, 32)
    fired = first_fired(neuron, on)[1]
    assert fired.tolist() == ([0] if edges else [])
    assert not len(first_fired(neuron, off)[1]) or (edges == [-1.0, 1.5] and abs(off) >= 15)


def test_one_hidden_neuron_is_on_beside_the_one_that_always_is():
    recordings = recorded(CHIP, 400)
    twin = fit_lif(CHIP.spec, recordings)
    hidden, behind = (known_neurons(recordings, twin, layer) for layer in (0, 1))
    gains = [layer.gain.astype(float) for layer in twin.layers]
    weights, inputs = ask_second(np.random.default_rng(0), CHIP.spec, hidden, behind, gains, OwnInputs(6, 8.0), 4)
    rates = CHIP.spikes(weights, inputs)[0].mean(axis=1)
    assert [matrix.shape for matrix in weights] == list(CHIP.spec.weight_shapes)
    # one of four is always on, and one more in each sample; what is on fires as often as that neuron can
    assert (np.sort(rates, axis=1)[:, -2] > 0).all()
    assert (np.sort(rates, axis=1)[:, :-2] == 0).mean() > 0.9
    assert len(set(rates.argsort(axis=1)[:, -2:].sum(axis=1))) == 4


def test_questions_narrow_the_edges_more_than_random_samples_do():
    recordings, more = recorded(CHIP, 96), recorded(CHIP, 96)
    twin, rng = fit_lif(CHIP.spec, recordings), np.random.default_rng(0)
    for _ in range(16):
        gain = twin.layers[0].gain.astype(float)
        weights = [rng.normal(size=shape) for shape in CHIP.spec.weight_shapes]
        weights[0], inputs = ask_first(rng, CHIP.spec, known_neurons(recordings, twin, 0), gain, OwnInputs(6, 3.0), 6)
        recordings.add(weights, inputs, CHIP.spikes(weights, inputs))
    more = recorded(CHIP, 192)
    asked, shown = (np.median([width_around_edges(kept, twin)]) for kept in (recordings, more))
    assert asked < 0.3 * shown


def width_around_edges(recordings, twin):
    """The stretch in which each edge of the first layer lies that was inside what was seen."""
    widths = []
    for neuron in known_neurons(recordings, twin, 0):
        right = np.searchsorted(neuron.voltages, neuron.edges)
        right = right[(right > 0) & (right < len(neuron.voltages))]
        widths += (neuron.voltages[right] - neuron.voltages[right - 1]).tolist()
    return widths


def test_a_comparator_chip_is_learned_from_few_samples():
    chip = LIFChip((8, 6, 2), "comparator", 6.0, seed=105)
    twin, _ = learn_from_spikes(AskedChip(chip, 600), 0)
    rng, wrong = np.random.default_rng(9), []
    for _ in range(40):
        weights = [rng.normal(size=shape) for shape in chip.spec.weight_shapes]
        inputs = rng.normal(size=(25, 8))
        wrong.append((twin.run(weights, inputs) != chip.run(weights, inputs)).mean())
    assert np.mean(wrong) < 0.005


@pytest.mark.parametrize("kind", ["own", "given"])
def test_weights_give_each_neuron_its_drives_in_each_sample(kind):
    rng = np.random.default_rng(4)
    given = rng.normal(size=(40, 6))
    shown = OwnInputs(6, 2.5) if kind == "own" else GivenInputs(given)
    samples, gain = shown.choose(rng, shown.most), rng.lognormal(sigma=0.3, size=(6, 5))
    drives = 3.0 * rng.normal(size=(len(samples), 5))
    currents = samples @ (shown.weights_for(samples, drives, gain) * gain)
    np.testing.assert_allclose(currents, drives, atol=1e-9)
    if kind == "given":
        assert (samples[:, None] == given).all(axis=2).any(axis=1).all()


def test_no_weight_is_asked_of_a_synapse_that_is_stuck():
    shown, gain = OwnInputs(3, 1.0), np.array([[1.0], [0.0], [2.0]])
    weights = shown.weights_for(np.eye(3), np.array([[4.0], [4.0], [4.0]]), gain)
    assert weights.ravel().tolist() == [4.0, 0.0, 2.0]
    shown = GivenInputs(np.arange(12.0).reshape(4, 3) ** 2)
    assert shown.weights_for(shown.given[:2], np.ones((2, 1)), gain)[1, 0] == 0.0
