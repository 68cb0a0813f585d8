"""What a layer computes with is drawn in one place, for the simulated chip and for noise-aware training alike."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.lif.distortion import DRIFT_RUNS, draw_layer, stream
from tests.chips.lif.test_chip import STRENGTHS

LAYERS = (5, 9, 7, 3)


def drawn(strengths, stream_of, n_runs=0):
    spec = LIFChip(LAYERS).spec
    return [draw_layer(strengths, spec, layer, 9.5, stream_of, n_runs) for layer in range(3)]


def assert_equal(one, other):
    for name, a, b in zip(one._fields, one, other, strict=True):
        if name in ("comparator", "current") and a is not None:
            a, b = np.stack([a.frequencies, a.phases]), np.stack([b.frequencies, b.phases])
        np.testing.assert_array_equal(a, b, err_msg=name)


def test_each_distortion_moves_its_own_fields_and_no_other():
    moved = {
        **{name: {name} for name in ("comparator", "current", "threshold", "silent", "noise")},
        "leak": {"decay"},
        "gain": {"gain", "grid"},
        "stuck": {"gain"},
        "drift": {"threshold"},
        "quantisation": set(),  # what rounds is the chip's specification
    }
    assert moved.keys() == STRENGTHS.keys()
    ideal = drawn({}, partial(stream, 3))
    for name, fields in moved.items():
        found = set()
        for layer, untouched in zip(drawn({name: STRENGTHS[name]}, partial(stream, 3), 7), ideal, strict=True):
            found |= {f for f, a, b in zip(layer._fields, layer, untouched, strict=True) if not np.array_equal(a, b)}
        assert found == fields, name


def test_a_shared_stream_is_read_in_one_order_whatever_the_order_of_the_strengths():
    draws = []
    for strengths in (STRENGTHS, dict(reversed(STRENGTHS.items()))):
        shared = np.random.default_rng(4)
        draws.append(drawn(strengths, lambda name, layer, rng=shared: rng, DRIFT_RUNS))
    for one, other in zip(*draws, strict=True):
        assert_equal(one, other)


def test_drift_starts_at_the_thresholds_and_spreads_with_the_root_of_the_runs():
    new, old, older = (
        np.log(np.concatenate([layer.threshold for layer in drawn({"drift": 0.5}, partial(stream, 8), n)]))
        for n in (0, DRIFT_RUNS, 4 * DRIFT_RUNS)
    )
    np.testing.assert_array_equal(new, 0.0)
    assert 0.25 < old.std() < 0.75  # 19 numbers of standard deviation 0.5
    np.testing.assert_allclose(older, 2 * old)


@pytest.mark.parametrize("names", [["comparator", "silent"], ["threshold", "leak", "gain", "stuck", "noise"]])
def test_the_chip_computes_with_what_is_drawn(names):
    strengths = {name: STRENGTHS[name] for name in names}
    chip = LIFChip(LAYERS, names, list(strengths.values()), 6, tau_m=9.5)
    layers = drawn(strengths, partial(stream, 6))
    circuit = chip.circuit
    np.testing.assert_array_equal(circuit.decay, np.concatenate([layer.decay for layer in layers]))
    np.testing.assert_array_equal(circuit.noise, np.concatenate([layer.noise for layer in layers]))
    np.testing.assert_array_equal(np.isinf(circuit.edges[:, 0]), np.concatenate([layer.silent for layer in layers]))
    ones = [np.ones(shape) for shape in chip.spec.weight_shapes]
    np.testing.assert_array_equal(chip.effective_weights(ones)[0], layers[0].gain)
    if "threshold" in names:
        theta = np.concatenate([layer.threshold for layer in layers])
        np.testing.assert_array_equal(circuit.edges[:, 0], theta.astype(np.float32))
