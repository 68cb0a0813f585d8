"""Sampler `twin` and sitewise agree on a chip of 4-3-3 neurons, as far as their Monte Carlo errors tell.

Compared are means, standard deviations and quantiles of what is identified: log L, predictions, and how large the
weights of a layer are. Weights by themselves have modes that are copies of each other.
"""

from __future__ import annotations

import arviz as az
import numpy as np
import pytest
import xarray as xr
from scipy import stats
from sklearn.datasets import load_iris

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.likelihood import PLAIN, class_probabilities
from bayes_snn.twins.learn import learn_twin
from tests.helpers.wrong_twins import Bench

CHIP = {"layers": (4, 3, 3), "distortion": "comparator", "sigma": 3.0, "seed": 100}
FALSE_ALARM = 1e-4  # over all comparisons together
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
CHAINS, SWEEPS, DRAWS = 4, 8_000, 600


def iris():
    """30 samples, and ten others."""
    data = load_iris()
    order = np.random.default_rng(0).permutation(len(data.target))[:40]
    inputs = ((data.data - data.data.mean(axis=0)) / data.data.std(axis=0))[order]
    return inputs[:30], data.target[order[:30]], inputs[30:]


INPUTS, LABELS, NEW = iris()


def quantities(draws):
    """(chain, draw) of each name, of weights (chain, draw, n_pre, n_post)."""
    chip = LIFChip(**CHIP)
    shown = np.concatenate([INPUTS, NEW])
    first, second = draws["w_1"], draws["w_2"]
    found = np.empty((*first.shape[:2], 3 + len(NEW)))
    for place in np.ndindex(first.shape[:2]):
        counts = chip.run([first[place], second[place]], shown)
        found[place][0] = PLAIN.log_p([counts[: len(INPUTS)]], LABELS).sum()
        found[place][1:3] = np.linalg.norm(first[place]), np.linalg.norm(second[place])
        found[place][3:] = class_probabilities(counts[len(INPUTS) :])[:, 0]
    names = ["log L", "norm 1", "norm 2", *(f"p {i}" for i in range(len(NEW)))]
    return xr.Dataset({name: (("chain", "draw"), found[..., i]) for i, name in enumerate(names)})


def summaries(data):
    """Estimates and their standard errors: name of summary -> (estimate, error), each a Dataset."""
    found = {"mean": (data.mean(), az.mcse(data)), "sd": (data.std(ddof=1), az.mcse(data, method="sd"))}
    for q in QUANTILES:
        found[f"{q:.0%}"] = (data.quantile(q), az.mcse(data, method="quantile", prob=q))
    return found


def z_scores(first, second):
    """Of the differences of all summaries that vary."""
    scores = {}
    for (what, (a, a_error)), (b, b_error) in zip(first.items(), second.values(), strict=True):
        for name in a.data_vars:
            error = float(np.hypot(a_error[name], b_error[name]))
            if error > 0:  # a quantile that is the same count in all draws has none
                scores[f"{what} of {name}"] = float(a[name] - b[name]) / error
    return scores


def sitewise(bench, power=1.0):
    """Draws by single-weight sweeps on the chip itself."""
    step = bench.sitewise()
    found = []
    for rng in np.random.default_rng(7).spawn(CHAINS):
        step.held_powers = None
        step.setup_chain(rng, 500, SWEEPS)
        step.tune = True
        step.reset_tuning()
        point = {name: rng.normal(size=value.shape) for name, value in bench.model.initial_point().items()}
        kept = []
        for sweep in range(500 + SWEEPS):
            if sweep == 500:
                step.stop_tuning()
                step.held_powers = (power, 1.0)
            point, _ = step.step(point)
            if sweep >= 600 and sweep % 5 == 0:
                kept.append(point)
        found.append(kept)
    draws = {name: np.array([[point[name] for point in chain] for chain in found]) for name in point}
    return summaries(quantities(draws))


@pytest.fixture(scope="module")
def bench():
    return Bench(LIFChip(**CHIP), INPUTS, LABELS, n_moves=8, n_replicas=4)


@pytest.fixture(scope="module")
def reference(bench):
    return sitewise(bench)


def limit(scores):
    """Of the largest |z|, by Bonferroni's rule."""
    return stats.norm.isf(FALSE_ALARM / (2 * len(scores)))


@pytest.fixture(scope="module")
def drawn(bench):
    """Summaries of draws on a twin, learned or with another leak."""
    found = {}
    for name, twin in {
        "learned": learn_twin(bench.chip, budget=3000, seed=1),
        "leaky": LIFChip(**CHIP, tau_m=9.0),
    }.items():
        bench.use(twin, power=1.0 if name == "learned" else 0.5)
        starts = [
            {n: rng.normal(size=value.shape) for n, value in bench.model.initial_point().items()}
            for rng in np.random.default_rng(8).spawn(CHAINS)
        ]
        draws, told = bench.draws(starts, 150, DRAWS)
        assert np.mean([each["accept"] for each in told]) > 0.05
        found[name] = summaries(quantities(draws))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("twin", ["learned", "leaky"])
def test_both_samplers_have_one_posterior(twin, drawn, reference):
    scores = z_scores(drawn[twin], reference)
    assert max(map(abs, scores.values())) < limit(scores), scores


@pytest.mark.slow
def test_a_flatter_likelihood_is_found_out(bench, drawn):
    """Negative control: the likelihood at the power 0.9."""
    scores = z_scores(drawn["learned"], sitewise(bench, power=0.9))
    assert max(map(abs, scores.values())) > limit(scores), scores
