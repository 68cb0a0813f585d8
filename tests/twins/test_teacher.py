"""Learning LIF neurons by teacher forcing: what was distorted is found, and the twin answers as the chip does."""

import numpy as np
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.twins.recordings import Recordings
from bayes_snn.twins.teacher import fit_lif

LAYERS = (6, 5, 3)


def recorded(chip, n, seed=0, scale=1.0):
    """n presentations under random weights, eight for each programming."""
    rng, kept = np.random.default_rng(seed), Recordings(chip.spec)
    for _ in range(n // 8):
        weights = [scale * rng.normal(size=shape) for shape in chip.spec.weight_shapes]
        inputs = 2.0 * rng.normal(size=(8, chip.spec.layers[0]))
        kept.add(weights, inputs, chip.spikes(weights, inputs))
    return kept


def share_wrong(chip, twin, seed=1):
    """Of the output counts to fresh samples."""
    rng, wrong = np.random.default_rng(seed), []
    for _ in range(40):
        weights = [rng.normal(size=shape) for shape in chip.spec.weight_shapes]
        inputs = 2.0 * rng.normal(size=(25, chip.spec.layers[0]))
        wrong.append((twin.run(weights, inputs) != chip.run(weights, inputs)).mean())
    return float(np.mean(wrong))


@pytest.mark.parametrize(
    ("distortion", "sigma"),
    [(None, 0.0), ("comparator", 3.0), ("threshold", 0.3), ("leak", 0.3), ("silent", 0.4), ("quantisation", 3)],
)
def test_a_twin_answers_as_its_chip(distortion, sigma):
    chip = LIFChip(LAYERS, distortion, sigma, seed=103)
    few, many = (fit_lif(chip.spec, recorded(chip, n)) for n in (64, 2400))
    assert share_wrong(chip, many) <= 0.002 + 0.2 * share_wrong(chip, few)
    assert many.learned.presentations == 2400
    assert many.spec == chip.spec


def test_leaks_are_found_one_for_all_or_one_each():
    same, spread = (LIFChip(LAYERS, "leak", sigma, seed=103) for sigma in (0.0, 0.3))
    twin = fit_lif(same.spec, recorded(same, 800))
    assert np.allclose(np.concatenate([layer.decay for layer in twin.layers]), 0.9, atol=1e-3)
    assert "All neurons" in twin.learned.notes[0]
    twin = fit_lif(spread.spec, recorded(spread, 800))
    assert np.allclose(np.concatenate([layer.decay for layer in twin.layers]), spread.circuit.decay, atol=5e-3)
    assert "of its own" in twin.learned.notes[0]


def test_gains_are_found():
    chip = LIFChip(LAYERS, ["gain", "leak"], 0.3, seed=103)
    twin = fit_lif(chip.spec, recorded(chip, 1600))
    for found, drawn in zip([layer.gain for layer in twin.layers], gains_of(chip), strict=True):
        # only the ratio of gain and threshold shows
        assert np.allclose(found / np.median(found / drawn, axis=0), drawn, rtol=0.03)
    assert share_wrong(chip, twin) < 0.01
    assert "gain of its own" in twin.learned.notes[1]


def test_stuck_synapses_are_found_and_the_others_left_alone():
    chip = LIFChip(LAYERS, "stuck", 0.3, seed=103)
    twin = fit_lif(chip.spec, recorded(chip, 800))
    n_stuck = 0
    for layer, drawn in zip(twin.layers, gains_of(chip), strict=True):
        fired = np.array([len(edges) > 0 for edges in layer.edges])  # of one that never did nothing is known
        assert np.array_equal(layer.gain[:, fired], drawn[:, fired])
        assert fired.sum() >= len(fired) - 1
        n_stuck += int((layer.gain == 0).sum())
    assert n_stuck > 0
    assert twin.learned.notes[1] == f"{n_stuck} of 45 synapses are stuck at zero."


def gains_of(chip):
    """(n_pre, n_post) of each layer, as they were drawn."""
    sizes = [n_pre * n_post for n_pre, n_post in chip.spec.weight_shapes]
    parts = np.split(chip._programming.gain, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, chip.spec.weight_shapes, strict=True)]


def test_silent_neurons_have_no_edges():
    chip = LIFChip(LAYERS, "silent", 0.4, seed=103)
    twin = fit_lif(chip.spec, recorded(chip, 200))
    silent = np.isinf(chip.circuit.edges[:, 0])
    assert silent.any()
    assert [len(e) == 0 for layer in twin.layers for e in layer.edges] == silent.tolist()


def test_spikes_of_another_chip_teach_something_else():
    """Negative control: what makes the twin right is what was recorded."""
    chip, other = (LIFChip(LAYERS, "comparator", 3.0, seed=seed) for seed in (103, 104))
    twin = fit_lif(chip.spec, recorded(other, 800))
    assert share_wrong(chip, twin) > 0.2
    assert share_wrong(other, twin) < 0.02


def test_start_is_a_place_to_start_from():
    chip = LIFChip(LAYERS, "leak", 0.3, seed=103)
    first = fit_lif(chip.spec, recorded(chip, 400))
    assert share_wrong(chip, fit_lif(chip.spec, recorded(chip, 2400), start=first)) <= 0.005


def test_what_a_chip_showed_since_makes_a_twin_better_there():
    chip, rng = LIFChip(LAYERS, "comparator", 6.0, seed=106), np.random.default_rng(4)
    kept = recorded(chip, 96)
    twin, inputs = fit_lif(chip.spec, kept), 2.0 * rng.normal(size=(60, LAYERS[0]))
    centre = [2.0 * rng.normal(size=shape) for shape in chip.spec.weight_shapes]

    def visited():
        return [matrix + 0.2 * rng.normal(size=matrix.shape) for matrix in centre]

    def wrong_there(asked):
        there = [visited() for _ in range(20)]
        return np.mean([(asked.run(w, inputs) != chip.run(w, inputs)).mean() for w in there])

    before = wrong_there(twin)
    for _ in range(10):
        weights = visited()
        kept.add(weights, inputs, chip.spikes(weights, inputs))
    assert wrong_there(fit_lif(chip.spec, kept, start=twin)) < 0.3 * before


def test_later_layers_and_words():
    """Three layers of neurons, and more steps than a word has bits or a table of trains serves."""
    chip = LIFChip((4, 5, 4, 2), "comparator", 2.0, seed=103, n_steps=70)
    assert share_wrong(chip, fit_lif(chip.spec, recorded(chip, 1600))) < 0.02
