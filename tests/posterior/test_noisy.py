"""Noisy chips: what each kind of chain converges to, that every sampler heeds the choice, and averaged predictions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.estimates.predict import ESTIMATES, run_draws
from bayes_snn.inference.fit import fit
from bayes_snn.likelihood import PLAIN, class_probabilities, log_likelihood, log_mean
from bayes_snn.posterior.noisy import MCWM, PSEUDO_MARGINAL, NoiseChoice, choose_noise, noise_in_words
from bayes_snn.posterior.op import ChipCounts
from bayes_snn.reports.tables import cost
from bayes_snn.samplers.by_name import STEPS, make_step
from bayes_snn.samplers.shared.shift import shift_neurons
from bayes_snn.samplers.smc import sample_smc
from tests.helpers import coin
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip, population_scores, z_scores

LIMIT = 4.5  # of z-scores, as in test_samplers.py
BETA = 0.8  # of pcn
CHAINS = 4
DRAWS = {"sitewise": 700, "block": 800, "pcn": 1600, "pymc": 700, "demetropolis": 700}


def normal(sd):
    return lambda a, b: stats.norm.pdf(b - a, scale=sd)


def sitewise_density(a, b):
    sd = 1 / np.sqrt(1 + 2.4**-2)  # a step size of 1, bounded by the prior's; one in five is ten times as far
    return 0.8 * stats.norm.pdf(b - a, scale=sd) + 0.2 * stats.norm.pdf(b - a, scale=10 * sd)


# density of an untuned proposal, and whether the prior decides; what demetropolis proposes depends on its past
KERNELS = {
    "sitewise": (sitewise_density, True),
    "block": (normal(2.38 / np.sqrt(2)), True),
    "pcn": (lambda a, b: stats.norm.pdf(b, np.sqrt(1 - BETA**2) * a, BETA), False),
    "pymc": (normal(1.0), True),
}


def limits(sampler, repeats):
    """Expectations under the limits of the two kinds of chain."""
    density, on_prior = KERNELS.get(sampler, KERNELS["pymc"])
    mcwm = coin.mcwm_limit(density, repeats, on_prior)
    return {PSEUDO_MARGINAL: coin.expectations(coin.posterior()), MCWM: coin.expectations(mcwm)}


def ready(sampler, choice):
    """A step on the coin chip, with its untuned proposal and one proposal of the weight to a draw."""
    model = coin.coin_model(choice)
    step = make_step(sampler, model)
    if sampler in ("block", "pcn"):
        step.proposals = 1
    if sampler == "pcn":
        step.move.log_beta = np.log(BETA)
    return model, step


def draws_of(sampler, choice, seed=0):
    """(CHAINS, n_draws, 1) draws of the weight."""
    _, step = ready(sampler, choice)
    n_draws = DRAWS[sampler]
    found = np.empty((CHAINS, n_draws, 1))
    for chain, rng in enumerate(np.random.default_rng([seed, 7]).spawn(CHAINS)):
        step.setup_chain(rng, 0, n_draws)
        step.stop_tuning()
        point = {"w_1": np.array([[rng.normal(), 0.0]])}
        for draw in range(-100, n_draws):
            point, _ = step.step(point)
            found[chain, max(draw, 0)] = point["w_1"][0, 0]
    return found


@pytest.mark.parametrize("kind", [PSEUDO_MARGINAL, MCWM])
@pytest.mark.parametrize(("sampler", "repeats"), [*((name, 1) for name in KERNELS), ("block", 3)])
def test_each_kind_has_the_limit_that_its_kernel_has(sampler, repeats, kind):
    """Pseudo-marginal: the posterior, for any number of runs. MCwM: the stationary distribution of its own kernel."""
    expected = limits(sampler, repeats)
    found = draws_of(sampler, NoiseChoice(kind, repeats))
    scores = {name: z_scores(found, values, coin.MOMENTS) for name, values in expected.items()}
    assert max(map(abs, scores.pop(kind).values())) < LIMIT
    assert max(map(abs, scores.popitem()[1].values())) > LIMIT  # and not that of the other


@pytest.mark.parametrize("kind", [PSEUDO_MARGINAL, MCWM])
def test_demetropolis_heeds_the_kind(kind):
    scores = z_scores(
        draws_of("demetropolis", NoiseChoice(kind)), limits("demetropolis", 1)[PSEUDO_MARGINAL], coin.MOMENTS
    )
    assert (max(map(abs, scores.values())) < LIMIT) == (kind == PSEUDO_MARGINAL)


def test_populations_keep_their_estimates(monkeypatch):
    # few moves: the prior is not far from the posterior
    monkeypatch.setattr("bayes_snn.samplers.smc.CORRELATION_THRESHOLD", 0.01)
    model = coin.coin_model(NoiseChoice(), "gaussian")
    tree = sample_smc(model, 60, 6, np.random.default_rng(5), False)
    scores = population_scores(
        tree.posterior["w_1"].values[:, :, 0, :1], coin.expectations(coin.posterior()), coin.MOMENTS
    )
    assert max(map(abs, scores.values())) < LIMIT


def test_more_runs_bring_mcwm_nearer_to_the_posterior():
    truth = coin.expectations(coin.posterior())["a^2"]
    biases = [limits("pymc", repeats)[MCWM]["a^2"] - truth for repeats in (1, 2, 4)]
    assert biases[0] > biases[1] > biases[2] > 0.1


def test_the_grid_is_fine_enough(monkeypatch):
    fine = limits("sitewise", 1)
    monkeypatch.setattr(coin, "GRID", (np.arange(240) + 0.5) * (2 * coin.REACH / 240) - coin.REACH)
    coarse = limits("sitewise", 1)
    for kind in fine:
        assert fine[kind] == pytest.approx(coarse[kind], abs=2e-3)


# what is averaged, and what it costs


class NoisyChip(SigmoidChip):
    """A sigmoid chip each of whose answers is off by -2 to 2 spikes, its noise its own."""

    def __init__(self, seed=0):
        super().__init__()
        self.spec = ChipSpec((1, 2), 12, deterministic=False)
        self.rng = np.random.default_rng(seed)

    def run(self, weights, inputs):
        counts = super().run(weights, inputs)
        return np.clip(counts + self.rng.integers(-2, 3, size=counts.shape), 0, 12)


def test_an_evaluation_is_the_log_of_the_mean_probability_of_each_sample():
    op = ChipCounts(NoisyChip(3), INPUTS)
    op.noise = NoiseChoice(repeats=4)
    weights = [np.array([[0.7, -0.4]])]
    terms = PLAIN.log_p(op.run(weights), LABELS)
    same = NoisyChip(3)
    each = [class_probabilities(same.run(weights, INPUTS))[np.arange(6), LABELS] for _ in range(4)]
    np.testing.assert_allclose(terms, np.log(np.mean(each, axis=0)), rtol=1e-12)
    assert op.presentations == 4 * 6
    np.testing.assert_array_equal(op.evaluate(weights), op.evaluate(weights))  # one estimate, kept
    assert op.presentations == 8 * 6


def test_one_run_is_left_as_it_is_and_small_probabilities_do_not_vanish():
    terms = log_likelihood(NoisyChip().run([np.ones((1, 2))], INPUTS), LABELS, 0.5)
    np.testing.assert_array_equal(log_mean([terms]), terms)
    np.testing.assert_allclose(log_mean([[-2000.0], [-2001.0]]), [-2000 + np.log((1 + np.exp(-1)) / 2)])


@pytest.mark.parametrize("sampler", STEPS)
@pytest.mark.parametrize("kind", [PSEUDO_MARGINAL, MCWM])
def test_mcwm_runs_the_current_point_at_each_proposal(sampler, kind):
    """Told from the weights that the chip was shown, run by run."""
    model, step = ready(sampler, NoiseChoice(kind, 2))
    step.setup_chain(np.random.default_rng(1), 0, 20)
    step.stop_tuning()
    chip, point = model.likelihood.op.chip, {"w_1": np.array([[0.2, 0.1]])}
    point, _ = step.step(point)  # whose first evaluation is of the current point in any case
    for _ in range(20):
        chip.shown.clear()
        current = point["w_1"][0, 0]
        point, [stats] = step.step(point)
        runs_of_current = sum(shown == current for shown in chip.shown)
        assert len(chip.shown) % 2 == 0  # two runs an evaluation
        if kind == MCWM:
            assert runs_of_current >= 2
        elif sampler in ("block", "pcn", "demetropolis"):
            assert runs_of_current == 0
            assert len(chip.shown) == 2
    assert stats["presentations"] == model.likelihood.op.presentations


@pytest.mark.parametrize("refreshes", [False, True])
def test_shifts_of_neurons_heed_the_kind(refreshes):
    """The estimate is noisy within 1 of 0, and its mean 1/2 everywhere, so that the posterior is the prior."""
    rng, values = np.random.default_rng(2), []

    def run(q):
        return float(np.log((0.02 if rng.random() < 0.5 else 0.98) if abs(q[0]) < 1 else 0.5))

    q, current = np.zeros(1), run(np.zeros(1))
    for _ in range(8000):
        q, current, _ = shift_neurons(
            q, current, [np.array([0])], lambda w: -0.5 * w**2, run, (1.0, 1.0), rng, refreshes=refreshes
        )
        values.append(q[0])
    draws = np.array(values).reshape(4, -1, 1)
    score = z_scores(draws, {"a^2": 1.0}, {"a^2": lambda a: a**2})["a^2"]
    assert (abs(score) < LIMIT) == (not refreshes)


# what cannot be chosen


DETERMINISTIC, NOISY = ChipSpec((1, 2), 12), ChipSpec((1, 2), 12, deterministic=False)
DRIFTING = ChipSpec((1, 2), 12, drifting=True)


@pytest.mark.parametrize(
    ("spec", "sampler", "options", "says"),
    [
        (DETERMINISTIC, "block", {"noise": "mcwm"}, "noise was 'mcwm', but this chip is deterministic"),
        (DETERMINISTIC, "block", {"repeats": 2}, "repeats was 2, but this chip is deterministic"),
        (DETERMINISTIC, "block", {"remeasure": 5}, "remeasure was 5, but this chip is deterministic"),
        (NOISY, "block", {"noise": "mcmw"}, "did you mean 'mcwm'"),
        (NOISY, "block", {"noise": 1}, "Unknown noise 1"),
        (NOISY, "block", {"repeats": 0}, "repeats was 0, but a whole number from 1"),
        (NOISY, "block", {"repeats": True}, "repeats was True"),
        (NOISY, "block", {"repeats": 2.0}, r"repeats was 2\.0"),
        (NOISY, "block", {"remeasure": -1}, "remeasure was -1"),
        (NOISY, "smc", {"noise": "mcwm"}, "estimates that must stay: take another sampler"),
        (NOISY, "smc", {"remeasure": 3}, "no current point to re-measure"),
        (DRIFTING, "smc", {}, "particles that were run long ago"),
    ],
)
def test_choices_that_are_refused(spec, sampler, options, says):
    with pytest.raises(InputError, match=says) as error:
        choose_noise(spec, sampler, **options)
    assert str(error.value).endswith((".", "?"))
    assert "\n" not in str(error.value)
    chip = SigmoidChip()
    chip.spec = spec
    with pytest.raises(InputError, match=says):
        fit(chip, INPUTS, LABELS, sampler=sampler, **options)
    assert chip.runs == 0


def test_choices_that_are_taken():
    assert choose_noise(DETERMINISTIC, "smc") == choose_noise(DETERMINISTIC, "smc", None) == NoiseChoice()
    assert choose_noise(DETERMINISTIC, "smc", remeasure=0) == NoiseChoice()
    assert choose_noise(NOISY, "smc", repeats=np.int64(3)) == NoiseChoice(repeats=3)
    assert choose_noise(DRIFTING, "block", "mcwm") == NoiseChoice(MCWM, 1, 10, goes_on=True)
    assert choose_noise(DRIFTING, "smc", remeasure=0) == NoiseChoice(goes_on=True)


# a fit


@pytest.fixture(scope="module")
def noisy_fit():
    options = {"sampler": "block", "draws": 3, "tune": 2, "chains": 2, "seed": 1}
    return fit(NoisyChip(), INPUTS, LABELS, "standard_normal", noise="mcwm", repeats=3, **options)


def test_a_fit_tells_its_choice(noisy_fit, tmp_path):
    kept = {"noise": "mcwm", "repeats": 3, "remeasure": 0}
    noisy_fit.save(tmp_path)
    assert json.loads((tmp_path / "fit.json").read_text())["arguments"].items() >= kept.items()
    told = "mcwm, the mean of 3 runs for each evaluation; the current point is run again at each proposal"
    assert noise_in_words(noisy_fit.arguments) == told
    # two evaluations of three runs for each of 100 proposals, and one more for each chain
    assert noisy_fit.passes == 2 * 3 * (5 * 100 * 2 + 1)


def test_a_deterministic_fit_has_no_choice_to_tell():
    result = fit(SigmoidChip(), INPUTS, LABELS, sampler="block", draws=1, tune=0, chains=1)
    assert result.arguments.items() >= {"noise": None, "repeats": 1, "remeasure": 0}.items()
    assert noise_in_words(result.arguments) == noise_in_words({}) == ""


def test_the_report_tells_the_choice(noisy_fit):
    class Material:
        result, stored, train = noisy_fit, noisy_fit.as_dict(), (INPUTS, LABELS)
        shown = 0

        def number(self, *path):
            return None

    assert "mcwm, the mean of 3 runs" in str(cost(Material(), None))


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_predictions_average_runs_as_probabilities(noisy_fit, estimate):
    noisy_fit.weights("medoid")  # whose choice takes runs of its own
    noisy_fit.chip.rng = np.random.default_rng(9)
    found = noisy_fit.predict(INPUTS, estimate)
    same = NoisyChip(9)
    sets = [noisy_fit.draws[i] for i in range(6)] if estimate == "ensemble" else [noisy_fit.weights(estimate)]
    each = [class_probabilities(same.run(weights, INPUTS)) for weights in sets for _ in range(3)]
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-12)


def test_training_estimates_average_runs_too(noisy_fit):
    """The log-likelihood of each draw, on which map rests, and the runs on which the medoid does."""
    chip = noisy_fit.chip
    means = noisy_fit.posterior.log_likelihood["label"].values
    # probabilities of one run are softmax(0.5 c) of whole differences of counts; means of three hardly ever are
    differences = np.log(np.exp(-means) - 1) / -0.5
    assert (np.abs(differences - differences.round()) > 1e-6).mean() > 0.3
    before = chip.runs
    each = run_draws(chip, noisy_fit.draws, [0, 1], INPUTS, 5)
    assert each.shape == (2, 6, 2)
    assert chip.runs == before + 10


def test_a_simulated_chip_is_averaged_too():
    chip = LIFChip((2, 3, 2), "noise", 0.3)
    inputs = np.random.default_rng(0).normal(size=(8, 2))
    options = {"draws": 2, "tune": 1, "chains": 1, "repeats": 2}
    result = fit(chip, inputs, np.arange(8) % 2, sampler="sitewise", **options)
    assert result.presentations % 16 == 0
