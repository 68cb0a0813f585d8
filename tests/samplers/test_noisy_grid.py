"""Noise and a grid together: a proposal that was rejected comes back, and must not bring its old estimate along.

Chips of a few weight states whose likelihood is known, so that the posterior is a sum over all states. Every sampler is
held to it chain by chain, since estimates that are kept for too long make each chain converge to something of its own.
"""

from __future__ import annotations

from contextlib import nullcontext

import arviz as az
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr
from scipy import stats
from scipy.special import beta, expit

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.inference.fit import _other_steps
from bayes_snn.likelihood import BETA
from bayes_snn.posterior.build import build_model
from bayes_snn.posterior.class_biases import no_biases
from bayes_snn.posterior.noisy import MCWM, NoiseChoice
from bayes_snn.posterior.op import ChipCounts
from bayes_snn.samplers.by_name import make_step
from bayes_snn.samplers.hyperparameters import HyperparameterSlice
from bayes_snn.samplers.shared.shift import shift_neurons
from bayes_snn.samplers.shared.sweepers import BlackBoxSweeper
from bayes_snn.samplers.sitewise_grid import GridMetropolis
from bayes_snn.samplers.smc import sample_smc
from tests.helpers.chains import carried

LIMIT = 4.5  # of z-scores, as in test_samplers.py
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
    shifts, spreads = np.resize(SHIFTS, 16), np.resize([2, 6, 3, 5, 7], 16)


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


def ready(sampler, kind=None, chip=None):
    if chip is None:
        chip = SixteenStates() if sampler == "sitewise" else FourStates()
    prior = rounded if sampler in (*CONTINUOUS, "smc") else "grid"
    model = build_model(chip, INPUTS, LABELS, prior, readout=no_biases)
    model.likelihood.op.noise = NoiseChoice() if kind is None else NoiseChoice(kind)
    if sampler == "smc":
        return model, None
    step = make_step(sampler, model)
    if sampler in ("block", "pcn"):
        step.proposals = 2
    if sampler == "pcn":
        step.move.log_beta = np.log(0.8)
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
        weights = point["z"] if "z" in point else point[f"level_w_{len(model.likelihood.op.chip.spec.layers) - 1}"]
        states.append(state_of(weights))
    return np.array(states[burn_in:])


def worst(sampler, seed=0):
    """The largest |z| of the share of a state, over states and chains, errors from each chain's own correlations."""
    model, step = ready(sampler)
    expected, found = posterior(model.likelihood.op.chip), []
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
    monkeypatch.setattr(ChipCounts, "keep", lambda self, weights: None)
    assert worst(sampler) > LIMIT


class Hoarder(BlackBoxSweeper):
    """Takes the answer of any shift, accepted or not, for that of the current weights, if they are equal."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.offers = []

    def start(self, weights, readout):
        found = [counts for seen, counts in self.offers if all(map(np.array_equal, weights, seen))]
        if found:
            self.accept(weights, found[-1])
        self.offers = []
        return super().start(weights, readout)


def offering(self, q, run=GridMetropolis._run):
    """As `GridMetropolis._run`, with an offer of the answer, whatever becomes of the shift."""
    value = run(self, q)
    self._sweeper.offers.append(self._last_run)
    return value


@pytest.mark.parametrize("wrong", [False, True])
def test_a_sweep_that_takes_answers_of_rejected_shifts_is_found_out(wrong, monkeypatch):
    """It leaves states of much noise too early: a lucky estimate there is exchanged for an unlucky one."""
    if wrong:
        monkeypatch.setattr("bayes_snn.samplers.shared.sweepers.BlackBoxSweeper", Hoarder)
        monkeypatch.setattr(GridMetropolis, "_run", offering)
    model, step = ready("sitewise")
    chip, chains = model.likelihood.op.chip, np.random.default_rng(4).spawn(2)
    noisy = chip.spreads >= 5
    seen = xr.DataArray([noisy[chain(model, step, rng, 1500)] for rng in chains], dims=("chain", "draw")).astype(float)
    z = (seen.mean() - posterior(chip)[noisy].sum()) / az.mcse(seen.to_dataset(name="x"))["x"]
    assert (z < -1.5 * LIMIT) if wrong else (abs(z) < LIMIT), float(z)


def spread_of_populations(model):
    """Deviations of a state's share in each population, in those of as many independent draws; root mean square."""
    expected = posterior(model.likelihood.op.chip)
    tree = sample_smc(model, 100, 12, np.random.default_rng(2), False)
    shares = (state_of(tree.posterior["z"].values)[..., None] == np.arange(4)).mean(axis=1)
    return float(np.sqrt(np.mean((shares - expected) ** 2 / (expected * (1 - expected) / 100)))), shares, expected


