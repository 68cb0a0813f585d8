"""Noise and a grid together: a proposal that was rejected comes back, and must not bring its old estimate along.

Chips of a few weight states whose likelihood is known, so that the posterior is a sum over all states. Every sampler is
held to it chain by chain, since estimates that are kept for too long make each chain converge to something of its own.
"""

from __future__ import annotations

import arviz as az
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr
from scipy.special import expit

from bayes_snn.chip import ChipSpec
from bayes_snn.likelihood import BETA
from bayes_snn.model import build_model
from bayes_snn.noisy import NoiseChoice
from bayes_snn.op import ChipLogLikelihood
from bayes_snn.steps import make_step

LIMIT = 4.5  # of z-scores, as in test_steps.py
CENTRE, N_SAMPLES, CHAINS = 8, 3, 4
INPUTS, LABELS = np.ones((N_SAMPLES, 1)), np.ones(N_SAMPLES, int)
SHIFTS, SPREADS = np.array([0, 1, -1, 0]), np.array([1, 3, 3, 2])  # of the four states
DRAWS = {"sitewise": 2500, "pymc": 2500, "block": 2500, "pcn": 2500, "demetropolis": 5000}
CONTINUOUS = ("block", "pcn", "demetropolis")  # which move weights that are rounded in the model


class FourStates:
    """Two weights of two levels. Each sample tosses a coin: the second output spikes CENTRE + s + k or - k times."""

    spec = ChipSpec((1, 2), 2 * CENTRE, (-1.0, 1.0), deterministic=False)
    weight_levels = (np.array([-1.0, 1.0]),)
    shifts, spreads = SHIFTS, SPREADS

    def __init__(self):
        self.rng, self.runs = np.random.default_rng(0), 0

    def restart_noise(self, seed):
        self.rng = np.random.default_rng(seed)

    def run(self, weights, inputs):
        self.runs += 1
        state = state_of(weights[-1])
        counts = np.full((len(inputs), 2), CENTRE)
        counts[:, 1] += self.shifts[state] + self.spreads[state] * (2 * self.rng.integers(0, 2, len(inputs)) - 1)
        return counts


class SixteenStates(FourStates):
    """Two hidden neurons with two weights each behind them, which `sitewise` shifts together."""

    spec = ChipSpec((1, 2, 2), 2 * CENTRE, (-1.0, 1.0), deterministic=False)
    weight_levels = (np.array([0.0]), np.array([-1.0, 1.0]))
    shifts, spreads = np.resize(SHIFTS, 16), np.resize([1, 4, 2, 3, 3], 16)


def state_of(weights):
    """The number of the state of weights -1 and 1, (..., n_pre, n_post) -> (...)."""
    bits = np.asarray(weights) > 0
    bits = bits.reshape(*bits.shape[:-2], -1)
    return bits @ 2 ** np.arange(bits.shape[-1])


def posterior(chip, labels=LABELS):
    """Probability of each state; all are alike before the data."""
    gap = np.where(np.asarray(labels) == 1, 1, -1)[:, None]
    each = 0.5 * sum(expit(BETA * gap * (chip.shifts + sign * chip.spreads)) for sign in (1, -1))
    likelihood = each.prod(axis=0)
    return likelihood / likelihood.sum()


def rounded(chip):
    """Normal variables, of which the model makes weights -1 and 1."""
    z = pm.Normal("z", shape=chip.spec.weight_shapes[0])
    return [pt.where(z > 0, 1.0, -1.0)]


def ready(sampler, kind=None):
    chip = SixteenStates() if sampler == "sitewise" else FourStates()
    model = build_model(chip, INPUTS, LABELS, rounded if sampler in (*CONTINUOUS, "smc") else "grid")
    model.chip_op.noise = NoiseChoice() if kind is None else NoiseChoice(kind)
    if sampler == "smc":
        return model, None
    step = make_step(sampler, model)
    if sampler in ("block", "pcn"):
        step.proposals = 2
    if sampler == "pcn":
        step.log_beta = np.log(0.8)
    return model, step


def start(model, rng):
    """Of a random state; the first layer of SixteenStates has one level alone."""
    point = {name: rng.integers(0, 2, value.shape) for name, value in model.initial_point().items()}
    if "level_w_2" in point:
        point["level_w_1"][:] = 0
    return {name: value - 0.5 if name == "z" else value for name, value in point.items()}


def chain(model, step, rng, n_draws, burn_in=100):
    """The states of a chain, (n_draws,)."""
    step.setup_chain(rng, 0, n_draws)
    step.stop_tuning()
    point, states = start(model, rng), []
    for _ in range(burn_in + n_draws):
        point, _ = step.step(point)
        weights = point["z"] if "z" in point else point[f"level_w_{len(model.chip_op.chip.spec.layers) - 1}"]
        states.append(state_of(weights))
    return np.array(states[burn_in:])


def worst(sampler, seed=0):
    """The largest |z| of the share of a state, over states and chains, errors from each chain's own correlations."""
    model, step = ready(sampler)
    expected, found = posterior(model.chip_op.chip), []
    for rng in np.random.default_rng([seed, 3]).spawn(CHAINS):
        states = chain(model, step, rng, DRAWS[sampler])
        seen = xr.DataArray(states[None, :, None] == np.arange(len(expected)), dims=("chain", "draw", "state"))
        seen = seen.astype(float)
        enough = expected * len(states) > 100  # rarer states have no normal errors
        error = az.mcse(seen.to_dataset(name="x"))["x"].values
        found.append(np.abs(seen.mean(("chain", "draw")).values - expected)[enough] / np.maximum(error[enough], 1e-9))
    return float(np.max(found))


@pytest.mark.parametrize("sampler", DRAWS)
def test_every_chain_has_the_posterior_that_is_counted_out(sampler):
    assert worst(sampler) < LIMIT


@pytest.mark.parametrize("sampler", [name for name in DRAWS if name != "sitewise"])
def test_an_op_that_remembers_rejected_proposals_is_found_out(sampler, monkeypatch):
    monkeypatch.setattr(ChipLogLikelihood, "keep", lambda self, weights, labels: None)
    assert worst(sampler) > LIMIT
