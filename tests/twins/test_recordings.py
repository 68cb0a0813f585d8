"""Recordings: what was added comes back, from arrays too, and beyond a limit a fair part of it."""

import numpy as np
import pytest

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.errors import InputError
from bayes_snn.twins.recordings import Recordings

SPEC = ChipSpec((3, 5, 2), n_steps=11)


def presented(rng, n):
    weights = [rng.normal(size=shape) for shape in SPEC.weight_shapes]
    return weights, rng.normal(size=(n, 3)), [rng.random((n, 11, size)) < 0.3 for size in SPEC.layers[1:]]


def filled(sizes, most=1000, seed=0):
    rng, kept = np.random.default_rng(seed), Recordings(SPEC, most)
    shown = [presented(rng, n) for n in sizes]
    for each in shown:
        kept.add(*each)
    return kept, shown


def assert_holds(kept, shown):
    """What is kept is `shown`, presentation by presentation."""
    for number in range(2):
        seen = np.concatenate([spikes[number] for _, _, spikes in shown])
        assert np.array_equal(kept.spikes()[number], seen)
        written = np.concatenate([[weights[number]] * len(inputs) for weights, inputs, _ in shown])
        assert np.array_equal(kept.matrices()[number][kept.programmed], written.astype(np.float32))
    assert np.array_equal(kept.inputs, np.concatenate([inputs for _, inputs, _ in shown]).astype(np.float32))


def test_what_was_added_comes_back():
    kept, shown = filled([4, 1, 7])
    assert len(kept) == 12
    assert len(kept.weights) == 3
    assert_holds(kept, shown)
    assert_holds(Recordings.from_arrays(SPEC, kept.arrays()), shown)


def test_weights_that_stay_are_one_programming():
    rng = np.random.default_rng(0)
    kept, (weights, inputs, spikes) = Recordings(SPEC), presented(rng, 4)
    kept.add(weights, inputs, spikes)
    kept.add(weights, inputs, spikes)
    assert len(kept.weights) == 1
    assert len(kept) == 8


def test_the_latest_are_kept_and_of_the_others_a_fair_sample():
    most, batches, size = 40, 20, 10
    times = np.zeros(batches)
    for seed in range(60):
        kept = Recordings(SPEC, most)
        for batch in range(batches):
            weights, inputs, spikes = presented(np.random.default_rng([seed, batch]), size)
            kept.add(weights, np.full_like(inputs, batch), spikes)
        shown = kept.inputs[:, 0].astype(int)
        assert len(kept) == most
        assert (shown[-most // 2 :] == np.repeat([batches - 2, batches - 1], size)).all()
        times += np.bincount(shown, minlength=batches)
    assert len(kept.weights) == len(set(shown))  # weights that no presentation has are forgotten


def test_ranks_make_the_sample_fair():
    kept = Recordings(ChipSpec((1, 1), n_steps=1), 400)
    rng = np.random.default_rng(0)
    for start in range(0, 4000, 50):
        spikes = [np.zeros((50, 1, 1), bool)]
        kept.add([rng.normal(size=(1, 1))], np.arange(start, start + 50.0)[:, None], spikes)
    older = kept.inputs[:200, 0]
    assert older.max() < 3800
    # 200 of 3,800, in four quarters: 50 each, standard deviation 6.0
    quarters = np.histogram(older, bins=4, range=(0, 3800))[0]
    assert np.abs(quarters - 50).max() < 5 * 6.0


@pytest.mark.parametrize("broken", ["inputs", "packed", "weights", "programmed"])
def test_arrays_of_another_chip_are_refused(broken):
    arrays = filled([4])[0].arrays()
    arrays[broken] = arrays[broken][:, :-1] if arrays[broken].ndim == 2 else arrays[broken] + 7
    with pytest.raises(ValueError, match="no recordings"):
        Recordings.from_arrays(SPEC, arrays)


def test_spikes_of_another_chip_are_refused():
    weights, inputs, spikes = presented(np.random.default_rng(0), 4)
    with pytest.raises(InputError, match="record the chip"):
        Recordings(SPEC).add(weights, inputs, [layer[:, :-1] for layer in spikes])
