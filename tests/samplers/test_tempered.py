"""Replica exchange on a chip itself: draws from posteriors that are known, what is counted, and what is refused."""

from __future__ import annotations

from functools import cache
from itertools import pairwise, product

import numpy as np
import pymc as pm
import pytest
from pymc.step_methods.compound import CompoundStep
from scipy.special import expit, log_softmax

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.inference.fit import fit, make_steps
from bayes_snn.likelihood import BETA
from bayes_snn.posterior.build import build_model, weight_variables
from bayes_snn.posterior.class_biases import no_biases
from bayes_snn.samplers.shared import replicas
from bayes_snn.samplers.shared.directional import DirectionalMetropolis
from bayes_snn.samplers.shared.readout_moves import ReadoutMoves
from bayes_snn.samplers.shared.replicas import Replicas
from bayes_snn.samplers.sitewise import SitewiseMetropolis
from bayes_snn.samplers.sitewise_grid import GridMetropolis
from bayes_snn.samplers.tempered import TemperedMetropolis
from tests.helpers.chains import run_chain, run_chains, same
from tests.helpers.fits import CountingChip, sweeping
from tests.helpers.toys import INPUTS, LABELS, MOMENTS, HiddenChip, SigmoidChip, quadrature, z_scores
from tests.helpers.unit_scales import in_unit_scales, unit_spec
from tests.helpers.weighted import expected_features, feature_scores, features, point_at, prior_draws, worst

LIMIT = 4.5  # of seven moments the largest is beyond it once in 20,000 times, if a sampler is right
SAMPLES = np.linspace(-2.0, 2.0, 10)[:, None]
CLASSES = np.array([0, 0, 1, 0, 0, 1, 0, 1, 1, 1])


def steps_on(model, sampler="tempered", **options):
    """All steps of a fit as one, and the sampler's."""
    with model:
        steps = make_steps(sampler, model, **options)
    return CompoundStep(steps), steps[-1]


def normal_starts(model, n, seed=7):
    """Points to begin at."""
    points = []
    for rng in np.random.default_rng(seed).spawn(n):
        points.append({name: rng.normal(size=np.shape(value)) for name, value in model.initial_point().items()})
    return points


def two_weights(found):
    return found["w_1"][:, :, 0]


# ---- posteriors known by quadrature


def lif_chip():
    return in_unit_scales(LIFChip((1, 2), "comparator", 1.0, seed=102, n_steps=12))


CHIPS = {
    "one weight at a time": (lambda: sweeping(SigmoidChip()), SitewiseMetropolis),
    "along directions": (lif_chip, DirectionalMetropolis),
}


@pytest.mark.parametrize("case", CHIPS)
def test_draws_are_those_of_a_posterior_known_by_quadrature(case):
    make, kind = CHIPS[case]
    model = build_model(make(), INPUTS, LABELS, "standard_normal")
    step, tempered = steps_on(model, n_replicas=3)
    assert type(tempered.replicas.movers[0]) is kind
    found, stats = run_chains(step, normal_starts(model, 4), 60, 1500)
    scores = z_scores(two_weights(found), quadrature(chip=make()))
    assert worst(scores.values()) < LIMIT, scores
    swaps = np.mean([told[-1]["swaps"] for told in stats])
    assert 0.1 < swaps < 1.0


def test_swaps_without_the_metropolis_rule_are_found_out(monkeypatch):
    """Negative control: neighbours always swap, so the chain is drawn at the powers of the others too."""
    exchange = Replicas._swap

    class Never:
        def uniform(self):
            return 0.0

    def always(self, places, heights, first, values, rng, learn):
        with np.errstate(divide="ignore"):
            exchange(self, places, heights, first, values, Never(), learn)

    monkeypatch.setattr(Replicas, "_swap", always)
    model = build_model(sweeping(SigmoidChip()), INPUTS, LABELS, "standard_normal")
    step, _ = steps_on(model, n_replicas=3)
    found, _ = run_chains(step, normal_starts(model, 4), 60, 1500)
    assert worst(z_scores(two_weights(found), quadrature()).values()) > LIMIT


# ---- two modes


class TwoModes:
    """One input, two outputs, whose counts depend on the product of the two weights alone: so both signs will do."""

    def __init__(self):
        self.spec = unit_spec((1, 2), 12)

    def run(self, weights, inputs):
        return self.counts(*np.asarray(weights[0])[0], np.asarray(inputs)[:, 0])

    @staticmethod
    def counts(a, b, x):
        """(..., n_samples, 2) of weights (...,) each."""
        drive = 3.0 * np.multiply.outer(a * b, x)
        return np.rint(12 * expit(np.stack([-drive, drive], axis=-1))).astype(np.int64)


