"""On a chip of 4-3-3 neurons samplers `twin` and `sitewise`, which knows of no twin, agree in moments and quantiles.

The chip can be taught these samples, so the posterior is far from the prior, and in several modes. Chains start apart,
and errors are those of their means, which no autocorrelation makes too small.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pymc as pm
import pytest
from pymc.step_methods.compound import CompoundStep
from scipy.special import log_softmax

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.inference.fit import make_steps
from bayes_snn.posterior.build import build_model
from bayes_snn.twins.learn import learn_twin
from tests.helpers.chains import run_chains
from tests.helpers.weighted import features, worst
from tests.helpers.wrong_twins import Bench

ARGUMENTS = {"layers": (4, 3, 3), "distortion": "comparator", "sigma": 1.0, "seed": 106, "n_steps": 12}
ARGUMENTS |= {"weight_range": (-8.0, 8.0)}
CHIP = LIFChip(**ARGUMENTS)
NAMES, SHAPES = CHIP.spec.weight_names, CHIP.spec.weight_shapes
SDS = (2.0, 3.0)  # of the weights under the prior: all outputs are within reach
CHAINS = 16
LIMIT = 7.0  # Student's t, 30 degrees of freedom: of 150 values one is beyond it once in 100,000 times
LEAKY = 8.0  # ms, the time constant of a wrong twin; that of the chip is 9.5
RARE = 0.02  # what happens less often has no error that is known
QUANTILES = {"log L": (-25, -20, -17, -15, -13, -11, -9), "|w_1|": (5, 6, 7, 8), "|w_2|": (7, 8, 9, 10, 11)}


def wide(chip):
    """The prior."""
    return [pm.Normal(name, 0, sd, shape=shape) for name, sd, shape in zip(NAMES, SDS, SHAPES, strict=True)]


def prior_draw(rng):
    return {name: sd * rng.normal(size=shape) for name, sd, shape in zip(NAMES, SDS, SHAPES, strict=True)}


def learnable(n):
    """Samples, and classes that some weights of the chip tell apart: of some hundred draws those that are most even."""
    rng = np.random.default_rng(0)
    inputs = 2.0 * rng.normal(size=(n, 4))
    found = [CHIP.run(list(prior_draw(rng).values()), inputs).argmax(axis=1) for _ in range(400)]
    return inputs, max(found, key=lambda labels: np.bincount(labels, minlength=3).min())


INPUTS, LABELS = learnable(20)


@cache
def by_sitewise(seed):
    """Draws (chain, draw, *shape) of each matrix, each chain from a draw of the prior."""
    model = build_model(CHIP, INPUTS, LABELS, wide)
    with model:
        step = CompoundStep(make_steps("sitewise", model))
    starts = [prior_draw(rng) for rng in np.random.default_rng([seed, 1]).spawn(CHAINS)]
    return run_chains(step, starts, 200, 600, seed)[0]


@cache
def bench():
    return Bench(CHIP, INPUTS, LABELS, wide, n_moves=10, n_replicas=2)


def by_twin(twin, checked=True):
    """The same, and the share of checks accepted."""
    bench().use(twin, checked=checked)
    starts = [prior_draw(rng) for rng in np.random.default_rng(3).spawn(CHAINS)]
    draws, told = bench().draws(starts, 30, 80)
    return draws, np.mean([each["accept"] for each in told])


def quantities(draws):
    """What they should agree on, (CHAINS,) means of each: bounded functions, log L, predictions, norms, quantiles."""
    found = features(CHIP, INPUTS, LABELS, draws)
    pairs = zip(*(matrix.reshape(-1, *matrix.shape[2:]) for matrix in draws.values()), strict=True)
    counts = np.array([CHIP.run(list(pair), INPUTS) for pair in pairs])
    p = np.exp(log_softmax(0.5 * counts, axis=-1)).reshape(*found["log L"].shape, len(INPUTS), 3)
    found |= {f"p{i},{k}": p[:, :, i, k] for i in range(len(INPUTS)) for k in range(2)}
    found |= {f"|{name}|": np.sqrt((draws[name] ** 2).sum(axis=(2, 3))) for name in NAMES}
    for name, levels in QUANTILES.items():
        found |= {f"{name} > {level}": 1.0 * (found[name] > level) for level in levels}
    return {name: values.mean(axis=1) for name, values in found.items()}


def scores(one, other):
    """Difference of the means over its standard error, by quantity."""
    a, b, found = quantities(one), quantities(other), {}
    for name in a:
        both = np.concatenate([a[name], b[name]])
        if min(both.mean(), 1.0 - both.mean()) < RARE and both.min() >= 0 and both.max() <= 1:
            continue
        error = np.sqrt((a[name].var(ddof=1) + b[name].var(ddof=1)) / CHAINS)
        found[name] = float((a[name].mean() - b[name].mean()) / error)
    return found


@pytest.mark.parametrize("kind", ["learned", "leaky"])
def test_they_agree(kind):
    twin = learn_twin(CHIP) if kind == "learned" else LIFChip(**ARGUMENTS, tau_m=LEAKY)
    draws, accepted = by_twin(twin)
    assert (accepted > 0.8) == (kind == "learned")
    found = scores(draws, by_sitewise(1))
    assert len(found) > 100
    assert worst(found.values()) < LIMIT, found


def test_a_twin_that_is_not_checked_is_found_out():
    """Negative control."""
    draws, _ = by_twin(LIFChip(**ARGUMENTS, tau_m=LEAKY), checked=False)
    assert worst(scores(draws, by_sitewise(1)).values()) > LIMIT
