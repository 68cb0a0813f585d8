"""Every sampler against a posterior known by quadrature, and a wrong one that must be found out."""

from __future__ import annotations

import arviz as az
import numpy as np
import pymc as pm
import pytest
from scipy import stats

from bayes_snn.errors import InputError
from bayes_snn.fit import _other_steps, prior_starts
from bayes_snn.model import available_models, build_model
from bayes_snn.steps import SAMPLERS, BlockMetropolis, make_step
from tests.toys import BOUNDED, INPUTS, LABELS, SigmoidChip, independent, quadrature, weighted_prior_draws, z_scores

# of some ten z-scores the largest is above 4.5 once in 15,000 times when a sampler is right
LIMIT = 4.5
DRAWS = {"sitewise": 3000, "pymc": 4000, "block": 250}


@pytest.fixture(scope="module")
def truth():
    return quadrature()


def sample(model, step, draws, seed, starts=None):
    with model:
        return pm.sample(
            draws=draws,
            tune=100,
            chains=4,
            cores=1,
            step=step,
            initvals=starts,
            random_seed=seed,
            progressbar=False,
            quiet=True,
            compute_convergence_checks=False,
        )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_recovers_a_posterior_known_by_quadrature(sampler, truth):
    model = build_model(SigmoidChip(), INPUTS, LABELS)
    trace = sample(model, make_step(sampler, model), DRAWS[sampler], 1)
    scores = z_scores(trace.posterior["w_1"].values[:, :, 0], truth)
    assert max(map(abs, scores.values())) < LIMIT, scores
    assert float(az.ess(trace.posterior.dataset)["w_1"].min()) > 400


def test_quadrature_and_weighted_draws_agree():
    exact = quadrature(independent(stats.laplace(scale=0.5**0.5).logpdf))
    drawn = weighted_prior_draws(PRIORS["laplace"])
    assert drawn["a < b"] == pytest.approx(exact["a < b"], abs=0.002)


def half_cauchy(rng, *shape):
    return np.abs(rng.standard_cauchy(shape))


# each prior of models/, drawn in NumPy
PRIORS = {
    "gaussian": lambda rng, n: rng.normal(size=(n, 2)),
    "laplace": lambda rng, n: rng.laplace(scale=0.5**0.5, size=(n, 2)),
    "hierarchical": lambda rng, n: np.abs(rng.normal(size=(n, 1))) * rng.normal(size=(n, 2)),
    "horseshoe": lambda rng, n: half_cauchy(rng, n, 1) * half_cauchy(rng, n, 2) * rng.normal(size=(n, 2)),
    "sparse": lambda rng, n: np.where(rng.random((n, 2)) < 0.7, 0.05, 1.5) * rng.normal(size=(n, 2)),
}


def test_every_model_is_held_to_its_posterior():
    assert set(PRIORS) == set(available_models())


@pytest.mark.parametrize("prior", PRIORS)
def test_sitewise_recovers_the_posterior_of_every_model(prior):
    expected = weighted_prior_draws(PRIORS[prior])
    model = build_model(SigmoidChip(), INPUTS, LABELS, prior)
    with model:
        others = _other_steps(model, step := make_step("sitewise", model))
    # from prior draws, as fit() starts: at w = 0, where PyMC would start, a learned scale has its pole
    starts = prior_starts(model, 4, np.random.SeedSequence(3))
    trace = sample(model, [*others, step], 8000, 2, starts)
    scores = z_scores(trace.posterior["w_1"].values[:, :, 0], expected, BOUNDED)
    assert max(map(abs, scores.values())) < LIMIT, scores


class TemperedBlock(BlockMetropolis):
    """A wrong sampler: it flattens the posterior."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        prior, likelihood = self.log_prior, self.log_likelihood
        self.log_prior, self.log_likelihood = lambda q: 0.7 * prior(q), lambda q: 0.7 * likelihood(q)


def test_a_wrong_sampler_is_found_out(truth):
    model = build_model(SigmoidChip(), INPUTS, LABELS)
    with model:
        step = TemperedBlock(model.value_vars)
    trace = sample(model, step, DRAWS["block"], 1)
    scores = z_scores(trace.posterior["w_1"].values[:, :, 0], truth)
    assert max(map(abs, scores.values())) > LIMIT, scores


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_stats_and_cost(sampler):
    chip = SigmoidChip()
    model = build_model(chip, INPUTS, LABELS)
    trace = sample(model, make_step(sampler, model), 50, 3)
    stats = trace.sample_stats
    assert 0.1 < float(stats["accept"].mean()) <= 1
    counted = stats["presentations"].values
    assert (np.diff(counted, axis=1) >= 0).all()
    # a chip run for each proposal, and one for the starting point; PyMC's own evaluations come on top
    if sampler == "sitewise":  # proposals that cannot win are not shown
        assert (counted[:, -1] <= (150 * 2 + 1) * len(INPUTS)).all()
        saved = trace.sample_stats["saved"].values[:, -1]
        assert (abs((counted[:, -1] + saved) / len(INPUTS) - 150 * 2) <= 1).all()
    else:
        proposals = 150 * (2 if sampler == "pymc" else 100)
        assert (abs(counted[:, -1] / len(INPUTS) - proposals) <= 1).all()
    assert chip.runs >= counted[:, -1].sum() / len(INPUTS)


def test_block_freezes_after_the_warm_up():
    model = build_model(SigmoidChip(), INPUTS, LABELS)
    step = make_step("block", model)
    point = model.initial_point()
    sizes = [step.step_sizes()]
    for _ in range(5):
        point, _ = step.step(point)
    sizes.append(step.step_sizes())
    step.stop_tuning()
    for _ in range(5):
        point, _ = step.step(point)
    sizes.append(step.step_sizes())
    assert (sizes[0] != sizes[1]).any()
    np.testing.assert_array_equal(sizes[1], sizes[2])


def test_block_tunes_towards_its_acceptance_rate():
    model = build_model(SigmoidChip(), INPUTS, LABELS)
    trace = sample(model, make_step("block", model), 50, 5)
    assert float(trace.sample_stats["accept"].mean()) == pytest.approx(0.234, abs=0.06)


def test_block_goes_on_from_its_sampling_state():
    model = build_model(SigmoidChip(), INPUTS, LABELS)
    first, second = make_step("block", model), make_step("block", model)
    point = model.initial_point()
    for _ in range(3):
        point, _ = first.step(point)
    second.sampling_state = first.sampling_state
    for _ in range(3):
        a, _ = first.step(point)
        b, _ = second.step(point)
        np.testing.assert_array_equal(a["w_1"], b["w_1"])
        point = a


def test_unknown_sampler():
    with pytest.raises(InputError, match="did you mean 'block'"):
        make_step("blok", build_model(SigmoidChip(), INPUTS, LABELS))