SIDES = np.linspace(-1.5, 1.5, 20)
SIDED = (SIDES > 0).astype(int)
SHIFT = 0.3  # the prior's mean: one of the modes has most of the posterior


def shifted(chip):
    return [pm.Normal("w_1", SHIFT, 1.0, shape=(1, 2))]


def two_modes():
    """Expectations by quadrature on a grid far finer than the steps of the counts."""
    grid = np.linspace(-5, 6, 551)
    a, b = np.meshgrid(grid, grid, indexing="ij")
    log_p = -0.5 * ((a - SHIFT) ** 2 + (b - SHIFT) ** 2)
    for x, label in zip(SIDES, SIDED, strict=True):
        log_p += log_softmax(BETA * TwoModes.counts(a, b, x), axis=-1)[..., label]
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    return {name: float((p * f(a, b)).sum()) for name, f in MOMENTS.items()}, float(p[(a > 0) & (b > 0)].sum())


def from_the_lesser_mode(sampler, monkeypatch, **options):
    """Scores of chains that begin in the lesser mode, and how often each is in the other.

    There is no warm-up, which would lead them out; instead the hottest replica is hotter, and the first draws are left
    out of the scores, as long as it takes to forget the start.
    """
    monkeypatch.setattr(replicas, "LEAST_POWER", 0.05)
    model = build_model(sweeping(TwoModes()), SIDES[:, None], SIDED, shifted)
    step, _ = steps_on(model, sampler, **options)
    starts = [{"w_1": np.array([[-1.0, -1.0]])}] * 4
    draws = two_weights(run_chains(step, starts, 0, 1800)[0])[:, 300:]
    expected, share = two_modes()
    return z_scores(draws, expected), share, np.mean(draws[..., 0] > 0, axis=1)


def test_replicas_bring_a_chain_from_mode_to_mode(monkeypatch):
    scores, share, seen = from_the_lesser_mode("tempered", monkeypatch, n_replicas=4)
    assert 0.6 < share < 0.9
    assert worst(scores.values()) < LIMIT, scores
    assert ((seen > 0.3) & (seen < 1.0)).all()


@pytest.mark.parametrize(("sampler", "options"), [("sitewise", {}), ("tempered", {"n_replicas": 1})])
def test_a_chain_alone_stays_in_its_mode(sampler, options, monkeypatch):
    """Negative control."""
    scores, _, seen = from_the_lesser_mode(sampler, monkeypatch, **options)
    assert worst(scores.values()) > LIMIT
    assert (seen == 0).all()


# ---- hyperparameters, readouts, grids, and weights that are tied

DEEP = "hierarchical, two layers"
CASES = {"hierarchical": 900, "laplace": 700, "grid": 700, "learned_readout": 900, DEEP: 1200}


@cache
def toy_chip(case):
    return HiddenChip() if case == DEEP else SigmoidChip()


@cache
def expected(case, biased=True):
    return expected_features(toy_chip(case), SAMPLES, CLASSES, case.split(",")[0], 400_000, biased)


def scores_under(case, draws, chains=3, biased=True):
    prior, chip = case.split(",")[0], toy_chip(case)
    model = build_model(sweeping(chip), SAMPLES, CLASSES, prior, readout=None if biased else no_biases)
    step, _ = steps_on(model, n_replicas=3)
    drawn = prior_draws(prior, chip, chains, np.random.default_rng(4), biased)
    found, _ = run_chains(step, [point_at(model, drawn, chain) for chain in range(chains)], 60, draws)
    return feature_scores(features(chip, SAMPLES, CLASSES, found), expected(case, biased))


@pytest.mark.parametrize("case", CASES)
def test_draws_are_exact_whatever_the_prior(case):
    scores = scores_under(case, CASES[case])
    assert worst(scores.values()) < 5.0, scores  # of some 70


def test_a_readout_that_is_moved_at_another_power_is_found_out(monkeypatch):
    """Negative control: the likelihood counts a third of what it counts for the weights."""
    move = ReadoutMoves.move
    monkeypatch.setattr(ReadoutMoves, "move", lambda self, r, counts, power, rng: move(self, r, counts, power / 3, rng))
    assert worst(scores_under("learned_readout", 900).values()) > 5.0


def test_swaps_heed_what_replicas_go_with(monkeypatch):
    """Negative control: the other replicas keep the hyperparameters of the warm-up, and swaps forget it."""
    exchange = Replicas._swap

    def forgetful(self, places, heights, first, values, rng, learn):
        exchange(self, places, heights, first, values, rng, learn=True)

    monkeypatch.setattr(Replicas, "_swap", forgetful)
    monkeypatch.setattr(Replicas, "_learn", lambda *arguments: None)
    assert worst(scores_under("hierarchical", 1600, biased=False).values()) > 5.0


