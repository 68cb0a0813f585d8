"""The scales of weights: from the fan-in, or the chip's own; every prior of `models/` is as wide as they say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bayes_snn.chips import XyloChip
from bayes_snn.chips.contract import ChipSpec, Parameter
from bayes_snn.chips.describe import describe_chip, make_chip
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.names import available_models
from bayes_snn.posterior.build import build_model
from bayes_snn.posterior.prior_draws import draw_prior
from bayes_snn.posterior.weight_scales import CURRENT, MOST, SPIKES, weight_scales

N = 4000
rng = np.random.default_rng(0)


class Silent:
    """A chip of this spec that never spikes."""

    def __init__(self, spec):
        self.spec = spec

    def run(self, weights, inputs):
        return np.zeros((len(inputs), self.spec.layers[-1]), np.int64)


def quartile(prior, chip, layer):
    """Median of |w| over draws of a layer's weights, which a Cauchy has too."""
    model = build_model(chip, rng.normal(size=(4, chip.spec.layers[0])), np.arange(4) % 2, prior)
    return float(np.median(np.abs(draw_prior(model.likelihood.weights, N, np.random.default_rng(1))[layer])))


def test_they_are_those_of_the_docs():
    assert weight_scales(LIFChip((31, 16, 2))) == pytest.approx([3 / 31**0.5, 3.0])
    assert weight_scales(LIFChip((64, 32, 10))) == pytest.approx([3 / 8, 12 / 32**0.5])
    assert weight_scales(LIFChip((4, 2, 2), weight_range=(-1, 1))) == [0.75, 0.75]  # of the largest weight
    assert weight_scales(LIFChip((100, 2, 2), weight_range=(0, 8))) == pytest.approx([0.3, 6.0])


@pytest.mark.parametrize("n_pre", [8, 128])
def test_currents_spread_alike_whatever_the_fan_in(n_pre):
    chip = LIFChip((n_pre, n_pre, 2), weight_range=(-100.0, 100.0))
    model = build_model(chip, rng.normal(size=(4, n_pre)), np.arange(4) % 2)
    first, second = draw_prior(model.likelihood.weights, N, np.random.default_rng(1))
    inputs, spikes = rng.normal(size=(N, n_pre)), rng.random((N, n_pre)) < SPIKES**2
    for weights, received in ((first, inputs), (second, spikes)):
        currents = np.einsum("ni,ni->n", received, weights[:, :, 0])
        # of N draws, the relative error of a standard deviation; its fourth moments are those of few spikes
        assert currents.std() == pytest.approx(CURRENT, rel=5 / (2 * N) ** 0.5 * 3)


@pytest.mark.parametrize("prior", sorted(set(available_models()) - {"standard_normal", "grid"}))
def test_every_prior_is_as_wide_as_the_scales_say(prior):
    layers = (6, 9, 2)
    as_unit = Silent(ChipSpec(layers, weight_range=(-50, 50)))
    units = tuple(replace(parameter, scale=1.0) for parameter in as_unit.spec.parameters)
    wide = Silent(ChipSpec(layers, weight_range=(-50, 50)))
    as_unit.spec = replace(as_unit.spec, parameters=units)
    for layer, scale in enumerate(weight_scales(wide)):
        assert quartile(prior, wide, layer) == pytest.approx(scale * quartile(prior, as_unit, layer), rel=0.1)


def test_weights_on_a_grid_are_those_of_the_gaussian_prior_rounded():
    chip = LIFChip((6, 9, 2), "quantisation", 6)
    for layer, scale in enumerate(weight_scales(chip)):
        assert quartile("grid", chip, layer) == pytest.approx(0.6745 * scale, abs=0.07 + 0.05 * scale)


def test_the_old_default_is_the_same_for_all_layers():
    for layer in range(2):
        assert quartile("standard_normal", LIFChip((6, 9, 2)), layer) == pytest.approx(0.6745, rel=0.05)


def test_a_chip_in_units_of_its_own_says_its_scales():
    parameters = [
        Parameter("w_1", (3, 2), ("pre_1", "post_1"), scale=0.01),
        Parameter("bias", (1, 2), ("one", "post_1")),
    ]
    spec = ChipSpec((3, 2), parameters=tuple(parameters))
    assert weight_scales(Silent(spec)) == [0.01, 1.0]
    assert ChipSpec(**spec.as_dict()) == spec
    assert weight_scales(XyloChip((16, 4, 2))) == [1.0, 1.0, 1.0]
    chip = LIFChip((3, 4, 2))
    assert weight_scales(make_chip(describe_chip(chip))) == weight_scales(chip)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan, "wide", True])
def test_a_scale_is_a_positive_number(scale):
    with pytest.raises(InputError) as error:
        Parameter("w_1", (3, 2), ("pre_1", "post_1"), scale=scale)
    assert str(error.value).startswith(f"The scale of 'w_1' was {scale!r}, but a positive number is expected")
    assert MOST < 1
