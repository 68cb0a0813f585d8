"""A readout that is learned with the weights: its posterior, what it costs the chip, and what is refused."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import stats
from scipy.special import expit, log_expit

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.inference.fit import _other_steps
from bayes_snn.likelihood import PLAIN
from bayes_snn.posterior.build import build_model, weight_variables
from bayes_snn.posterior.noisy import NoiseChoice
from bayes_snn.posterior.readout import readout_function
from bayes_snn.samplers.by_name import make_step
from bayes_snn.samplers.readout import ReadoutSlice
from bayes_snn.samplers.sitewise import SitewiseMetropolis
from tests.helpers import coin
from tests.helpers.fits import CountingChip
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip, z_scores

LIMIT = 4.5  # of z-scores, as in test_samplers.py
CHAINS = 4


def gaussian(chip):
    return [
        pm.Normal(name, dims=dims) for name, dims in zip(chip.spec.weight_names, chip.spec.weight_dims, strict=True)
    ]


def one_bias(chip):
    """beta, and how far the second class is ahead of the first."""
    return pm.LogNormal("beta", np.log(1.5), 0.7), pt.stack([0.0, pm.Normal("ahead", -1.5, 1.0)])


def scale_alone(chip):
    return pm.LogNormal("beta", np.log(0.5), 1.0), np.zeros(2)


def chains_of(model, sampler, draws, tune=200, seed=0):
    """The compound steps that a fit makes, driven as PyMC does: values of a point, (chain, draw) each."""
    with model:
        step = make_step(sampler, model)
        steps = [*_other_steps(model, step), step]
    if sampler == "block":
        step.proposals = 4
    found = {name: np.empty((CHAINS, draws, *np.shape(v))) for name, v in model.initial_point().items()}
    for chain, rng in enumerate(np.random.default_rng([seed, 5]).spawn(CHAINS)):
        for each in steps:
            each.setup_chain(rng.spawn(1)[0], tune, draws)
            each.tune = True
            each.reset_tuning()
        point = model.initial_point()
        for draw in range(-tune, draws):
            if draw == 0:
                for each in steps:
                    each.stop_tuning()
            for each in steps:
                point, _ = each.step(point)
            for name, values in found.items():
                values[chain, max(draw, 0)] = point[name]
    return found


MOMENTS = {
    "a": lambda a, b, s, d: a,
    "b^2": lambda a, b, s, d: b * b,
    "s": lambda a, b, s, d: s,
    "s^2": lambda a, b, s, d: s * s,
    "d": lambda a, b, s, d: d,
    "d^2": lambda a, b, s, d: d * d,
    "s (b - a)": lambda a, b, s, d: s * (b - a),
    "a d": lambda a, b, s, d: a * d,
    "d > -1": lambda a, b, s, d: (d > -1) * 1.0,
}


@pytest.fixture(scope="module")
def expected():
    """Of MOMENTS, by draws from the prior that are weighted by their likelihood; errors of a few 1e-3."""
    rng = np.random.default_rng(1)
    a, b, s, d = rng.normal(size=(4, 2_000_000))
    s, d = np.log(1.5) + 0.7 * s, d - 1.5
    log_l = np.zeros(len(a))
    for x, label in zip(INPUTS[:, 0], LABELS, strict=True):
        lead = np.rint(12 * expit(x * b)) - np.rint(12 * expit(x * a))
        log_l += log_expit((2 * label - 1) * (np.exp(s) * lead + d))
    p = np.exp(log_l)
    p /= p.sum()
    return {name: float(p @ f(a, b, s, d)) for name, f in MOMENTS.items()}


def learned(sampler):
    found = chains_of(build_model(SigmoidChip(), INPUTS, LABELS, gaussian, readout=one_bias), sampler, 1200)
    w = found["w_1"][..., 0, :]
    return np.stack([w[..., 0], w[..., 1], found["beta_log__"], found["ahead"]], axis=-1)


@pytest.mark.parametrize("sampler", ["sitewise", "block", "pymc"])
def test_weights_scale_and_bias_have_the_posterior_that_is_counted_out(sampler, expected):
    scores = z_scores(learned(sampler), expected, MOMENTS)
    assert max(map(abs, scores.values())) < LIMIT, scores


def test_a_sweep_that_does_not_heed_the_readout_is_found_out(expected, monkeypatch):
    setup = SitewiseMetropolis.setup_chain

    def forgetful(self, *arguments):
        setup(self, *arguments)
        self._readout = lambda: PLAIN

    monkeypatch.setattr(SitewiseMetropolis, "setup_chain", forgetful)
    scores = z_scores(learned("sitewise"), expected, MOMENTS)
    assert max(map(abs, scores.values())) > LIMIT, scores


@pytest.mark.parametrize("sampler", ["sitewise", "block"])
def test_on_a_noisy_chip_the_estimate_stays_while_the_readout_moves(sampler):
    """Pseudo-marginal: against a sum over weights, scales and the coins' law."""
    model = build_model(coin.CoinChip(), coin.INPUTS, coin.LABELS, coin.prior, readout=scale_alone)
    model.likelihood.op.noise = NoiseChoice()
    found = chains_of(model, sampler, 3000)
    log_scale = np.log(0.5) + np.linspace(-5, 5, 801)
    s, k = coin.spikes(coin.GRID)
    each = 0.5 * sum(expit(np.exp(log_scale)[:, None] * (s + sign * k)) for sign in (1, -1))
    p = each**coin.N_SAMPLES * stats.norm.pdf(coin.GRID) * stats.norm.pdf(log_scale, np.log(0.5), 1.0)[:, None]
    p /= p.sum()
    moments = {
        "a": lambda a, s: a,
        "a^2": lambda a, s: a * a,
        "s": lambda a, s: s,
        "s^2": lambda a, s: s * s,
        "a s": lambda a, s: a * s,
    }
    known = {name: float((p * f(coin.GRID[None, :], log_scale[:, None])).sum()) for name, f in moments.items()}
    draws = np.stack([found["w_1"][..., 0, 0], found["beta_log__"]], axis=-1)
    scores = z_scores(draws, known, moments)
    assert max(map(abs, scores.values())) < LIMIT, scores


