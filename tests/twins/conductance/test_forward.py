"""The kernels of the family `conductance`: against a plain loop, and sweeps against full runs."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_snn.chips.contract import ChipSpec, as_matrices
from bayes_snn.errors import InputError
from bayes_snn.likelihood import PLAIN, Readout
from bayes_snn.posterior.op import ChipCounts
from bayes_snn.samplers.shared.sweepers import BlackBoxSweeper
from bayes_snn.twins.conductance.learning import arriving
from bayes_snn.twins.conductance.twin import ConductanceTwin
from tests.helpers import conductance_reference as reference


def made(seed, layers=(5, 6, 2), n_steps=24, **spec):
    rng = np.random.default_rng(seed)
    parameters = [reference.random_parameters(rng, k == 0, n) for k, n in enumerate(layers[1:])]
    return ConductanceTwin(ChipSpec(layers, n_steps, **spec), parameters), rng


def weights_of(rng, twin):
    return [2.0 * rng.normal(size=shape) + 1.0 for shape in twin.spec.weight_shapes]


@pytest.mark.parametrize("layers", [(5, 3), (5, 6, 2), (5, 6, 4, 3)])
def test_kernels_and_the_plain_loop_agree(layers):
    twin, rng = made(0, layers)
    weights, inputs = weights_of(rng, twin), 1.5 * rng.normal(size=(70, 5))
    shown = twin.spikes(weights, inputs)
    np.testing.assert_array_equal(twin.run(weights, inputs), shown[-1].sum(axis=1))
    held, wrong, n_spikes = [np.clip(w, -4, 4) for w in weights], 0, 0
    for sample in range(0, 70, 3):
        arrivals = None
        for number, (matrix, p) in enumerate(zip(held, twin.parameters, strict=True)):
            spikes, times = [], []
            for k in range(matrix.shape[1]):
                drives = (None, None) if number == 0 else [np.maximum(s * matrix[:, k], 0) @ arrivals for s in (1, -1)]
                x = inputs[sample] @ matrix[:, k] if number == 0 else None
                fired, at = reference.run(p[k], x, *drives, twin.spec.n_steps)
                spikes.append(fired)
                times.append(at)
            arrivals = arriving(np.array(spikes)[:, None], np.array(times)[:, None])[:, 0]
            wrong += (shown[number][sample] != np.array(spikes).T).sum()
            n_spikes += np.sum(spikes)
    assert n_spikes > 200
    assert wrong <= 0.01 * n_spikes  # rounding decides where v is all but at theta, and what comes behind such a spike


@pytest.mark.parametrize("layers", [(5, 3), (5, 6, 2), (5, 6, 4, 3)])
@pytest.mark.parametrize("bits", [None, 4])
def test_sweeps_decide_as_full_runs_do(layers, bits):
    twin, rng = made(1, layers, weight_bits=bits)
    inputs, labels = 1.5 * rng.normal(size=(150, 5)), rng.integers(0, layers[-1], 150)
    fast, slow = twin.site_sweeper(inputs, labels), BlackBoxSweeper(ChipCounts(twin, inputs), labels)
    q = np.concatenate([w.ravel() for w in weights_of(rng, twin)])
    for readout in (PLAIN, Readout(0.3, np.linspace(-1, 1, layers[-1]))):
        matrices = as_matrices(q, twin.spec.weight_shapes)
        assert fast.start(matrices, readout) == pytest.approx(slow.start(matrices, readout), rel=1e-9)
        for _ in range(3):
            np.testing.assert_array_equal(fast.counts(), slow.counts())
            proposals = q + rng.normal(size=len(q))
            bounds, order = -rng.exponential(size=len(q)), rng.permutation(len(q))
            done, expected = fast.sweep(proposals, bounds, order), slow.sweep(proposals, bounds, order)
            np.testing.assert_array_equal(done.accepted, expected.accepted)
            assert done.log_likelihood == pytest.approx(expected.log_likelihood, rel=1e-9)
            assert 0 < done.accepted.sum() < len(q)
            q = np.where(done.accepted, proposals, q)


def test_nothing_changes_when_proposals_are_lost_early():
    twin, rng = made(2)
    inputs, labels = rng.normal(size=(150, 5)), rng.integers(0, 2, 150)
    sweeper, weights = twin.site_sweeper(inputs, labels), weights_of(rng, twin)
    before = sweeper.start(weights, PLAIN)
    q = np.concatenate([w.ravel() for w in weights])
    n = len(q)
    lost = sweeper.sweep(q + 1.0, np.full(n, 1e-9 - before), np.arange(n))
    assert not lost.accepted.any()
    assert lost.presentations == 0  # log L <= 0 cannot pass such a bound
    assert sweeper.sweep(q + 1.0, np.full(n, -1e-3 - before), np.arange(n)).log_likelihood == before
    assert sweeper.start(weights, PLAIN) == before


def test_samples_and_weights_are_the_chips():
    twin, rng = made(3, weight_range=(-1.0, 1.0))
    weights, inputs = weights_of(rng, twin), 3.0 * rng.normal(size=(130, 5))
    counts = twin.run(weights, inputs)
    np.testing.assert_array_equal(twin.run(weights, inputs[100:]), counts[100:])
    np.testing.assert_array_equal(twin.run([np.clip(w, -1, 1) for w in weights], inputs), counts)
    with pytest.raises(InputError, match="shapes"):
        twin.run(weights[:1], inputs)
    with pytest.raises(InputError, match="NaN"):
        twin.run([np.full_like(w, np.nan) for w in weights], inputs)
    with pytest.raises(InputError, match="inputs have shape"):
        twin.run(weights, inputs[:, :3])
