"""Priors whose weights are fixed, tied, masked or signed, and models with terms of their own, under every sampler."""

from __future__ import annotations

import warnings

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy.special import expit

from bayes_snn import LIFChip, fit, load_fit
from bayes_snn.checks.prior_check import prior_predictive
from bayes_snn.checks.reliance import weight_signal
from bayes_snn.chips.contract import ChipSpec
from bayes_snn.errors import InputError
from bayes_snn.inference.starts import prior_starts
from bayes_snn.likelihood import log_likelihood
from bayes_snn.posterior.build import build_model
from bayes_snn.samplers.by_name import make_step
from bayes_snn.samplers.sitewise import SitewiseMetropolis
from bayes_snn.samplers.smc import sample_smc
from tests.samplers.test_samplers import LIMIT, population_scores, sample, z_scores

X = np.array([[-1.5], [-0.5], [0.3], [0.8], [1.2], [2.0]])
Y = np.array([0, 1, 1, 0, 1, 1])
N_STEPS = 12
SECOND = np.array([[1.5, -1.0], [-0.5, 2.0]])  # a layer that the prior fixes


class TwoLayers:
    """Two hidden neurons that are smooth in their weights, 1-2-2 in all; any shapes of weights do."""

    spec = ChipSpec((1, 2, 2), N_STEPS)
    copyable = True

    def run(self, weights, inputs):
        return np.rint(N_STEPS * expit(np.tanh(inputs @ weights[0]) @ weights[1])).astype(np.int64)


def fixed(chip):
    return [pm.Normal("w_1", dims=("pre_1", "post_1")), SECOND]


def first_fixed(chip):
    return [np.array([[1.0, -2.0]]), pm.Normal("w_2", sigma=2.0, dims=("pre_2", "post_2"))]


def masked(chip):
    return [pm.Normal("z", shape=(1, 2)) * np.array([[1.0, 0.0]]), SECOND * pm.Normal("scale")]


def sliced(chip):
    whole = pm.Normal("whole", shape=(3, 2))
    return [whole[:1], whole[1:] * np.array([[1.0, 0.0], [0.0, 0.0]])]


def shared(chip):
    w = pm.Normal("w_1", dims=("pre_1", "post_1"))
    return [w, pt.concatenate([w, -w])]


def signed(chip):
    return [pm.HalfNormal("w_1", dims=("pre_1", "post_1")), SECOND]


# each has two unknowns u and v: their names and places, their law on a grid, and the weights that they make
GRID = np.linspace(-6, 6, 241) + 0.013


def two(a, b):
    """First layers (..., 1, 2)."""
    return np.stack(np.broadcast_arrays(a, b), axis=-1)[..., None, :]


STRUCTURES = {
    "fixed": (fixed, lambda u, v: [two(u, v), SECOND], lambda p: p["w_1"].values[:, :, 0], False),
    "masked": (
        masked,
        lambda u, v: [two(u, 0.0), SECOND * v[:, None, None]],
        lambda p: np.stack([p["z"].values[:, :, 0, 0], p["scale"].values], axis=-1),
        False,
    ),
    "shared": (
        shared,
        lambda u, v: [two(u, v), np.concatenate([two(u, v), -two(u, v)], axis=-2)],
        lambda p: p["w_1"].values[:, :, 0],
        False,
    ),
    "signed": (signed, lambda u, v: [two(u, v), SECOND], lambda p: p["w_1"].values[:, :, 0], True),
}
MOMENTS = {
    "u": lambda u, v: u,
    "v": lambda u, v: v,
    "u^2": lambda u, v: u * u,
    "v^2": lambda u, v: v * v,
    "u v": lambda u, v: u * v,
    "|u| < 0.5": lambda u, v: 1.0 * (np.abs(u) < 0.5),
    "u < v": lambda u, v: (u < v) + 0.5 * (u == v),
}
# the sampler twin moves as sitewise and block do here; its check is in test_twin.py
DRAWS = {"sitewise": 800, "pymc": 1000, "block": 60, "pcn": 150, "demetropolis": 4000, "smc": 150}


