"""Teacher forcing of the family `conductance`: its derivatives, and what it recovers of neurons that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.twins.conductance.learning import fit_conductance
from bayes_snn.twins.conductance.teacher import teach
from bayes_snn.twins.conductance.twin import ConductanceTwin
from bayes_snn.twins.from_spikes import random_weights
from bayes_snn.twins.recordings import Recordings
from tests.helpers import conductance_reference as reference

LAYERS = (8, 6, 2)


def heard(rng, p, first, n=30, n_steps=20):
    """What a neuron of these parameters receives and does."""
    x = 2.0 + 2.0 * rng.normal(size=n)
    drives = [np.cumsum(rng.random((n, n_steps)) < 0.1, axis=1) % 3 * rng.random((n, 1)) for _ in range(2)]
    drives = [2.0 * drives[0], 0.5 * drives[1]]
    spikes = [reference.run(p, x[s] if first else None, drives[0][s], drives[1][s], n_steps)[0] for s in range(n)]
    return first, x, *drives, np.array(spikes)


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_derivatives_are_those_of_the_loss(seed, first):
    """The loss bends where v crosses a limit, so one derivative in fifty may be off; a wrong formula spoils all."""
    rng = np.random.default_rng(seed)
    arguments = heard(rng, reference.random_parameters(rng, first, 1)[0], first)
    p = reference.random_parameters(rng, first, 1)[0]
    times = np.empty(arguments[-1].shape)
    loss, gradient, hessian = teach(p, *arguments, 8.0, True, times)
    assert loss == teach(p, *arguments, 8.0, False, times)[0]
    found = np.empty(len(p))
    for k in range(len(p)):
        step = np.zeros(len(p))
        step[k] = 1e-6
        up, down = (teach(p + sign * step, *arguments, 8.0, False, times)[0] for sign in (1.0, -1.0))
        found[k] = (up - down) / 2e-6
    close = np.isclose(found, gradient, rtol=1e-3, atol=1e-3 * max(1.0, loss))
    assert close.mean() >= 0.9
    assert np.allclose(hessian, hessian.T)
    assert np.linalg.eigvalsh(hessian).min() >= -1e-6 * np.trace(hessian)


@pytest.mark.parametrize("first", [True, False])
def test_the_true_parameters_explain_every_spike(first):
    rng = np.random.default_rng(0)
    p = reference.random_parameters(rng, first, 1)[0]
    arguments = heard(rng, p, first, 200)
    times = np.empty(arguments[-1].shape)
    n_spikes = arguments[-1].sum()
    assert n_spikes > 100
    loss = teach(p, *arguments, 1e4, False, times)[0]
    assert loss < 0.02 * n_spikes
    other = p + 0.02 * rng.normal(size=len(p))
    assert teach(other, *arguments, 1e4, False, times)[0] > 100 * max(loss, 1.0)


def chip(seed):
    rng = np.random.default_rng(seed)
    parameters = [reference.random_parameters(rng, k == 0, LAYERS[k + 1]) for k in (0, 1)]
    return ConductanceTwin(ChipSpec(LAYERS, 32), parameters)


def recorded(known, n, seed=0):
    rng, recordings = np.random.default_rng(seed), Recordings(known.spec)
    while len(recordings) < n:
        weights, inputs = random_weights(rng, known.spec.weight_shapes), 2.0 * rng.normal(size=(8, LAYERS[0]))
        recordings.add(weights, inputs, known.spikes(weights, inputs))
    return recordings


def share_wrong(known, twin, seed=99):
    rng, wrong, active = np.random.default_rng(seed), [], []
    for _ in range(60):
        weights, inputs = random_weights(rng, known.spec.weight_shapes), 2.0 * rng.normal(size=(8, LAYERS[0]))
        counts = known.run(weights, inputs)
        wrong.append((twin.run(weights, inputs) != counts).mean())
        active.append((counts > 0).mean())
    assert np.mean(active) > 0.15
    return float(np.mean(wrong))


def test_neurons_of_the_family_are_learned_from_their_spikes():
    known = chip(0)
    few = fit_conductance(known.spec, recorded(known, 400))
    many = fit_conductance(known.spec, recorded(known, 1200), few)
    nothing = ConductanceTwin(known.spec, [layer + 0.1 for layer in known.parameters])
    assert share_wrong(known, known) == 0.0
    assert share_wrong(known, nothing) > 0.1
    assert share_wrong(known, few) < 0.06
    assert share_wrong(known, many) < 0.02
    assert "rests after a spike" in many.learned.notes[0]
