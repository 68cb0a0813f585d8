"""Chains in turns are the chains one after the other, bit for bit, and a fit that ends early has all of them."""

import functools
import signal
import sys

import numpy as np
import pytest

from bayes_snn.checkpoint.checkpoint import Checkpoint
from bayes_snn.checkpoint.steps import CheckpointedSteps
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import LinkError
from bayes_snn.inference import interleaved
from bayes_snn.inference.fit import fit
from bayes_snn.inference.resume import resume
from bayes_snn.posterior.noisy import choose_noise
from bayes_snn.posterior.op import ChipCounts
from tests.helpers.chains import TIMES

pytestmark = pytest.mark.usefixtures("quickly_compiled")

FIT = sys.modules["bayes_snn.inference.fit"]
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(10, 3)), np.arange(10) % 2
OPTIONS = {"draws": 7, "tune": 5, "chains": 3, "seed": 3, "cores": 1}
IN_THE_TENTH_ROUND = 1 + 3 * 100 * 9 + 150  # of "block", in the second chain's draw of 100 proposals


class BenchChip:
    """A LIFChip that shows nothing but `spec` and `run`; in its n-th run something happens."""

    def __init__(self, distortion="comparator", sigma=3.0, n=None, happens=lambda: None):
        self.chip = LIFChip((3, 3, 2), distortion, sigma, n_steps=8)
        self.spec, self.runs, self.n, self.happens = self.chip.spec, 0, n, happens

    def run(self, weights, inputs):
        self.runs += 1
        if self.runs == self.n:
            self.happens()
        return self.chip.run(weights, inputs)

    def __reduce__(self):
        raise TypeError("there is one of it, on the bench")


CASES = {
    "sitewise": (BenchChip, "sitewise", "gaussian", {}),
    "hierarchical": (BenchChip, "sitewise", "hierarchical", {}),
    "block": (BenchChip, "block", "gaussian", {}),
    "pcn": (BenchChip, "pcn", "gaussian", {}),
    "pymc": (BenchChip, "pymc", "gaussian", {}),
    "demetropolis": (BenchChip, "demetropolis", "gaussian", {}),
    "grid": (functools.partial(LIFChip, (3, 3, 2), "quantisation", 3, n_steps=8), "sitewise", "grid", {}),
    "own sweeper": (functools.partial(LIFChip, (3, 3, 2), "comparator", 3.0, n_steps=8), "sitewise", "gaussian", {}),
    "noisy": (functools.partial(LIFChip, (3, 3, 2), "noise", 0.3, n_steps=8), "pymc", "gaussian", {}),
    "noisy block": (
        functools.partial(LIFChip, (3, 3, 2), "noise", 0.3, n_steps=8),
        "block",
        "gaussian",
        {"noise": "mcwm", "repeats": 2, "remeasure": 3},
    ),
}


def same_draws(first, second):
    for group in ("posterior", "sample_stats"):
        one, other = first.posterior[group].dataset, second.posterior[group].dataset
        assert set(one) == set(other)
        for name in set(one) - set(TIMES):
            if not any(time in name for time in TIMES):
                np.testing.assert_array_equal(one[name].values, other[name].values, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_chains_in_turns_are_the_chains_one_after_the_other(case, monkeypatch):
    make, sampler, weights, noise = CASES[case]
    chips = make(), make()
    turns = fit(chips[0], X, Y, weights, sampler=sampler, **OPTIONS, **noise)
    with monkeypatch.context() as patch:
        patch.setattr(FIT, "can_take_turns", lambda op: False)
        alone = fit(chips[1], X, Y, weights, sampler=sampler, **OPTIONS, **noise)
    same_draws(turns, alone)
    assert turns.presentations == alone.presentations


def fail():
    raise LinkError("The link is down.")


def test_ctrl_c_keeps_all_chains():
    chip = BenchChip(n=IN_THE_TENTH_ROUND, happens=lambda: signal.raise_signal(signal.SIGINT))
    result = fit(chip, X, Y, sampler="block", **{**OPTIONS, "draws": 50})
    assert result.interrupted
    sizes = result.posterior.posterior.sizes
    assert (sizes["chain"], sizes["draw"]) == (3, 4)  # nine whole rounds, five of them of the warm-up
    assert np.isfinite(result.diagnosis.function.r_hat)


def test_a_link_that_fails_leaves_the_draws_of_all_chains():
    with pytest.raises(LinkError) as caught:
        fit(BenchChip(n=IN_THE_TENTH_ROUND, happens=fail), X, Y, sampler="block", **{**OPTIONS, "draws": 50})
    sizes = caught.value.draws.posterior.sizes
    assert (sizes["chain"], sizes["draw"]) == (3, 4)


@pytest.mark.parametrize(("sampler", "weights", "n"), [("block", "hierarchical", 1150), ("sitewise", "gaussian", 300)])
@pytest.mark.parametrize("draws", [1, 3])
def test_all_chains_go_on_from_their_checkpoints(sampler, weights, n, draws, tmp_path, monkeypatch):
    options = {**OPTIONS, "sampler": sampler}
    whole = fit(BenchChip(), X, Y, weights, **options)
    checkpoint = Checkpoint(tmp_path / "c", draws=draws, seconds=1e9)
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointedSteps, "flush", lambda self: None)  # a kill
        with pytest.raises(LinkError):
            fit(BenchChip(n=n, happens=fail), X, Y, weights, **options, checkpoint=checkpoint)
    states = Checkpoint.open(tmp_path / "c").states()
    assert [state["chain"] for state in states] == [0, 1, 2]
    result = resume(Checkpoint.open(tmp_path / "c", seconds=1e9), BenchChip(), weights)
    same_draws(result, whole)
    assert result.presentations == whole.presentations
    left = sum(OPTIONS["draws"] + OPTIONS["tune"] - state["draws"] for state in states)
    assert 0 < left < 3 * (OPTIONS["draws"] + OPTIONS["tune"])


def test_what_cannot_take_turns():
    class Simulated(BenchChip):  # whose copies would get noise of their own
        def restart_noise(self, seed):
            self.chip.restart_noise(seed)

    def turns(chip):
        return interleaved.can_take_turns(build_op(chip))

    assert turns(BenchChip())
    assert turns(BenchChip("noise", 0.3))
    assert turns(LIFChip((3, 3, 2), "noise", 0.3))
    assert not turns(Simulated("noise", 0.3))
    assert not turns(LIFChip((3, 3, 2), "drift", 0.3))


def build_op(chip):
    op = ChipCounts(chip, X)
    op.noise = choose_noise(chip.spec, "block")
    return op