def test_a_grid_is_drawn_as_all_its_states_are_weighted():
    chip = LIFChip((1, 2), ["quantisation", "gain"], [3, 0.1], seed=104, n_steps=12)
    model = build_model(chip, INPUTS, LABELS, "grid", readout=no_biases)
    step, tempered = steps_on(model, n_replicas=3)
    assert type(tempered.replicas.movers[0]) is GridMetropolis
    [name] = model.initial_point()
    log_p, n = model.compile_logp(), 7  # levels of 3 bits
    states = np.array(list(product(range(n), repeat=2)))
    logs = np.array([log_p({name: np.array([state])}) for state in states])
    p = np.exp(logs - logs.max()) / np.exp(logs - logs.max()).sum()
    assert np.sort(p)[-3] > 0.03  # several states matter
    found, _ = run_chains(step, [{name: np.array([[k, 3]])} for k in range(4)], 60, 800)
    truth = {moment: float(p @ f(*states.T)) for moment, f in MOMENTS.items()}
    scores = z_scores(found[name][:, :, 0], truth)
    assert worst(scores.values()) < LIMIT, scores


def test_a_tied_prior_moves_all_weights_at_once():
    def tied(chip):
        return [pm.MvNormal("w_1", mu=np.zeros(2), cov=np.eye(2), shape=(1, 2))]

    model = build_model(sweeping(SigmoidChip()), INPUTS, LABELS, tied)
    step, tempered = steps_on(model, n_replicas=2)
    for mover in tempered.replicas.movers:
        mover.proposals = 5
    found, _ = run_chains(step, normal_starts(model, 4), 60, 1000)
    scores = z_scores(two_weights(found), quadrature())
    assert worst(scores.values()) < LIMIT, scores


# ---- the warm-up


def test_powers_and_step_sizes_are_learned_in_the_warm_up_alone():
    model = build_model(lif_chip(), INPUTS, LABELS, "standard_normal")
    step, tempered = steps_on(model)
    step.setup_chain(np.random.default_rng(0), 40, 20)
    step.tune = True
    step.reset_tuning()
    exchange, seen, point = tempered.replicas, [], model.initial_point()
    for draw in range(60):
        if draw == 40:
            step.stop_tuning()
        seen.append((exchange.ladder.copy(), [mover.learned_state() for mover in exchange.movers], tempered._warming()))
        point, _ = step.step(point)
    ladders, learned, powers = zip(*seen, strict=True)
    assert (ladders[0][1:-1] != ladders[40][1:-1]).all()
    assert all((ladder == ladders[40]).all() and ladder[0] == 1.0 for ladder in ladders[40:])
    assert all(a["n_sweeps"] == 40 for state in learned[40:] for a in state)
    np.testing.assert_array_equal(learned[40][0]["log_scales"], learned[59][0]["log_scales"])
    # tempered at its start, no longer from the middle on
    assert powers[0] == pytest.approx((0.3, 0.01))
    assert all(a < b for a, b in pairwise(powers[:21]))
    assert set(powers[20:]) == {(1.0, 1.0)}


def test_one_replica_tells_of_no_swaps():
    model = build_model(lif_chip(), INPUTS, LABELS, "standard_normal")
    step, _ = steps_on(model, n_replicas=1)
    _, stats = run_chain(step, model.initial_point(), 2, 3, np.random.default_rng(0))
    assert all(np.isnan(told[-1]["swaps"]) for told in stats)


# ---- presentations


class Tallied(CountingChip):
    """A simulated chip counted from outside: what reaches `run`, and what its sweeps say that they have shown."""

    def __init__(self, chip):
        super().__init__(chip)
        self.sweepers = []

    def site_sweeper(self, inputs, labels):
        self.sweepers.append(self.chip.site_sweeper(inputs, labels))
        return self.sweepers[-1]

    @property
    def all_shown(self):
        return self.shown + sum(sweeper.presentations for sweeper in self.sweepers)


def small_chip(**options):
    return LIFChip((3, 4, 2), "comparator", 3.0, n_steps=16, **options)


X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.arange(12) % 2


def small_fit(chip, weights=None, **options):
    return fit(chip, X, Y, weights, sampler="tempered", draws=6, tune=4, chains=2, seed=7, cores=1, **options)


