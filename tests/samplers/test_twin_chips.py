"""Draws of sampler `twin` on chips of several layers, of few bits and with noise are from the chip's own posterior.

Each twin is wrong. What is drawn from is known: by draws from the prior that are weighted with their likelihood, or by
a sum over all states.
"""

from __future__ import annotations

import itertools

import arviz as az
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr
from scipy.special import beta, expit

from bayes_snn.chips.levels import weight_levels
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.posterior.build import build_model
from bayes_snn.posterior.class_biases import no_biases
from bayes_snn.posterior.noisy import MCWM, PSEUDO_MARGINAL, NoiseChoice
from bayes_snn.samplers.by_name import make_step
from bayes_snn.twins.contract import spec_of_twin
from tests.helpers.unit_scales import in_unit_scales
from tests.helpers.weighted import (
    expected_features,
    feature_scores,
    features,
    log_likelihoods,
    point_at,
    prior_draws,
    worst,
)
from tests.helpers.wrong_twins import Bench
from tests.samplers import test_noisy_grid as noisy_grid

LIMIT = 5.0  # of some hundred z-scores the largest is beyond it once in 10,000 times, if a sampler is right
LEAKY = 4.0  # ms, the time constant of a twin's neurons; that of the chip's is 9.5


def labelled(chip, n, seed):
    """Inputs, and labels that a set of weights makes most likely, two of them flipped."""
    rng = np.random.default_rng(seed)
    inputs = 2.0 * rng.normal(size=(n, chip.spec.layers[0]))
    sets = [[rng.normal(size=shape) for shape in chip.spec.weight_shapes] for _ in range(50)]
    labels = max((chip.run(weights, inputs).argmax(axis=1) for weights in sets), key=lambda y: y.sum() * (n - y.sum()))
    labels[:2] = 1 - labels[:2]
    return inputs, labels


# ---- several layers under a prior with hyperparameters

DEEP = {"layers": (3, 2, 2, 2), "distortion": "comparator", "sigma": 3.0, "seed": 106, "n_steps": 16}


def test_three_layers_and_their_scales():
    chip, twin = in_unit_scales(LIFChip(**DEEP)), in_unit_scales(LIFChip(**DEEP, tau_m=LEAKY))
    inputs, labels = labelled(chip, 10, 3)
    expected = expected_features(chip, inputs, labels, "hierarchical", 100_000)
    bench = Bench(chip, inputs, labels, "hierarchical", n_moves=3, n_replicas=2)
    starts = prior_draws("hierarchical", chip, 2, np.random.default_rng(4))
    starts = [point_at(bench.model, starts, chain) for chain in range(2)]
    for checked in (True, False):
        bench.use(twin, power=0.5 if checked else 1.0, checked=checked)
        draws, told = bench.draws(starts, 60, 400 if checked else 800)
        scores = feature_scores(features(chip, inputs, labels, draws), expected)
        assert (np.mean([each["accept"] for each in told]) < 0.95) == checked
        assert (worst(scores.values()) < LIMIT) == checked, scores


# ---- weights of two bits, all states of which are counted, and how many are not 0 is drawn too

BITS = {"layers": (2, 2, 2), "distortion": ["comparator", "quantisation"], "sigma": [2.0, 2], "seed": 101}
BITS |= {"n_steps": 12, "weight_range": (-1.5, 1.5)}
N_WEIGHTS = 8


def spread_levels(chip):
    """Levels -1.5, 0, 1.5; the share of those that are not 0 is unknown."""
    share = pm.Beta("share", 2, 2)
    p = pt.stack([share / 2, 1 - share, share / 2])
    matrices = []
    for name, dims, levels in zip(chip.spec.weight_names, chip.spec.weight_dims, weight_levels(chip), strict=True):
        level = pm.Categorical(f"level_{name}", p=p, dims=dims)
        matrices.append(pm.Deterministic(name, pt.as_tensor(levels)[level], dims=dims))
    return matrices


def grid_features(chip, inputs, labels, draws):
    used = sum((draws[f"level_{name}"] != 1).sum(axis=(-2, -1)) for name in chip.spec.weight_names)
    alone = {name: draws[name] for name in draws if name != "share_logodds__"}
    return {**features(chip, inputs, labels, alone), "used": used, "used^2": used**2}