def test_particles_that_are_alike_share_no_estimate(monkeypatch):
    monkeypatch.setattr("bayes_snn.samplers.smc.CORRELATION_THRESHOLD", 0.01)
    model, _ = ready("smc")
    spread, shares, expected = spread_of_populations(model)
    t = (shares.mean(axis=0) - expected) / (shares.std(axis=0, ddof=1) / 12**0.5)
    assert np.abs(t).max() < stats.t.isf(stats.norm.sf(LIMIT), 11)
    assert spread < 3
    before = model.likelihood.op.chip.runs
    op, weights = model.likelihood.op, [np.ones((1, 2))]
    np.testing.assert_array_equal(op.evaluate(weights), op.evaluate(weights))  # as before
    assert op.chip.runs == before + 1
    monkeypatch.setattr(ChipCounts, "fresh_estimates", lambda self: nullcontext())
    assert spread_of_populations(model)[0] > 3


# ---- what is kept, and for how long


@pytest.mark.parametrize("kind", [None, MCWM])
@pytest.mark.parametrize("sampler", [*DRAWS])
def test_steps_on_hyperparameters_find_the_current_estimate(sampler, kind):
    """A step that leaves the weights alone evaluates log L without a run, and gets what the sampler has."""
    model, step = ready(sampler, kind)
    chip = model.likelihood.op.chip
    log_likelihood_at = model.compile_fn(
        model.logp(vars=[model.likelihood.label]), inputs=model.value_vars, on_unused_input="ignore"
    )
    rng = np.random.default_rng(5)
    step.setup_chain(rng, 0, 30)
    step.stop_tuning()
    point = start(model, rng)
    for _ in range(30):
        point, _ = step.step(point)
        before = chip.runs
        value = float(log_likelihood_at(point))
        assert chip.runs == before
        if kind is None:
            weights = [np.where(point["z"] > 0, 1.0, -1.0)] if "z" in point else current_weights(model, point)
            assert value == pytest.approx(carried(step, weights, LABELS))


def beta_bernoulli(chip):
    """Levels of a hidden neuron's weights, 1 with a probability that is drawn too; the first layer is a constant."""
    level = pm.Bernoulli("level", pm.Beta("p", 2, 1), shape=(2, 2))
    return [pt.zeros((1, 2)), 2.0 * level - 1.0]


