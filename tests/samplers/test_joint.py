"""The joint step: a move is all that a new sampler is, as docs/samplers.md says; and a wrong move is found out."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

import numpy as np
import pymc as pm
import pytest
from scipy import stats

from bayes_snn.checkpoint.checkpoint import Checkpoint
from bayes_snn.checkpoint.identity import code_digests
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import CheckpointError, ChipError, InputError
from bayes_snn.inference.fit import fit
from bayes_snn.inference.resume import resume
from bayes_snn.names import SAMPLERS, Sampler
from bayes_snn.posterior.build import build_model, weight_variables
from bayes_snn.samplers.block import Block
from bayes_snn.samplers.by_name import make_step
from bayes_snn.samplers.pcn import PCN
from bayes_snn.samplers.shared.joint import JointMetropolis, Move
from tests.helpers.chains import Chains, same
from tests.helpers.fits import chip_for, twin_for
from tests.helpers.pages import python_on, run_blocks, text_of
from tests.helpers.toys import INPUTS, LABELS, MOMENTS, SigmoidChip, independent, quadrature, z_scores
from tests.samplers.test_samplers import LIMIT, sample, two_weights

[CODE] = python_on("samplers.md")
LAPLACE = independent(stats.laplace(scale=0.5**0.5).logpdf)


@pytest.fixture
def shrink(monkeypatch):
    """The move of the page, under the name that the page gives it."""
    monkeypatch.setitem(SAMPLERS, "shrink", None)  # and so taken out again in the end
    return run_blocks("samplers.md", [CODE], {})["Shrink"]


def test_the_page_counts_its_lines():
    """All but the import lines."""
    lines = [line for line in CODE.splitlines() if line and not line.startswith(("import", "from"))]
    [said] = re.findall(r"(\d+) lines without the imports", text_of("samplers.md"))
    assert len(lines) == int(said)


def test_the_sampler_of_the_page_is_exact(shrink):
    model = build_model(SigmoidChip(), INPUTS, LABELS, "laplace")
    step = make_step("shrink", model)
    trace = sample(model, step, 250, 1)
    scores = z_scores(two_weights(trace.posterior), quadrature(LAPLACE), MOMENTS)
    assert max(map(abs, scores.values())) < LIMIT, scores
    assert step.move.log_beta > -0.5  # of two weights a fresh draw is accepted more often than 0.234


@pytest.mark.parametrize("share", [0.0, 0.7])
def test_a_move_that_does_not_tell_its_ratio_is_found_out(shrink, share):
    @dataclass
    class Forgetful(shrink):
        def propose(self, q, rng):
            proposal, log_ratio = super().propose(q, rng)
            return proposal, share * log_ratio

    model = build_model(SigmoidChip(), INPUTS, LABELS, "laplace")
    trace = sample(model, JointMetropolis(weight_variables(model), move=Forgetful(), model=model), 250, 1)
    scores = z_scores(two_weights(trace.posterior), quadrature(LAPLACE), MOMENTS)
    assert max(map(abs, scores.values())) > LIMIT, scores


def test_a_fit_takes_the_sampler_of_the_page(shrink):
    result = fit(SigmoidChip(), INPUTS, LABELS, "laplace", sampler="shrink", draws=3, tune=3, chains=2)
    assert result.arguments["sampler"] == "shrink"
    assert result.posterior.sample_stats["scale"].shape == (2, 3)


def test_what_it_has_learned_is_stored(shrink, tmp_path):
    chip, rng = LIFChip((3, 4, 3), "noise", 0.3, n_steps=8), np.random.default_rng(0)
    chains = Chains(chip, rng.normal(size=(12, 3)), np.arange(12) % 3, "laplace", "shrink", 7, 3)
    expected = chains.run(chains.unstored(), 9)
    for n in (5, 8, None):
        chains.scramble()
        assert same(chains.run(chains.stored(tmp_path), n)[:9], expected[:n])


class Failing(SigmoidChip):
    """Fails in the third draw."""

    down = True

    def run(self, weights, inputs):
        if self.down and self.runs == 250:
            raise RuntimeError("the link is down")
        return super().run(weights, inputs)


def test_a_fit_is_not_gone_on_with_by_another_sampler_of_that_name(tmp_path, monkeypatch):
    monkeypatch.setitem(SAMPLERS, "mine", Sampler(Mine))
    options = {"sampler": "mine", "draws": 3, "tune": 3, "chains": 1, "checkpoint": Checkpoint(tmp_path, draws=1)}
    with pytest.raises(ChipError):
        fit(Failing(), INPUTS, LABELS, "gaussian", **options)
    monkeypatch.setattr(Failing, "down", False)
    monkeypatch.setitem(SAMPLERS, "mine", Sampler(Other))
    with pytest.raises(CheckpointError, match="another sampler mine"):
        resume(tmp_path, Failing())
    monkeypatch.setitem(SAMPLERS, "mine", Sampler(Mine))
    assert resume(tmp_path, Failing()).posterior.posterior.sizes["draw"] == 3


@dataclass
class Mine(Move):
    """A jump of fixed length."""

    def propose(self, q, rng):
        return q + 0.5 * rng.normal(size=len(q)), 0.0


@dataclass
class Other(Move):
    """A jump of another."""

    def propose(self, q, rng):
        return q + 0.4 * rng.normal(size=len(q)), 0.0


def test_a_move_without_a_scale_to_tune():
    model = build_model(SigmoidChip(), INPUTS, LABELS, "standard_normal")
    trace = sample(model, JointMetropolis(weight_variables(model), move=Mine(), proposals=20, model=model), 1000, 1)
    scores = z_scores(two_weights(trace.posterior), quadrature(), MOMENTS)
    assert max(map(abs, scores.values())) < LIMIT, scores
    assert np.isnan(trace.sample_stats["scale"]).all()


class Grown(Block):
    """Has a state that the fields of `Block` do not know."""


@pytest.mark.parametrize("move", [Grown, type("Plain", (Move,), {})])
def test_a_move_that_is_no_dataclass_is_refused(move):
    model = build_model(SigmoidChip(), INPUTS, LABELS, "standard_normal")
    with pytest.raises(InputError, match=f"{move.__name__} is no dataclass.*make it one"):
        JointMetropolis(weight_variables(model), move=move(), model=model)


def test_a_move_must_say_what_it_proposes():
    @dataclass
    class Silent(Move):
        pass

    model = build_model(SigmoidChip(), INPUTS, LABELS, "standard_normal")
    step = JointMetropolis(weight_variables(model), move=Silent(), model=model)
    with pytest.raises(NotImplementedError, match="Silent does not say what it proposes"):
        step.step(model.initial_point())


@pytest.mark.parametrize("move", [Block, PCN])
def test_all_that_changes_is_a_field(move):
    """Whatever else a move has is what `prepare` made."""
    model = build_model(SigmoidChip(), INPUTS, LABELS, "standard_normal")
    step = JointMetropolis(weight_variables(model), move=move(), proposals=30, model=model)
    kept = {field.name for field in fields(step.move)}
    before = {name: value for name, value in vars(step.move).items() if name not in kept}
    first = step.sampling_state.learned
    step.step(model.initial_point())
    assert {name: value for name, value in vars(step.move).items() if name not in kept} == before
    assert all(not np.array_equal(first[name], value) for name, value in step.learned.items())
    step.reset_tuning()
    assert all(np.array_equal(first[name], value) for name, value in step.learned.items())


def test_two_steps_do_not_share_a_move():
    model = build_model(SigmoidChip(), INPUTS, LABELS, "standard_normal")
    move = Block()
    first, second = (JointMetropolis(weight_variables(model), move=move, proposals=5, model=model) for _ in range(2))
    first.step(model.initial_point())
    assert (first.move.n_tuned, second.move.n_tuned, move.n_tuned) == (5, 0, 0)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_point_without_a_density_is_never_accepted(value):
    model = build_model(SigmoidChip(), INPUTS, LABELS, "standard_normal")
    step = JointMetropolis(weight_variables(model), move=Mine(), proposals=20, model=model)
    prior = step.log_prior
    point = model.initial_point()
    at_start = np.concatenate([np.ravel(point[variable.name]) for variable in step.vars])
    step.log_prior = lambda q: prior(q) if np.array_equal(q, at_start) else value
    new, [info] = step.step(point)
    assert np.array_equal(new["w_1"], point["w_1"])
    assert info["accept"] == 0.0


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_is_where_the_registry_says(name):
    """`--help` lists the names without an import, so nothing else would notice a wrong one."""
    file, _, _ = SAMPLERS[name].make.partition(":")
    assert f"bayes_snn.samplers.{file}" in code_digests(SigmoidChip())  # of what decides about draws
    if SAMPLERS[name].population:
        return
    with pm.Model():
        model = build_model(chip_for(name, SigmoidChip()), INPUTS, LABELS, "standard_normal")
        step = make_step(name, model, **twin_for(name, SigmoidChip()))
    assert type(getattr(step, "move", step)).__module__.startswith("bayes_snn.samplers.")