def log_likelihoods(weights):
    """Of the labels, (n,), under sets of weights (n, n_pre, n_post) of each layer."""
    counts = TwoLayers().run(weights, X)
    return log_likelihood(counts.reshape(-1, 2), np.tile(Y, len(counts)), 0.5).reshape(len(counts), -1).sum(axis=1)


def expected_moments(weights_of, positive):
    """Of MOMENTS, by a sum over a grid that is fine beside the steps of the spike counts."""
    grid = GRID[GRID > 0] if positive else GRID
    u, v = (a.ravel() for a in np.meshgrid(grid, grid, indexing="ij"))
    logp = -0.5 * (u**2 + v**2) + log_likelihoods(weights_of(u, v))
    p = np.exp(logp - logp.max())
    p /= p.sum()
    return {name: float(p @ f(u, v)) for name, f in MOMENTS.items()}


@pytest.fixture(scope="module")
def truths():
    return {name: expected_moments(weights_of, positive) for name, (_, weights_of, _, positive) in STRUCTURES.items()}


@pytest.mark.parametrize("sampler", DRAWS)
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.filterwarnings("ignore:sitewise cannot sweep")
def test_every_sampler_recovers_the_posterior_of_every_structure(structure, sampler, truths):
    prior, _, taken, _ = STRUCTURES[structure]
    model = build_model(TwoLayers(), X, Y, prior)
    if structure == "signed" and sampler == "pcn":
        with pytest.raises(InputError, match="the prior of w_1 is HalfNormal: take 'sitewise' or 'block'"):
            make_step(sampler, model)
        return
    if sampler == "smc":
        posterior = sample_smc(model, DRAWS[sampler], 12, np.random.default_rng(1), False).posterior
        scores = population_scores(taken(posterior), truths[structure], MOMENTS)
    else:
        posterior = sample(model, make_step(sampler, model), DRAWS[sampler], 1).posterior
        scores = z_scores(taken(posterior), truths[structure], MOMENTS)
    assert max(map(abs, scores.values())) < LIMIT, scores
    if structure in ("fixed", "signed"):
        assert (posterior["w_2"].values == SECOND).all()
    if structure == "masked":
        assert (posterior["w_1"].values[..., 1] == 0).all()
        assert np.array_equal(posterior["w_2"].values, SECOND * posterior["scale"].values[:, :, None, None])
    if structure == "shared":
        assert np.array_equal(posterior["w_2"].values[:, :, :1], posterior["w_1"].values)
        assert np.array_equal(posterior["w_2"].values[:, :, 1:], -posterior["w_1"].values)
    if structure == "signed":
        assert (posterior["w_1"].values > 0).all()


def test_the_posterior_of_another_structure_is_found_out(truths):
    """Without the mask the second input weight counts, and the truths of the masked prior must not fit."""
    model = build_model(TwoLayers(), X, Y, fixed)
    draws = sample(model, make_step("sitewise", model), DRAWS["sitewise"], 1).posterior["w_1"].values[:, :, 0]
    assert max(map(abs, z_scores(draws, truths["fixed"], MOMENTS).values())) < LIMIT
    for other in ("masked", "shared", "signed"):
        assert max(map(abs, z_scores(draws, truths[other], MOMENTS).values())) > LIMIT, other


@pytest.mark.parametrize(
    ("prior", "reason"),
    [
        (masked, "the weights are computed from z"),
        (sliced, "the weights are computed from whole"),
        (shared, "a layer is made from the variables of another one"),
        (signed, "w_1 is sampled on a transformed scale"),
    ],
)
def test_sitewise_says_why_it_cannot_sweep(prior, reason):
    model = build_model(TwoLayers(), X, Y, prior)
    with pytest.warns(UserWarning, match=reason):
        make_step("sitewise", model)