@pytest.mark.parametrize(("sampler", "wrong"), [("sitewise", False), ("pymc", False), ("sitewise", True)])
def test_a_hyperparameter_is_drawn_beside_the_noise(sampler, wrong):
    """Against a sum over all states, the hyperparameter integrated out; wrong is a run at the current point a draw."""
    chip = SixteenStates()
    model = build_model(chip, INPUTS, LABELS, beta_bernoulli)
    step, rng = make_step(sampler, model), np.random.default_rng(7)
    [other] = _other_steps(model, step)
    assert isinstance(other, HyperparameterSlice)
    n_draws, seen = 1500, []
    for generator in rng.spawn(2):
        for each in (step, other):
            each.setup_chain(generator, 0, n_draws)
            each.stop_tuning()
        point = {**model.initial_point(), "level": generator.integers(0, 2, (2, 2))}
        for _ in range(100 + n_draws):
            point, _ = step.step(point)
            weights = [np.zeros((1, 2)), 2.0 * point["level"] - 1.0]
            runs, known = chip.runs, carried(step, weights, LABELS)
            point, _ = other.step(point)
            assert (chip.runs, carried(step, weights, LABELS)) == (runs, known)
            if wrong:
                step.go_on_from(weights, model.likelihood.op.run(weights))
            seen.append((state_of(weights[1]), expit(point["p_logodds__"])))
    states, p = np.array(seen).reshape(2, -1, 2)[:, 100:].transpose(2, 0, 1)
    ones = np.array([state.bit_count() for state in range(16)])
    expected = posterior(chip) * beta(2 + ones, 1 + 4 - ones)
    expected /= expected.sum()
    noisy = chip.spreads >= 5
    found = {"noisy": 1.0 * noisy[states.astype(int)], "ones": 1.0 * ones[states.astype(int)], "p": p}
    known = {"noisy": expected[noisy].sum(), "ones": expected @ ones, "p": expected @ ((2 + ones) / (2 + 1 + 4))}
    draws = xr.Dataset({name: (("chain", "draw"), values) for name, values in found.items()})
    error = az.mcse(draws)
    z = {name: float((draws[name].mean() - known[name]) / error[name]) for name in known}
    assert (z["noisy"] < -1.5 * LIMIT) if wrong else (max(map(abs, z.values())) < LIMIT), z


def current_weights(model, point):
    chip = model.likelihood.op.chip
    names = chip.spec.weight_names
    return [levels[point[f"level_{name}"]] for levels, name in zip(chip.weight_levels, names, strict=True)]


def test_an_estimate_changes_only_by_an_accept():
    """Sweep by sweep: where no proposal was accepted, log L of the current point is what it was."""
    model, step = ready("sitewise")
    rng = np.random.default_rng(1)
    step.setup_chain(rng, 0, 300)
    step.stop_tuning()
    point, kept, before, shifted = start(model, rng), 0, None, []
    shift = step.shift

    def counted(q, value):
        found = shift(q, value)
        shifted.append(found[-1])
        return found

    step.shift = counted
    for _ in range(300):
        point, [stats_of_draw] = step.step(point)
        if before is not None and stats_of_draw["accept"] == 0 and shifted[-1] == 0:
            assert stats_of_draw["log_likelihood"] == before
            kept += 1
        before = stats_of_draw["log_likelihood"]
    assert kept > 5


def test_a_shift_tells_when_it_is_accepted():
    runs, accepted = [], []

    def run(q):
        runs.append(q.copy())
        return -1.0 - abs(float(q[0]))

    q, rng = np.zeros(1), np.random.default_rng(0)
    for _ in range(50):
        new, _, moved = shift_neurons(
            q, run(q), [np.array([0])], lambda w: -0.5 * w**2, run, (1.0, 1.0), rng,
            accept=lambda: accepted.append(runs[-1]),
        )  # fmt: skip
        assert len(accepted) == moved
        if moved:
            np.testing.assert_array_equal(accepted.pop(), new)
        q = new


@pytest.mark.parametrize("sampler", DRAWS)
def test_a_chain_goes_on_from_a_checkpoint_with_the_estimate_that_it_had(sampler):
    model, step = ready(sampler)
    rng = np.random.default_rng(3)
    step.setup_chain(rng, 0, 40)
    step.stop_tuning()
    point = start(model, rng)
    for _ in range(20):
        point, _ = step.step(point)
    kept, sampling, known = step.checkpoint_state(), step.sampling_state, model.likelihood.op.checkpoint_state()
    again, other = ready(sampler)
    other.setup_chain(np.random.default_rng(9), 0, 40)
    other.sampling_state = sampling
    other.restore_state(kept)
    again.likelihood.op.restore_state(known)
    if sampler == "sitewise":
        other._find_sweeper()
    runs = again.likelihood.op.chip.runs
    weights = [np.where(point["z"] > 0, 1.0, -1.0)] if "z" in point else current_weights(model, point)
    assert carried(other, weights, LABELS) == pytest.approx(carried(step, weights, LABELS))
    assert again.likelihood.op.chip.runs == runs
