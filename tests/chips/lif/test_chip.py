"""The simulated chip: kernels against the NumPy reference, exactly, and what a chip promises."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.names import DISTORTIONS
from tests.helpers.reference import reference_spikes

# strengths at which each distortion does something
STRENGTHS = {
    "comparator": 3.0,
    "current": 2.0,
    "threshold": 0.4,
    "leak": 0.5,
    "gain": 0.5,
    "stuck": 0.3,
    "silent": 0.3,
    "quantisation": 4,
    "noise": 0.3,
    "drift": 5.0,  # on a chip in its first run, which the walk has moved by 5 / sqrt(1000)
}


def random_network(layers, n_samples, seed, scale=1.0, excitatory=True):
    """Weights and inputs; an excitatory last layer makes sure that the outputs spike."""
    rng = np.random.default_rng(seed)
    weights = [scale * rng.normal(size=shape) for shape in itertools.pairwise(layers)]
    if excitatory:
        weights[-1] = np.abs(weights[-1])
    return weights, rng.normal(size=(n_samples, layers[0]))


sizes = st.lists(st.integers(1, 9), min_size=2, max_size=4)
networks = st.tuples(st.integers(1, 6), sizes).map(lambda parts: (parts[0], *parts[1]))


@pytest.mark.parametrize("name", [None, *DISTORTIONS])
@settings(max_examples=25, deadline=None)
@given(
    layers=networks,
    n_samples=st.integers(1, 40),
    n_steps=st.integers(1, 70),
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([0.3, 1.0, 3.0]),
    excitatory=st.booleans(),
)
def test_kernel_equals_reference(name, layers, n_samples, n_steps, seed, scale, excitatory):
    weights, inputs = random_network(layers, n_samples, seed, scale, excitatory)
    chip = LIFChip(layers, name, STRENGTHS.get(name, 0), seed % 1000, n_steps)
    again = LIFChip(layers, name, STRENGTHS.get(name, 0), seed % 1000, n_steps)
    expected = reference_spikes(chip, weights, inputs)
    for layer, spikes in enumerate(again.spikes(weights, inputs)):
        np.testing.assert_array_equal(spikes, expected[layer])


@settings(max_examples=25, deadline=None)
@given(
    chosen=st.sets(st.sampled_from(sorted(DISTORTIONS)), min_size=2),
    layers=networks,
    n_steps=st.integers(1, 40),
    seed=st.integers(0, 2**31),
)
def test_distortions_compose(chosen, layers, n_steps, seed):
    names = sorted(chosen)
    weights, inputs = random_network(layers, 12, seed)
    chip = LIFChip(layers, names, [STRENGTHS[name] for name in names], 7, n_steps)
    again = LIFChip(layers, names, [STRENGTHS[name] for name in names], 7, n_steps)
    expected = reference_spikes(chip, weights, inputs)
    np.testing.assert_array_equal(again.run(weights, inputs), expected[-1].sum(axis=1))


def test_paper_size_equals_reference():
    # many blocks of samples, four hidden neurons at a time and a rest
    weights, inputs = random_network((30, 18, 3), 700, 3)
    for name in (None, "comparator"):
        expected = reference_spikes(LIFChip((30, 18, 3), name, 3.0), weights, inputs)[-1].sum(axis=1)
        np.testing.assert_array_equal(LIFChip((30, 18, 3), name, 3.0).run(weights, inputs), expected)


@pytest.mark.parametrize("sigma", [0.5, 3.0, 10.0])
def test_strong_comparators_equal_reference(sigma):
    # up to some twenty firing intervals in a neuron
    weights, inputs = random_network((5, 40, 4), 60, 11, 2.0)
    chip = LIFChip((5, 40, 4), "comparator", sigma, 5)
    expected = reference_spikes(chip, weights, inputs)[-1].sum(axis=1)
    np.testing.assert_array_equal(chip.run(weights, inputs), expected)
    assert sigma < 10 or chip.circuit.n_edges.max() > 5


@pytest.mark.parametrize("name", DISTORTIONS)
def test_strength_zero_is_the_ideal_chip(name):
    weights, inputs = random_network((6, 8, 3), 50, 1)
    ideal, distorted = LIFChip((6, 8, 3)), LIFChip((6, 8, 3), name, 0.0, seed=9)
    np.testing.assert_array_equal(distorted.run(weights, inputs), ideal.run(weights, inputs))
    for a, b in zip(ideal.spikes(weights, inputs), distorted.spikes(weights, inputs), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", DISTORTIONS)
def test_distortion_changes_the_chip_and_its_seed_names_it(name):
    weights, inputs = random_network((6, 24, 3), 200, 2)
    ideal = LIFChip((6, 24, 3)).run(weights, inputs)
    chips = [LIFChip((6, 24, 3), name, STRENGTHS[name], seed) for seed in (0, 0, 1)]
    first, same, other = (chip.run(weights, inputs) for chip in chips)
    np.testing.assert_array_equal(first, same)
    assert (first != ideal).any()
    assert chips[0] == chips[1] != chips[2]
    if name != "quantisation":  # rounding has nothing to draw
        assert (first != other).any()


def test_adding_a_distortion_leaves_the_others_as_they_were():
    alone = LIFChip((5, 7, 2), "comparator", 3.0, 4)
    both = LIFChip((5, 7, 2), ["gain", "comparator"], [0.2, 3.0], 4)
    np.testing.assert_array_equal(alone.circuit.edges, both.circuit.edges)


def test_a_sample_does_not_depend_on_its_neighbours():
    weights, inputs = random_network((5, 9, 3), 400, 6)
    chip = LIFChip((5, 9, 3), "comparator", 3.0)
    whole = chip.run(weights, inputs)
    np.testing.assert_array_equal(whole[37:58], chip.run(weights, inputs[37:58]))


def test_weights_saturate():
    chip = LIFChip((3, 4, 2), weight_range=(-1.5, 2.0))
    weights, inputs = random_network((3, 4, 2), 30, 8, 10.0)
    clipped = [np.clip(w, -1.5, 2.0) for w in weights]
    np.testing.assert_array_equal(chip.run(weights, inputs), chip.run(clipped, inputs))


def test_noise_is_fresh_at_every_run_and_frozen_chips_repeat():
    weights, inputs = random_network((5, 9, 3), 300, 6)
    noisy, frozen = LIFChip((5, 9, 3), "noise", 0.3), LIFChip((5, 9, 3), "comparator", 3.0)
    assert not noisy.spec.deterministic
    assert frozen.spec.deterministic
    assert (noisy.run(weights, inputs) != noisy.run(weights, inputs)).any()
    np.testing.assert_array_equal(frozen.run(weights, inputs), frozen.run(weights, inputs))
    noisy.restart_noise(5)
    first = noisy.run(weights, inputs)
    noisy.restart_noise(5)
    np.testing.assert_array_equal(noisy.run(weights, inputs), first)
    noisy.restart_noise(6)
    assert (noisy.run(weights, inputs) != first).any()


def test_read_only_inputs_are_prepared_once_and_others_are_not_trusted():
    weights, inputs = random_network((5, 9, 3), 50, 6)
    chip = LIFChip((5, 9, 3))
    before = chip.run(weights, inputs)
    inputs[:] = 0  # writeable: the chip must look again
    assert (chip.run(weights, inputs) != before).any()
    inputs.setflags(write=False)
    chip.run(weights, inputs)
    assert chip._prepared[0][0] is inputs
    view = np.zeros((50, 5))
    alias = view[:]
    alias.setflags(write=False)  # read-only, but its base is not
    chip.run(weights, alias)
    assert all(known is not alias for known, _ in chip._prepared)


def test_pickles():
    weights, inputs = random_network((5, 9, 3), 50, 6)
    chip = LIFChip((5, 9, 3), ["comparator", "gain"], [3.0, 0.1], 2)
    copy = pickle.loads(pickle.dumps(chip))
    assert copy == chip
    assert hash(copy) == hash(chip)
    np.testing.assert_array_equal(copy.run(weights, inputs), chip.run(weights, inputs))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"distortion": "comparater"}, "did you mean 'comparator'"),
        ({"distortion": ["gain", "gain"]}, "each can be given once"),
        ({"distortion": ["gain", "leak"], "sigma": [0.1, 0.2, 0.3]}, "3 strengths came for 2"),
        ({"distortion": "gain", "sigma": -1}, r"gain was -1, but a number from 0 to 10 .*: try 0\.1"),
        ({"distortion": "gain", "sigma": float("nan")}, "gain was nan, but a number from 0 to 10"),
        ({"distortion": "gain", "sigma": "much"}, "gain was 'much', but a number from 0 to 10"),
        ({"distortion": "stuck", "sigma": 1.5}, r"from 0 to 1 is expected \(fraction of the synapses\)"),
        ({"distortion": "quantisation", "sigma": 2.5}, r"from 2 to 16 is expected \(whole number of bits\): try 4"),
        ({"distortion": "quantisation", "sigma": 1}, "quantisation was 1, but a number from 2 to 16"),
        ({"distortion": "leak", "sigma": 100.0}, "leak was 100, but a number from 0 to 10"),
        ({"distortion": "drift", "sigma": 100.0}, r"from 0 to 10 is expected \(spread per 1,000 runs\)"),
        ({"distortion": "noise", "sigma": 1e9}, "from 0 to 10,000 .*in units of theta"),
        ({"distortion": "noise", "sigma": float("inf")}, "noise was inf, but a number from 0 to 10,000"),
        ({"layers": (3,)}, "at least two"),
        ({"layers": (3, 0, 2)}, "positive whole numbers"),
        ({"n_steps": 0}, "n_steps was 0, but a whole number of at least 1"),
        ({"seed": -1}, "whole number of at least 0"),
        ({"tau_m": 0.0}, "positive time"),
        ({"weight_range": (1.0, -1.0)}, "lower one"),
    ],
)
def test_bad_arguments_are_told(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        LIFChip(**{"layers": (3, 4, 2), **arguments})


def test_bad_weights_and_inputs_are_told():
    chip = LIFChip((3, 4, 2))
    weights, inputs = random_network((3, 4, 2), 5, 0)
    with pytest.raises(InputError, match=r"\(3, 4\), \(4, 2\)"):
        chip.run([weights[0]], inputs)
    with pytest.raises(InputError, match="hold NaN"):
        chip.run([weights[0] * np.nan, weights[1]], inputs)
    with pytest.raises(InputError, match=r"expects \(n_samples, 3\)"):
        chip.run(weights, inputs[:, :2])
    with pytest.raises(InputError, match="must be finite"):
        chip.run(weights, np.where(inputs > 1, np.inf, inputs * np.nan))
    with pytest.raises(InputError, match="not numbers"):
        chip.run(weights, [["a", "b", "c"]])
    with pytest.raises(InputError, match="at most 1e6"):
        chip.run(weights, inputs * 1e9)
