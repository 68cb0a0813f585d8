"""Every sampler against a posterior known by quadrature, and a wrong one that must be found out."""

from __future__ import annotations

import arviz as az
import numpy as np
import pymc as pm
import pytest
from scipy import stats

from bayes_snn.errors import InputError
from bayes_snn.inference.fit import _other_steps
from bayes_snn.likelihood import PLAIN
from bayes_snn.names import SAMPLERS
from bayes_snn.posterior.build import available_models, build_model, weight_variables
from bayes_snn.samplers.block import Block
from bayes_snn.samplers.by_name import STEPS, make_step
from bayes_snn.samplers.pcn import PCN
from bayes_snn.samplers.shared.joint import JointMetropolis
from bayes_snn.samplers.smc import sample_smc
from tests.helpers import conjugate
from tests.helpers.fits import sweeping
from tests.helpers.toys import (
    BOUNDED,
    INPUTS,
    LABELS,
    MOMENTS,
    SigmoidChip,
    independent,
    population_scores,
    quadrature,
    z_scores,
)
from tests.helpers.weighted import PRIORS, posterior_starts, weighted_prior_draws
from tests.samplers.test_sitewise import correlated, penalised, positive, with_child

# of some ten z-scores the largest is above 4.5 once in 15,000 times when a sampler is right
LIMIT = 4.5
# the sampler twin is held to its posterior in test_twin.py, on twins that are wrong
DRAWS = {"sitewise": 3000, "tempered": 700, "pymc": 3000, "block": 200, "pcn": 200, "demetropolis": 10_000, "smc": 300}
POPULATIONS = CHAINS = 16


@pytest.fixture(scope="module")
def truth():
    return quadrature()


def sample(model, step, draws, seed, starts=None, chains=4):
    with model:
        return pm.sample(
            draws=draws,
            tune=100,
            chains=chains,
            cores=1,
            step=step,
            initvals=starts,
            random_seed=seed,
            progressbar=False,
            quiet=True,
            compute_convergence_checks=False,
        )


def sample_and_score(model, sampler, seed, draws, expected, moments):
    """Scores of the draws of a sampler; `draws` takes them out of a posterior."""
    if sampler == "smc":
        tree = sample_smc(model, DRAWS[sampler], POPULATIONS, np.random.default_rng(seed), False)
        return population_scores(draws(tree.posterior), expected, moments)
    if SAMPLERS[sampler].simulated:
        sweeping(model.likelihood.op.chip, model.likelihood.op)
    trace = sample(model, make_step(sampler, model), DRAWS[sampler], seed)
    assert float(min(array.min() for array in az.ess(trace.posterior.dataset).values())) > 100
    return z_scores(draws(trace.posterior), expected, moments)


def test_every_sampler_is_held_to_its_posterior():
    assert {*DRAWS, "twin"} == set(SAMPLERS)


@pytest.mark.parametrize("sampler", DRAWS)
def test_recovers_a_posterior_known_by_quadrature(sampler, truth):
    model = build_model(SigmoidChip(), INPUTS, LABELS, "standard_normal")
    scores = sample_and_score(model, sampler, 1, two_weights, truth, MOMENTS)
    assert max(map(abs, scores.values())) < LIMIT, scores


def scores_of_chains(model, prior, steps, draws):
    """Scores by many chains, whose error is that between them: in a slow one the error of its own draws is not seen."""
    rng = np.random.default_rng(3)
    trace = sample(model, steps, draws, 2, posterior_starts(prior, model, CHAINS, rng), CHAINS)
    return population_scores(two_weights(trace.posterior), weighted_prior_draws(prior), BOUNDED)


def two_weights(posterior):
    return posterior["w_1"].values[:, :, 0]


@pytest.mark.parametrize("power", [1.0, 0.7])
@pytest.mark.parametrize("sampler", DRAWS)
def test_recovers_a_posterior_known_in_closed_form(sampler, power, monkeypatch):
    """Four correlated weights under a Gaussian likelihood; a likelihood that is flatter by 0.7 is found out."""
    monkeypatch.setattr(conjugate.GaussianReadout, "power", power)
    model = conjugate.gaussian_model(monkeypatch)
    scores = sample_and_score(model, sampler, 6, conjugate.joined_draws, conjugate.EXPECTED, conjugate.MOMENTS)
    assert (max(map(abs, scores.values())) < LIMIT) == (power == 1.0), scores


def test_quadrature_and_weighted_draws_agree():
    exact = quadrature(independent(stats.norm.logpdf))
    drawn = weighted_prior_draws("standard_normal")
    assert drawn["a < b"] == pytest.approx(exact["a < b"], abs=0.002)


def test_every_model_is_held_to_its_posterior():
    # that of learned_readout, which has more than weights, is in tests/posterior/test_readout.py
    assert set(PRIORS) == set(available_models())


@pytest.mark.parametrize("prior", [name for name in PRIORS if name != "learned_readout"])
def test_sitewise_recovers_the_posterior_of_every_model(prior):
    model = build_model(SigmoidChip(), INPUTS, LABELS, prior)
    with model:
        others = _other_steps(model, step := make_step("sitewise", model))
    scores = scores_of_chains(model, prior, [*others, step], 150)
    assert max(map(abs, scores.values())) < LIMIT, scores


