"""The Xylo chip: its kernels against SynSense's simulator and a plain reference, to the last bit, and its training."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from bayes_snn.chips.xylo.chip import LARGEST_LAYERS, XyloChip, on_off
from bayes_snn.errors import InputError
from bayes_snn.inference.fit import fit
from bayes_snn.inference.load import load_fit
from bayes_snn.likelihood import PLAIN, Readout, log_likelihood
from bayes_snn.posterior.class_biases import no_biases
from bayes_snn.posterior.op import ChipCounts
from bayes_snn.samplers.shared.sweepers import BlackBoxSweeper
from tests.helpers import xylo_reference


@st.composite
def cores(draw):
    """Arguments of a chip, its parameters and inputs: tame ones, and ones that saturate states everywhere."""
    layers = (draw(st.integers(1, 16)), draw(st.integers(1, 6)), draw(st.integers(1, 3)))
    arguments = {
        "n_steps": draw(st.integers(1, 24)),
        "decay_syn": draw(st.integers(1, 15)),
        "decay_mem": draw(st.integers(1, 15)),
        "base_threshold": draw(st.sampled_from([1, 17, 300, 1024, 4095])),
        "events_per_unit": draw(st.sampled_from([0.3, 2.0, 15.0])),
    }
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    chip = XyloChip(layers, **arguments)
    scale, shift = draw(st.sampled_from([0.3, 1.0, 9.0])), draw(st.sampled_from([-2.0, 0.0, 2.0]))
    weights = [scale * rng.normal(size=shape) + shift for shape in chip.spec.weight_shapes]
    inputs = draw(st.sampled_from([0.5, 6.0])) * rng.normal(size=(draw(st.integers(1, 70)), layers[0]))
    return layers, arguments, weights, inputs


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(cores())
def test_kernels_and_the_simulator_agree_to_the_last_bit(core):
    pytest.importorskip("xylosim")
    layers, arguments, weights, inputs = core
    counts = XyloChip(layers, **arguments).run(weights, inputs)
    simulated = XyloChip(layers, backend="xylosim", **arguments).run(weights, inputs)
    np.testing.assert_array_equal(counts, simulated)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(cores())
def test_kernels_and_the_reference_agree_to_the_last_bit(core):
    layers, arguments, weights, inputs = core
    chip = XyloChip(layers, **arguments)
    shown = inputs[:4]
    decays = arguments["decay_syn"], arguments["decay_mem"]
    expected = xylo_reference.run(*chip.integers(weights), chip.events(shown), *decays)
    np.testing.assert_array_equal(chip.run(weights, shown), expected)


def problem(seed, n_samples=150, n_steps=20, **arguments):
    rng = np.random.default_rng(seed)
    chip = XyloChip((6, 5, 2), n_steps, **arguments)
    weights = [rng.normal(size=shape) for shape in chip.spec.weight_shapes]
    inputs = on_off(rng.normal(size=(n_samples, 3)))
    return chip, weights, inputs, rng.integers(0, 2, n_samples), rng


@pytest.mark.parametrize("base_threshold", [1, 600])  # with the lower one states saturate
@pytest.mark.parametrize("seed", [1, 2])
def test_sweeps_decide_as_full_runs_do(seed, base_threshold):
    chip, weights, inputs, labels, rng = problem(seed, base_threshold=base_threshold)
    weights = [5.0 * w for w in weights[:2]] + weights[2:] if base_threshold == 1 else weights
    fast = chip.site_sweeper(inputs, labels)
    slow = BlackBoxSweeper(ChipCounts(chip, inputs), labels)
    q = np.concatenate([w.ravel() for w in weights])
    for readout in (PLAIN, Readout(0.3, np.array([0.5, -1.0])), Readout(1.1)):
        shapes = chip.spec.weight_shapes
        ends = np.cumsum([a * b for a, b in shapes])[:-1]
        matrices = [part.reshape(s) for part, s in zip(np.split(q, ends), shapes, strict=True)]
        assert fast.start(matrices, readout) == pytest.approx(slow.start(matrices, readout), rel=1e-9)
        np.testing.assert_array_equal(fast.counts(), slow.counts())
        proposals = q + rng.normal(size=len(q))
        bounds, order = -rng.exponential(size=len(q)), rng.permutation(len(q))
        done, expected = fast.sweep(proposals, bounds, order), slow.sweep(proposals, bounds, order)
        np.testing.assert_array_equal(done.accepted, expected.accepted)
        assert done.log_likelihood == pytest.approx(expected.log_likelihood, rel=1e-9)
        assert 0 < done.accepted.sum() < len(q)
        q = np.where(done.accepted, proposals, q)


def test_nothing_changes_when_proposals_are_lost_early():
    chip, weights, inputs, labels, _ = problem(3)
    sweeper = chip.site_sweeper(inputs, labels)
    before = sweeper.start(weights, PLAIN)
    q = np.concatenate([w.ravel() for w in weights])
    n = len(q)
    lost = sweeper.sweep(q + 1.0, np.full(n, 1e-9 - before), np.arange(n))
    assert not lost.accepted.any()
    assert lost.presentations == 0  # log L <= 0 cannot pass such a bound
    lost = sweeper.sweep(q + 1.0, np.full(n, 300.0 - before - 301.0), np.arange(n))
    assert lost.log_likelihood == before
    assert sweeper.start(weights, PLAIN) == before


def test_events_are_even_and_as_many_as_asked():
    chip = XyloChip((3, 2, 2), n_steps=32, events_per_unit=2.0)
    events = chip.events(np.array([[0.25, -1.0, 100.0]]))[0]
    assert events[:, 0].sum() == 16
    assert sorted(np.diff(np.flatnonzero(events[:, 0]))) == [2] * 15
    assert (events[:, 1] == 0).all()
    assert (events[:, 2] == 15).all()
    features = np.array([[1.5, -2.0]])
    np.testing.assert_array_equal(on_off(features), [[1.5, 0.0, 0.0, 2.0]])


def test_parameters_are_integers_within_their_range():
    chip = XyloChip((2, 1, 1), base_threshold=100)
    w_1, w_2, thresholds = chip.integers([np.array([[0.5], [99.0]]), np.array([[-99.0]]), np.array([[1.0, -99.0]])])
    assert w_1.ravel().tolist() == [16, 127]
    assert w_2.ravel().tolist() == [-128]
    assert thresholds.tolist() == [200, 12]  # 100 / 8, rounded
    for levels, place in zip(chip.weight_levels, range(3), strict=True):
        matrices = [np.zeros(s) for s in chip.spec.weight_shapes]
        programmed = []
        for level in levels:
            matrices[place][:] = level
            programmed.append(int(chip.integers(matrices)[place].ravel()[0]))
        assert len(set(programmed)) == len(levels)  # every level is another integer


def test_errors_of_a_chip_that_cannot_be():
    for arguments, said in (
        ({"layers": (30, 16, 2)}, "fewer features"),
        ({"layers": (16, 4, 4, 2)}, "one hidden layer"),
        ({"decay_syn": 0}, "decay_syn"),
        ({"base_threshold": 5000}, "base_threshold"),
        ({"events_per_unit": 0}, "events_per_unit"),
        ({"backend": "xylosym"}, "did you mean 'xylosim'"),
    ):
        with pytest.raises(InputError, match=said):
            XyloChip(**arguments)
    chip = XyloChip((2, 1, 1))
    with pytest.raises(InputError, match="log2 thresholds"):
        chip.run([np.zeros((2, 1)), np.zeros((1, 1))], np.ones((1, 2)))
    with pytest.raises(InputError, match="NaN"):
        chip.run([np.full((2, 1), np.nan), np.zeros((1, 1)), np.zeros((1, 2))], np.ones((1, 2)))
    assert XyloChip(LARGEST_LAYERS).spec.n_weights == 16 * 1000 + 1000 * 8 + 1008


def test_a_missing_simulator_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "xylosim", None)
    with pytest.raises(InputError, match=r"bayes_snn\[xylo\]"):
        XyloChip(backend="xylosim")


def test_trains_in_the_loop_with_weights_and_thresholds(tmp_path):
    rng = np.random.default_rng(5)
    features = rng.normal(size=(60, 2))
    labels = (features[:, 0] > 0).astype(int)
    chip = XyloChip((4, 3, 2), 16)
    result = fit(
        chip,
        on_off(features),
        labels,
        "grid",
        draws=60,
        tune=120,
        chains=2,
        class_names=["no", "yes"],
        sampler="sitewise",
    )
    posterior = result.posterior.posterior
    assert posterior["threshold"].dims == ("chain", "draw", "all", "neuron")
    assert posterior["w_2"]["post_2"].values.tolist() == ["no", "yes"]
    scores = result.evaluate(on_off(features), labels)
    assert scores["ensemble"]["accuracy"] > 0.9
    # what the simulator of the chip's maker answers is what was trained
    pytest.importorskip("xylosim")
    simulated = XyloChip((4, 3, 2), 16, backend="xylosim")
    best = result.weights("map")
    np.testing.assert_array_equal(simulated.run(best, on_off(features)), chip.run(best, on_off(features)))
    result.save(tmp_path)
    again = load_fit(tmp_path, chip=simulated)
    np.testing.assert_array_equal(again.predict(on_off(features), "medoid"), result.predict(on_off(features), "medoid"))


def test_recovers_a_posterior_that_is_counted_out():
    """Three weights and three thresholds of few levels each, all of whose combinations are run."""
    chip = XyloChip((1, 1, 2), 12)
    few = np.array([-1.0, 0.5, 1.0, 2.0])
    chip.weight_levels = [few, np.array([1.0, 2.0]), np.array([-2.0, 0.0])]
    rng = np.random.default_rng(0)
    inputs, labels = np.abs(rng.normal(size=(8, 1))), rng.integers(0, 2, 8)
    levels = [few, *[chip.weight_levels[1]] * 2, *[chip.weight_levels[2]] * 3]
    states = np.array(np.meshgrid(*levels, indexing="ij")).reshape(6, -1).T

    def masses(grid):
        return np.log(np.diff(stats.norm.cdf([-np.inf, *(0.5 * (grid[1:] + grid[:-1])), np.inf])))

    logp = np.array(np.meshgrid(*map(masses, levels), indexing="ij")).reshape(6, -1).sum(axis=0)
    for i, state in enumerate(states):
        counts = chip.run([state[:1, None], state[None, 1:3], state[None, 3:]], inputs)
        logp[i] += log_likelihood(counts, labels, 0.5).sum()
    p = np.exp(logp - logp.max())
    p /= p.sum()
    options = {"draws": 1500, "tune": 100, "chains": 4, "cores": 1, "sampler": "sitewise"}
    result = fit(chip, inputs, labels, "grid", readout=no_biases, **options)
    posterior = result.posterior.posterior
    draws = np.concatenate(
        [posterior[name].values.reshape(4, 1500, -1) for name in ("w_1", "w_2", "threshold")], axis=2
    )
    for j in range(6):
        for power in (1, 2):
            values = draws[:, :, j] ** power
            # batch means: 4 chains in 20 batches each
            batches = values.reshape(80, -1).mean(axis=1)
            error = batches.std(ddof=1) / np.sqrt(80)
            assert abs(values.mean() - (p * states[:, j] ** power).sum()) < 4.5 * error + 1e-12, (j, power)
