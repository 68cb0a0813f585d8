"""A fit tells every presentation: what a tally at the chip sees is what the fit says, purpose by purpose."""

from __future__ import annotations

import json
import multiprocessing
import re

import numpy as np
import pytest

from bayes_snn.checkpoint.checkpoint import Checkpoint
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.presentations import AnswerMemory, Presentations, RememberingChip
from bayes_snn.cli import export
from bayes_snn.cli.fit import main
from bayes_snn.estimates.predict import ESTIMATES
from bayes_snn.inference.fit import fit
from bayes_snn.inference.load import load_fit
from bayes_snn.inference.resume import resume
from bayes_snn.likelihood import PLAIN
from bayes_snn.names import SAMPLERS
from bayes_snn.posterior.op import ChipCounts
from bayes_snn.reports.write import write_report
from bayes_snn.samplers.shared.sweepers import make_sweeper
from bayes_snn.studies.cells import make_grid
from bayes_snn.studies.run_cell import run_cell
from tests.helpers.fits import chip_for, twin_for

pytestmark = pytest.mark.usefixtures("quickly_compiled")

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(12, 3)), np.arange(12) % 2
NEW = rng.normal(size=(5, 3))
# other tests of the session may leave threads behind (torch, scikit-learn), and PyMC forks
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


class Tally:
    """A chip whose every presentation is counted, in forked processes too; its own sweeper is withheld."""

    def __init__(self, chip, *, copyable=False, subsets=False):
        self.chip, self.spec, self.copyable, self.subsets = chip, chip.spec, copyable, subsets
        self._shown = multiprocessing.get_context("fork").Value("q", 0)

    @property
    def shown(self):
        return self._shown.value

    def _count(self, inputs):
        with self._shown.get_lock():
            self._shown.value += len(inputs)

    def run(self, weights, inputs):
        self._count(inputs)
        return self.chip.run(weights, inputs)

    def spikes(self, weights, inputs):
        self._count(inputs)
        return self.chip.spikes(weights, inputs)


class TalliedChip(Tally):
    """For the command line: `tests.chips.test_presentations:TalliedChip` makes the chip and leaves it in `made`."""

    made: list[TalliedChip] = []  # noqa: RUF012

    def __init__(self):
        super().__init__(LIFChip((4, 3, 3), "comparator", 1.0, n_steps=8))
        TalliedChip.made.append(self)


def small_chip():
    return LIFChip((3, 4, 2), "comparator", 3.0, n_steps=16)