@pytest.mark.parametrize("prior", ["gaussian", "laplace", "hierarchical", "learned_readout"])
def test_what_all_replicas_show_is_told(prior):
    chip = Tallied(small_chip())
    result = small_fit(chip, prior)
    assert result.cost.total == chip.all_shown
    assert result.presentations > 0.9 * sum(sweeper.presentations for sweeper in chip.sweepers) > 0


def test_the_chip_s_own_sweeps_tell_what_a_black_box_is_shown():
    """With one group of samples there is no block to stop behind, and far from saturation every proposal is shown."""
    own = small_fit(small_chip(weight_range=(-60.0, 60.0)), "laplace")
    seen = sweeping(CountingChip(small_chip(weight_range=(-60.0, 60.0))))
    box = small_fit(seen, "laplace")
    np.testing.assert_array_equal(own.posterior.posterior["w_1"], box.posterior.posterior["w_1"])
    assert own.presentations == box.presentations
    assert own.cost.total == box.cost.total == seen.shown


def test_log_likelihood_is_that_of_the_draw():
    chip = small_chip()
    result = small_fit(chip, "learned_readout")
    told = result.posterior.sample_stats["log_likelihood"].values
    exact = result.posterior.log_likelihood["label"].values.sum(axis=-1)
    np.testing.assert_allclose(told, exact, rtol=1e-9)


# ---- a chain that is stopped; tests/checkpoint/test_chains.py stores it anywhere


@pytest.mark.parametrize("prior", ["gaussian", "hierarchical"])
def test_a_chain_goes_on_from_its_state_with_the_same_bits(prior):
    def begun():
        model = build_model(small_chip(), X, Y, prior)
        step, tempered = steps_on(model)
        step.setup_chain(np.random.default_rng(3), 6, 20)
        step.tune = True
        step.reset_tuning()
        return model, step, tempered

    def draws(step, point, numbers):
        found = []
        for draw in numbers:
            if draw == 6:
                step.stop_tuning()
            point, stats = step.step(point)
            found.append(({name: np.array(value) for name, value in point.items()}, stats[-1:]))
        return found

    model, step, tempered = begun()
    [start] = normal_starts(model, 1)
    first = draws(step, start, range(10))
    memory = model.likelihood.op.checkpoint_state()
    states = [(each.sampling_state, each.checkpoint_state()) for each in step.methods]
    whole = draws(step, first[-1][0], range(10, 20))
    other_model, other, other_tempered = begun()
    draws(other, start, range(3))  # whatever is not restored is another
    other_model.likelihood.op.restore_state(memory)
    for each, (sampling, own) in zip(other.methods, states, strict=True):
        each.sampling_state = sampling
        each.restore_state(own)
    assert same(draws(other, first[-1][0], range(10, 20)), whole)
    fewer = TemperedMetropolis(weight_variables(model), n_replicas=2, model=model)
    with pytest.raises(ValueError, match="other replicas"):
        fewer.restore_state(tempered.checkpoint_state())
    assert other_tempered.replicas.n_learned == tempered.replicas.n_learned


# ---- refusals


REFUSED = {
    "noisy": (lambda: CountingChip(LIFChip((1, 2), "noise", 0.3)), "CountingChip that is noisy"),
    "drifting": (lambda: CountingChip(LIFChip((1, 2), "drift", 1.0)), "CountingChip that is noisy"),
    "a black box": (
        lambda: CountingChip(SigmoidChip()),
        r"CountingChip that has no sweeps of its own \(site_sweeper\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_chip_that_pays_for_what_it_is_shown_is_shown_nothing(case):
    make, said = REFUSED[case]
    chip = make()
    with pytest.raises(
        InputError, match=rf"^Sampler 'tempered' came with a {said}, but .* take sampler 'twin'"
    ) as error:
        fit(chip, INPUTS, LABELS, sampler="tempered", draws=2, tune=1, chains=1)
    assert str(error.value).count(". ") == 0
    assert chip.shown == 0
    with pytest.raises(InputError, match=said):
        TemperedMetropolis(weight_variables(model := build_model(chip, INPUTS, LABELS, "standard_normal")), model=model)


def test_whole_numbers_that_are_tied_are_told():
    def tied(chip):
        level = pm.Categorical("level", p=np.full(3, 1 / 3), shape=(1, 2))
        pm.Potential("tie", -1.0 * (level[0, 0] - level[0, 1]) ** 2)
        return [level.astype("float64") - 1.0]

    model = build_model(sweeping(SigmoidChip()), INPUTS, LABELS, tied)
    with model, pytest.raises(InputError, match=r"Sampler 'tempered' cannot move these .* take sampler 'pymc'"):
        make_steps("tempered", model)
