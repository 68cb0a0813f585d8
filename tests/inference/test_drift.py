"""Chips that drift: the walk of their thresholds, chains that follow it, and the verdict on how far it has gone."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.inference.diagnostics import diagnose
from bayes_snn.inference.drift import ALPHA, FEWEST, Drift, judge_series
from bayes_snn.inference.fit import fit
from bayes_snn.inference.load import load_fit
from bayes_snn.likelihood import log_likelihood
from bayes_snn.posterior.noisy import MCWM, NoiseChoice
from bayes_snn.samplers.by_name import STEPS, make_step
from bayes_snn.samplers.shared.watch import Watch
from tests.chips.lif.test_chip import random_network
from tests.helpers import coin
from tests.helpers.chains import carried
from tests.helpers.fits import same_draws
from tests.helpers.reference import drifted, reference_spikes, spread

pytestmark = pytest.mark.usefixtures("quickly_compiled")

LAYERS = (4, 9, 3)
NAMES, SIGMAS = ["comparator", "threshold", "noise", "silent", "drift"], [1.0, 0.3, 0.2, 0.2, 0.8]

# the walk


@pytest.mark.parametrize("age", [0, 1, 700])
def test_thresholds_are_those_of_the_equation(age):
    chip = LIFChip(LAYERS, ["threshold", "drift"], [0.3, 0.8], 5)
    chip.grow_old(age)
    assert chip.age == age
    for layer, (_, thresholds) in enumerate(chip.effective_neurons()):
        expected = spread(chip, "threshold", layer, LAYERS[layer + 1]) * drifted(chip, layer)
        np.testing.assert_array_equal(thresholds, expected.astype(np.float32))
        assert (thresholds != spread(chip, "threshold", layer, LAYERS[layer + 1]).astype(np.float32)).all() == (age > 0)


def test_an_old_chip_equals_the_reference():
    weights, inputs = random_network(LAYERS, 40, 3)
    chip, again = (LIFChip(LAYERS, NAMES, SIGMAS, 5) for _ in range(2))
    young = again.run(weights, inputs)
    chip.grow_old(500)
    again.grow_old(499)
    expected = reference_spikes(chip, weights, inputs)[-1].sum(axis=1)
    np.testing.assert_array_equal(again.run(weights, inputs), expected)
    assert again.age == 501
    assert (young != expected).any()


def test_a_seed_and_an_age_say_where_the_walk_stands():
    weights, inputs = random_network(LAYERS, 40, 3)
    chip = LIFChip(LAYERS, NAMES, SIGMAS, 5)
    chip.restart_noise(8)
    for _ in range(20):
        last = chip.run(weights, inputs)
    copy = pickle.loads(pickle.dumps(chip))
    chip.restart_noise(8)
    chip.grow_old(12)
    chip.grow_old(7)
    np.testing.assert_array_equal(chip.run(weights, inputs), last)
    np.testing.assert_array_equal(chip.run(weights, inputs), copy.run(weights, inputs))
    chip.restart_noise(9)
    chip.grow_old(19)
    assert (chip.run(weights, inputs) != last).any()


def test_thresholds_spread_by_sigma_in_a_thousand_runs_and_do_not_walk_together():
    chip = LIFChip((1, 5000, 2), "drift", 0.3)
    walks = [np.zeros(5000)]
    for _ in range(4):
        chip.grow_old(250)
        walks.append(np.log(chip.effective_neurons()[0][1].astype(float)))
    steps = np.diff(walks, axis=0) / (0.3 * 0.5)  # each standard normal; limits at 5 standard errors
    assert (np.abs(steps.mean(axis=1)) < 5 / 5000**0.5).all()
    assert (np.abs(steps.var(axis=1) - 1) < 5 * (2 / 5000) ** 0.5).all()
    neighbours = [np.corrcoef(steps)[np.triu_indices(4, 1)], [np.corrcoef(steps[:, 1:], steps[:, :-1])[0, 4]]]
    assert (np.abs(np.concatenate(neighbours)) < 5 / 5000**0.5).all()


def test_strength_zero_does_not_age_and_the_furthest_walk_ends_nothing():
    weights, inputs = random_network(LAYERS, 40, 3)
    ideal = LIFChip(LAYERS, "drift", 0.0)
    ideal.grow_old(10**6)
    assert ideal.age == 0
    assert not ideal.spec.drifting
    np.testing.assert_array_equal(ideal.run(weights, inputs), LIFChip(LAYERS).run(weights, inputs))
    old = LIFChip(LAYERS, ["comparator", "drift"], [1.0, 10.0])
    old.grow_old(300_000)
    assert old.run(weights, inputs).shape == (40, 3)


def test_a_drifting_chip_is_not_deterministic_whatever_it_says():
    assert not ChipSpec((1, 2), drifting=True).deterministic
    spec = LIFChip(LAYERS, "drift", 0.1).spec
    assert spec.drifting
    assert not spec.deterministic
    assert not LIFChip(LAYERS, "noise", 0.1).spec.drifting
    assert LIFChip(LAYERS, "drift", 0.1).site_sweeper(np.zeros((1, 4)), np.zeros(1, int)) is None


# chains that follow


class FadingChip(coin.CoinChip):
    """Right in its first runs and wrong afterwards, whatever its weights; no noise."""

    spec = ChipSpec((1, 2), 2 * coin.CENTRE, drifting=True)
    good_runs = 40

    def run(self, weights, inputs):
        self.shown.append(weights[0][0, 0])
        good = len(self.shown) <= self.good_runs
        return np.tile([0, 2 * coin.CENTRE] if good else [2 * coin.CENTRE, 0], (len(inputs), 1))


def step_on(chip, sampler, choice, monkeypatch):
    monkeypatch.setattr(coin, "CoinChip", lambda: chip)
    model = coin.coin_model(choice)
    step = make_step(sampler, model)
    if sampler in ("block", "pcn"):
        step.proposals = 2
    step.setup_chain(np.random.default_rng(3), 0, 0)
    step.stop_tuning()
    return model, step


@pytest.mark.parametrize("sampler", STEPS)
def test_a_look_measures_and_the_chain_goes_on_from_it(sampler, monkeypatch):
    chip = coin.CoinChip(4)
    model, step = step_on(chip, sampler, NoiseChoice(repeats=2, remeasure=3), monkeypatch)
    point, references = {"w_1": np.array([[0.3, 0.1]])}, []
    for draw in range(16):
        chip.shown.clear()
        current = point["w_1"][0, 0]
        held = carried(step, [point["w_1"]], coin.LABELS)
        new, [stats] = step.step(point)
        looked = draw > 0 and draw % 3 == 0
        assert np.isfinite(stats["remeasured_after"]) == looked
        if looked:
            assert chip.shown[:2] == [current] * 2
            assert stats["remeasured_before"] == pytest.approx(held, rel=1e-12)
            references.append(chip.shown[2] if len(references) else current)
            rejected = (new["w_1"] == point["w_1"]).all()
            if rejected:  # what was measured is what the chain now has
                assert carried(step, [point["w_1"]], coin.LABELS) == pytest.approx(stats["remeasured_after"])
        assert stats["presentations"] == model.likelihood.op.presentations
        point = new
    assert len(set(references)) == 1


@pytest.mark.parametrize("remeasure", [0, 5])
@pytest.mark.parametrize("sampler", STEPS)
def test_a_chain_that_measures_anew_does_not_stick_to_what_was_once_true(sampler, remeasure, monkeypatch):
    """All weights are alike, but only early answers are right: an estimate that is kept beats all others for ever."""
    _, step = step_on(FadingChip(), sampler, NoiseChoice(remeasure=remeasure), monkeypatch)
    point, draws = {"w_1": np.array([[0.3, 0.1]])}, []
    for _ in range(120):
        point, _ = step.step(point)
        draws.append(point["w_1"][0, 0])
    assert (len(set(draws[-50:])) > 5) == (remeasure > 0)


def test_the_warm_up_has_no_point_of_reference_and_a_chip_that_goes_on_keeps_its_own(monkeypatch):
    for chip, kept in ((coin.CoinChip(4), False), (FadingChip(), True)):
        _, step = step_on(chip, "block", NoiseChoice(remeasure=1, goes_on=kept), monkeypatch)
        step.tune = True
        point = {"w_1": np.array([[0.3, 0.1]])}
        for _ in range(3):
            point, [stats] = step.step(point)
        assert np.isnan(stats["remeasured_reference"])
        assert step.watch.reference.size == 0
        step.stop_tuning()
        point, [stats] = step.step(point)
        assert stats["remeasured_reference"] == stats["remeasured_after"]
        first = step.watch.reference
        step.setup_chain(np.random.default_rng(5), 0, 0)
        assert np.array_equal(step.watch.reference, first) == kept


@pytest.mark.parametrize("sampler", STEPS)
def test_a_step_tells_its_watch_with_its_state(sampler, monkeypatch):
    chips = coin.CoinChip(4), coin.CoinChip(4)
    _, step = step_on(chips[0], sampler, NoiseChoice(remeasure=1), monkeypatch)
    point = {"w_1": np.array([[0.3, 0.1]])}
    for _ in range(3):
        point, _ = step.step(point)
    state = step.checkpoint_state()
    _, other = step_on(chips[1], sampler, NoiseChoice(remeasure=1), monkeypatch)
    other.restore_state(state)
    assert other.watch.n_draws == 3
    np.testing.assert_array_equal(other.watch.reference, step.watch.reference)
    assert step.watch.reference.size == 2 + 3  # two weights and the readout of two classes


def test_a_watch_is_kept_in_plain_values():
    watch = Watch(7, np.array([1.0, 2.0]))
    state = watch.checkpoint_state()
    again = Watch()
    again.restore_state(state)
    watch.reference[0] = 9.0
    assert again.n_draws == 7
    np.testing.assert_array_equal(again.reference, [1.0, 2.0])


# the verdict


def series(rng, n_replicates, n, kind):
    """Log-likelihoods of a point of reference, (n_replicates, n)."""
    noise = -(rng.exponential(2.0, size=(n_replicates, n)) ** 1.5)  # far from normal
    return noise + {"still": 0.0, "drifting": 6.0 * rng.normal(size=(n_replicates, n)).cumsum(axis=1)}[kind]


def test_false_alarms_and_power_of_the_verdict():
    rng = np.random.default_rng(11)
    n = 400
    still = [judge_series(list(pair)) for pair in series(rng, 2 * n, 15, "still").reshape(n, 2, 15)]
    alarms = sum(found.p_value <= ALPHA for found in still)
    # the rate is at most ALPHA, of which 400 trials would show more than 12 alarms once in 1,400
    assert alarms <= 12
    assert sum(found.too_far for found in still) <= alarms
    moved = [judge_series([one]) for one in series(rng, n, 30, "drifting")]
    assert sum(found.too_far for found in moved) > 0.8 * n


def measured(sigma, n, runs_between, seed):
    """A point of reference on a noisy chip, drifting with sigma, measured n times."""
    rng = np.random.default_rng(seed)
    inputs = 2 * rng.normal(size=(60, 2))
    chip = LIFChip((2, 6, 2), ["noise", "drift"], [0.1, sigma], seed, n_steps=16)
    chip.restart_noise(seed)
    weights = [2 * rng.normal(size=(2, 6)), 1.5 * rng.normal(size=(6, 2)) + 0.7]
    labels = chip.run(weights, inputs).argmax(axis=1)
    values = []
    for _ in range(n):
        chip.grow_old(runs_between)
        values.append(log_likelihood(chip.run(weights, inputs), labels, 0.5).sum())
    return np.array(values)


def test_false_alarms_and_power_on_a_simulated_chip():
    still = [judge_series([measured(0.0, 20, 100, seed)]) for seed in range(150)]
    # more than 8 of 150 at a rate of ALPHA come once in 25,000
    assert sum(found.p_value <= ALPHA for found in still) <= 8
    moved = [judge_series([measured(1.0, 40, 50, seed)]) for seed in range(40)]
    assert sum(found.too_far for found in moved) >= 30


def test_size_of_the_move_is_in_nats():
    rng = np.random.default_rng(2)
    slow = np.repeat([0.0, 6.0], 500)  # standard deviation 3
    found = judge_series([slow + 2.0 * rng.normal(size=1000)])
    assert found.move == pytest.approx(3.0, rel=0.1)
    assert found.noise == pytest.approx(2.0, rel=0.1)
    assert found.too_far
    assert "moved too far" in found.verdict
    little = judge_series([0.1 * slow])
    assert little.p_value <= ALPHA
    assert not little.too_far
    assert "moved a little" in little.verdict


def test_verdicts_that_need_no_statistics():
    assert "stood still" in judge_series([np.full(20, -3.0)]).verdict
    few = judge_series([np.arange(FEWEST - 1.0)])
    assert "too few to tell" in few.verdict
    assert not few.too_far


# a fit


@pytest.fixture(scope="module")
def drifting_fit():
    rng = np.random.default_rng(0)
    inputs = 2 * rng.normal(size=(40, 2))
    labels = (inputs[:, 0] > 0).astype(int)
    chip = LIFChip((2, 4, 2), ["drift", "noise"], [3.0, 0.1], 2, n_steps=16)

    def make(seed=0, **options):
        arguments = {"sampler": "sitewise", "draws": 24, "tune": 6, "chains": 2, "seed": seed, "remeasure": 4}
        return fit(chip, inputs, labels, **(arguments | options))

    return make, make()


def test_a_fit_logs_what_it_measured_and_judges(drifting_fit, tmp_path):
    _, result = drifting_fit
    looks = result.posterior["remeasured"].dataset
    np.testing.assert_array_equal(looks["chain"], [0] * 6 + [1] * 6)
    np.testing.assert_array_equal(looks["draw"], [2, 6, 10, 14, 18, 22] * 2)  # every 4, counted from the warm-up on
    assert np.isfinite(looks["before"]).all()
    assert np.isfinite(looks["reference"]).all()
    assert not [name for name in result.posterior.sample_stats if name.startswith("remeasured")]
    diagnosis = result.diagnosis
    assert isinstance(diagnosis.drift, Drift)
    assert diagnosis.drift.n == 12
    # whether so few looks find the drift is a matter of luck; the verdict says what they found
    assert diagnosis.verdict.startswith("The chip moved too far") == diagnosis.drift.too_far
    assert diagnosis.drift.verdict in diagnosis.verdict
    weights = result.posterior.posterior.dataset[list(result.chip.spec.weight_names)]
    far = looks.assign(reference=looks["reference"] - 1000.0 * np.arange(12))
    moved = diagnose(weights, result.posterior.log_likelihood["label"], far)
    assert moved.drift.too_far
    assert moved.verdict.startswith("The chip moved too far")
    assert not moved.converged
    again = load_fit(result.save(tmp_path))
    assert again.diagnosis == diagnosis
    assert again.arguments["remeasure"] == 4


def test_a_drifting_chip_is_one_chip(drifting_fit):
    make, first = drifting_fit
    # every run made the chip older: those that are charged, a few of PyMC before the first draw, one for each draw
    assert 0 <= first.chip.age - first.passes - 48 <= 8
    second = make()  # on the chip that the first has used: it starts as it was made
    assert same_draws(first, second)
    assert not same_draws(first, make(seed=1))
    with pytest.raises(InputError, match="cores was 2, but this chip drifts"):
        make(cores=2)
    result = make(sampler="block", chains=1, draws=2, tune=0)
    # 100 runs a draw, a start, what PyMC asks before, and the evaluation of two draws: the chip continues ageing
    assert 203 <= result.chip.age <= 210
    before = result.chip.age
    result.predict(result.train_inputs, "map")
    assert result.chip.age == before + 1


def test_by_default_drifting_chips_are_watched(drifting_fit):
    make, _ = drifting_fit
    assert make(chains=1, draws=2, tune=0, remeasure=None).arguments["remeasure"] == 10
    unwatched = make(chains=1, draws=2, tune=0, remeasure=0)
    assert "remeasured" not in unwatched.posterior.children
    assert unwatched.diagnosis.drift is None
    few = make(chains=1, draws=2, tune=0, noise=MCWM, remeasure=1)
    assert "too few to tell" in few.diagnosis.verdict


def test_a_noisy_chip_that_does_not_drift_can_be_watched():
    rng = np.random.default_rng(0)
    chip = LIFChip((2, 2, 2), "noise", 0.2, n_steps=12)
    for sampler in ("pymc", "sitewise"):  # pymc has a step for each layer, of which one looks
        result = fit(
            chip, rng.normal(size=(10, 2)), np.arange(10) % 2, sampler=sampler, draws=9, tune=2, chains=2, cores=1,
            remeasure=2,
        )  # fmt: skip
        looks = result.posterior["remeasured"].dataset
        assert len(looks["look"]) == 2 * 5
        assert looks.attrs["goes_on"] == 0
        assert result.diagnosis.drift is not None