@pytest.mark.parametrize("prior", [fixed, first_fixed])
@pytest.mark.parametrize("chip", [TwoLayers(), LIFChip((1, 2, 2), "comparator", 1.0)])
def test_sitewise_sweeps_the_layer_that_is_random(prior, chip):
    model = build_model(chip, X, Y, prior)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step = make_step("sitewise", model)
    assert isinstance(step, SitewiseMetropolis)
    result = fit(chip, X, Y, prior, draws=30, tune=30, chains=2, cores=1, seed=0, sampler="sitewise")
    posterior = result.posterior.posterior
    moving, still = ("w_1", "w_2") if prior is fixed else ("w_2", "w_1")
    assert (posterior[moving].std(("chain", "draw")) > 0).all()
    assert float(np.ptp(posterior[still].values, axis=(0, 1)).max()) == 0
    weights = [[posterior[name].values[c, d] for name in ("w_1", "w_2")] for c in range(2) for d in range(30)]
    terms = [log_likelihood(chip.run(w, X), Y, 0.5).sum() for w in weights]
    assert np.ravel(result.posterior.sample_stats["log_likelihood"]) == pytest.approx(np.array(terms), abs=1e-9)


@pytest.mark.filterwarnings("ignore:sitewise cannot sweep")
@pytest.mark.parametrize("prior", [fixed, first_fixed, masked, sliced, shared, signed])
def test_distilled_weights_stay_where_the_prior_lets_them_be(prior, tmp_path):
    chip = TwoLayers()
    result = fit(chip, X, Y, prior, sampler="block", draws=40, tune=40, chains=2, cores=1, seed=0)
    result = load_fit(result.save(tmp_path / "fit"), chip)
    distilled = result.distil(n_inputs=30, sweeps=15)
    draws = [result.posterior.posterior[name].values for name in ("w_1", "w_2")]
    for found, drawn in zip(distilled, draws, strict=True):
        still = np.ptp(drawn, axis=(0, 1)) == 0
        assert np.array_equal(found[still], drawn[0, 0][still])
        if (drawn >= 0).all():
            assert (found >= 0).all()
    if prior is shared:
        assert np.array_equal(distilled[1], np.concatenate([distilled[0], -distilled[0]]))
    # layers that are those of a draw, as nothing in them may move alone; all others were trained
    kept = [
        any(np.array_equal(found, one) for one in drawn.reshape(-1, *found.shape))
        for found, drawn in zip(distilled, draws, strict=True)
    ]
    first, second = prior in (first_fixed, shared), prior in (fixed, masked, shared, signed)
    assert kept == [first, second]


def test_a_prior_that_lets_weights_be_anywhere_has_no_group_for_it():
    result = fit(TwoLayers(), X, Y, "gaussian", sampler="demetropolis", draws=20, tune=20, chains=1, cores=1)
    assert not {"support", "other_terms"} & set(result.posterior.children)


# ---- terms of the model's own


def half_plane(chip):
    """PyMC's documented way to state a constraint."""
    ws = [pm.Normal("w_1", dims=("pre_1", "post_1")), SECOND]
    pm.Potential("positive", pt.switch(ws[0][0, 0] > 0, 0.0, -np.inf))
    return ws


def undefined(chip):
    ws = half_plane(chip)
    pm.Potential("defined", 1e-12 * pt.sqrt(ws[0][0, 1] + 1.0))  # nan below -1
    return ws


def measured(chip):
    """An observed variable of the model file's own."""
    ws = [pm.Normal("w_1", dims=("pre_1", "post_1")), SECOND]
    pm.Uniform("measured", ws[0][0, 0], ws[0][0, 0] + 3.0, observed=np.array([0.5, 1.0]))
    return ws


def allowed(prior, w):
    """Which weights (..., 1, 2) have a density above 0."""
    u, v = w[..., 0, 0], w[..., 0, 1]
    if prior is measured:
        return (u <= 0.5) & (u >= -2.0)
    return (u > 0) if prior is half_plane else (u > 0) & (v >= -1)


@pytest.mark.parametrize("prior", [half_plane, undefined, measured])
def test_every_chain_starts_where_the_whole_model_has_a_density(prior):
    model = build_model(TwoLayers(), X, Y, prior)
    starts = prior_starts(model, 40, np.random.SeedSequence(0))
    assert all(allowed(prior, start["w_1"]) for start in starts)
    # draws that were fine stay as they are
    plain = prior_starts(build_model(TwoLayers(), X, Y, fixed), 40, np.random.SeedSequence(0))
    kept = [allowed(prior, start["w_1"]) for start in plain]
    assert 0 < sum(kept) < 40
    for a, b, same in zip(starts, plain, kept, strict=True):
        assert np.array_equal(a["w_1"], b["w_1"]) == same


