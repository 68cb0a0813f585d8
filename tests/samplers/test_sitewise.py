"""Sweeps over single weights: what is re-run equals what is run in full, and stopping early changes nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pymc as pm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.inference.fit import fit
from bayes_snn.likelihood import PLAIN, Readout, log_likelihood
from bayes_snn.posterior.build import build_model
from bayes_snn.posterior.op import ChipCounts
from bayes_snn.samplers.by_name import make_step
from bayes_snn.samplers.metropolis import StockMetropolis
from bayes_snn.samplers.shared.prior import why_not_separable
from bayes_snn.samplers.shared.shift import later_columns, shift_neurons
from bayes_snn.samplers.shared.sweepers import BlackBoxSweeper, make_sweeper
from bayes_snn.samplers.sitewise import COLDEST, WIDEST, SitewiseMetropolis
from tests.chips.lif.test_chip import STRENGTHS, random_network
from tests.helpers.calibration import p_of_uniform, ranks_of_truths
from tests.helpers.toys import INPUTS, LABELS, HiddenChip, SigmoidChip, independent, quadrature, z_scores
from tests.helpers.unit_scales import in_unit_scales, unit_spec

FROZEN = [name for name in STRENGTHS if name not in ("noise", "drift")]


class Plain:
    """A chip that offers `run` and nothing else, or says that subsets are cheap."""

    def __init__(self, chip, subsets=False):
        self.spec, self._chip, self.subsets, self.shown = chip.spec, chip, subsets, 0

    def run(self, weights, inputs):
        self.shown += len(inputs)
        return self._chip.run(weights, inputs)


def problem(layers, n_samples, seed, names=(), n_steps=32, flipped=0.5):
    weights, inputs = random_network(layers, n_samples, seed)
    chip = LIFChip(layers, list(names), [STRENGTHS[name] for name in names], seed % 97, n_steps)
    # labels are what the chip says, some of them flipped: there is something to learn, and something to lose
    labels, rng = chip.run(weights, inputs).argmax(axis=1), np.random.default_rng(seed)
    flip = rng.random(n_samples) < flipped
    return chip, weights, inputs, np.where(flip, rng.integers(layers[-1], size=n_samples), labels)


def unravel(q, shapes):
    ends = np.cumsum([a * b for a, b in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(q, ends), shapes, strict=True)]


def sweep_along(sweeper, q, shapes, rng, n_sweeps, scale=1.0, readouts=(PLAIN,)):
    """Metropolis sweeps under a standard normal prior; the weights after each. Readouts take turns."""
    path = []
    for i in range(n_sweeps):
        sweeper.start(unravel(q, shapes), readouts[i % len(readouts)])
        proposals = q + scale * rng.normal(size=len(q))
        bounds = -rng.exponential(size=len(q)) - 0.5 * (q**2 - proposals**2)
        sweep = sweeper.sweep(proposals, bounds, rng.permutation(len(q)))
        q = np.where(sweep.accepted, proposals, q)
        path.append((q, sweep))
    return path


@settings(max_examples=40, deadline=None)
@given(
    layers=st.tuples(st.integers(1, 5), st.lists(st.integers(1, 6), min_size=1, max_size=4)),
    names=st.sets(st.sampled_from(FROZEN), max_size=3),
    n_samples=st.sampled_from([1, 7, 40, 230]),
    n_steps=st.sampled_from([1, 6, 32, 45]),
    beta=st.sampled_from([0.5, 0.03, 3.0, 60.0]),
    spread=st.sampled_from([0.0, 1.0, 30.0, 300.0, 3000.0]),
    seed=st.integers(0, 2**31),
)
def test_incremental_runs_equal_full_runs(layers, names, n_samples, n_steps, beta, spread, seed):
    layers = (layers[0], *layers[1])
    chip, weights, inputs, labels = problem(layers, n_samples, seed, sorted(names), n_steps)
    sweeper = chip.site_sweeper(inputs, labels)
    q = np.concatenate([w.ravel() for w in weights])
    bias = spread * np.random.default_rng(seed).uniform(-0.5, 0.5, size=layers[-1])
    readouts = (Readout(beta, bias), PLAIN)
    path = sweep_along(sweeper, q, chip.spec.weight_shapes, np.random.default_rng(seed), 3, readouts=readouts)
    for i, (place, sweep) in enumerate(path):
        q, readout = place, readouts[i % 2]
        counts = chip.run(unravel(q, chip.spec.weight_shapes), inputs)
        full = readout.log_p([counts], labels).sum()
        np.testing.assert_allclose(sweep.log_likelihood, full, rtol=1e-12, atol=1e-9)
    np.testing.assert_array_equal(sweeper.counts(), counts[None])
    # the state left behind is, spike by spike and sum by sum, that of a full run
    trains, sums, order = sweeper._state.trains.copy(), sweeper._state.sums.copy(), sweeper._order.copy()
    spikes = chip.spikes(unravel(q, chip.spec.weight_shapes), inputs[order])
    packed = np.concatenate([trains[g].transpose(2, 0, 1) for g in range(len(trains))])[:n_samples]
    bits = (packed[:, :, :, None] >> np.arange(32, dtype=np.uint32)) & 1  # (sample, word, neuron, step of the word)
    steps = bits.transpose(0, 1, 3, 2).reshape(n_samples, -1, packed.shape[2])
    np.testing.assert_array_equal(steps[:, :n_steps], np.concatenate(spikes, axis=2))
    assert not steps[:, n_steps:].any()
    sweeper._state.trains[:], sweeper._state.sums[:] = 0, 0
    sweeper._prepare(order)
    np.testing.assert_array_equal(trains, sweeper._state.trains)
    np.testing.assert_array_equal(sums, sweeper._state.sums)


def test_a_thousand_sweeps_leave_no_rounding_behind():
    chip, weights, inputs, labels = problem((4, 6, 2), 120, 5, ["comparator", "gain"])
    shapes = chip.spec.weight_shapes
    sweeper = chip.site_sweeper(inputs, labels)
    rng = np.random.default_rng(0)
    q = np.concatenate([w.ravel() for w in weights])
    sweeper.start(unravel(q, shapes), PLAIN)
    for _ in range(1000):  # started once: nothing is refreshed in between
        proposals = q + rng.normal(size=len(q))
        bounds = -rng.exponential(size=len(q)) - 0.5 * (q**2 - proposals**2)
        sweep = sweeper.sweep(proposals, bounds, rng.permutation(len(q)))
        q = np.where(sweep.accepted, proposals, q)
    full = log_likelihood(chip.run(unravel(q, shapes), inputs), labels, 0.5).sum()
    np.testing.assert_allclose(sweep.log_likelihood, full, rtol=1e-12)


@pytest.mark.parametrize("layers", [(4, 7, 2), (4, 5, 5, 3)])
def test_stopping_early_changes_no_decision(layers):
    chip, weights, inputs, labels = problem(layers, 400, 9, ["comparator"], flipped=0.02)
    q = np.concatenate([w.ravel() for w in weights])
    readouts = PLAIN, Readout(0.6, np.linspace(-0.4, 0.9, layers[-1])), Readout(0.3, np.linspace(0, 50, layers[-1]))
    whole_runs = BlackBoxSweeper(ChipCounts(Plain(chip), inputs), labels)  # which shows all samples, or none
    paths = [
        sweep_along(*(sweeper, q, chip.spec.weight_shapes, np.random.default_rng(1), 12), readouts=readouts)
        for sweeper in (chip.site_sweeper(inputs, labels), whole_runs)
    ]
    for (a, early), (b, whole) in zip(*paths, strict=True):
        np.testing.assert_array_equal(a, b)
        assert early.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-12)
        assert early.presentations <= whole.presentations
        assert whole.presentations % len(inputs) == 0
    assert sum(s.presentations for _, s in paths[0]) < sum(s.presentations for _, s in paths[1])


@pytest.mark.parametrize("subsets", [False, True])
def test_a_black_box_is_swept_to_the_same_draws(subsets):
    chip, weights, inputs, labels = problem((4, 5, 2), 300, 4, ["comparator"], flipped=0.02)
    plain, whole_runs = Plain(chip, subsets), Plain(chip)
    q = np.concatenate([w.ravel() for w in weights])
    shapes = chip.spec.weight_shapes
    own = sweep_along(chip.site_sweeper(inputs, labels), q, shapes, np.random.default_rng(2), 6)
    boxes = [BlackBoxSweeper(ChipCounts(each, inputs), labels) for each in (plain, whole_runs)]
    box, whole = (sweep_along(each, q, shapes, np.random.default_rng(2), 6) for each in boxes)
    for (a, _), (b, stopped), (c, full) in zip(own, box, whole, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(b, c)
        assert stopped.log_likelihood == pytest.approx(full.log_likelihood, rel=1e-12)
        assert (stopped.presentations < full.presentations) == subsets
    assert [plain.shown, whole_runs.shown] == [each.presentations for each in boxes]


def sitewise_draws(model, draws):
    """(chain, draw, 2) of the two weights of the last layer."""
    with model:
        trace = pm.sample(
            draws=draws,
            tune=300,
            chains=4,
            cores=1,
            step=make_step("sitewise", model),
            random_seed=4,
            progressbar=False,
            quiet=True,
            compute_convergence_checks=False,
        )
    return trace.posterior["w_2" if "w_2" in trace.posterior else "w_1"].values[:, :, 0]


def test_recovers_the_posterior_of_a_lif_chip():
    chip = in_unit_scales(LIFChip((1, 2), "comparator", 1.0, 3, n_steps=12, weight_range=(-8, 8)))
    expected = quadrature(independent(stats.norm.logpdf), chip, n=801)
    scores = z_scores(sitewise_draws(build_model(chip, INPUTS, LABELS, "standard_normal"), 6000), expected)
    assert max(map(abs, scores.values())) < 4.5, scores


class Second(SigmoidChip):
    """HiddenChip's second layer, its two weights, given the hidden weight."""

    def run(self, weights, inputs):
        return HiddenChip().run([np.array([[0.7]]), np.asarray(weights[0])], inputs)


