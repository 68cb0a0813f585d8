"""The grid of a chip with few bits, the prior on it, and its sampler against posteriors counted out level by level."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from bayes_snn.chips.contract import ChipSpec, Parameter
from bayes_snn.chips.levels import grid_levels, normal_log_mass, weight_levels
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.link.link import Link
from bayes_snn.chips.remote.client import RemoteChip
from bayes_snn.chips.remote.server import Server
from bayes_snn.chips.xylo.chip import XyloChip
from bayes_snn.errors import InputError
from bayes_snn.inference.fit import fit
from bayes_snn.inference.load import load_fit
from bayes_snn.likelihood import log_likelihood
from bayes_snn.posterior.build import build_model
from bayes_snn.posterior.class_biases import no_biases
from bayes_snn.samplers.by_name import make_step
from bayes_snn.samplers.metropolis import StockMetropolis
from bayes_snn.samplers.shared.prior import why_not_on_grid
from bayes_snn.samplers.sitewise_grid import GridMetropolis
from tests.chips.remote.test_remote import serving
from tests.helpers.fits import same_draws
from tests.helpers.toys import INPUTS, LABELS, MOMENTS, HiddenChip, SigmoidChip, z_scores
from tests.helpers.unit_scales import in_unit_scales
from tests.samplers.test_samplers import LIMIT, sample

RANGES = [(-4.0, 4.0), (-1.0, 4.0), (-0.7, 4.0), (0.0, 3.0), (-2.5, 0.3)]


@settings(max_examples=150, deadline=None)
@given(st.integers(2, 16), st.sampled_from(RANGES), st.floats(-6.0, 6.0))
@example(3, (-0.7, 4.0), -0.5)
def test_levels_are_what_the_chip_rounds_to(bits, weight_range, w):
    chip = LIFChip((1, 1), "quantisation", bits, weight_range=weight_range)
    levels = grid_levels(chip.spec)

    def programmed(weight):
        return float(chip.effective_weights([np.array([[weight]])])[0][0, 0])

    assert programmed(w) in levels
    level = levels[int(abs(w) * 1000) % len(levels)]
    assert programmed(level) == level  # to the last bit: a level is not rounded again
    # a whole number of steps at most half a step away, then clipped: near an end that lies between two steps, the
    # end itself may be nearer
    step = max(map(abs, weight_range)) / (2 ** (bits - 1) - 1)
    assert abs(programmed(w) - np.clip(w, *weight_range)) <= step / 2 + 1e-6


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_levels_are_symmetric_and_one_fewer_than_a_power_of_two(bits):
    levels = grid_levels(ChipSpec((1, 1), weight_bits=bits))
    assert len(levels) == 2**bits - 1
    np.testing.assert_array_equal(levels, -levels[::-1])
    assert levels[-1] == 4.0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-400, 400), min_size=1, max_size=30, unique=True), st.floats(0.05, 5.0))
def test_the_mass_of_a_level_is_that_of_its_cell(numbers, sigma):
    levels = np.sort(numbers) / 10.0
    mass = np.exp(normal_log_mass(levels, sigma))
    edges = np.concatenate([[-np.inf], 0.5 * (levels[1:] + levels[:-1]), [np.inf]])
    np.testing.assert_allclose(mass, np.diff(stats.norm.cdf(edges, scale=sigma)), atol=1e-12)
    assert mass.sum() == pytest.approx(1.0)
    assert np.isfinite(normal_log_mass(levels, sigma)).all()  # far out, too: no level is ruled out
    np.testing.assert_allclose(normal_log_mass(-levels[::-1], sigma), normal_log_mass(levels, sigma)[::-1])


@pytest.mark.parametrize("bits", [1, 0, -1, 25, 2.5, True, "4"])
def test_bits_that_leave_no_grid_are_refused(bits):
    """One bit would leave the level 0 alone, and a step of no size: levels are symmetric about zero."""
    with pytest.raises(InputError, match=rf"weight_bits was {bits!r}, but a whole number from 2 to 24"):
        ChipSpec((1, 1), weight_bits=bits)
    if bits == 1:
        with pytest.raises(InputError, match="quantisation was 1"):
            LIFChip((1, 1), "quantisation", 1)


@pytest.mark.parametrize("bits", [2, np.int64(4), 24])
def test_bits_of_a_grid_are_taken(bits):
    spec = ChipSpec((1, 1), weight_bits=bits)
    assert spec.weight_bits == bits
    assert type(spec.weight_bits) is int


def test_a_chip_of_two_levels_tells_them():
    chip = SigmoidChip()
    chip.weight_levels = [np.array([-2.0, 2.0])]
    result = fit(chip, INPUTS, LABELS, "grid", draws=20, tune=5, chains=1, cores=1, sampler="sitewise")
    assert set(np.unique(result.draws.weights[0])) == {-2.0, 2.0}


def test_a_chip_that_tells_its_levels_is_believed():
    chip = SigmoidChip()
    chip.weight_levels = [np.array([-1.0, 0.5, 3.0])]
    assert weight_levels(chip)[0].tolist() == [-1.0, 0.5, 3.0]
    result = fit(chip, INPUTS, LABELS, "grid", draws=5, tune=5, chains=1, sampler="sitewise")
    assert set(np.unique(result.draws.weights[0])) <= {-1.0, 0.5, 3.0}
    for wrong in ([], [[1.0, 0.0]], [[[0.0]]], [[np.nan]], [[0.0], [1.0]]):
        chip.weight_levels = wrong
        with pytest.raises(InputError, match="one such array is expected for each of its 1"):
            weight_levels(chip)


def same_grid(found, chip):
    """The chip has the same grid, shapes and names as another."""
    for known, levels in zip(weight_levels(chip), weight_levels(found), strict=True):
        np.testing.assert_array_equal(levels, known)
    for name in ("weight_shapes", "weight_names", "weight_dims", "n_weights"):
        assert getattr(found.spec, name) == getattr(chip.spec, name)
    return True


def test_a_chip_has_its_grid_behind_a_link_a_server_and_both(tmp_path):
    """The thresholds of a Xylo have a grid of their own, its weights 256 levels where 8 bits would have 255."""
    chip = XyloChip((2, 2, 2), 8)
    assert [len(levels) for levels in weight_levels(chip)] == [256, 256, 25]
    inputs, labels = np.abs(np.random.default_rng(0).normal(size=(6, 2))), np.array([0, 1, 1, 0, 0, 1])
    options = {"draws": 4, "tune": 3, "chains": 1, "sampler": "sitewise"}
    expected = fit(chip, inputs, labels, "grid", **options)
    assert set(np.unique(expected.draws.weights[2])) <= set(np.arange(-12, 13) / 4)
    expected.save(tmp_path)
    with serving(chip) as server:
        remote = RemoteChip(server.address)
        assert remote.spec == chip.spec
        for found in (Link(chip), remote, Link(remote, timeout=None), Link(Link(chip))):
            assert same_grid(found, chip)
            assert same_draws(fit(found, inputs, labels, "grid", **options), expected)
            assert same_draws(load_fit(tmp_path, found), expected)


def test_an_attribute_with_levels_goes_through_a_link_and_a_server_too():
    chip = SigmoidChip()
    chip.weight_levels = [np.array([-1.0, 0.5, 3.0])]
    with serving(chip) as server:
        remote = RemoteChip(server.address)
        for found in (Link(chip), remote, Link(remote, timeout=None)):
            assert same_grid(found, chip)
    chip.weight_levels = [[1.0, 0.0]]
    with pytest.raises(InputError, match="weight_levels"):
        Server(chip)


def test_a_fit_on_a_chip_with_levels_of_its_own_is_loaded_and_refused_by_them(tmp_path):
    def chip_with(*levels):
        chip = SigmoidChip()
        chip.spec = replace(chip.spec, parameters=(Parameter("w_1", (1, 2), ("pre_1", "post_1"), levels),))
        return chip

    result = fit(chip_with(-1.0, 2.0), INPUTS, LABELS, "grid", draws=3, tune=2, chains=1, sampler="sitewise")
    assert set(np.unique(result.draws.weights[0])) <= {-1.0, 2.0}
    result.save(tmp_path)
    assert same_draws(load_fit(tmp_path, chip_with(-1.0, 2.0)), result)
    with pytest.raises(InputError, match="pass the chip it was fitted on"):
        load_fit(tmp_path, chip_with(-1.0, 3.0))
    stored = json.loads((tmp_path / "fit.json").read_text())
    del stored["chip"]["spec"]["parameters"]  # as older fits of such a chip are
    (tmp_path / "fit.json").write_text(json.dumps(stored))
    assert same_draws(load_fit(tmp_path, chip_with(-1.0, 2.0)), result)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ([Parameter("w", (1, 2), ("a", "b")), Parameter("w", (1, 2), ("a", "b"))], "same name"),
        ([Parameter("w", (1, 2), ("a", "b")), Parameter("v", (2, 2), ("a", "b"))], "lengths 1 and 2"),
        (["w"], "a sequence of Parameter"),
        ([{"name": "w", "shape": [1, 2], "dims": ["a", "b"], "levels": [2, 1]}], "ascending"),
        ([{"name": "w", "shape": [1, 2], "dims": ["a", "b"], "levels": ["x"]}], "ascending"),
        ([{"name": "w", "shape": [1, 0], "dims": ["a", "b"]}], "positive whole numbers"),
        ([{"name": "w", "shape": [1, 2, 3], "dims": ["a", "b"]}], "positive whole numbers"),
        ([{"name": "w", "shape": [1, 2], "dims": ["a", "a"]}], "two dims"),
        ([{"name": "", "shape": [1, 2], "dims": ["a", "b"]}], "a name"),
        ([{"name": "w", "shape": [1, 2], "dims": "ab"}], "two dims"),
    ],
)
def test_parameters_that_are_refused(parameters, says):
    with pytest.raises(InputError, match=says):
        ChipSpec((1, 2), parameters=parameters)


def test_bad_grids():
    with pytest.raises(InputError, match="2 to 16"):
        grid_levels(ChipSpec((1, 1)), bits=1)
    with pytest.raises(InputError, match="positive"):
        normal_log_mass(np.array([0.0]), 0.0)


def lif_chip():
    return in_unit_scales(LIFChip((1, 2), ["comparator", "quantisation"], [1.0, 3], 4, n_steps=12))


CHIPS = {"sigmoid": SigmoidChip, "lif": lif_chip}


def counted_out(chip):
    """Expectations of MOMENTS under the posterior of two weights on a grid: the sum over all pairs of levels."""
    levels = grid_levels(chip.spec)
    logp = np.zeros((len(levels), len(levels)))
    prior = np.log(np.diff(stats.norm.cdf([-np.inf, *(0.5 * (levels[1:] + levels[:-1])), np.inf])))
    for a, b in itertools.product(range(len(levels)), repeat=2):
        counts = chip.run([np.array([[levels[a], levels[b]]])], INPUTS)
        logp[a, b] = log_likelihood(counts, LABELS, 0.5).sum() + prior[a] + prior[b]
    p = np.exp(logp - logp.max())
    p /= p.sum()
    return {name: float((p * f(*np.meshgrid(levels, levels, indexing="ij"))).sum()) for name, f in MOMENTS.items()}


def scores(chip, step_of, model_name="grid", rounded=lambda w: w):
    model = build_model(chip, INPUTS, LABELS, model_name, readout=no_biases)
    step = step_of(model)
    trace = sample(model, step, 2000, 7)
    return z_scores(rounded(trace.posterior["w_1"].values[:, :, 0]), counted_out(chip))


@pytest.mark.parametrize("sampler", ["sitewise", "pymc"])
@pytest.mark.parametrize("name", CHIPS)
def test_recovers_a_posterior_that_is_counted_out(name, sampler):
    found = scores(CHIPS[name](), lambda model: make_step(sampler, model))
    assert max(map(abs, found.values())) < LIMIT, found


def hidden_counted_out(chip):
    """The same for a chip with a hidden neuron, over its one weight in and its two out; moments of those two."""
    levels = grid_levels(chip.spec)
    prior = np.log(np.diff(stats.norm.cdf([-np.inf, *(0.5 * (levels[1:] + levels[:-1])), np.inf])))
    logp = np.zeros((len(levels),) * 3)
    for place in itertools.product(range(len(levels)), repeat=3):
        into, a, b = levels[list(place)]
        counts = chip.run([np.array([[into]]), np.array([[a, b]])], INPUTS)
        logp[place] = log_likelihood(counts, LABELS, 0.5).sum() + prior[list(place)].sum()
    p = np.exp(logp - logp.max()).sum(axis=0)
    p /= p.sum()
    return {name: float((p * f(*np.meshgrid(levels, levels, indexing="ij"))).sum()) for name, f in MOMENTS.items()}


class ShiftsAlone(GridMetropolis):
    """Of every four draws one is a sweep, so that shifts must be right for the rest to be."""

    wrong = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._columns = [np.array([1]), np.array([2])]

    def propose(self, q, step_sizes):
        proposals, far = super().propose(q, step_sizes)
        return (proposals if self.rng.random() < 0.25 else q), far

    def _find_cells(self, q):
        lowest, masses, tops, quantiles = super()._find_cells(q)
        return lowest, masses, tops, 0.5 * quantiles if self.wrong else quantiles


@pytest.mark.parametrize("wrong", [False, True])
def test_shifts_of_neurons_keep_the_posterior(wrong, monkeypatch):
    monkeypatch.setattr(ShiftsAlone, "wrong", wrong)
    chip = HiddenChip()
    model = build_model(chip, INPUTS, LABELS, "grid")
    with model:
        step = ShiftsAlone(model.value_vars[:2], model=model)
    trace = sample(model, step, 3000, 5)
    found = z_scores(trace.posterior["w_2"].values[:, :, 0], hidden_counted_out(chip))
    assert (max(map(abs, found.values())) > LIMIT) == wrong, found


class Sticky(GridMetropolis):
    """A wrong sampler: a jump beyond an end stops at the end, with no correction for it."""

    def propose(self, q, step_sizes):
        proposals, far = super().propose(q, step_sizes)
        return np.clip(proposals, 5, 9), far


def test_a_wrong_sampler_is_found_out():
    found = scores(SigmoidChip(), lambda model: Sticky(model.value_vars[:1], model=model))
    assert max(map(abs, found.values())) > LIMIT, found


def test_off_the_grid_a_chip_that_rounds_has_the_same_posterior():
    levels = grid_levels(lif_chip().spec)

    def rounded(w):
        return levels[np.abs(w[..., None] - levels).argmin(axis=-1)]

    found = scores(lif_chip(), lambda model: make_step("sitewise", model), "gaussian", rounded)
    assert max(map(abs, found.values())) < LIMIT, found


def uniform(chip):
    return [0.5 * pm.DiscreteUniform("k", -3, 3, shape=(1, 2))]


def learned_scale(chip):
    scale = 0.5 + pm.HalfNormal("scale")
    levels = pt.as_tensor(grid_levels(chip.spec))
    logits = -0.5 * (levels / scale) ** 2
    return [levels[pm.Categorical("k", logit_p=logits, shape=(1, 2))]]


def mixed_up(chip):
    return [pm.DiscreteUniform("k", -3, 3, shape=(1, 2)).cumsum(axis=1) * 0.5]


def swapped(chip):
    return [pm.DiscreteUniform("k", -3, 3, shape=(1, 2))[:, ::-1] * 0.5]


def turned(chip):
    return [pm.DiscreteUniform("k", -3, 3, shape=(2, 1)).T * 0.5]


def shared_sum(chip):
    k = pm.DiscreteUniform("k", -3, 3, shape=(1, 2))
    return [0.5 * k + 0.1 * k.sum()]


@pytest.mark.parametrize("prior", ["grid", uniform, learned_scale])
def test_other_priors_on_whole_numbers_are_swept(prior):
    model = build_model(SigmoidChip(), INPUTS, LABELS, prior)
    with model:
        step = make_step("sitewise", model)
    assert isinstance(step, GridMetropolis)
    assert why_not_on_grid(model, step.vars) is None
    result = fit(SigmoidChip(), INPUTS, LABELS, prior, draws=20, tune=20, chains=1, sampler="sitewise")
    posterior = result.posterior.posterior
    name = "level_w_1" if prior == "grid" else "k"
    assert np.issubdtype(posterior[name].dtype, np.integer)
    assert len(np.unique(posterior[name])) > 2


@pytest.mark.parametrize("prior", [mixed_up, swapped, turned, shared_sum])
def test_whole_numbers_that_share_weights_fall_back_with_a_warning(prior):
    model = build_model(SigmoidChip(), INPUTS, LABELS, prior)
    with pytest.warns(UserWarning, match="made from more than one element of k"), model:
        step = make_step("sitewise", model)
    assert isinstance(step, StockMetropolis)


@pytest.mark.parametrize("sampler", ["block", "pcn", "demetropolis", "smc"])
def test_samplers_of_continuous_weights_say_so(sampler):
    with pytest.raises(InputError, match="take sampler 'sitewise' or 'pymc'"):
        fit(SigmoidChip(), INPUTS, LABELS, "grid", sampler=sampler, draws=2, tune=2, chains=1)


def test_a_fit_on_the_grid_is_a_fit_like_any_other(tmp_path):
    chip = LIFChip((3, 2, 2), ["comparator", "quantisation"], [3.0, 3])
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(20, 3)), np.arange(20) % 2
    result = fit(
        chip,
        inputs,
        labels,
        "grid",
        draws=10,
        tune=10,
        chains=2,
        cores=1,
        feature_names=["a", "b", "c"],
        sampler="sitewise",
    )
    posterior = result.posterior.posterior
    assert posterior["w_1"].dims == ("chain", "draw", "pre_1", "post_1")
    assert posterior["w_1"]["pre_1"].values.tolist() == ["a", "b", "c"]
    levels = grid_levels(chip.spec)
    for estimate in ("map", "medoid"):
        assert all(np.isin(layer, levels).all() for layer in result.weights(estimate))
    # of a mean the chip makes a weight that it can hold
    for layer in chip.effective_weights(result.weights("mean")):
        assert np.abs(layer[..., None] - levels).min(axis=-1).max() < 1e-5
    assert result.passes <= 2 * 20 * (chip.spec.n_weights + 3)  # two chains; two neurons are shifted
    result.save(tmp_path)
    again = load_fit(tmp_path)
    np.testing.assert_array_equal(again.predict(inputs), result.predict(inputs))
    assert again.diagnosis.verdict == result.diagnosis.verdict
