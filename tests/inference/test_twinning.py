"""A fit that learns a twin of its chip: what it costs, what it says, and how it goes on after a kill."""

from __future__ import annotations

import re

import numpy as np
import pymc as pm
import pytest

import bayes_snn.inference.fit as fitting
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import InputError
from bayes_snn.inference import twinning
from bayes_snn.inference.fit import fit
from bayes_snn.inference.load import load_fit
from bayes_snn.inference.resume import resume
from bayes_snn.inference.twinning import CHECKED, accepted_draws, affordable_draws
from bayes_snn.likelihood import log_likelihood
from bayes_snn.twins import from_spikes
from bayes_snn.twins.learn import learn_twin
from tests.helpers.conductance_reference import ConductanceChip
from tests.helpers.fits import InterruptingChip
from tests.helpers.tallied import TalliedChip
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip
from tests.helpers.twins import twin_of

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


@pytest.mark.parametrize("remeasure", [1, 3])
def test_looks_at_a_chip_that_drifts_are_within_the_budget(remeasure):
    still = LIFChip((3, 4, 2), ["threshold", "drift"], [0.3, 0.0], seed=100, n_steps=16)
    chip = TalliedChip(LIFChip((3, 4, 2), ["threshold", "drift"], [0.3, 0.05], seed=100, n_steps=16))
    result = fit(chip, X, Y, twin=twin_of(still), budget=1500, remeasure=remeasure, **SMALL)
    assert chip.shown == result.cost.total
    assert 1500 - 2 * (remeasure + 2) * len(X) < chip.shown <= 1500
    looks = result.posterior["remeasured"].dataset
    assert looks.sizes["look"] == 2 * ((result.posterior.posterior.sizes["draw"] - 1) // remeasure)
    assert np.isfinite(looks["reference"]).all()  # the warm-up has none


@pytest.mark.parametrize(("room", "remeasure"), [(room, every) for room in range(1, 40) for every in (1, 2, 7)])
def test_draws_fill_what_a_budget_leaves(room, remeasure):
    def cost(draws):
        return draws + 2 * ((draws - 1) // remeasure)

    draws = affordable_draws(10 + 5 * room, 10, 5, 1, 1, None, remeasure)
    assert cost(draws) <= room < cost(draws + 1)


def test_a_round_is_worth_it_where_it_brings_more_accepted_draws():
    pair = 796
    assert accepted_draws(5 * pair, pair, 0.0) == 5.0
    assert accepted_draws(pair - 1, pair, 0.0) == 0.0 == accepted_draws(-1, pair, 0.0)
    assert accepted_draws(5 * pair + CHECKED, pair, 1.0) > accepted_draws(5 * pair + CHECKED - 1, pair, 1.0)
    # five draws of which few are accepted, or four of a better twin; of a good twin rather five
    assert accepted_draws(4 * pair, pair, 1.0) > accepted_draws(5 * pair, pair, 2.0)
    assert accepted_draws(4 * pair, pair, 0.1) < accepted_draws(5 * pair, pair, 0.2)


def test_log_likelihoods_are_those_of_the_checks(twin):
    chip = make_chip()
    result = fit(chip, X, Y, twin=twin, draws=6, **SMALL)
    for place in np.ndindex(2, 6):
        weights = [result.posterior.posterior[name].values[place] for name in chip.spec.weight_names]
        expected = log_likelihood(chip.run(weights, X), Y, 0.5, result.posterior.posterior["bias"].values[place])
        np.testing.assert_allclose(result.posterior.log_likelihood["label"].values[place], expected)


def test_a_twin_that_was_given_costs_nothing(twin):
    chip = TalliedChip(make_chip())
    result = fit(chip, X, Y, twin=twin, draws=3, **SMALL)
    assert result.cost.learning == CHECKED  # where the chains go before the first draw
    assert chip.shown == result.cost.total
    assert "the twin that was given" in result.note


def tied(chip):
    """Scales of a layer that depend on each other: they are left to NUTS, which asks for log L."""
    scale = pm.math.exp(pm.MvNormal("scale", mu=np.zeros(3), cov=0.5 + 0.5 * np.eye(3)))
    return [pm.Normal("w_1", 0, scale[:, None], shape=(3, 4)), pm.Normal("w_2", shape=(4, 2))]


def two_scales(chip):
    """A readout whose variables move with the weights."""
    beta = pm.LogNormal("beta", np.log(0.5), 1.0)
    return beta, beta * pm.Normal("ahead", shape=2)


@pytest.mark.parametrize(("prior", "readout", "cores"), [("gaussian", two_scales, 1), (tied, None, 1), (tied, None, 2)])
def test_what_is_no_weight_shows_the_chip_nothing(twin, prior, readout, cores):
    chip = TalliedChip(make_chip())
    options = SMALL | {"cores": cores}
    result = fit(chip, X, Y, prior, readout=readout, twin=twin, budget=600, **options)
    assert 600 - 2 * len(X) < result.cost.total <= 600  # as many draws as there is room for, and nothing else
    if cores == 1:  # other processes have a chip of their own, which is not tallied here
        assert chip.shown == result.cost.total


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


@pytest.mark.parametrize("sampler", ["auto", "twin"])
def test_a_given_twin_that_is_hopeless_is_told(sampler, monkeypatch):
    monkeypatch.setattr("bayes_snn.inference.twinning.MOST_SPREAD", 1e-9)
    options = {"twin": twin_of(make_chip()), "sampler": sampler, "draws": 2, "chains": 3, "tune": 2, "cores": 1}
    other = LIFChip((3, 4, 2), "comparator", 2.0, seed=101, n_steps=16)
    if sampler == "twin":
        assert "of the counts wrong where the posterior is: the chip has changed" in fit(other, X, Y, **options).note
        return
    with pytest.raises(InputError, match=r"twin that was given is off by [\d.]+ nats .*the chip has changed.*learn it"):
        fit(other, X, Y, **options)


def test_a_stored_twin_of_another_chip_is_told(tmp_path):
    """By the note, which the command prints and the folder keeps."""
    folder = twin_of(LIFChip((3, 4, 2), "comparator", 2.0, seed=101, n_steps=16)).save(tmp_path / "twin")
    result = fit(make_chip(), X, Y, twin=folder, sampler="twin", draws=2, **SMALL)
    assert re.search(r"The twin had \d+% of the counts wrong where the posterior is: the chip has changed", result.note)
    assert load_fit(result.save(tmp_path / "fit")).note == result.note
    right = fit(make_chip(), X, Y, twin=twin_of(make_chip()).save(tmp_path / "right"), draws=2, **SMALL)
    assert right.note == "Sampled on the twin that was given, each draw checked on the chip."


class Sensor(TalliedChip):
    """A chip that can be shown rows of X alone."""

    given_inputs = True

    def _count(self, weights, inputs):
        assert (np.asarray(inputs)[:, None] == X).all(axis=2).any(axis=1).all()
        super()._count(weights, inputs)


def test_a_chip_that_is_shown_given_inputs_alone_is_learned_from_them():
    chip = Sensor(make_chip())
    twin = learn_twin(chip, inputs=X, budget=900)
    assert twin.learned.presentations == chip.shown <= 900
    assert twin.learned.mismatch < 0.05
    result = fit(chip, X, Y, budget=2000, **SMALL)
    assert result.arguments["sampler"] == "twin"
    assert result.cost.learning > 0


def test_given_inputs_must_come_and_do_not_serve_to_learn_from_counts():
    with pytest.raises(InputError, match=r"\(given_inputs\), but none came: pass some"):
        learn_twin(Sensor(make_chip()))
    chip = Sensor(make_chip(), spikes=False)
    with pytest.raises(InputError, match=r"real samples alone \(given_inputs\), but from counts.*sampler='sitewise'"):
        learn_twin(chip, inputs=X)
    assert chip.shown == 0
    result = fit(chip, X, Y, draws=2, **SMALL)
    assert "by sitewise, because no twin of it can be learned: the chip can be shown real samples alone" in result.note
    assert result.cost.learning == 0


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
