"""Chains that are stopped anywhere and resumed are those that never were, for every sampler, bit for bit."""

from __future__ import annotations

import functools

import numpy as np
import pymc as pm
import pytest

from bayes_snn.checkpoint import step_state as resumable
from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import CheckpointError, InputError
from bayes_snn.posterior.build import weight_variables
from bayes_snn.samplers.by_name import STEPS
from bayes_snn.samplers.sitewise import SitewiseMetropolis
from tests.helpers.chains import Chains, same
from tests.helpers.toys import SigmoidChip

pytestmark = pytest.mark.usefixtures("quickly_compiled")

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(12, 3)), np.arange(12) % 3
TUNE, DRAWS = 23, 6  # PyMC's Metropolis tunes every 20 draws


def discrete(chip):
    """Hyperparameters of every kind: continuous, binary, of several classes, and whole numbers."""
    on = pm.Bernoulli("on", 0.5)
    kind = pm.Categorical("kind", [0.2, 0.3, 0.5])
    count = pm.Poisson("count", 3.0)
    scale = pm.HalfNormal("scale", 1.0)
    sigma = 0.5 + scale + 0.1 * on + 0.1 * kind + 0.1 * count
    return [
        pm.Normal(name, 0.0, sigma, dims=dims)
        for name, dims in zip(chip.spec.weight_names, chip.spec.weight_dims, strict=True)
    ]


def tied(chip):
    """Scales of a layer that depend on each other: they are left to NUTS."""
    scale = pm.math.exp(pm.MvNormal("scale", mu=np.zeros(3), cov=0.5 + 0.5 * np.eye(3)))
    return [pm.Normal("w_1", 0, scale[:, None], shape=(3, 4)), pm.Normal("w_2", shape=(4, 3))]


def correlated(chip):
    """Weights that depend on each other: they are moved at once."""
    first = pm.MvNormal("z", mu=np.zeros(12), cov=0.5 + 0.5 * np.eye(12))
    return [first.reshape((3, 4)), pm.Normal("w_2", shape=(4, 3))]


class BlackBoxChip:
    """A LIFChip without its own sweeper."""

    def __init__(self, subsets=False):
        self.chip = LIFChip((3, 4, 3), "comparator", 3.0, n_steps=8)
        self.spec, self.subsets = self.chip.spec, subsets

    def run(self, weights, inputs):
        return self.chip.run(weights, inputs)


# a noisy chip asks for more than a deterministic one: what the Op remembers, and where the noise is
CASES = {
    "sitewise": (lambda: LIFChip((3, 4, 3), "comparator", 3.0), "sitewise", "gaussian"),
    "sitewise hierarchical": (lambda: LIFChip((3, 4, 3), "comparator", 3.0), "sitewise", "hierarchical"),
    "block with NUTS": (lambda: LIFChip((3, 4, 3), "comparator", 3.0, n_steps=8), "block", tied),
    "sitewise black box": (lambda: BlackBoxChip(subsets=True), "sitewise", "gaussian"),
    "sitewise noisy": (lambda: LIFChip((3, 4, 3), "noise", 0.3, n_steps=8), "sitewise", "gaussian"),
    "block discrete": (lambda: LIFChip((3, 4, 3), "comparator", 3.0, n_steps=8), "block", discrete),
    "block noisy": (lambda: LIFChip((3, 4, 3), "noise", 0.3, n_steps=8), "block", "gaussian"),
    "pcn noisy": (lambda: LIFChip((3, 4, 3), "noise", 0.3, n_steps=8), "pcn", "gaussian"),
    "pymc noisy": (lambda: LIFChip((3, 4, 3), "noise", 0.3, n_steps=8), "pymc", "gaussian"),
    "demetropolis noisy": (lambda: LIFChip((3, 4, 3), "noise", 0.3, n_steps=8), "demetropolis", "gaussian"),
    "sitewise on a grid": (lambda: LIFChip((3, 4, 3), "quantisation", 3, n_steps=8), "sitewise", "grid"),
    "sitewise drifting": (lambda: LIFChip((3, 4, 3), "drift", 10.0, n_steps=8), "sitewise", "gaussian"),
    "block drifting": (lambda: LIFChip((3, 4, 3), ["drift", "noise"], [10.0, 0.3], n_steps=8), "block", "gaussian"),
    "pymc drifting": (lambda: LIFChip((3, 4, 3), "drift", 10.0, n_steps=8), "pymc", "gaussian"),
    "sitewise readout": (lambda: LIFChip((3, 4, 3), "comparator", 3.0), "sitewise", "learned_readout"),
    "block readout": (lambda: LIFChip((3, 4, 3), "noise", 0.3, n_steps=8), "block", "learned_readout"),
    "drifting readout": (lambda: LIFChip((3, 4, 3), "drift", 10.0, n_steps=8), "sitewise", "learned_readout"),
    "tempered": (lambda: LIFChip((3, 4, 3), "comparator", 3.0, n_steps=8), "tempered", "gaussian"),
    "tempered, one weight at a time": (lambda: LIFChip((3, 4, 3), "gain", 0.1, n_steps=8), "tempered", "laplace"),
    "tempered hierarchical": (lambda: LIFChip((3, 4, 3), "comparator", 3.0, n_steps=8), "tempered", "hierarchical"),
    "tempered readout": (lambda: LIFChip((3, 4, 3), "comparator", 3.0, n_steps=8), "tempered", "learned_readout"),
    "tempered on a grid": (lambda: LIFChip((3, 4, 3), "quantisation", 3, n_steps=8), "tempered", "grid"),
    "tempered with NUTS": (lambda: LIFChip((3, 4, 3), "comparator", 3.0, n_steps=8), "tempered", tied),
    "tempered, all weights at once": (lambda: LIFChip((3, 4, 3), "gain", 0.1, n_steps=8), "tempered", correlated),
}
NOISE = {  # other choices than the default
    "sitewise noisy": {"noise": "mcwm", "repeats": 2},
    "pcn noisy": {"repeats": 2, "remeasure": 3},
    "sitewise drifting": {"remeasure": 2},
    "drifting readout": {"remeasure": 2},
    "block drifting": {"remeasure": 2},
    "pymc drifting": {"remeasure": 2, "noise": "mcwm"},
}