def test_a_constraint_that_no_draw_meets_is_refused_in_a_sentence():
    def impossible(chip):
        ws = half_plane(chip)
        pm.Potential("far", pt.switch(ws[0][0, 0] > 40, 0.0, -np.inf))
        return ws

    with pytest.raises(
        InputError, match=r"'positive', 'far'.* at 0 of .* draws from the prior, .*: put the constraint"
    ):
        fit(TwoLayers(), X, Y, impossible, draws=5, tune=5, chains=2, sampler="sitewise")
    with pytest.raises(InputError, match="leave 0 of 20 with a density above 0: put the constraint"):
        sample_smc(build_model(TwoLayers(), X, Y, impossible), 20, 1, np.random.default_rng(0), False)


@pytest.mark.filterwarnings("ignore:sitewise cannot sweep")
@pytest.mark.parametrize("prior", [half_plane, undefined])
@pytest.mark.parametrize("sampler", ["sitewise", "demetropolis", "smc"])
def test_no_draw_lies_where_the_density_is_0(prior, sampler):
    result = fit(TwoLayers(), X, Y, prior, sampler=sampler, draws=60, tune=60, chains=4, cores=1, seed=2)
    assert allowed(prior, result.posterior.posterior["w_1"].values).all()
    assert np.isfinite(result.draws.logp).all()


def test_smc_knows_the_mass_that_a_constraint_takes_away():
    """nan in the first population counts for nothing: marginal likelihood and moments, against a sum over a grid."""
    found = sample_smc(build_model(TwoLayers(), X, Y, undefined), 400, 12, np.random.default_rng(3), False)
    u, v = (a.ravel() for a in np.meshgrid(GRID, GRID, indexing="ij"))
    p = np.exp(-0.5 * (u**2 + v**2) + log_likelihoods([two(u, v), SECOND])) * (u > 0) * (v >= -1)
    evidence = p.sum() * (GRID[1] - GRID[0]) ** 2 / (2 * np.pi)
    p /= p.sum()
    estimates = np.exp(found.sample_stats["log_marginal_likelihood"].values)
    assert abs(estimates.mean() - evidence) < LIMIT * estimates.std(ddof=1) / len(estimates) ** 0.5
    scores = population_scores(
        found.posterior["w_1"].values[:, :, 0], {name: float(p @ f(u, v)) for name, f in MOMENTS.items()}, MOMENTS
    )
    assert max(map(abs, scores.values())) < LIMIT, scores


def test_the_estimate_map_counts_every_term():
    def pulled(chip):
        w = pm.Normal("w_1", dims=("pre_1", "post_1"))
        pm.Potential("pull", -50.0 * ((w - 2.0) ** 2).sum())
        pm.Normal("seen", w[0, 0], 0.3, observed=np.array([2.2, 2.1]))
        return [w, SECOND]

    result = fit(TwoLayers(), X, Y, pulled, sampler="block", draws=100, tune=100, chains=2, cores=1, seed=0)
    model = build_model(TwoLayers(), X, Y, pulled)
    logp = model.compile_logp()
    draws = result.draws
    expected = np.array([float(logp({"w_1": w})) for w in draws.weights[0]])
    assert draws.logp == pytest.approx(expected, abs=1e-8)
    assert np.array_equal(result.weights("map")[0], draws.weights[0][expected.argmax()])


def test_checks_of_a_prior_warn_of_potentials():
    with pytest.warns(UserWarning, match="The effect of Potentials on other parameters is ignored"):
        prior_predictive(TwoLayers(), X, half_plane, draws=3)
    result = fit(TwoLayers(), X, Y, half_plane, sampler="demetropolis", draws=20, tune=20, chains=1, cores=1)
    with pytest.warns(UserWarning, match="The effect of Potentials on other parameters is ignored"):
        weight_signal(result, weights=half_plane, n_prior=10)
