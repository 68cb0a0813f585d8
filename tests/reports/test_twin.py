"""The section on the chip: what its twin cost, what is wrong with the chip, and where the twin errs."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.inference.twin_checks import twin_checks
from bayes_snn.inference.twin_figure import MOST_NEURONS, neurons_of
from bayes_snn.reports.material import gather
from bayes_snn.reports.page import Sheet
from bayes_snn.reports.twin import differing, has_twin, the_chip
from bayes_snn.reports.write import write_report
from bayes_snn.twins.contract import Learned
from tests.helpers.fits import hand_made_fit
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip
from tests.helpers.twins import fit_on_twin, twin_of
from tests.reports.test_write import check_page, rows_of

CHIP, OTHER = (
    LIFChip((1, 5, 2), ["comparator", "gain", "leak", "silent"], [2.0, 0.3, 0.2, 0.3], seed=seed, n_steps=8)
    for seed in (100, 101)
)


@pytest.fixture
def result():
    return fit_on_twin(CHIP, twin_of(OTHER, notes=("Two <b>neurons</b> are silent.",)), INPUTS, LABELS)


def section(result):
    return the_chip(gather(result), Sheet())


def test_the_page_has_the_section_where_there_is_a_twin(result, tmp_path):
    folder = result.save(tmp_path / "fit")
    page = check_page(write_report(folder, tmp_path / "one.html").read_text(encoding="utf-8"))
    assert "chip" in [attributes["id"] for attributes in page.all("h2")]
    without = hand_made_fit(CHIP, INPUTS, LABELS)
    page = check_page(write_report(without, tmp_path / "two.html").read_text(encoding="utf-8"))
    assert "chip" not in [attributes["id"] for attributes in page.all("h2")]
    page = check_page(write_report([folder, without], tmp_path / "both.html").read_text(encoding="utf-8"))
    named = {attributes.get("id") for attributes in page.all("h3")}
    assert "fit-1-chip" in named
    assert "fit-2-chip" not in named


def test_the_numbers_are_those_of_the_fit(result):
    rows = {row[0]: row[1] for row in rows_of(section(result))}
    checks = twin_checks(result.posterior)
    assert rows["learned from"] == "the spikes of all its neurons"
    assert rows["presentations that taught it"] == "900"
    assert rows["programmings"] == "123"
    assert rows["presentations that checked its draws"] == f"{result.cost.training:,}"
    assert rows["presentations for each effective draw"] == f"{result.presentations_per_effective_draw:,.0f}"
    assert rows["checks accepted"] == f"{checks.n_accepted} of {checks.n}, {checks.share_accepted:.0%}"
    [spread] = [value for name, value in rows.items() if name.startswith("s, the standard deviation")]
    assert spread == f"{checks.spread:.2f} nats"
    assert "Two &lt;b&gt;neurons&lt;/b&gt; are silent." in section(result)


def test_a_given_twin_is_said(result):
    result.arguments["twin"] = "given"
    assert ["learned for this fit", "no, it was given"] in rows_of(section(result))


def test_figures_say_what_they_show(result):
    said = " ".join(re.findall(r'aria-label="([^"]*)"', section(result)))
    neurons = neurons_of(result.twin)
    leaks = [neuron.leak for neuron in neurons]
    assert f"from {min(leaks):.3f} to {max(leaks):.3f}" in said
    assert f"{sum(neuron.does == 'never' for neuron in neurons)} never" in said
    assert f"{sum(neuron.does == 'between' for neuron in neurons)} in other intervals" in said
    gaps = twin_checks(result.posterior).gaps
    assert f"mean {gaps.mean():.3g} nats, from {gaps.min():.3g} to {gaps.max():.3g}" in said


def test_neurons_fire_in_their_intervals():
    twin = twin_of(CHIP)
    voltages = np.linspace(-3, 3, 601, dtype=np.float32)
    for neuron in neurons_of(twin):
        inside = [any(low <= v < high for low, high in neuron.intervals(10.0)) for v in voltages]
        odd = np.searchsorted(neuron.edges, voltages, side="right") % 2 == 1
        np.testing.assert_array_equal(inside, odd)
    assert len(neurons_of(twin_of(LIFChip((1, MOST_NEURONS + 9, 2), n_steps=8)))) == MOST_NEURONS


def test_samples_on_which_chip_and_twin_differ(result):
    shares, expected = differing(gather(result)), np.zeros(len(LABELS))
    for draw in range(len(result.draws)):
        readout = result.draws.readout(draw)
        each = [readout.log_p([chip.run(result.draws[draw], INPUTS)], LABELS) for chip in (CHIP, result.twin)]
        expected += each[0] != each[1]
    np.testing.assert_allclose(shares, expected / len(result.draws))
    assert shares.max() > 0
    exact = fit_on_twin(CHIP, twin_of(CHIP), INPUTS, LABELS)
    assert (differing(gather(exact)) == 0).all()


def test_what_is_missing_is_said(result):
    result.posterior.sample_stats["gap"][:] = np.nan
    result.twin = None
    said = section(result)
    assert "holds no twin" in said
    assert "No check was shown all samples" in said
    assert "<svg" not in said


def test_a_twin_of_another_family_is_not_drawn():
    class Nest(SigmoidChip):
        family, learned = "nest", Learned("spikes")

    result = fit_on_twin(SigmoidChip(), Nest(), INPUTS, LABELS)
    assert has_twin(gather(result))
    assert "of the family nest, whose neurons cannot be drawn here" in section(result)
