"""A chip gets read-only weights and inputs, whoever asks it, and what it answers belongs to who asked."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_snn.checks.prior_check import prior_predictive
from bayes_snn.chips.contract import ask_counts, ask_spikes, frozen
from bayes_snn.chips.levels import weight_levels
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.lif.forward import run_groups
from bayes_snn.chips.lif.sweep import prepare, sweep_sites
from bayes_snn.chips.link.link import Link
from bayes_snn.errors import ChipError, ChipRaisedError
from bayes_snn.estimates.distil import distil
from bayes_snn.estimates.predict import Draws, probabilities, run_draws
from bayes_snn.inference.fit import fit
from bayes_snn.likelihood import PLAIN, Readout, _terms, log_likelihood
from bayes_snn.posterior.noisy import NoiseChoice
from bayes_snn.posterior.op import ChipCounts
from bayes_snn.samplers.by_name import STEPS
from bayes_snn.samplers.shared.sweepers import BlackBoxSweeper, make_sweeper
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

WEIGHTS = [np.array([[1.7, -2.4]])]


class Clipping(SigmoidChip):
    """A driver that clips what it is given in place, its weights or its inputs."""

    def __init__(self, what="weights", subsets=False):
        super().__init__()
        self.what, self.subsets = what, subsets

    def _clip(self, weights, inputs):
        array = weights[0] if self.what == "weights" else inputs
        np.clip(array, -1, 1, out=array)

    def run(self, weights, inputs):
        self._clip(weights, inputs)
        return super().run(weights, inputs)


class ClippingSpikes(Clipping):
    """One that shows its spikes too."""

    def spikes(self, weights, inputs):
        self._clip(weights, inputs)
        return [np.zeros((len(inputs), self.spec.n_steps, 2), bool)]


def draws():
    return Draws([np.tile(WEIGHTS[0], (3, 1, 1))], np.zeros(3))


def swept(chip):
    sweeper = BlackBoxSweeper(ChipCounts(chip, INPUTS), LABELS)
    sweeper.start(WEIGHTS, PLAIN)


def trained(chip):
    backprop = pytest.importorskip("bayes_snn.backprop.train")
    backprop.train_backprop(chip, INPUTS, LABELS, mode="outputs", seed=0)


CALLERS = {
    "op": lambda chip: ChipCounts(chip, INPUTS).evaluate(WEIGHTS),
    "sweep": swept,
    "draws": lambda chip: run_draws(chip, draws(), [0], INPUTS),
    "estimate": lambda chip: probabilities(chip, WEIGHTS, INPUTS),
    "distil": lambda chip: distil(chip, draws(), INPUTS, NoiseChoice(), n_inputs=2, sweeps=1, seed=0),
    "prior predictive": lambda chip: prior_predictive(chip, INPUTS, draws=2),
    "link": lambda chip: ask_counts(Link(chip, retries=0), WEIGHTS, INPUTS),
    "link without a time-out": lambda chip: ask_counts(Link(chip, timeout=None), WEIGHTS, INPUTS),
    "backprop": trained,
}


@pytest.mark.parametrize("what", ["weights", "inputs"])
@pytest.mark.parametrize("caller", CALLERS)
def test_a_chip_that_writes_into_its_arguments_is_told_so_and_changes_nothing(caller, what):
    weights, inputs = WEIGHTS[0].copy(), INPUTS.copy()
    with pytest.raises(ChipError, match=r"`run` writes into its weights or inputs .*let it work on a copy") as error:
        CALLERS[caller](Clipping(what))
    assert "\n" not in str(error.value)
    np.testing.assert_array_equal(WEIGHTS[0], weights)
    np.testing.assert_array_equal(INPUTS, inputs)
    assert WEIGHTS[0].flags.writeable
    assert INPUTS.flags.writeable


def test_spikes_are_asked_for_in_the_same_way():
    with pytest.raises(ChipError, match="`spikes` writes into"):
        prior_predictive(ClippingSpikes(), INPUTS, draws=1)


@pytest.mark.parametrize("sampler", [*STEPS, "smc"])
def test_no_sampler_hands_out_the_weights_of_its_chain(sampler):
    with pytest.raises(ChipError, match="writes into its weights"):
        fit(Clipping(subsets=True), INPUTS, LABELS, sampler=sampler, draws=2, tune=0, chains=1)


def test_other_errors_of_a_chip_are_the_cause_of_a_sentence():
    class Broken(SigmoidChip):
        def run(self, weights, inputs):
            raise ValueError("the port is closed")

    with pytest.raises(ChipRaisedError, match=r"^The chip raised ValueError \(the port is closed\)") as raised:
        ask_counts(Broken(), WEIGHTS, INPUTS)
    assert isinstance(raised.value.__cause__, ValueError)


class Reusing(SigmoidChip):
    """A driver with one buffer for all its answers, filled anew by each run."""

    def __init__(self):
        super().__init__()
        self.buffer, self.fired = np.zeros((len(INPUTS), 2), np.int32), np.zeros((len(INPUTS), 12, 2), bool)

    def run(self, weights, inputs):
        self.runs += 1
        self.buffer[:] = self.runs
        return self.buffer

    def spikes(self, weights, inputs):
        self.runs += 1
        self.fired[:] = self.runs % 2
        return [self.fired]


def test_an_answer_is_not_overwritten_by_the_next():
    op = ChipCounts(Reusing(), INPUTS)
    op.noise = NoiseChoice(repeats=3)
    assert [int(counts[0, 0]) for counts in op.answers(WEIGHTS, INPUTS)] == [1, 2, 3]
    chip = Reusing()
    first, second = (ask_spikes(chip, WEIGHTS, INPUTS)[0] for _ in range(2))
    assert first.all()
    assert not second.any()


def test_what_is_read_only_for_everybody_is_not_copied():
    array = np.arange(3.0)
    copy = frozen(array)
    assert copy is not array
    assert not copy.flags.writeable
    assert frozen(copy) is copy  # so that a chip knows the inputs that it has prepared
    assert frozen(copy[1:]) is not copy
    view = array[:]
    view.setflags(write=False)  # the array behind it can still be written to
    array[0] = 7.0
    assert frozen(view) is not view
    assert ChipCounts(SigmoidChip(), copy).inputs is copy


def test_a_prior_cannot_change_the_levels_of_a_chip():
    chip = SigmoidChip()
    chip.weight_levels = [np.array([-1.0, 1.0])]
    weight_levels(chip)[0][:] = 9.0
    assert chip.weight_levels[0].tolist() == [-1.0, 1.0]


def test_a_sweeper_of_a_chip_gets_labels_that_it_cannot_change():
    seen = []
    chip = SigmoidChip()
    chip.site_sweeper = lambda inputs, labels: seen.extend([inputs, labels])
    make_sweeper(ChipCounts(chip, INPUTS), LABELS)
    assert len(seen) == 2
    assert not any(array.flags.writeable for array in seen)


def test_kernels_are_compiled_for_one_kind_of_array():
    """Numba takes a read-only array for another type, and would compile a second time."""
    kernels = run_groups, prepare, sweep_sites, _terms
    inputs, labels = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2
    chip = LIFChip((2, 3, 2), "comparator", 1.0)
    weights = [np.ones(shape) for shape in chip.spec.weight_shapes]
    log_likelihood(chip.run(weights, inputs), labels)
    sweeper = chip.site_sweeper(inputs, labels)
    sweeper.start(weights, PLAIN)
    sweeper.sweep(np.zeros(12), np.full(12, np.inf), np.arange(12))
    known = [set(kernel.signatures) for kernel in kernels]
    op = ChipCounts(chip, frozen(inputs))
    PLAIN.log_p(op.evaluate([frozen(w) for w in weights]), frozen(labels))
    sweeper = make_sweeper(op, labels)
    sweeper.start([frozen(w) for w in weights], Readout(0.7, frozen([0.1, 0.2])))
    sweeper.sweep(np.zeros(12), np.full(12, np.inf), np.arange(12))
    assert [set(kernel.signatures) for kernel in kernels] == known