@functools.cache
def chains_of(case):
    """Compiled once, with the draws of a chain without a checkpoint."""
    make, sampler, weights = CASES[case]
    chains = Chains(make(), X, Y, weights, sampler, TUNE, DRAWS, **NOISE.get(case, {}))
    return chains, chains.run(chains.unstored(), TUNE + DRAWS - 1)


def test_every_sampler_is_here():
    assert {sampler for _, sampler, _ in CASES.values()} == {*STEPS, "tempered"}


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_chain_is_the_one_that_was_not_stopped(case, tmp_path):
    chains, expected = chains_of(case)
    whole = chains.run(chains.stored(tmp_path / "whole", draws=4))
    assert same(whole[:-1], expected)
    # stopped at its start, in the warm-up, on both sides of its end, and among the draws; the last leg replays all
    for i, legs in enumerate([(1, 21), (TUNE - 1, TUNE, TUNE + 1), (TUNE + 4, None)]):
        folder = tmp_path / str(i)
        for n in (*legs, None, None):
            chains.scramble()
            found = chains.run(chains.stored(folder), n)
            assert same(found, whole[:n])


def test_draws_since_the_last_save_are_made_again(tmp_path):
    chains, expected = chains_of("sitewise hierarchical")
    chains.run(chains.stored(tmp_path, draws=5), 17, forget=True)
    step = chains.stored(tmp_path)
    chains.scramble()
    before = chains.model.likelihood.op.presentations
    chains.run(step, 15)
    assert chains.model.likelihood.op.presentations == before  # the chip is not run for what is stored
    assert same(chains.run(chains.stored(tmp_path))[:-1], expected)
    assert chains.model.likelihood.op.presentations > before


@pytest.mark.parametrize("lost", ["sampling", "own"])
def test_without_the_state_the_draws_are_others(lost, tmp_path, monkeypatch):
    chains, expected = chains_of("block noisy")
    restore = resumable.restore_step

    def forgetful(step, state):
        kept = resumable.step_state(step)[lost]
        restore(step, {**state, lost: kept})

    chains.run(chains.stored(tmp_path), 9)
    monkeypatch.setattr("bayes_snn.checkpoint.steps.restore_step", forgetful)
    chains.scramble()
    found = chains.run(chains.stored(tmp_path))
    assert same(found[:9], expected[:9])
    assert not same(found[:-1], expected)


def test_a_noisy_chip_that_does_not_tell_its_noise_keeps_the_answer_of_the_current_weights(tmp_path):
    class Noisy(SigmoidChip):
        """Answers differently each time, whatever is restored."""

        def __init__(self):
            super().__init__()
            self.spec = ChipSpec((1, 2), 12, deterministic=False)
            self.rng = np.random.default_rng(1)

        def run(self, weights, inputs):
            return np.clip(super().run(weights, inputs) + self.rng.integers(-2, 3, (len(inputs), 2)), 0, 12)

    chains = Chains(Noisy(), rng.normal(size=(5, 1)), np.arange(5) % 2, "gaussian", "sitewise", 6, 4)
    first = chains.run(chains.stored(tmp_path), 8)
    sweeper = chains.steps[-1]._sweeper
    kept, weights = sweeper._counts.copy(), [w.copy() for w in sweeper._weights]
    step = chains.stored(tmp_path)
    chains.scramble()
    assert same(chains.run(step, 8), first)
    sweeper = chains.steps[-1]._sweeper
    np.testing.assert_array_equal(sweeper._counts, kept)
    assert all(map(np.array_equal, sweeper._weights, weights))
    assert not np.array_equal(kept, chains.model.likelihood.op.run(weights))


def test_a_step_that_does_not_tell_its_whole_state_is_refused(tmp_path):
    class Grown(SitewiseMetropolis):
        """Has inherited what it tells, but not thought of it."""

    chains, _ = chains_of("sitewise")
    with chains.model:
        grown = Grown(weight_variables(chains.model), model=chains.model)
    chains_with = object.__new__(Chains)
    chains_with.__dict__.update(chains.__dict__)
    chains_with.steps = [grown]
    with pytest.raises(InputError, match=r"Grown does not give its whole state.*without a checkpoint"):
        chains_with.stored(tmp_path)


def test_a_chain_of_another_fit_is_not_gone_on_from(tmp_path):
    chains, _ = chains_of("sitewise")
    chains.run(chains.stored(tmp_path, fit="one"), 3)
    with pytest.raises(CheckpointError, match="belongs to another fit"):
        chains.run(chains.stored(tmp_path, fit="two"), 3)