@pytest.mark.parametrize("wrong", [False, True])
def test_shifts_alone_keep_the_posterior(wrong):
    """Shifts and single-weight steps alternate; without its prior, a shift is found out."""
    expected = quadrature(chip=Second())
    chip = HiddenChip()
    columns = [np.array([1]), np.array([2])]
    assert [list(c) for c in later_columns(chip.spec.weight_shapes)] == [[1], [2]]

    def run(q):
        weights = [np.array([[0.7]]), q[None, 1:]]
        return log_likelihood(chip.run(weights, INPUTS), LABELS, 0.5).sum()

    def log_prior(q):
        return -0.5 * q**2 * (0.6 if wrong else 1.0)

    draws = np.empty((4, 6000, 2))
    for chain in range(4):
        rng = np.random.default_rng(chain)
        q, logp = np.array([0.7, 0.0, 0.0]), run(np.array([0.7, 0.0, 0.0]))
        for draw in range(draws.shape[1]):
            q, logp, _ = shift_neurons(q, logp, columns, log_prior, run, (1.0, 1.0), rng)
            draws[chain, draw] = q[1:]
    scores = z_scores(draws, expected)
    assert (max(map(abs, scores.values())) > 4.5) == wrong, scores


def test_shift_moves_whole_columns():
    columns = later_columns([(2, 3), (3, 2)])
    assert [list(c) for c in columns] == [[6, 8, 10], [7, 9, 11]]
    q, _, accepted = shift_neurons(
        np.zeros(12), 0.0, columns, lambda q: np.zeros_like(q), lambda q: 0.0, (1.0, 1.0), np.random.default_rng(0)
    )
    assert accepted == 2
    assert (q[:6] == 0).all()
    assert len(set(q[columns[0]])) == len(set(q[columns[1]])) == 1


