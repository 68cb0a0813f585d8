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


def test_later_layers_and_words():
    """Three layers of neurons, and more steps than a word has bits or a table of trains serves."""
    chip = LIFChip((4, 5, 4, 2), "comparator", 2.0, seed=103, n_steps=70)
    assert share_wrong(chip, fit_lif(chip.spec, recorded(chip, 1600))) < 0.02
