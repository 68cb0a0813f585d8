"""A chip is asked how it behaves: noise that it does not tell, weights that do not matter, counters that wrap."""

from __future__ import annotations

import numpy as np
import pytest

from bayes_snn import ChipError, ChipSpec, InputError, LIFChip, Link, check_behaviour, fit, load_fit
from bayes_snn.cli.fit import main
from tests.helpers.fits import CountingChip
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip


class Changed(SigmoidChip):
    """A SigmoidChip whose answer goes through a function of the counts and the number of the run."""

    def __init__(self, change, n_steps=12):
        super().__init__(n_steps)
        self.change = change

    def run(self, weights, inputs):
        return self.change(super().run(weights, inputs), self.runs)


@pytest.mark.parametrize("distortion", [None, "comparator", "gain"])
def test_a_good_chip_is_found_good(distortion):
    chip = CountingChip(LIFChip((4, 6, 2), distortion, 0.5 if distortion else 0.0))
    found = check_behaviour(chip)
    assert (found.differed, found.same_whatever_weights, found.wraps_at) == (0, False, None)
    assert found.compared == 3 * 16 * 2
    assert found.presentations == chip.shown
    assert not found.contradicts
    [sentence] = found.sentences()
    assert sentence.startswith("The chip answered alike: asked twice with the same weights and inputs, 0 of 96")


def test_a_chip_that_is_shown_given_inputs_alone_is_shown_no_others():
    class Sensor(SigmoidChip):
        given_inputs = True

        def run(self, weights, inputs):
            assert (np.asarray(inputs)[:, None] == INPUTS).all(axis=2).any(axis=1).all()
            return super().run(weights, inputs)

    found = check_behaviour(Sensor(), INPUTS)
    assert (found.differed, found.same_whatever_weights, found.wraps_at) == (0, False, None)
    with pytest.raises(InputError, match=r"real samples alone \(given_inputs\), but none came: pass some"):
        check_behaviour(Sensor())


def test_noise_that_the_chip_does_not_tell():
    chip = Changed(lambda counts, run: np.clip(counts + run % 2, 0, 12))
    found = check_behaviour(chip, INPUTS)
    assert found.contradicts
    assert found.same_whatever_weights is None
    assert "ChipSpec with deterministic=False" in found.sentences()[0]
    chip.spec = ChipSpec((1, 2), 12, deterministic=False)
    found = check_behaviour(chip, INPUTS)
    assert found.differed > 0
    assert not found.contradicts


def test_what_is_left_of_the_run_before_is_seen():
    """The sets of weights come round in turn: each run follows one with other weights, the first one follows none."""
    left = [0]

    def change(counts, run):
        before, left[0] = left[0], int(counts.sum()) % 3
        return np.minimum(counts + before, 12)

    assert check_behaviour(Changed(change), INPUTS).contradicts


def test_weights_that_do_not_matter():
    found = check_behaviour(Changed(lambda counts, run: np.full_like(counts, 5)), INPUTS)
    assert found.same_whatever_weights
    assert "answers the same whatever its weights" in found.sentences()[1]


def test_counters_that_wrap():
    def graded(wraps):
        return Changed(lambda counts, run: counts % 16 if wraps else counts, n_steps=60)

    inputs = np.linspace(-6, 6, 16)[:, None]
    weights = [[np.array([[w, -w]])] for w in (0.8, 1.2, 2.0)]
    assert check_behaviour(graded(False), inputs, weights).wraps_at is None
    found = check_behaviour(graded(True), inputs, weights)
    assert found.wraps_at == 16
    assert "begin again at 16" in found.sentences()[-1]


def test_a_distorted_chip_is_not_said_to_wrap():
    """Its neurons fall silent as their drive grows, but not at a power of two time and again."""
    found = [check_behaviour(LIFChip((6, 8, 2), "comparator", 6.0, seed), seed=seed) for seed in range(20)]
    assert sum(each.wraps_at is not None for each in found) == 0


def test_the_stream_of_noise_stays_where_it_was():
    chip = LIFChip((3, 4, 2), "noise", 0.3)
    before = chip.checkpoint_state()
    check_behaviour(chip)
    assert chip.checkpoint_state() == before


def test_a_chip_behind_a_link_is_asked_alike():
    chip = LIFChip((3, 4, 2), "comparator", 3.0)
    assert check_behaviour(Link(chip, timeout=None)) == check_behaviour(chip)


def test_one_set_of_weights_is_too_few():
    with pytest.raises(InputError, match="1 sets of weights came"):
        check_behaviour(SigmoidChip(), INPUTS, [[np.zeros((1, 2))]])


def test_the_command_asks_and_ends(tmp_path, monkeypatch, capsys):
    options = ["--data", "iris", "--hidden", "3", "--steps", "8", "--out", str(tmp_path / "fit")]
    monkeypatch.setattr("sys.argv", ["fit", *options, "--check"])
    main()
    printed = " ".join(capsys.readouterr().out.split())
    assert "The chip answered alike" in printed
    assert "It was shown" in printed
    assert not (tmp_path / "fit").exists()


def small_fit(chip, **options):
    return fit(chip, INPUTS, LABELS, **{"sampler": "pymc", "draws": 4, "tune": 2, "chains": 2, "cores": 1, **options})


def test_a_fit_refuses_a_chip_that_is_not_what_it_says():
    chip = Changed(lambda counts, run: np.clip(counts + run % 2, 0, 12))
    with pytest.raises(ChipError, match=r"said to be deterministic, but .* ChipSpec with deterministic=False"):
        small_fit(chip)
    assert chip.runs == 6
    chip.spec = ChipSpec((1, 2), 12, deterministic=False)
    assert small_fit(chip).behaviour["differed"] > 0


def test_a_fit_says_that_weights_do_not_matter(tmp_path):
    result = small_fit(Changed(lambda counts, run: np.full_like(counts, 5)))
    assert result.diagnosis.verdict.startswith("The chip answers the same whatever its weights")
    assert not result.diagnosis.converged
    loaded = load_fit(result.save(tmp_path), result.chip)
    assert loaded.diagnosis.verdict == result.diagnosis.verdict
    assert loaded.behaviour == result.behaviour
    other = small_fit(SigmoidChip(), chains=1)
    assert "whatever its weights" not in other.diagnosis.verdict
    assert other.behaviour["same_whatever_weights"] is False