def test_warm_up_is_tempered_in_its_first_half_alone():
    model = build_model(SigmoidChip(), INPUTS, LABELS, "standard_normal")
    step = make_step("sitewise", model)
    step.setup_chain(np.random.default_rng(0), 10, 10)
    point, powers = model.initial_point(), []
    for _ in range(10):
        powers.append(step.powers())
        point, _ = step.step(point)
    assert powers[0] == pytest.approx((COLDEST, WIDEST))
    for each in zip(*powers, strict=True):
        assert all(a < b for a, b in itertools.pairwise(each[:6]))
        assert each[5:] == (1.0,) * 5
    step.stop_tuning()
    before = step.log_scales.copy()
    step.step(point)
    assert step.powers() == (1.0, 1.0)
    np.testing.assert_array_equal(before, step.log_scales)


def known_hidden(chip):
    """HiddenChip's hidden weight is 0.7, all but exactly, so that a shift has columns of weights to move."""
    return [pm.Normal("w_1", 0.7, 1e-6, shape=(1, 1)), pm.Normal("w_2", shape=(1, 2))]


def test_powers_temper_likelihood_and_prior(monkeypatch):
    """Draws at fixed powers are from likelihood^a prior^b; had either power been forgotten, it would be found out."""
    monkeypatch.setattr(SitewiseMetropolis, "powers", lambda self: (0.4, 0.25))
    model = build_model(HiddenChip(), INPUTS, LABELS, known_hidden)
    draws = sitewise_draws(model, 6000)

    def worst(power, prior_power):
        log_prior = independent(lambda w: prior_power * stats.norm.logpdf(w))
        expected = quadrature(log_prior, Second(), reach=16.0, n=2401, power=power)
        return max(map(abs, z_scores(draws, expected).values()))

    assert worst(0.4, 0.25) < 4.5
    assert worst(1.0, 0.25) > 4.5
    assert worst(0.4, 1.0) > 4.5