# what it costs the chip


@pytest.mark.parametrize(
    ("sampler", "distortion"),
    [(name, "comparator") for name in ("sitewise", "block", "pymc")]
    + [(name, "noise") for name in ("sitewise", "pcn", "demetropolis")],
)
def test_steps_of_the_readout_show_the_chip_nothing(sampler, distortion, monkeypatch):
    X, Y = np.random.default_rng(0).normal(size=(9, 3)), np.arange(9) % 2
    chip, runs = LIFChip((3, 4, 2), distortion, 0.3, n_steps=8), []
    run = type(chip).run
    monkeypatch.setattr(type(chip), "run", lambda self, *arguments: runs.append(1) or run(self, *arguments))
    model = build_model(chip, X, Y, "learned_readout")
    assert [v.name for v in weight_variables(model)] == ["w_1", "w_2"]
    with model:
        step = make_step(sampler, model)
        others = _other_steps(model, step)
    [of_readout], readout_at = others, readout_function(model)
    assert isinstance(of_readout, ReadoutSlice)
    assert {v.name for v in of_readout.vars} == {"beta_log__", "bias"}
    point = model.initial_point()
    for each in (of_readout, step):
        each.setup_chain(np.random.default_rng(1), 8, 0)
    if hasattr(step, "proposals"):
        step.proposals = 12  # more than are remembered, nearly all of them rejected
    for _ in range(8):
        point, _ = step.step(point)
        before, shown, known = len(runs), model.likelihood.op.presentations, model.likelihood.op.known(weights(point))
        point, _ = of_readout.step(point)
        assert (len(runs), model.likelihood.op.presentations) == (before, shown)
        np.testing.assert_array_equal(model.likelihood.op.known(weights(point)), known)
        if sampler in ("block", "pcn"):  # what they carry from draw to draw is of the readout before
            for name, shared in step.shared.items():
                shared.set_value(point[name])
            value = step.log_likelihood.current(np.concatenate([w.ravel() for w in weights(point)]))
            assert value == pytest.approx(readout_at(point).log_p(known, Y).sum(), rel=1e-12)
            assert len(runs) == before
    assert point["bias"].all()


def weights(point):
    return [point["w_1"], point["w_2"]]


def test_one_set_of_weights_is_run_once_for_all_readouts():
    chip = CountingChip(SigmoidChip())
    model = build_model(chip, INPUTS, LABELS, "learned_readout")
    logp, readout = model.compile_logp(), readout_function(model)
    point, counts = model.initial_point(), SigmoidChip().run([np.array([[0.4, -1.0]])], INPUTS)
    for scale in np.linspace(-2.0, 2.0, 5):
        point |= {"w_1": np.array([[0.4, -1.0]]), "beta_log__": np.array(scale), "bias": np.array([scale, 0.3])}
        found = readout(point)
        assert (found.beta, *found.bias) == (np.exp(scale), scale, 0.3)
        prior = stats.norm.logpdf([0.4, -1.0, scale / 1.5, 0.2]).sum() - 2 * np.log(1.5)
        prior += stats.norm.logpdf(scale, np.log(0.5), 1.0)
        assert float(logp(point)) == pytest.approx(prior + found.log_p([counts], LABELS).sum(), rel=1e-12)
    assert chip.runs == 1


