"""The prior predictive check runs the chip on draws from the prior, and counts by hand agree."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest

from bayes_snn import ChipError, ChipSpec, InputError, LIFChip
from bayes_snn.checks.prior_check import SURE, prior_predictive
from bayes_snn.checks.prior_figures import draw_prior
from bayes_snn.estimates.metrics import accuracy
from bayes_snn.posterior.build import available_models, build_model
from bayes_snn.posterior.prior_draws import draw_weights
from tests.helpers.fits import CountingChip
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(20, 3)), np.arange(20) % 2


def fixed(value):
    """A prior whose draws are all but equal to `value`."""

    def weights(chip):
        pairs = zip(chip.spec.weight_names, chip.spec.weight_dims, strict=True)
        return [pm.Normal(name, value, 1e-9, dims=dims) for name, dims in pairs]

    return weights


def test_counts_by_hand():
    chip = LIFChip((3, 4, 2), "comparator", 2.0, n_steps=16)
    found = prior_predictive(chip, X, "hierarchical", Y, draws=7, seed=3)
    drawn, readouts = draw_weights(build_model(chip, X, Y, "hierarchical"), 7, 3)
    assert found.layers == (1, 2)
    for draw in range(7):
        spikes = chip.spikes([layer[draw] for layer in drawn], X)
        for layer, fired in zip((1, 2), spikes, strict=True):
            counts = fired.sum(axis=1)
            np.testing.assert_allclose(found.data[f"rate_{layer}"][draw], counts.mean(axis=0) / 16)
            assert found.data[f"silent_{layer}"][draw] == np.mean(counts.max(axis=0) == 0)
        scores = np.exp(0.5 * spikes[-1].sum(axis=1) + readouts[draw].bias)
        expected = scores / scores.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found.data["probability"][draw], expected, rtol=1e-12)
        assert found.data["accuracy"][draw] == pytest.approx(accuracy(expected, Y))
    assert found.presentations == 7 * len(X)
    assert found.chance == 0.5
    np.testing.assert_allclose(found.data["probability"].sum("class"), 1.0)
    assert found.sure == np.mean(found.data["probability"].max("class") >= SURE)


def test_draws_are_those_of_the_prior():
    chip = LIFChip((3, 4, 2))
    drawn, _ = draw_weights(build_model(chip, X, Y, "standard_normal"), 4000, 0)
    values = np.concatenate([layer.ravel() for layer in drawn])
    assert [layer.shape for layer in drawn] == [(4000, 3, 4), (4000, 4, 2)]
    assert abs(values.mean()) < 5 / values.size**0.5
    assert abs(values.std() - 1) < 5 / (2 * values.size) ** 0.5


def test_a_chip_that_shows_its_outputs_alone():
    chip = CountingChip(LIFChip((3, 4, 2)))
    found = prior_predictive(chip, X, draws=5)
    assert (chip.runs, chip.shown) == (5, 100)
    assert found.layers == (2,)
    assert list(found.table().index) == ["output"]
    assert "accuracy" not in found.data
    assert found.chance is None
    assert "does not show their spikes" in str(found)
    whole = prior_predictive(chip.chip, X, draws=5)
    np.testing.assert_array_equal(whole.data["probability"], found.data["probability"])
    assert list(whole.table().index) == ["hidden", "output"]
    assert "does not show" not in str(whole)


def test_silent_and_saturated():
    chip = LIFChip((3, 4, 2), weight_range=(-100.0, 100.0))
    nothing = prior_predictive(chip, X, fixed(0.0), Y, draws=3)
    assert (nothing.table()["silent"] == 1).all()
    assert (nothing.table()["saturated"] == 0).all()
    assert nothing.undecided == 1.0
    assert nothing.sure == 0.0
    assert np.allclose(nothing.data["accuracy"], 0.5)  # ties are credited
    flooded = prior_predictive(chip, np.abs(X) + 1, fixed(90.0), draws=3)
    assert (flooded.table()["saturated"] == 1).all()
    assert (flooded.table()[["rate", "rate_low", "rate_high"]] == 1).all(axis=None)
    normal = prior_predictive(chip, X, draws=20)
    assert (normal.table()["saturated"] < 1).all()
    assert (normal.table()["silent"] < 1).all()


def test_the_seed_decides():
    chip = LIFChip((3, 4, 2))
    first, second, other = (prior_predictive(chip, X, draws=4, seed=seed).data for seed in (0, 0, 1))
    assert first.identical(second)
    assert not first.equals(other)


def test_one_draw_and_one_layer():
    found = prior_predictive(SigmoidChip(), INPUTS, labels=LABELS, draws=1, class_names=["no", "yes"])
    assert found.data["probability"].shape == (1, len(INPUTS), 2)
    assert list(found.data["class"].values) == ["no", "yes"]
    assert list(found.table().index) == ["output"]


@pytest.mark.parametrize("draws", [0, 2.5, True, "many"])
def test_draws_that_are_no_number(draws):
    with pytest.raises(InputError, match="a whole number of at least 1"):
        prior_predictive(SigmoidChip(), INPUTS, draws=draws)


def test_what_cannot_be_used():
    def flat(chip):
        return [pm.Flat("w_1", dims=("pre_1", "post_1"))]

    with pytest.raises(InputError, match="cannot be drawn from"):
        prior_predictive(SigmoidChip(), INPUTS, flat)
    with pytest.raises(InputError, match="labels run from"):
        prior_predictive(SigmoidChip(), INPUTS, labels=LABELS + 5)
    with pytest.raises(InputError, match="inputs have shape"):
        prior_predictive(SigmoidChip(), INPUTS[:, 0])


def test_spikes_that_are_nonsense():
    class Wrong:
        spec = ChipSpec((3, 2), 8)

        def run(self, weights, inputs):
            raise AssertionError

        def spikes(self, weights, inputs):
            return [np.full((len(inputs), 8, 2), 3)]

    with pytest.raises(ChipError, match="other values than 0 and 1"):
        prior_predictive(Wrong(), X, draws=1)


def test_the_figure_shows_every_prior_and_layer():
    chip = LIFChip((3, 4, 4, 2))
    names = sorted(available_models())
    found = {name: prior_predictive(chip, X, name, Y, draws=5) for name in ("gaussian", "horseshoe")}
    assert set(found) <= set(names)
    figure = draw_prior(found)
    labels = [axis.get_ylabel() for axis in figure.axes if axis.get_visible()]
    layers = ["hidden 1 neurons", "hidden 2 neurons", "output neurons"]
    assert labels == [f"share of {what}" for what in [*layers, "answers", "draws"]]
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["gaussian", "horseshoe"]
    for axis in figure.axes[: len(labels)]:
        for patch in axis.patches:
            assert patch.get_data().values.sum() == pytest.approx(1.0)
    alone = draw_prior(prior_predictive(SigmoidChip(), INPUTS, draws=5))
    assert not alone.legends
    assert len(alone.axes) == 2


def test_figures_of_what_cannot_be_compared():
    first = prior_predictive(SigmoidChip(), INPUTS, draws=2)
    other = prior_predictive(LIFChip((3, 4, 2)), X, draws=2)
    with pytest.raises(InputError, match="draw them apart"):
        draw_prior({"a": first, "b": other})
    with pytest.raises(InputError, match="one at least is expected"):
        draw_prior({})