def test_a_prior_with_hyperparameters_is_not_weakened():
    """They would follow the weights out, and the weights them."""

    def scaled(chip):
        return [pm.Normal("w_1", sigma=pm.HalfNormal("scale"), shape=(1, 2))]

    with build_model(SigmoidChip(), INPUTS, LABELS, scaled):
        step = make_step("sitewise", pm.modelcontext(None))
    step.setup_chain(np.random.default_rng(0), 10, 10)
    assert step.powers() == pytest.approx((COLDEST, 1.0))


class Unreached:
    """Its second output fires at every step, whatever the input, unless its weights are large and of the right signs.

    No shift of them all helps. Once they are, the output falls silent for the negative inputs.
    """

    spec = unit_spec((1, 16, 2), 32)
    signs = np.resize([1.0, -1.0], 16)

    def run(self, weights, inputs):
        reached = self.signs @ weights[1][:, 1] > 30.0  # 7.5 standard deviations of the prior
        second = np.where(reached & (inputs[:, 0] < 0), 0, 32)
        return np.stack([np.full(len(inputs), 16), second], axis=1)


@pytest.mark.parametrize("widest", [WIDEST, 1.0])
def test_a_wide_prior_at_first_finds_what_the_prior_alone_would_not(widest, monkeypatch):
    """log L is -80 there and 0 here, at a cost of 28 in the prior: far more than a warm-up of this length climbs."""
    monkeypatch.setattr("bayes_snn.samplers.sitewise.WIDEST", widest)
    inputs = np.resize([-1.0, 1.0], (20, 1))
    result = fit(
        *(Unreached(), inputs, (inputs[:, 0] > 0).astype(int), "standard_normal"),
        draws=10,
        tune=100,
        chains=4,
        seed=0,
        sampler="sitewise",
    )
    found = ~result.posterior["outputs"]["constant"].sel(post_2=1).values
    assert found.all() if widest == WIDEST else not found.any(), found
    told = {"0": 4} if widest == WIDEST else {"0": 4, "1": 4}
    assert result.diagnosis.constant_outputs == told


def non_centred(chip):
    scale = pm.HalfNormal("scale")
    return [scale * pm.Normal("z", shape=chip.spec.weight_shapes[0])]


def correlated(chip):
    return [pm.MvNormal("w_1", mu=np.zeros(2), cov=np.eye(2) + 0.5, shape=chip.spec.weight_shapes[0])]


def positive(chip):
    return [pm.HalfNormal("w_1", shape=chip.spec.weight_shapes[0])]


def penalised(chip):
    w = pm.Normal("w_1", shape=chip.spec.weight_shapes[0])
    pm.Potential("penalty", -(w.sum() ** 2))
    return [w]


def with_child(chip):
    w = pm.Normal("w_1", shape=chip.spec.weight_shapes[0])
    pm.Normal("child", mu=w.sum())
    return [w]


@pytest.mark.parametrize(
    ("prior", "reason"),
    [
        (non_centred, "computed from"),
        (correlated, "ties its weights together"),
        (positive, "transformed scale"),
        (penalised, "another term"),
        (with_child, "another term"),
    ],
)
def test_priors_that_cannot_be_swept_fall_back_with_a_warning(prior, reason):
    model = build_model(SigmoidChip(), INPUTS, LABELS, prior)
    with pytest.warns(UserWarning, match=f"(?s)because .*{reason}"), model:
        step = make_step("sitewise", model)
    steps = getattr(step, "methods", [step])
    assert all(isinstance(s, StockMetropolis) for s in steps)


@pytest.mark.parametrize("prior", ["gaussian", "laplace", "horseshoe", "hierarchical", "sparse"])
def test_the_models_that_come_along_can_be_swept(prior):
    model = build_model(SigmoidChip(), INPUTS, LABELS, prior)
    step = make_step("sitewise", model)
    assert isinstance(step, SitewiseMetropolis)
    assert why_not_separable(model, step.vars) is None