def test_levels_and_the_probability_of_each():
    chip, twin = LIFChip(**BITS), LIFChip(**{**BITS, "seed": 102})
    inputs, labels = labelled(chip, 12, 3)
    states = np.array(list(itertools.product(range(3), repeat=N_WEIGHTS)))
    every = {"level_w_1": states[:, :4].reshape(-1, 2, 2), "level_w_2": states[:, 4:].reshape(-1, 2, 2)}
    found = grid_features(chip, inputs, labels, every)
    used = found["used"]
    # the share summed out: Beta(2, 2) before the data
    p = beta(2 + used, 2 + N_WEIGHTS - used) / 2.0**used * np.exp(log_likelihoods(chip, inputs, labels, every))
    p /= p.sum()
    mean_share = (2 + used) / (4 + N_WEIGHTS)
    expected = {name: float(p @ values) for name, values in found.items()}
    expected |= {"share": float(p @ mean_share), "share used": float(p @ (mean_share * used))}
    bench = Bench(chip, inputs, labels, spread_levels, n_moves=4, n_replicas=2)
    rng = np.random.default_rng(4)
    start = {"share_logodds__": np.array(0.0)}
    starts = [start | {name: rng.integers(0, 3, (2, 2)) for name in every} for _ in range(2)]
    for checked in (True, False):
        bench.use(twin, checked=checked)
        draws, told = bench.draws(starts, 60, 500 if checked else 250)
        values = grid_features(chip, inputs, labels, draws)
        share = expit(draws["share_logodds__"])
        values |= {"share": share, "share used": share * values["used"]}
        scores = feature_scores(values, expected)
        assert (np.mean([each["accept"] for each in told]) < 0.95) == checked
        assert (worst(scores.values()) < LIMIT) == checked, scores


# ---- a noisy chip: the estimate of the current point stays until another is accepted


class Mistaken:
    """A twin of the noisy chip of sixteen states that takes them for others, and knows no noise."""

    spec = spec_of_twin(noisy_grid.SixteenStates.spec)
    shifts = np.roll(noisy_grid.SixteenStates.shifts, 1)

    def run(self, weights, inputs):
        counts = np.full((len(inputs), 2), noisy_grid.CENTRE)
        counts[:, 1] += self.shifts[noisy_grid.state_of(weights[-1])]
        return counts


def states_of_noisy_chains(kind, repeats, draws):
    """The z-score of each state's share, errors from the chains' own correlations."""
    chip = noisy_grid.SixteenStates()
    model = build_model(chip, noisy_grid.INPUTS, noisy_grid.LABELS, "grid", readout=no_biases)
    model.likelihood.op.noise = NoiseChoice(kind, repeats)
    step = make_step("twin", model, twin=Mistaken(), n_moves=1, n_replicas=2)
    rngs = np.random.default_rng(6).spawn(2)
    seen = np.array([noisy_grid.chain(model, step, rng, draws) for rng in rngs])
    expected = noisy_grid.posterior(chip)
    shares = xr.DataArray(1.0 * (seen[..., None] == np.arange(16)), dims=("chain", "draw", "state"))
    noisy = 1.0 * (chip.spreads >= 5)[seen]
    z = (shares.mean(("chain", "draw")) - expected) / az.mcse(shares.to_dataset(name="x"))["x"]
    noisy = xr.DataArray(noisy, dims=("chain", "draw"))
    above = (noisy.mean() - expected[chip.spreads >= 5].sum()) / az.mcse(noisy.to_dataset(name="x"))["x"]
    return [*z.values, float(above)]


@pytest.mark.parametrize("repeats", [1, 2])
def test_a_noisy_chip_has_its_posterior_whatever_the_number_of_runs(repeats):
    scores = states_of_noisy_chains(PSEUDO_MARGINAL, repeats, 1500)
    assert worst(scores) < LIMIT, scores


def test_an_estimate_that_does_not_stay_is_found_out():
    """Negative control: a chain that runs the current point again at each check has another limit."""
    scores = states_of_noisy_chains(MCWM, 1, 1500)
    assert worst(scores) > LIMIT, scores
