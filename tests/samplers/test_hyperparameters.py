"""Hyperparameters given the weights, against quadrature; whole fits of the shipped priors, without a divergence."""

from __future__ import annotations

import arviz as az
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy import stats

from bayes_snn import fit
from bayes_snn.inference.fit import _other_steps
from bayes_snn.posterior.build import build_model
from bayes_snn.posterior.class_biases import no_biases
from bayes_snn.samplers.by_name import make_step
from bayes_snn.samplers.hyperparameters import HyperparameterSlice, independent_terms
from tests.helpers.unit_scales import unit_spec

LIMIT = 4.5  # of some ten z-scores the largest is above it once in 15,000 times when a sampler is right
LOG_SCALES = np.linspace(-30.0, 15.0, 9001)  # a grid for quadrature, of the logarithm of a scale


class ConstantChip:
    """A chip that answers the same whatever its weights: the posterior is the prior."""

    copyable = True

    def __init__(self, layers):
        self.spec = unit_spec(layers, 8)
        self.runs = 0

    def run(self, weights, inputs):
        self.runs += 1
        return np.full((len(inputs), self.spec.layers[-1]), 3)


def model_of(prior, layers):
    return build_model(*(ConstantChip(layers), np.zeros((2, layers[0])), np.array([0, 1]), prior), readout=no_biases)


def chain_given(model, weights, draws, rng, step_class=HyperparameterSlice):
    """Draws of all hyperparameters, on the scale that they are sampled on, while the weights stand still."""
    values = [value for value in model.value_vars if value.name not in weights]
    with model:
        step = step_class(values, model=model, rng=rng)
    point = {**model.initial_point(), **weights}
    kept = {value.name: [] for value in values}
    for draw in range(200 + draws):
        if draw == 200:
            step.stop_tuning()
        point, [seen] = step.step(point)
        assert seen["evaluations"] > 0
        for name, found in kept.items():
            found.append(point[name])
    assert all(np.array_equal(point[name], value) for name, value in weights.items())
    return {name: np.array(found[200:]) for name, found in kept.items()}


def scores(log_scales, log_density):
    """z-scores of moments of the logarithm of a scale, (draws,), against its density on LOG_SCALES."""
    p = np.exp(log_density - log_density.max())
    p /= p.sum()
    mean = float(p @ LOG_SCALES)
    below = LOG_SCALES[np.searchsorted(np.cumsum(p), [0.05, 0.95])]
    moments = [lambda x: x, lambda x: (x - mean) ** 2, lambda x: 1.0 * (x < below[0]), lambda x: 1.0 * (x < below[1])]
    found = []
    for moment in moments:
        values = xr.DataArray(moment(log_scales)[None], dims=("chain", "draw")).to_dataset(name="x")
        found.append((float(values["x"].mean()) - float(p @ moment(LOG_SCALES))) / float(az.mcse(values)["x"]))
    return max(map(abs, found))


class Flattened(HyperparameterSlice):
    """A wrong sampler."""

    def log_densities(self, q):
        return 0.7 * super().log_densities(q)


# the weights of a layer may be of any size while its scale is drawn: where they are small is where NUTS diverged
@pytest.mark.parametrize("size", [1e-4, 0.3, 20.0])
@pytest.mark.parametrize("step_class", [HyperparameterSlice, Flattened])
def test_a_scale_given_the_weights_of_its_layer(size, step_class):
    w = size * np.array([[0.4, -1.1]])
    found = chain_given(model_of("hierarchical", (1, 2)), {"w_1": w}, 3000, np.random.default_rng(1), step_class)
    scale = np.exp(LOG_SCALES)
    log_density = stats.halfnorm.logpdf(scale) + LOG_SCALES + stats.norm.logpdf(w[0][:, None], 0, scale).sum(axis=0)
    worst = scores(found["scale_w_1_log__"], log_density)
    assert (worst < LIMIT) == (step_class is HyperparameterSlice), worst


def test_the_scales_of_a_horseshoe_given_its_weights():
    w = np.array([[0.01, 2.0]])
    found = chain_given(model_of("horseshoe", (1, 2)), {"w_1": w}, 6000, np.random.default_rng(2))
    # of each weight and tau, lambda summed out; then one sum over tau for each lambda
    grid, step = LOG_SCALES[::30], 30
    scale = np.exp(grid)
    prior = stats.halfcauchy.logpdf(scale) + grid
    joint = stats.norm.logpdf(w[0][:, None, None], 0, scale[:, None] * scale[None, :]) + prior  # weight, tau, lambda
    of_tau = np.logaddexp.reduce(joint, axis=2)
    tau = prior + of_tau.sum(axis=0)
    assert scores(found["tau_w_1_log__"], np.interp(LOG_SCALES, grid, tau)) < LIMIT
    for i in (0, 1):
        local = np.logaddexp.reduce(joint[i] + (prior + of_tau[1 - i])[:, None], axis=0)
        assert scores(found["lambda_w_1_log__"][:, 0, i], np.interp(LOG_SCALES, grid, local)) < LIMIT
    assert step == round((grid[1] - grid[0]) / (LOG_SCALES[1] - LOG_SCALES[0]))


def per_input(chip):
    scale = pm.HalfNormal("scale", shape=3)
    return [pm.Normal("w_1", 0, scale[:, None], dims=("pre_1", "post_1")), pm.Normal("w_2", dims=("pre_2", "post_2"))]