def small_fit(chip, sampler="sitewise", **options):
    return fit(
        chip,
        X,
        Y,
        sampler=sampler,
        **{"draws": 6, "tune": 4, "chains": 2, "seed": 7, "cores": 1, **options},
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_tally_sees_what_the_fit_tells(sampler, tmp_path):
    chip = chip_for(sampler, Tally(small_chip()))
    result = small_fit(chip, sampler, **twin_for(sampler, small_chip()))
    assert result.cost.total == chip.shown
    assert result.cost.learning + result.cost.training == result.presentations
    shown_again = 0 < result.cost.log_likelihood <= 12 * len(X)
    assert shown_again == (sampler != "twin")  # whose checks are kept
    assert result.cost.prediction == result.cost.distilling == 0
    for inputs, labels in ((X, Y), (NEW, Y[:5])):
        result.evaluate(inputs, labels)
        assert result.cost.total == chip.shown
    result.distil(n_inputs=10, sweeps=2)
    assert result.cost.distilling > 0
    result.evaluate(X, Y)
    assert result.cost.total == chip.shown
    stored = json.loads((result.save(tmp_path) / "fit.json").read_text())
    assert stored["cost"] == result.cost.as_dict()
    assert stored["cost"]["total"] == chip.shown == sum(n for name, n in stored["cost"].items() if name != "total")
    assert stored["presentations"] == result.presentations
    assert load_fit(tmp_path, chip).cost == result.cost


def hierarchical(chip):
    import pymc as pm

    scale = pm.HalfNormal("scale", 1.0)
    names = zip(chip.spec.weight_names, chip.spec.weight_dims, chip.spec.weight_shapes, strict=True)
    return [pm.Normal(name, 0, scale, dims=dims, shape=shape) for name, dims, shape in names]


@pytest.mark.parametrize("sampler", ["sitewise", "pymc"])
def test_steps_on_hyperparameters_are_in_the_tally(sampler):
    chip = Tally(small_chip())
    result = fit(chip, X, Y, hierarchical, sampler=sampler, draws=4, tune=4, chains=2, cores=1)
    assert result.cost.total == chip.shown


@forks
@pytest.mark.parametrize("sampler", ["sitewise", "block"])
def test_chains_in_other_processes_are_in_the_tally(sampler):
    chip = Tally(small_chip(), copyable=True)
    result = small_fit(chip, sampler, cores=2)
    assert result.cost.total == chip.shown
    assert result.cost == small_fit(Tally(small_chip()), sampler).cost


@pytest.mark.parametrize("noise", ["pseudo-marginal", "mcwm"])
def test_a_noisy_chip_is_asked_every_time(noise):
    chip = Tally(LIFChip((3, 4, 2), "noise", 0.3, n_steps=16))
    result = small_fit(chip, noise=noise, repeats=2)
    assert result.cost.total == chip.shown
    assert result.cost.log_likelihood == 2 * 12 * len(X)
    for _ in range(2):
        before = chip.shown
        result.predict(NEW)
        assert chip.shown - before == 2 * 12 * len(NEW)
    assert result.cost.total == chip.shown


def test_a_chip_of_subsets_is_in_the_tally():
    chip = Tally(LIFChip((3, 4, 2), "comparator", 3.0, n_steps=16), subsets=True)
    inputs, labels = np.random.default_rng(1).normal(size=(300, 3)), np.arange(300) % 2
    result = fit(chip, inputs, labels, draws=3, tune=2, chains=1, cores=1, sampler="sitewise")
    assert result.presentations_saved > 0
    assert result.cost.total == chip.shown


def test_what_is_resumed_is_told_as_if_it_had_not_stopped(tmp_path):
    class Fails(Tally):
        left = 200

        def run(self, weights, inputs):
            if self.left == 0:
                raise RuntimeError("the cable came off")
            self.left -= 1
            return super().run(weights, inputs)

    whole = small_fit(Tally(small_chip()), draws=10)
    chip = Fails(small_chip())
    with pytest.raises(RuntimeError, match="cable"):
        small_fit(chip, draws=10, weights="gaussian", checkpoint=Checkpoint(tmp_path / "c", draws=1))
    fixed = Fails(small_chip())
    fixed.left = -1
    resumed = resume(tmp_path / "c", fixed, "gaussian")
    assert fixed.shown < whole.cost.total
    assert resumed.cost.training == whole.cost.training
    assert resumed.cost.log_likelihood == whole.cost.log_likelihood


def test_the_chip_s_own_sweeper_tells_what_a_black_box_is_shown():
    """With one group of samples there is no block to stop behind, and far from saturation every proposal is shown."""
    chip = LIFChip((3, 4, 2), "comparator", 3.0, n_steps=16, weight_range=(-60.0, 60.0))
    own, seen = small_fit(chip), Tally(chip)
    box = small_fit(seen)
    np.testing.assert_array_equal(own.posterior.posterior["w_1"], box.posterior.posterior["w_1"])
    assert own.presentations == box.presentations
    assert own.presentations_saved == box.presentations_saved
    np.testing.assert_array_equal(own.distil(n_inputs=10, sweeps=2)[0], box.distil(n_inputs=10, sweeps=2)[0])
    assert own.cost.distilling == box.cost.distilling
    assert own.cost.total == box.cost.total == seen.shown


def test_a_sweep_of_the_chip_s_own_is_equal_to_one_of_a_black_box():
    """Proposals within the range, each another weight: then the counts are equal, sample by sample."""
    chip = LIFChip((3, 4, 2), "comparator", 3.0, n_steps=16)
    seen, generator = Tally(chip), np.random.default_rng(3)
    ours, theirs = (make_sweeper(ChipCounts(each, X), Y) for each in (chip, seen))
    weights = [generator.normal(size=shape) for shape in chip.spec.weight_shapes]
    for sweeper in (ours, theirs):
        sweeper.start(weights, PLAIN)
    before = seen.shown
    for _ in range(5):
        proposals, bounds = generator.uniform(-3, 3, size=20), -generator.exponential(size=20)
        order = generator.permutation(20)
        found, expected = ours.sweep(proposals, bounds, order), theirs.sweep(proposals, bounds, order)
        np.testing.assert_array_equal(found.accepted, expected.accepted)
        assert found.presentations == expected.presentations == seen.shown - before
        np.testing.assert_array_equal(ours.counts(), theirs.counts())
        before = seen.shown


def test_a_deterministic_chip_is_not_asked_twice():
    chip = Tally(small_chip())
    result = small_fit(chip, "demetropolis", draws=30, weights="standard_normal")
    weights = np.concatenate([each.reshape(60, -1) for each in result.draws.weights], axis=1)
    different = len(np.unique(weights, axis=0))
    assert different < 60  # a chain stays where it is at most draws
    assert result.cost.log_likelihood == different * len(X)
    result.evaluate(X, Y)
    assert result.cost.prediction == len(X)  # of the mean alone: all else are draws
    before = chip.shown
    first = result.predict(NEW)
    assert chip.shown - before == different * len(NEW)
    np.testing.assert_array_equal(result.predict(NEW.copy()), first)
    assert chip.shown - before == different * len(NEW)
    changed = NEW.copy()
    changed[0, 0] += 1.0
    result.predict(changed)
    assert chip.shown - before == 2 * different * len(NEW)  # other inputs are another question


def test_predictions_are_those_without_a_memory():
    result = small_fit(small_chip())
    for inputs in (X, NEW):
        remembered = {name: result.predict(inputs, name) for name in ESTIMATES * 2}
        for name, found in remembered.items():
            result.memory = AnswerMemory(0)
            np.testing.assert_array_equal(result.predict(inputs, name), found)


def test_the_memory_is_bounded_and_forgets_the_oldest():
    chip, charged = Tally(small_chip()), []
    memory = AnswerMemory(3 * (300 + 2 * len(X)))
    asked = RememberingChip(chip, memory, charged.append)
    sets = [[rng.normal(size=shape) for shape in chip.spec.weight_shapes] for _ in range(4)]
    for weights in sets:
        asked.run(weights, X)
    assert sum(charged) == chip.shown == 4 * len(X)
    for weights in reversed(sets[1:]):
        np.testing.assert_array_equal(asked.run(weights, X), chip.chip.run(weights, X))
    assert chip.shown == 4 * len(X)
    asked.run(sets[0], X)
    assert sum(charged) == chip.shown == 5 * len(X)
    found = asked.run(sets[0], X)
    found[:] = 0  # a caller's copy
    assert asked.run(sets[0], X).any() == chip.chip.run(sets[0], X).any()


def test_presentations_are_plain_numbers():
    cost = Presentations(training=10).plus("prediction", np.int64(3)).plus("prediction", 4)
    assert cost == Presentations(training=10, prediction=7)
    assert cost.total == 17
    assert json.loads(json.dumps(cost.as_dict())) == {
        "training": 10, "log_likelihood": 0, "prediction": 7, "distilling": 0, "checks": 0, "learning": 0,
        "total": 17,
    }  # fmt: skip


def told(text):
    return {name.strip(): int(n.replace(",", "")) for name, n in re.findall(r"│ (\D+?) +│ +([\d,]+) │", text)}


@pytest.mark.parametrize("sampler", ["sitewise", "auto"])
def test_the_commands_tell_what_a_tally_sees(sampler, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "fit"
    data = ["--data", "iris", "--n-train", "20", "--chip", f"{__name__}:TalliedChip"]
    sampling = ["--sampler", sampler, "--draws", "4", "--tune", "4", "--chains", "2", "--distil"]
    monkeypatch.setattr("sys.argv", ["fit", *data, *sampling, "--out", str(folder)])
    main()
    chip = TalliedChip.made[-1]
    stored = json.loads((folder / "fit.json").read_text())
    assert stored["cost"]["total"] == chip.shown
    printed = capsys.readouterr().out
    assert told(printed)["in all"] == chip.shown
    assert f"{stored['presentations']:,} presentations" in printed

    result = load_fit(folder, chip)
    before = chip.shown
    write_report(result, tmp_path / "report.html")
    assert chip.shown > before
    assert result.cost.total == chip.shown
    page = (tmp_path / "report.html").read_text()
    assert f"{chip.shown - before:,}" in page
    assert "presentations for this report" in page

    monkeypatch.setattr("bayes_snn.inference.load.load_fit", lambda name, absent=None: load_fit(name, chip))
    before = chip.shown
    options = ["--output", str(tmp_path / "w.npz"), "--estimate", "medoid"]
    monkeypatch.setattr("sys.argv", ["export", str(folder), *options])
    export.main()
    assert f"shown {chip.shown - before:,} samples" in capsys.readouterr().out


def test_a_cell_of_a_sweep_tells_what_a_tally_sees(monkeypatch):
    made = []

    def tallied(*arguments):
        made.append(Tally(LIFChip(*arguments)))
        return made[-1]

    monkeypatch.setattr("bayes_snn.studies.run_cell.LIFChip", tallied)
    settings = {"data": "iris", "hidden": "3", "n_steps": 8, "chains": 2, "sampler": "sitewise"}
    [cell] = make_grid(["mh"], [("comparator", 1.0)], [15], [0], [0], [(4, 4)], **settings)
    row = run_cell(cell)
    assert row.get("error") is None
    names = ("presentations", "distil_presentations", "likelihood_presentations")
    others = ("prediction_presentations", "check_presentations")
    assert sum(row[name] for name in (*names, *others)) == row["all_presentations"] == made[0].shown