def test_its_gradient_is_that_of_the_log_density():
    model = build_model(SigmoidChip(), INPUTS, LABELS, "learned_readout")
    gradient, logp = model.compile_dlogp([model["beta"], model["bias"]]), model.compile_logp()
    point = model.initial_point() | {"bias": np.array([0.7, -0.4]), "w_1": np.array([[0.4, -1.0]])}
    found, expected, e = gradient(point), [], 1e-5
    for name, place in (("beta_log__", ()), ("bias", 0), ("bias", 1)):
        ends = []
        for sign in (1, -1):
            moved = {key: np.array(value) for key, value in point.items()}
            moved[name][place] += sign * e
            ends.append(float(logp(moved)))
        expected.append((ends[0] - ends[1]) / (2 * e))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.raises(NotImplementedError, match="a chip, which has no gradient"):
        model.compile_dlogp([model["w_1"]])


# what is recorded, and what is refused


def test_names_and_dims():
    model = build_model(SigmoidChip(), INPUTS, LABELS, "learned_readout", class_names=["ill", "well"])
    assert model.named_vars_to_dims["bias"] == ("post_1",)
    assert model.likelihood.recorded
    assert model.likelihood.fixed is None
    assert [v.name for v in model.free_RVs] == ["w_1", "beta", "bias"]
    computed = build_model(SigmoidChip(), INPUTS, LABELS, gaussian, readout=one_bias)
    assert [v.name for v in computed.deterministics] == ["bias"]
    fixed = build_model(SigmoidChip(), INPUTS, LABELS, gaussian, readout=lambda chip: (1, [0, 2]))
    assert {v.name for v in fixed.deterministics} == {"beta", "bias"}
    assert (fixed.likelihood.fixed.beta, *fixed.likelihood.fixed.bias) == (1.0, 0.0, 2.0)
    plain = build_model(SigmoidChip(), INPUTS, LABELS, gaussian)
    assert not plain.likelihood.recorded
    assert "beta" not in plain.named_vars


def from_the_weights(chip):
    return pm.math.exp(pm.modelcontext(None)["w_1"][0, 0]), np.zeros(2)


def test_weights_that_the_readout_is_computed_from_are_not_swept():
    model = build_model(SigmoidChip(), INPUTS, LABELS, gaussian, readout=from_the_weights)
    with pytest.warns(UserWarning, match="because the readout is computed from w_1"):
        make_step("sitewise", model)


@pytest.mark.parametrize(
    ("readout", "says"),
    [
        (lambda chip: 0.5, "returned 0.5, but (beta, bias) is expected"),
        (lambda chip: (1.0, 2.0, 3.0), "but (beta, bias) is expected"),
        (lambda chip: ("x", "y"), "but (beta, bias) is expected"),
        (lambda chip: (0.5, np.zeros(3)), "returned shapes () and (3,), but beta is one number and the biases"),
        (lambda chip: (np.ones(2), np.zeros(2)), "returned shapes (2,) and (2,)"),
        (lambda chip: (0.0, np.zeros(2)), "beta was 0.0, but a number above 0 is expected"),
        (lambda chip: (1.0, [0.0, np.nan]), "biases that are not finite"),
        (lambda chip: (pm.Normal("beta"), np.zeros(2)), "but the weight of a spike is above 0: take pm.LogNormal"),
        (lambda chip: (2.0 * pm.HalfNormal("beta"), np.zeros(2)), "has a variable 'beta' which is not the beta that"),
        (lambda chip: pm.modelcontext(None).there_is_none, "does not run (AttributeError"),
        ("learned", "The readout was 'learned', but a function"),
    ],
)
def test_readouts_that_are_refused(readout, says):
    with pytest.raises(InputError) as error:
        build_model(SigmoidChip(), INPUTS, LABELS, gaussian, readout=readout)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


def test_the_weight_of_a_spike_that_was_asked_for_is_the_default_readouts():
    model = build_model(LIFChip((1, 2, 3), n_steps=20), INPUTS, LABELS, beta=0.8)
    assert readout_function(model)(model.initial_point()).beta == 0.8
    assert model.named_vars_to_dims["bias"] == ("post_2",)
    at = stats.norm.logpdf([0.5, 0.0, -3.0], scale=0.8 * 20 / 4).sum()
    logp = model.compile_logp(vars=[model["bias"]])
    assert float(logp(model.initial_point() | {"bias": np.array([0.5, 0.0, -3.0])})) == pytest.approx(at, rel=1e-12)


def test_two_readouts_are_one_too_many():
    with pytest.raises(InputError, match=r"beta was 0\.7, but the model has a readout of its own"):
        build_model(SigmoidChip(), INPUTS, LABELS, "learned_readout", beta=0.7)