def per_neuron(chip):
    scale = pm.HalfCauchy("scale", 1.0, shape=(1, 2))
    mean = pm.Normal("mean", shape=2)
    return [
        pm.Normal("w_1", mean, 0.1 + scale**2, dims=("pre_1", "post_1")),
        pm.StudentT("w_2", nu=4, sigma=1.0, dims=("pre_2", "post_2")),
    ]


def with_terms(chip):
    scale = pm.Gamma("scale", 2.0, 2.0, shape=(3, 2))
    pm.Potential("by_element", -(scale**2))
    pm.Potential("by_row", -scale.T)
    return [pm.Normal("w_1", 0, scale, dims=("pre_1", "post_1")), pm.Normal("w_2", dims=("pre_2", "post_2"))]


@pytest.mark.parametrize("prior", ["hierarchical", "student_t", "horseshoe", per_input, per_neuron, with_terms])
def test_elements_that_are_independent_move_together(prior):
    """The term of each element changes with it as the whole density does, and with no other element."""
    model = model_of(prior, (3, 2, 2))
    rng = np.random.default_rng(3)
    weights = {"w_1", "w_2"}
    hyper = [value for value in model.value_vars if value.name not in weights]
    point = {name: np.asarray(rng.normal(size=np.shape(x))) for name, x in model.initial_point().items()}
    logp = model.compile_logp(mode="FAST_COMPILE")
    for value in hyper:
        terms = model.compile_fn(
            independent_terms(model, value), inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
        )
        before, total = terms(point), logp(point)
        for i in range(point[value.name].size):
            moved = {**point, value.name: point[value.name].copy()}
            moved[value.name].flat[i] += 0.3
            change = terms(moved) - before
            assert change[i] == pytest.approx(logp(moved) - total, rel=1e-9, abs=1e-9)
            assert not np.delete(change, i).any()


def walk(chip):
    scale = pm.GaussianRandomWalk("scale", sigma=0.1, init_dist=pm.Normal.dist(), shape=3)
    return [
        pm.Normal("w_1", 0, pm.math.exp(scale)[:, None], dims=("pre_1", "post_1")),
        pm.Normal("w_2", 0, pm.HalfNormal("scale_2"), dims=("pre_2", "post_2")),
    ]


def square(chip):
    scale = pm.HalfNormal("scale", shape=(2, 2))
    return [
        pm.Normal("w_1", 0, scale * scale.T, dims=("pre_1", "post_1")),
        pm.Normal("w_2", 0, pm.HalfNormal("scale_2"), dims=("pre_2", "post_2")),
    ]


@pytest.mark.parametrize(("prior", "layers"), [(walk, (3, 2, 2)), (square, (2, 2, 2))])
def test_elements_that_are_tied_are_left_to_nuts(prior, layers):
    model = model_of(prior, layers)
    with model:
        sliced, nuts = _other_steps(model, make_step("block", model))
    assert isinstance(sliced, HyperparameterSlice)
    assert [value.name for value in sliced.vars] == ["scale_2_log__"]
    assert isinstance(nuts, pm.NUTS)
    assert nuts.target_accept == 0.95


# moments of a scale, or of a bounded function of it where it has none, and of the weights, under the prior alone
ALONE = {
    "hierarchical": ("scale_w_1", np.log, stats.halfnorm, lambda rng, s: s[:, None] * rng.normal(size=(len(s), 2))),
    "student_t": (
        "scale_w_1",
        np.log,
        stats.halfnorm,
        lambda rng, s: s[:, None] * rng.standard_t(4, size=(len(s), 2)),
    ),
    "horseshoe": (
        "tau_w_1",
        np.log,
        stats.halfcauchy,
        lambda rng, s: s[:, None] * np.abs(rng.standard_cauchy((len(s), 2))) * rng.normal(size=(len(s), 2)),
    ),
}


@pytest.mark.parametrize("prior", ALONE)
def test_where_the_labels_say_nothing_the_posterior_is_the_prior(prior):
    chip = ConstantChip((1, 2))
    result = fit(
        chip,
        np.zeros((2, 1)),
        np.array([0, 1]),
        prior,
        draws=1000,
        tune=300,
        chains=4,
        cores=1,
        seed=1,
        sampler="sitewise",
    )
    assert "diverging" not in result.posterior.sample_stats
    assert result.diagnosis.divergences == []
    name, function, law, draw = ALONE[prior]
    drawn = law.rvs(size=400_000, random_state=4)
    weights = draw(np.random.default_rng(5), drawn)
    posterior = result.posterior.posterior
    w = posterior["w_1"].values[:, :, 0]
    pairs = {
        "scale": (function(posterior[name].values), function(drawn)),
        "square": (np.tanh(w**2).mean(axis=-1), np.tanh(weights**2).mean(axis=-1)),
        "small": ((np.abs(w) < 0.1).mean(axis=-1), (np.abs(weights) < 0.1).mean(axis=-1)),
        "product": (np.tanh(w[..., 0] * w[..., 1]), np.tanh(weights[:, 0] * weights[:, 1])),
    }
    for what, (found, expected) in pairs.items():
        values = xr.DataArray(found, dims=("chain", "draw")).to_dataset(name="x")
        assert float(az.ess(values)["x"]) > 50, what
        z = (float(values["x"].mean()) - expected.mean()) / float(az.mcse(values)["x"])
        assert abs(z) < LIMIT, (what, z)
