"""Bent input currents: what a neuron makes of its current is found, and the twin answers as the chip does."""

import numpy as np
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.lif.smooth import N_KNOTS
from bayes_snn.inference.twin_figure import draw_twin
from bayes_snn.inference.twin_figure import neurons_of as drawn_neurons
from bayes_snn.twins.bends import STEP, bend_of, fit_bends, table_of, through
from bayes_snn.twins.membrane import neurons_of
from bayes_snn.twins.slopes import STRAIGHT, Bend
from bayes_snn.twins.teacher import BENT, fit_lif

from .test_teacher import LAYERS, recorded, share_wrong


@pytest.fixture(scope="module")
def chip():
    return LIFChip(LAYERS, "current", 3.0, seed=103)


@pytest.fixture(scope="module")
def recordings(chip):
    return recorded(chip, 1600, scale=2.0)


def test_a_twin_of_bent_currents_answers_as_its_chip(chip, recordings):
    twin = fit_lif(chip.spec, recordings)
    assert BENT in twin.learned.notes
    assert twin.bends_currents
    assert share_wrong(chip, twin) < 0.05
    # without bends most of what cannot be explained stays
    straight = LIFChip(LAYERS, "comparator", 0.0, seed=103)
    assert share_wrong(chip, straight) > 0.2


def test_what_is_added_to_currents_is_found_where_it_shows(chip, recordings):
    later = neurons_of(recordings, 1)
    fits = fit_bends(later)
    knots = np.linspace(-64.0, 64.0, N_KNOTS)
    told = 0
    for n, (neuron, fit) in enumerate(zip(later, fits, strict=True)):
        if neuron.spikes.mean() < 0.02:  # a silent one tells nothing of its leak
            continue
        told += 1
        assert fit.decay == pytest.approx(0.9, abs=0.005)
        currents = neuron.currents(np.ones(LAYERS[1]))
        # currents that came often, and that lift the voltage: of others it is known only that they do not
        often = (knots > np.quantile(currents, 0.1)) & (knots < np.quantile(currents, 0.9))
        drawn = chip.circuit.current_table[LAYERS[1] + n]
        shows = often & (knots + drawn > 0.5)
        wrong = np.abs(table_of(fit.bend)[shows] - drawn[shows])
        assert shows.any()
        assert np.median(wrong) < 0.15
    assert told >= 2


def test_a_twin_starts_from_the_bends_of_an_earlier_one(chip, recordings):
    first = fit_lif(chip.spec, recorded(chip, 1100, scale=2.0))
    again = fit_lif(chip.spec, recordings, start=first)
    assert again.n_sought == first.n_sought == 1096  # in eights
    assert share_wrong(chip, again) <= share_wrong(chip, first) + 0.01


def test_leaks_and_comparators_are_not_taken_for_bends():
    for distortion, sigma in [("leak", 0.3), ("comparator", 3.0), (["gain", "leak"], 0.3)]:
        chip = LIFChip(LAYERS, distortion, sigma, seed=103)
        twin = fit_lif(chip.spec, recorded(chip, 800))
        assert not twin.bends_currents
        assert BENT not in twin.learned.notes


def test_a_bend_and_its_table_are_the_same():
    rng = np.random.default_rng(0)
    bend = Bend(-5.0, STEP, np.cumsum(rng.normal(scale=0.3, size=24)))
    table = table_of(bend)
    inside = np.linspace(-5.0 + STEP, -5.0 + 20 * STEP, 50)
    knots = np.linspace(-64.0, 64.0, N_KNOTS)
    assert np.allclose(np.interp(inside, knots, table), bend(inside) - inside, atol=2e-3)
    assert np.allclose(bend_of(table)(inside), bend(inside), atol=0.1)
    assert bend_of(np.zeros(N_KNOTS, np.float32)) is STRAIGHT
    assert not table_of(STRAIGHT).any()


def test_a_bend_goes_through_the_values_that_it_was_given():
    values = np.random.default_rng(1).normal(size=12)
    bend = through(Bend(2.0, STEP, np.zeros(12)), values)
    at = 2.0 + STEP * np.arange(12.0)
    assert np.allclose((bend(at) - at)[1:-1], values[1:-1])


def test_what_was_learned_can_be_drawn(chip, recordings):
    twin = fit_lif(chip.spec, recordings)
    figure = draw_twin(twin)
    assert figure.axes[0].get_xlabel() == "fires under a constant current of (thresholds)"
    # the bars are where the chip itself fires under currents that came
    knots = np.linspace(-64.0, 64.0, N_KNOTS)
    for n, neuron in enumerate(neurons_of(recordings, 0)):
        currents = neuron.currents(np.ones(LAYERS[0]))
        at = knots[(knots > np.quantile(currents, 0.1)) & (knots < np.quantile(currents, 0.9))]
        drawn = np.interp(at, knots, chip.circuit.current_table[n]) + at
        fires = drawn * (1.0 - 0.9**chip.spec.n_steps) >= 1.0
        shown = np.searchsorted(drawn_neurons(twin)[n].edges, at, side="right") % 2 == 1
        assert (fires == shown).mean() > 0.9
