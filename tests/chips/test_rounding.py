"""Clip and round: one function for arrays and kernels, held to arithmetic in fractions, and what every chip does."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.rounding import clip_and_round, level_step, round_to
from bayes_snn.chips.xylo.chip import XyloChip

RANGES = [(-4.0, 4.0), (-1.0, 4.0), (-0.7, 4.0), (0.0, 3.0), (-2.5, 0.3)]


@njit
def one_by_one(weights, low, high, step, out):  # type: ignore[no-untyped-def]
    for i in range(weights.size):
        out[i] = clip_and_round(weights[i], low, high, step)


def hard_weights(rng, low, high, step, dtype=np.float32):
    """Weights in and out of the range, on levels, half-way between levels and next to both, and what is no number."""
    levels = np.arange(-20, 21) * (step or 0.1)
    ends = np.array([low, high, 0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, 1e-40])
    hard = np.concatenate([rng.normal(0, 3, 200), levels, levels + 0.5 * (step or 0.1), ends]).astype(dtype)
    return np.concatenate([hard, np.nextafter(hard, dtype(np.inf)), np.nextafter(hard, dtype(-np.inf))])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bits", [None, 2, 3, 8, 16])
@pytest.mark.parametrize("weight_range", RANGES)
def test_kernels_round_as_numpy_does(weight_range, bits, dtype):
    low, high, step = dtype(weight_range[0]), dtype(weight_range[1]), dtype(level_step(weight_range, bits))
    weights = hard_weights(np.random.default_rng(5), low, high, step, dtype)
    found, out = clip_and_round(weights, low, high, step), np.empty_like(weights)
    one_by_one(weights, low, high, step, out)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, out)
    assert (np.isnan(found) == np.isnan(weights)).all()
    np.testing.assert_array_equal(clip_and_round(found, low, high, step), found)  # a level stays where it is


@settings(max_examples=300, deadline=None)
@given(st.floats(-8, 8), st.sampled_from([1.0, 0.5, 1 / 32, 2.0**-20]), st.integers(-100, 0), st.integers(1, 100))
@example(0.25, 0.5, -8, 8)  # half-way, to the even
@example(0.75, 0.5, -8, 8)
@example(-7.9, 0.5, -3, 5)
def test_rounds_as_fractions_do(w, step, first, last):
    low, high = first * step, last * step
    nearest = round(Fraction(w) / Fraction(step))  # of two equally near ones Python takes the even one, too
    assert clip_and_round(np.array([w]), low, high, step)[0] == min(max(nearest, first), last) * step
    assert round_to(np.array([w]), step)[0] == nearest * step


@pytest.mark.parametrize("bits", [None, 2, 4, 16])
@pytest.mark.parametrize("weight_range", RANGES)
def test_the_simulated_chip_and_the_torch_model_hold_what_it_gives(weight_range, bits):
    rng = np.random.default_rng(9)
    chip = LIFChip((7, 9), "quantisation", bits or 0, weight_range=weight_range)
    step = level_step(weight_range, bits)
    weights = rng.choice(hard_weights(rng, *weight_range, step), (7, 9))
    weights = np.where(np.isfinite(weights), weights, np.float32(9.0))
    expected = clip_and_round(weights, *weight_range, step)
    np.testing.assert_array_equal(chip.effective_weights([weights])[0], expected)
    assert len(np.unique(expected)) > 1

    torch = pytest.importorskip("torch", reason="the extra backprop is not installed")
    from bayes_snn.backprop.distortion import draw_distortion
    from bayes_snn.backprop.network import effective_weights

    (layer,) = draw_distortion({}, chip.spec, 9.5, lambda name, layer: rng)
    w = torch.from_numpy(weights[None].copy()).requires_grad_()
    found = effective_weights(w, layer, chip.spec, bits)
    np.testing.assert_array_equal(found.detach().numpy()[0], expected)
    found.sum().backward()  # straight through the rounding, and nothing beyond the range
    low, high = map(np.float32, weight_range)
    inside = (weights >= low) & (weights <= high)
    np.testing.assert_array_equal(w.grad.numpy()[0], inside)


def test_xylo_is_programmed_with_whole_numbers():
    rng = np.random.default_rng(2)
    chip = XyloChip((3, 40, 2))
    weights = [rng.normal(0, 3, shape) for shape in chip.spec.weight_shapes]
    weights[0][0, :4] = [127.5 / 32, -128.5 / 32, 0.5 / 32, 1.5 / 32]
    w_1, w_2, thresholds = chip.integers(weights)
    for found, w in zip((w_1, w_2), weights, strict=False):
        np.testing.assert_array_equal(found, np.clip(np.rint(32 * w), -128, 127))
    assert w_1[0, :4].tolist() == [127, -128, 0, 2]
    powers = np.clip(np.rint(4 * weights[2][0]), -12, 12) / 4
    np.testing.assert_array_equal(thresholds, np.rint(1024 * 2.0**powers))
    for parameter in chip.spec.parameters:  # what the prior takes for levels is what is programmed
        assert len(parameter.levels) in (256, 25)
        low, high, step = parameter.levels[0], parameter.levels[-1], parameter.levels[1] - parameter.levels[0]
        np.testing.assert_array_equal(clip_and_round(np.array(parameter.levels), low, high, step), parameter.levels)
