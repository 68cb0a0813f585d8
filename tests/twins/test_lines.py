"""Gains guessed from presentations in which one synapse alone was driven."""

import numpy as np
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.twins.learn import learn_twin
from bayes_snn.twins.lines import gains_from_lines
from bayes_snn.twins.membrane import neurons_of
from bayes_snn.twins.recordings import Recordings

LAYERS = (6, 5, 3)


def asked_alone(chip, n, seed=0):
    """n presentations of one input each, with weights of many sizes."""
    rng, kept = np.random.default_rng(seed), Recordings(chip.spec)
    for _ in range(n // 6):
        weights = [np.exp(rng.normal(-0.5, 1.0, size=shape)) for shape in chip.spec.weight_shapes]
        inputs = 5.0 * np.eye(6)
        kept.add(weights, inputs, chip.spikes(weights, inputs))
    return kept


def drawn(chip):
    """(n_hidden, n_in) gains of the first layer."""
    n_pre, n_post = chip.spec.weight_shapes[0]
    return chip._programming.gain[: n_pre * n_post].reshape(n_pre, n_post).T


@pytest.mark.parametrize(("distortion", "sigma"), [("gain", 0.5), ("stuck", 0.5), (["gain", "leak"], 0.4)])
def test_gains_are_guessed(distortion, sigma):
    chip = LIFChip(LAYERS, distortion, sigma, seed=103)
    for n, (neuron, true) in enumerate(zip(neurons_of(asked_alone(chip, 240), 0), drawn(chip), strict=True)):
        gains, decay = gains_from_lines(neuron)
        np.testing.assert_array_equal(gains == 0, true == 0)
        alive = true > 0
        assert np.abs(np.log(gains[alive] / true[alive])).max() < 0.35
        assert abs(decay - chip.circuit.decay[n]) < 0.3


def test_nothing_is_guessed_where_synapses_were_not_driven_alone():
    chip = LIFChip(LAYERS, "gain", 0.5, seed=103)
    rng, kept = np.random.default_rng(0), Recordings(chip.spec)
    weights = [rng.normal(size=shape) for shape in chip.spec.weight_shapes]
    inputs = rng.normal(size=(100, 6))
    kept.add(weights, inputs, chip.spikes(weights, inputs))
    assert gains_from_lines(neurons_of(kept, 0)[0]) is None
    assert gains_from_lines(neurons_of(asked_alone(chip, 240), 1)[0]) is None  # spikes, not constant drives


@pytest.mark.parametrize(("distortion", "sigma"), [("stuck", 0.6), ("gain", 0.65)])
def test_a_chip_of_many_synapses_is_learned_with_them(distortion, sigma):
    chip = LIFChip((31, 8, 2), distortion, sigma, seed=103)
    twin = learn_twin(chip, 1300)
    rng, wrong = np.random.default_rng(1), []
    for _ in range(40):
        weights = [rng.normal(size=shape) for shape in chip.spec.weight_shapes]
        inputs = rng.normal(size=(25, 31))
        wrong.append((twin.run(weights, inputs) != chip.run(weights, inputs)).mean())
    assert np.mean(wrong) < 0.1
