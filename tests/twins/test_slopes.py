"""Derivatives of voltages against differences of voltages."""

import numpy as np
import pytest

from bayes_snn.twins.membrane import Neuron
from bayes_snn.twins.slopes import STRAIGHT, Bend, slopes


@pytest.mark.parametrize("bent", [False, True])
@pytest.mark.parametrize("held", [False, True])
def test_slopes_are_differences(bent, held):
    rng = np.random.default_rng(0)
    n_shown = 1 if held else 9
    spikes = rng.random((7, 9)) < 0.2
    u = rng.normal(size=(7, n_shown, 4)).astype(np.float32)
    neuron = Neuron(u, rng.normal(size=(3, 4)), rng.integers(3, size=7), spikes, held)
    gain, decay = rng.uniform(0.5, 2.0, 4), 0.8
    bend = Bend(-4.0, 0.7, rng.normal(size=11)) if bent else STRAIGHT

    def voltages(parameters):
        moved = bend._replace(coefficients=parameters[5:])
        return neuron.points(moved(neuron.currents(parameters[:4])), parameters[4])[0]

    _, seen = neuron.traces(neuron.currents(gain), decay)
    at = np.concatenate([gain, [decay], bend.coefficients])
    found = slopes(neuron, gain, decay, bend, seen)
    for number in range(len(at)):
        step = np.zeros(len(at))
        step[number] = 1e-6
        difference = (voltages(at + step) - voltages(at - step)) / 2e-6
        assert np.allclose(found[:, number], difference, atol=1e-7)


def test_splines_add_to_one():
    currents = np.linspace(-2, 2, 50)
    assert np.allclose(Bend(-4.0, 0.5, np.ones(17))(currents), currents + 1.0)