class Tempered(JointMetropolis):
    """A wrong sampler: it flattens the posterior."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        prior, likelihood = self.log_prior, self.log_likelihood.function
        self.log_prior, self.log_likelihood.function = lambda q: 0.7 * prior(q), lambda q: 0.7 * likelihood(q)


def test_a_wrong_sampler_is_found_out(truth):
    model = build_model(SigmoidChip(), INPUTS, LABELS, "standard_normal")
    with model:
        step = Tempered(model.value_vars, move=Block())
    trace = sample(model, step, DRAWS["block"], 1)
    scores = z_scores(trace.posterior["w_1"].values[:, :, 0], truth)
    assert max(map(abs, scores.values())) > LIMIT, scores


@pytest.mark.parametrize("sampler", STEPS)
def test_stats_and_cost(sampler):
    chip = SigmoidChip()
    model = build_model(chip, INPUTS, LABELS, "standard_normal")
    trace = sample(model, make_step(sampler, model), 50, 3)
    stats = trace.sample_stats
    assert float(stats["accept"].mean()) > 0.1
    assert float(stats["accept"].max()) <= 1
    counted = stats["presentations"].values
    assert (np.diff(counted, axis=1) >= 0).all()
    # a chip run for each proposal, and one for the starting point; PyMC's own evaluations come on top
    if sampler == "sitewise":  # proposals that cannot win are not shown
        assert (counted[:, -1] <= (150 * 2 + 1) * len(INPUTS)).all()
        saved = trace.sample_stats["saved"].values[:, -1]
        assert (abs((counted[:, -1] + saved) / len(INPUTS) - 150 * 2) <= 1).all()
    else:
        proposals = 150 * {"block": 100, "pcn": 100, "pymc": 2, "demetropolis": 1}[sampler]
        assert (abs(counted[:, -1] / len(INPUTS) - proposals) <= 1).all()
    assert chip.runs >= counted[:, -1].sum() / len(INPUTS)


def test_stats_and_cost_of_populations():
    chip = SigmoidChip()
    model = build_model(chip, INPUTS, LABELS, "standard_normal")
    stats = sample_smc(model, 50, 3, np.random.default_rng(3), False).sample_stats
    assert stats["accept"].shape == stats["presentations"].shape == (3, 50)
    assert float(stats["accept"].mean()) > 0.1
    assert float(stats["accept"].max()) <= 1
    # every run is charged, to the population that it was made for
    costs = stats["presentations"].values
    assert (costs == costs[:, :1]).all()
    assert costs[:, -1].sum() == chip.runs * len(INPUTS)
    # a run for each prior draw, and for each particle and step: two at least in each stage
    runs = costs[:, -1] // len(INPUTS)
    assert (runs % 50 == 0).all()
    assert (runs // 50 >= 1 + 2 * stats["stages"].values).all()


def test_marginal_likelihood():
    """Of the data, by the populations and by an average of the likelihood over prior draws."""
    model = build_model(SigmoidChip(), INPUTS, LABELS, "standard_normal")
    logs = sample_smc(model, 400, 4, np.random.default_rng(4), False).sample_stats["log_marginal_likelihood"]
    weights = np.random.default_rng(5).normal(size=(20_000, 1, 2))
    op = model.likelihood.op
    likelihoods = [np.exp(PLAIN.log_p(op.run([w]), LABELS).sum()) for w in weights]
    assert np.exp(logs.values).mean() == pytest.approx(np.mean(likelihoods), rel=0.15)


def tuned_scale(step):
    return step.move.beta if isinstance(step.move, PCN) else step.move.step_sizes()


@pytest.mark.parametrize("sampler", ["block", "pcn"])
def test_freezes_after_the_warm_up(sampler):
    model = build_model(SigmoidChip(), INPUTS, LABELS, "standard_normal")
    step = make_step(sampler, model)
    point = model.initial_point()
    sizes = [tuned_scale(step)]
    for _ in range(5):
        point, _ = step.step(point)
    sizes.append(tuned_scale(step))
    step.stop_tuning()
    for _ in range(5):
        point, _ = step.step(point)
    sizes.append(tuned_scale(step))
    assert np.all(sizes[0] != sizes[1])
    np.testing.assert_array_equal(sizes[1], sizes[2])
    step.reset_tuning()
    np.testing.assert_array_equal(sizes[0], tuned_scale(step))


@pytest.mark.parametrize("sampler", ["block", "pcn"])
def test_tunes_towards_its_acceptance_rate(sampler, monkeypatch):
    model = conjugate.gaussian_model(monkeypatch)
    trace = sample(model, make_step(sampler, model), 50, 5)
    assert float(trace.sample_stats["accept"].mean()) == pytest.approx(0.234, abs=0.06)


@pytest.mark.parametrize("sampler", ["block", "pcn", "demetropolis"])
def test_goes_on_from_its_sampling_state(sampler):
    model = build_model(SigmoidChip(), INPUTS, LABELS, "standard_normal")
    first, second = make_step(sampler, model), make_step(sampler, model)
    point = model.initial_point()
    for _ in range(30):
        point, _ = first.step(point)
    second.sampling_state = first.sampling_state
    for _ in range(3):
        a, _ = first.step(point)
        b, _ = second.step(point)
        np.testing.assert_array_equal(a["w_1"], b["w_1"])
        point = a


class FlatChip(SigmoidChip):
    """Knows nothing: the posterior is the prior."""

    def run(self, weights, inputs):
        return np.zeros((len(inputs), 2), int)


def uneven(chip):
    return [pm.Normal("w_1", mu=[[0.5, -3.0]], sigma=[[1.0, 4.0]], shape=chip.spec.weight_shapes[0])]


def test_pcn_leaves_the_prior_as_it_is():
    model = build_model(FlatChip(), INPUTS, LABELS, uneven)
    step = JointMetropolis(weight_variables(model), move=PCN(float(np.log(0.5))), proposals=5, model=model)
    step.setup_chain(np.random.default_rng(0), 0, 0)
    step.stop_tuning()
    point, draws = {"w_1": np.array([[0.0, -1.0]])}, np.empty((1, 4000, 2))
    for draw in range(draws.shape[1]):
        point, [info] = step.step(point)
        assert info["accept"] == 1.0
        draws[0, draw] = point["w_1"][0]
    expected = {"a": 0.5, "b": -3.0, "a^2": 1.25, "b^2": 25.0, "a b": -1.5}
    scores = z_scores(draws, expected, {name: MOMENTS[name] for name in expected})
    assert max(map(abs, scores.values())) < LIMIT, scores


def test_pcn_draws_from_the_prior_where_nothing_is_rejected():
    step = make_step("pcn", model := build_model(FlatChip(), INPUTS, LABELS, "standard_normal"))
    step.step(model.initial_point())
    assert step.move.beta == 1.0


@pytest.mark.parametrize("prior", ["hierarchical", "horseshoe"])
def test_pcn_follows_hyperparameters(prior):
    model = build_model(SigmoidChip(), INPUTS, LABELS, prior)
    with model:
        step = JointMetropolis(weight_variables(model), move=PCN(), proposals=3)
        others = _other_steps(model, step)
    scores = scores_of_chains(model, prior, [*others, step], 150)
    assert max(map(abs, scores.values())) < LIMIT, scores


def doubled(chip):
    return [2.0 * pm.Normal("z", shape=chip.spec.weight_shapes[0])]


def test_pcn_takes_weights_computed_from_normals():
    model = build_model(SigmoidChip(), INPUTS, LABELS, doubled)
    scores = sample_and_score(
        model, "pcn", 8, two_weights, quadrature(independent(stats.norm(scale=2).logpdf), reach=14), MOMENTS
    )
    assert max(map(abs, scores.values())) < LIMIT, scores


def scaled_by_another(chip):
    scale = pm.HalfNormal("scale")
    return [scale * pm.Normal("z", shape=chip.spec.weight_shapes[0])]


@pytest.mark.parametrize(
    ("prior", "reason"),
    [
        ("laplace", "the prior of w_1 is Laplace"),
        ("sparse", "the prior of w_1 is"),
        (positive, "the prior of w_1 is HalfNormal"),
        (correlated, "the prior of w_1 is MvNormal"),
        (scaled_by_another, "the prior of scale is HalfNormal"),
        (penalised, "w_1 stands in another term"),
        (with_child, "w_1 stands in another term"),
    ],
)
def test_pcn_refuses_other_priors(prior, reason):
    model = build_model(SigmoidChip(), INPUTS, LABELS, prior)
    with pytest.raises(InputError) as refusal:
        make_step("pcn", model)
    assert reason in str(refusal.value)
    assert str(refusal.value).endswith("take 'sitewise' or 'block'.")


@pytest.mark.parametrize("sampler", ["block", "demetropolis"])
def test_potentials_count(sampler):
    expected = quadrature(lambda grid: independent(stats.norm.logpdf)(grid) - np.add.outer(grid, grid) ** 2)
    model = build_model(SigmoidChip(), INPUTS, LABELS, penalised)
    scores = sample_and_score(model, sampler, 9, two_weights, expected, MOMENTS)
    assert max(map(abs, scores.values())) < LIMIT, scores


def test_demetropolis_leaves_hyperparameters_alone():
    model = build_model(SigmoidChip(), INPUTS, LABELS, "horseshoe")
    step = make_step("demetropolis", model)
    assert step.lamb == pytest.approx(2.38 / 2)  # of two weights, not of five variables
    point = model.initial_point()
    for _ in range(5):
        point, _ = step.step(point)
    assert np.shape(step._history) == (5, 2)


def test_smc_is_no_step():
    with pytest.raises(InputError, match=r"fit\(sampler='smc'\)"):
        make_step("smc", build_model(SigmoidChip(), INPUTS, LABELS, "standard_normal"))


def test_unknown_sampler():
    with pytest.raises(InputError, match="did you mean 'block'"):
        make_step("blok", build_model(SigmoidChip(), INPUTS, LABELS, "standard_normal"))
