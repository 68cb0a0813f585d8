"""A fit that learns a twin of its chip: what it costs, what it says, and how it goes on after a kill."""

from __future__ import annotations

import numpy as np
import pytest

import bayes_snn.inference.fit as fitting
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.inference import twinning
from bayes_snn.inference.fit import fit
from bayes_snn.inference.load import load_fit
from bayes_snn.inference.resume import resume
from bayes_snn.likelihood import log_likelihood
from bayes_snn.twins import from_spikes
from bayes_snn.twins.learn import learn_twin
from tests.helpers.conductance_reference import ConductanceChip
from tests.helpers.fits import InterruptingChip
from tests.helpers.tallied import TalliedChip
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

pytestmark = pytest.mark.usefixtures("quickly_compiled")

rng = np.random.default_rng(20)
X = rng.normal(size=(40, 3))
Y = (X[:, 0] > 0.5 * X[:, 1]).astype(int)
SMALL = {"chains": 2, "tune": 4, "cores": 1}


def make_chip(**options):
    return LIFChip((3, 4, 2), "comparator", 2.0, seed=100, n_steps=16, **options)


@pytest.fixture(scope="module")
def twin():
    return learn_twin(make_chip(), budget=1500, seed=1)


@pytest.mark.parametrize("budget", [900, 2500])
def test_what_a_fit_tells_is_what_the_chip_was_shown(budget):
    chip = TalliedChip(make_chip())
    result = fit(chip, X, Y, budget=budget, **SMALL)
    assert chip.shown == result.cost.total <= budget
    assert result.presentations == result.cost.learning + result.cost.training
    assert chip.programmings == result.programmings
    assert "twin learned from the chip's spikes" in result.note
    draws = result.posterior.posterior.sizes["draw"]
    assert result.cost.training <= 2 * draws * len(X)
    assert result.cost.log_likelihood == 0


def test_log_likelihoods_are_those_of_the_checks(twin):
    chip = make_chip()
    result = fit(chip, X, Y, twin=twin, draws=6, **SMALL)
    for place in np.ndindex(2, 6):
        weights = [result.posterior.posterior[name].values[place] for name in chip.spec.weight_names]
        expected = log_likelihood(chip.run(weights, X), Y)
        np.testing.assert_allclose(result.posterior.log_likelihood["label"].values[place], expected)


def test_a_twin_that_was_given_costs_nothing(twin):
    chip = TalliedChip(make_chip())
    result = fit(chip, X, Y, twin=twin, draws=3, **SMALL)
    assert result.cost.learning == 2 * len(X)  # where the chains are before the first draw
    assert chip.shown == result.cost.total
    assert "a twin that was given" in result.note


def test_a_fit_is_saved_with_what_is_told_of_its_twin(twin, tmp_path):
    result = fit(make_chip(), X, Y, twin=twin, draws=4, **SMALL)
    result.save(tmp_path / "fit")
    loaded = load_fit(tmp_path / "fit")
    assert loaded.note == result.note
    assert loaded.programmings == result.programmings
    assert loaded.twin_check["presentations"] == twin.learned.presentations
    assert loaded.cost == result.cost


def test_a_chip_that_cannot_be_learned_is_sampled_by_sitewise():
    result = fit(SigmoidChip(), INPUTS, LABELS, draws=4, tune=4, chains=2, cores=1)
    assert result.arguments["sampler"] == "sitewise"
    assert result.note.startswith("Sampled by sitewise, because no twin of it can be learned")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 60}, r"a budget of at least [\d,]+|too few to learn"),
        ({"budget": 0}, r"budget"),
        ({"budget": 500, "sampler": "sitewise"}, r"A budget came with sampler 'sitewise'"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(options, message):
    with pytest.raises(InputError, match=message):
        fit(make_chip(), X, Y, **SMALL, **options)


def test_a_chip_that_has_changed_is_told(twin):
    other = LIFChip((3, 4, 2), "comparator", 2.0, seed=101, n_steps=16)
    result = fit(other, X, Y, twin=twin, sampler="twin", draws=2, **SMALL)
    assert "the chip has changed" in result.note


def test_a_twin_of_another_chip_is_refused(twin):
    with pytest.raises(InputError, match=r"twin of another chip"):
        fit(LIFChip((3, 5, 2), n_steps=16), X, Y, twin=twin, draws=2, **SMALL)
    with pytest.raises(InputError, match=r"A twin came with sampler 'block'"):
        fit(make_chip(), X, Y, twin=twin, sampler="block", draws=2, **SMALL)


def test_learning_goes_on_where_it_was_stopped(tmp_path):
    """The chip is not shown again what is in the journal, and draws are those of a fit without the stop."""
    whole = fit(make_chip(), X, Y, budget=2000, seed=3, **SMALL)

    class Failing(TalliedChip):
        def _count(self, weights, inputs):
            if self.shown > 450:
                raise KeyboardInterrupt
            super()._count(weights, inputs)

    stopped = Failing(make_chip())
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, X, Y, budget=2000, seed=3, checkpoint=tmp_path / "c", **SMALL)
    chip = TalliedChip(make_chip())
    result = fit(chip, X, Y, budget=2000, seed=3, checkpoint=tmp_path / "c", **SMALL)
    assert chip.shown < result.cost.total - 100
    assert result.cost == whole.cost
    np.testing.assert_array_equal(result.posterior.posterior["w_1"], whole.posterior.posterior["w_1"])


def test_a_stopped_fit_is_resumed_draw_by_draw(tmp_path, monkeypatch):
    options = {"budget": 2500, "seed": 3, "chains": 2, "tune": 4, "cores": 1}
    whole = fit(make_chip(), X, Y, **options)
    seen = []

    class Stop(Exception):
        pass

    real = fitting.InterruptGuard.callback

    def callback(self, trace, draw):
        seen.append(draw)
        if len(seen) == 20:
            raise Stop
        return real(self, trace, draw)

    monkeypatch.setattr(fitting.InterruptGuard, "callback", callback)
    with pytest.raises(Stop):
        fit(make_chip(), X, Y, checkpoint=tmp_path / "c", **options)
    monkeypatch.undo()
    result = resume(tmp_path / "c", cores=1)
    np.testing.assert_array_equal(result.posterior.posterior["w_1"], whole.posterior.posterior["w_1"])
    assert result.cost.training == whole.cost.training


def test_ctrl_c_keeps_the_draws_so_far():
    assert issubclass(InterruptingChip, SigmoidChip)  # its twin is itself: no learning
    chip = InterruptingChip(60)
    result = fit(chip, INPUTS, LABELS, twin=SigmoidChip(), draws=60, chains=2, tune=3, cores=1)
    assert result.interrupted
    assert result.posterior.posterior.sizes["draw"] >= 1


def test_other_neurons_are_tried_where_the_chains_go(monkeypatch):
    """Leaky neurons that were not doubted as they were learned are given up where they are wrong about log L."""
    monkeypatch.setattr(from_spikes, "BAD", 2.0)
    monkeypatch.setattr(twinning, "MOST_SPREAD", 0.0)
    chip = TalliedChip(ConductanceChip((3, 4, 2)))
    result = fit(chip, X, Y, budget=2000, sampler="twin", **SMALL)
    assert result.twin.family == "conductance"
    assert result.twin.learned.notes[0].startswith("Where the chains went, log L of leaky integrate-and-fire neurons")
    assert chip.shown == result.cost.total <= 2000