def test_a_noisy_chip_is_swept_as_a_black_box():
    chip, _, inputs, labels = problem((3, 4, 2), 30, 2, ["noise"])
    assert chip.site_sweeper(inputs, labels) is None
    step = make_step("sitewise", model := build_model(chip, inputs, labels, "standard_normal"))
    step.setup_chain(np.random.default_rng(0), 2, 2)
    step.step(model.initial_point())
    assert isinstance(step._sweeper, BlackBoxSweeper)


def test_an_accepted_shift_costs_no_second_run_and_keeps_its_answer():
    chip, weights, inputs, labels = problem((3, 4, 2), 30, 2, ["noise"])
    op = ChipCounts(chip, inputs)
    sweeper = BlackBoxSweeper(op, labels)
    sweeper.start(weights, PLAIN)
    shifted = [weights[0], weights[1] + 0.5]
    counts = op.run(shifted)
    sweeper.accept([weights[0], weights[1] - 0.5], counts + 1)  # an earlier shift, accepted too
    sweeper.accept(shifted, counts)
    before = sweeper.presentations
    for readout in (PLAIN, PLAIN, Readout(0.9, np.array([0.4, 0.0]))):
        expected = readout.log_p(counts, labels).sum()
        assert sweeper.start(shifted, readout) == pytest.approx(expected, rel=1e-12)
    assert sweeper.presentations == before


@pytest.mark.parametrize("box", [False, True])
def test_a_start_counts_what_it_shows(box):
    """The training set, but nothing where the chip was left, at weights that were accepted, or brought back to."""
    chip, weights, inputs, labels = problem((3, 4, 2), 30, 2)
    op = ChipCounts(Plain(chip) if box else chip, inputs)
    sweeper, shifted = make_sweeper(op, labels), [weights[0], weights[1] + 0.5]
    assert isinstance(sweeper, BlackBoxSweeper) == box

    def shown(sweeper, weights):
        before = sweeper.presentations
        sweeper.start(weights, PLAIN)
        return sweeper.presentations - before

    assert shown(sweeper, weights) == 30
    assert shown(sweeper, weights) == 0
    assert shown(sweeper, shifted) == 30
    sweeper.accept(weights, op.answers(weights, inputs))
    assert shown(sweeper, weights) == 0
    assert shown(sweeper, shifted) == 30  # an answer is accepted once
    before = sweeper.presentations
    proposals = np.concatenate([w.ravel() for w in weights])
    sweep = sweeper.sweep(proposals, np.full(20, -np.inf), np.arange(20))
    assert sweep.accepted.all()
    assert sweep.presentations == sweeper.presentations - before > 0
    np.testing.assert_array_equal(sweeper.counts(), op.answers(weights, inputs))
    other = make_sweeper(op, labels)
    other.restore_state(sweeper.checkpoint_state())
    assert shown(sweeper, weights) == shown(other, weights) == 0
    with pytest.raises(ValueError, match="another chip"):
        other.restore_state({**sweeper.checkpoint_state(), "weights": [np.zeros((2, 2))] if box else np.zeros(4)})
    assert op.presentations == 0  # who calls a sweeper charges


@pytest.mark.slow
def test_simulation_based_calibration():
    """Ranks of true weights among posterior draws are uniform on a small LIF chip."""
    chip = in_unit_scales(LIFChip((2, 2, 2), "comparator", 2.0, 1, n_steps=12))
    rng = np.random.default_rng(11)
    inputs = rng.normal(size=(12, 2))
    model = build_model(chip, inputs, np.arange(12) % 2, "standard_normal")
    step = make_step("sitewise", model)
    n_draws, thin, tune = 9, 12, 60

    def draw(truth, labels, rng):
        step._labels = labels
        step.reset_tuning()
        step.tune = True
        step.setup_chain(rng, tune, n_draws * thin)
        point, kept = {name: rng.normal(size=value.shape) for name, value in model.initial_point().items()}, []
        for sweep in range(tune + n_draws * thin):
            if sweep == tune:
                step.stop_tuning()
            point, _ = step.step(point)
            if sweep >= tune and (sweep - tune) % thin == 0:
                kept.append([point[name] for name in chip.spec.weight_names])
        return kept

    # draws are thinned, not independent: the limit is far out in the tail
    assert p_of_uniform(ranks_of_truths(chip, inputs, draw, 240, rng), n_draws) > 1e-4


def test_spec_is_read_from_the_chip():
    assert ChipSpec((1, 2)).weight_shapes == ((1, 2),)
