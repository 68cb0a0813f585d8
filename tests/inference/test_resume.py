"""resume(): a fit that was stopped, by whatever, ends as if it had not been; others are not taken for it."""

from __future__ import annotations

import errno
import fcntl
import importlib.util
import json
import os
import re
import shutil
import signal
import time
from importlib.metadata import version

import numpy as np
import pymc as pm
import pytest

from bayes_snn.checkpoint import chain_store, identity
from bayes_snn.checkpoint.chain_store import ChainStore
from bayes_snn.checkpoint.checkpoint import Checkpoint
from bayes_snn.checkpoint.identity import Before
from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import CheckpointError, ChipError, InputError
from bayes_snn.inference.fit import fit
from bayes_snn.inference.load import load_fit
from bayes_snn.inference.resume import resume
from bayes_snn.names import SAMPLERS
from bayes_snn.samplers.shared.tally import Tally
from tests.helpers.fits import InterruptingChip, chip_for, twin_for
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

pytestmark = pytest.mark.usefixtures("quickly_compiled")

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(12, 3)), np.arange(12) % 3
TIMES = ("perf_counter_diff", "process_time_diff", "perf_counter_start")
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def small(chip=None, **options):
    """A fit of two chains."""
    chip = LIFChip((3, 4, 3), "comparator", 3.0, n_steps=8) if chip is None else chip
    inputs, labels = (INPUTS, LABELS) if chip.spec.layers[0] == 1 else (X, Y)
    return fit(
        chip, inputs, labels, **{"sampler": "sitewise", "draws": 6, "tune": 4, "chains": 2, "cores": 1, **options}
    )


def every_few(folder, draws):
    """A checkpoint that is saved by the draw, not by the clock."""
    return Checkpoint(folder, seconds=1e9, draws=draws)


def assert_same(first, second, folder=None):
    """Two fits with the same draws; the folder of the first has what it was shown to see that the chip is the same."""
    asked = 0 if folder is None else int((folder / "asked").read_text())
    assert first.cost.checks == second.cost.checks + asked
    assert first.presentations == second.presentations
    assert first.arguments == second.arguments
    for group in ("posterior", "sample_stats", "log_likelihood", "log_prior", "observed_data", "constant_data"):
        a, b = first.posterior[group].dataset, second.posterior[group].dataset
        kept = [name for name in a.data_vars if name not in TIMES]
        assert set(a.data_vars) == set(b.data_vars)
        assert a[kept].equals(b[kept])


class FailingChip(SigmoidChip):
    """A link that breaks at one run."""

    def __init__(self, at=None):
        super().__init__()
        self.at, self.gain = at, 1.0

    def with_steps(self, n_steps):
        self.spec = ChipSpec((1, 2), n_steps)
        return self

    def run(self, weights, inputs):
        if self.runs == self.at:
            raise ChipError("The link broke.")
        return super().run([self.gain * np.asarray(w) for w in weights], inputs)


@pytest.mark.parametrize(("at", "every", "stored"), [(350, 2, 3), (1234, 1, 12), (350, 9, 1)])
def test_a_fit_that_failed_goes_on(at, every, stored, tmp_path):
    untouched = FailingChip()
    whole = small(untouched, sampler="block")
    with pytest.raises(ChipError, match="The link broke"):
        small(FailingChip(at), sampler="block", checkpoint=every_few(tmp_path, every))
    chip = FailingChip()
    result = resume(tmp_path, chip)
    assert_same(result, whole, tmp_path)
    assert chip.runs <= untouched.runs - 100 * stored + 2  # draws that are stored are not run again: 100 runs each
    assert result.seconds > 0


def test_weights_of_samples_are_stored_and_kept(tmp_path):
    options = {"sampler": "block", "sample_weight": [2.0, 0.0, 1.0, 1.0, 0.5, 3.0]}
    whole = small(FailingChip(), **options)
    with pytest.raises(ChipError):
        small(FailingChip(700), checkpoint=every_few(tmp_path, 1), **options)
    # others are not taken for them
    other = Checkpoint.open(tmp_path)
    with pytest.raises(CheckpointError, match="was begun with other weights of samples"):
        small(FailingChip(), checkpoint=other, **options | {"sample_weight": [2.0, 0.0, 1.0, 1.0, 0.5, 2.0]})
    result = resume(tmp_path, FailingChip())
    assert_same(result, whole, tmp_path)
    np.testing.assert_array_equal(result.sample_weight, options["sample_weight"])
    result.save(tmp_path / "fit")
    np.testing.assert_array_equal(load_fit(tmp_path / "fit", FailingChip()).sample_weight, options["sample_weight"])


def test_ctrl_c_leaves_a_fit_that_can_go_on(tmp_path):
    whole = small(InterruptingChip(), sampler="block")
    chip = InterruptingChip(1450)  # a round of the two chains takes 200 runs, 4 are warm-up
    first = small(chip, sampler="block", checkpoint=tmp_path)
    assert first.interrupted
    kept = first.posterior.posterior.sizes["draw"]
    assert first.posterior.posterior.sizes["chain"] == 2
    assert kept == 3
    result = resume(tmp_path, InterruptingChip())
    assert not result.interrupted
    assert_same(result, whole, tmp_path)
    np.testing.assert_array_equal(first.posterior.posterior["w_1"][0], whole.posterior.posterior["w_1"][0, :kept])
    # the draws that were kept are stored, to the last one
    states = {state["chain"]: state["draws"] for state in Checkpoint.open(tmp_path).states()}
    assert states == {0: 10, 1: 10}


def test_ctrl_c_in_the_warm_up_leaves_one_too(tmp_path):
    whole = small(InterruptingChip(), sampler="block")
    with pytest.raises(KeyboardInterrupt):
        small(InterruptingChip(250), sampler="block", checkpoint=tmp_path)
    assert_same(resume(tmp_path, InterruptingChip()), whole, tmp_path)


def test_a_chip_and_a_prior_are_made_again_and_a_whole_fit_only_replayed(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    text = "import pymc as pm\n\n\ndef weights(chip):\n    return [pm.Normal('w_1', 0, 2, shape=(3, 2))]\n"
    (tmp_path / "here" / "mine.py").write_text(text)
    chip = LIFChip((3, 2), "noise", 0.3, n_steps=8)
    options = {"weights": "mine.py", "sampler": "pymc", "feature_names": list("abc"), "class_names": ["no", "yes"]}
    whole = fit(chip, X, Y % 2, draws=3, tune=2, chains=2, cores=1, checkpoint="stored", **options)
    monkeypatch.chdir(tmp_path)
    result = resume("here/stored", cores=1)  # the log-likelihood of the draws is fresh noise of this process
    assert_same(result, whole)
    assert result.chip == chip
    assert list(result.posterior.posterior["pre_1"].values) == list("abc")
    (tmp_path / "here" / "mine.py").write_text(text.replace("0, 2", "0, 3"))
    with pytest.raises(CheckpointError, match="begun with another prior"):
        resume("here/stored")


def drawn(folder):
    """Draws stored, of both chains; without the lock, so it must change nothing."""
    if not (folder / "checkpoint.json").exists():
        return 0
    digest = json.loads((folder / "checkpoint.json").read_text())["digest"]
    stores = [ChainStore(folder / f"chain_{chain}", digest, chain, 50) for chain in (0, 1)]
    for store in stores:
        store.load()
    return sum(store.n_saved for store in stores)


def run_slowly(folder):
    """In a process of its own: fit, or continue, and save after every draw."""
    tally = Tally.tally

    def pausing(self):
        time.sleep(0.02)
        return tally(self)

    try:
        os.setpgid(0, 0)
        Tally.tally = pausing
        if (folder / "checkpoint.json").exists():
            resume(Checkpoint.open(folder, draws=1), cores=2)
        else:
            small(draws=30, tune=20, cores=2, checkpoint=Checkpoint(folder, draws=1))
    finally:
        os._exit(1)


@forks
def test_chains_in_processes_that_are_killed_go_on(tmp_path):
    whole = small(draws=30, tune=20)
    for least in (3, 60):  # in the warm-up, and among the draws
        pid = os.fork()
        if not pid:
            run_slowly(tmp_path)
        while drawn(tmp_path) < least:
            assert os.waitpid(pid, os.WNOHANG) == (0, 0)
            time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)  # alone: its chains end by themselves
        os.waitpid(pid, 0)
        assert least <= drawn(tmp_path) < 100
    assert_same(resume(tmp_path, cores=2), whole, tmp_path)


@forks
def test_a_checkpoint_in_use_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("bayes_snn.checkpoint.checkpoint.LOCK_PATIENCE", 0.1)
    chip = FailingChip(10)
    with pytest.raises(ChipError):
        small(chip, sampler="block", checkpoint=tmp_path)
    handle = os.open(tmp_path / "lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(CheckpointError, match="A fit is running in "):
        resume(tmp_path, FailingChip())
    os.close(handle)
    assert resume(tmp_path, FailingChip()).passes > 1000


# ---- what does not belong together


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A fit that failed after its first draws."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.raises(ChipError):
        small(FailingChip(250), sampler="block", checkpoint=folder)
    return folder


OTHERS = {
    "chip": (lambda: {"chip": OtherChip()}, "another class of the chip"),
    "spec": (lambda: {"chip": FailingChip().with_steps(8)}, "another spec of the chip"),
    "prior": (lambda: {"chip": FailingChip(), "weights": "laplace"}, "another prior"),
}


class OtherChip(SigmoidChip):
    pass


@pytest.mark.parametrize("other", OTHERS)
def test_another_chip_or_prior_is_refused(other, stopped):
    make, said = OTHERS[other]
    with pytest.raises(CheckpointError, match=said):
        resume(stopped, **make())


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "smc"])
def test_another_chip_of_the_same_description_is_refused(sampler, tmp_path):
    untouched = chip_for(sampler, FailingChip())
    twin = twin_for(sampler, SigmoidChip())
    whole = small(untouched, sampler=sampler, **twin)
    # after it, only the draws are evaluated, which those of a twin are by their checks
    last = untouched.runs - 1 - (0 if twin else 2 * 6)
    with pytest.raises(ChipError):
        small(chip_for(sampler, FailingChip(last)), sampler=sampler, checkpoint=every_few(tmp_path, 1), **twin)
    other = chip_for(sampler, FailingChip())
    other.gain = 1.2
    with pytest.raises(CheckpointError, match=r"The chip is not the one .* or has changed: at the weights where chain"):
        resume(tmp_path, other, **twin)
    assert 1 <= other.runs <= (10 if twin else 2)  # with a twin, how the chip behaves is asked first
    chip = chip_for(sampler, FailingChip())
    result = resume(tmp_path, chip, **twin)
    assert_same(result, whole, tmp_path)
    asked = int((tmp_path / "asked").read_text())
    assert asked == 2 * len(INPUTS)  # a pass for each chain: both had begun
    assert resume(tmp_path, chip, **twin).cost.checks == result.cost.checks + asked  # read again, asked again


class UnlearnableChip(FailingChip):
    """Outputs count the same whatever is shown, but for one training sample: no twin of it is learned."""

    def __init__(self, at=None):
        super().__init__(at)
        self.spec, self.shown = ChipSpec((3, 3, 2), 8), 0

    def run(self, weights, inputs):
        if self.runs == self.at:
            raise ChipError("The link broke.")
        self.runs += 1
        self.shown += len(inputs)
        counts = np.full((len(inputs), 2), 3)
        counts[(inputs == X[0]).all(axis=1), 1] += 2 * (np.asarray(weights[1]).sum() > 0)
        return counts


def test_a_fit_whose_sampler_was_chosen_goes_on_with_what_was_told_and_paid(tmp_path):
    def chosen(chip, **options):
        return fit(chip, X, Y % 2, draws=6, tune=4, chains=2, cores=1, **options)

    whole_chip = UnlearnableChip()
    whole = chosen(whole_chip)
    assert whole.arguments["sampler"] == "sitewise"
    assert whole.note.startswith("Sampled by sitewise, because no twin of it can be learned: each output")
    assert whole.cost.learning > 0
    assert whole.cost.total == whole_chip.shown
    first = UnlearnableChip(whole_chip.runs - 60)
    with pytest.raises(ChipError, match="The link broke"):
        chosen(first, checkpoint=every_few(tmp_path, 1))
    again = UnlearnableChip()
    result = resume(tmp_path, again)
    assert_same(result, whole, tmp_path)
    assert result.note == whole.note
    assert result.cost.learning == whole.cost.learning
    assert again.shown < whole_chip.shown - whole.cost.learning
    assert load_fit(result.save(tmp_path / "fit"), again).note == whole.note
    # a fit whose sampler was named has nothing to tell, nor one of an older checkpoint
    assert Before.of({}) == Before()
    named = UnlearnableChip(80)
    with pytest.raises(ChipError):
        chosen(named, sampler="sitewise", checkpoint=every_few(tmp_path / "named", 1))
    result = resume(tmp_path / "named", UnlearnableChip())
    assert (result.note, result.cost.learning) == ("", 0)


def test_a_chip_that_is_noisy_cannot_be_asked(tmp_path):
    chip = LIFChip((3, 4, 3), "noise", 0.3, n_steps=8)
    small(chip, sampler="block", checkpoint=tmp_path, draws=2, tune=2)
    resume(tmp_path)
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize(("given", "said"), [("feature_names", "'x', now 'z'"), ("class_names", "'no', now 'nein'")])
def test_other_names_are_refused(given, said, tmp_path):
    names = {"feature_names": ["x"], "class_names": ["no", "yes"]}
    with pytest.raises(ChipError):
        small(FailingChip(250), sampler="block", checkpoint=tmp_path, **names)
    names[given] = {"feature_names": ["z"], "class_names": ["nein", "yes"]}[given]
    what = given.replace("_", " ")
    with pytest.raises(CheckpointError, match=rf"begun with other {what} \({said}\): name them as they were"):
        small(FailingChip(), sampler="block", checkpoint=Checkpoint.open(tmp_path), **names)


def test_other_code_of_the_same_version_is_refused(stopped, monkeypatch):
    drawing = ("inference.fit", "posterior.op", "posterior.build", "samplers.by_name", "samplers.pcn", "samplers.smc")
    others = ("reports.write", "cli.fit", "inference.diagnostics", "chips.lif.chip")
    digests = identity.code_digests(FailingChip())
    assert digests.keys() >= {f"bayes_snn.{name}" for name in drawing}
    assert not digests.keys() & {f"bayes_snn.{name}" for name in others}
    assert all(importlib.util.find_spec(f"bayes_snn.{name}") for name in (*drawing, *others))
    assert identity.code_digests(LIFChip((3, 2))).keys() >= {"bayes_snn.chips.lif.chip", "bayes_snn.chips.lif.forward"}
    changed = {**digests, "bayes_snn.samplers.block": "another"}
    monkeypatch.setattr("bayes_snn.checkpoint.identity.code_digests", lambda chip: changed)
    with pytest.raises(
        CheckpointError, match=r"other code of bayes_snn .* \(another bayes_snn.samplers.block\).* fit again"
    ):
        resume(stopped, FailingChip())


def test_an_import_is_followed_however_it_is_written():
    lines = ["import a.b", "from c import (", "    d,  # why", "    e as f,", ")", "def g():", "    from h.i import j"]
    text = "\n".join([*lines, "'from k import l'"])
    assert set(identity.imported(text)) == {"a.b", "c", "c.d", "c.e", "h.i", "h.i.j"}


def test_a_fit_from_elsewhere_runs_its_model_file_only_when_it_is_trusted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (
        "import pathlib\n\nimport pymc as pm\n\npathlib.Path('ran').touch()\n\n\n"
        "def weights(chip):\n    return [pm.Normal('w_1', 0, 2, shape=(1, 2))]\n"
    )
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ChipError):
        small(FailingChip(250), sampler="block", weights="mine.py", checkpoint=tmp_path / "it")
    (tmp_path / "ran").unlink()
    with monkeypatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path / "another user"))
        with pytest.raises(CheckpointError, match=r"not begun by this user .* run the model file .*mine.py"):
            resume(tmp_path / "it", FailingChip())
        (tmp_path / "mine.py").write_text(text + "# changed\n")
        with pytest.raises(CheckpointError, match="begun with another prior"):
            resume(tmp_path / "it", FailingChip(), trust=True)
        assert not (tmp_path / "ran").exists()
        (tmp_path / "mine.py").write_text(text)
        assert resume(tmp_path / "it", FailingChip(), trust=True).passes > 1000
    assert (tmp_path / "ran").exists()
    assert resume(tmp_path / "it", FailingChip()).passes > 1000  # of this user


def test_another_version_is_refused(stopped, monkeypatch):
    monkeypatch.setattr(identity, "version", lambda name: "0.0" if name == "numba" else version(name))
    with pytest.raises(CheckpointError, match=r"another version of numba \(.*, now 0.0\)"):
        resume(stopped, FailingChip())


def test_a_chip_that_cannot_be_made_again_must_be_passed(stopped):
    with pytest.raises(InputError, match=r"was a FailingChip.*pass chip="):
        resume(stopped)


def test_a_prior_that_is_a_function_must_be_passed(tmp_path):
    def mine(chip):
        return [pm.Normal("w_1", 0, 2, shape=(1, 2))]

    with pytest.raises(ChipError):
        small(FailingChip(250), sampler="block", weights=mine, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match=r"was a function.*pass weights="):
        resume(tmp_path, FailingChip())
    result = resume(tmp_path, FailingChip(), mine)
    assert_same(result, small(FailingChip(), sampler="block", weights=mine), tmp_path)


def test_a_folder_with_a_checkpoint_is_not_taken_for_another_fit(stopped):
    before = sorted(path.name for path in stopped.rglob("*"))
    with pytest.raises(CheckpointError, match="already holds the checkpoint of a fit: continue with it by resume"):
        small(FailingChip(), sampler="block", checkpoint=stopped)
    assert sorted(path.name for path in stopped.rglob("*")) == before


def test_smc_is_refused_before_anything_is_run(tmp_path):
    chip = FailingChip()
    with pytest.raises(InputError, match="'smc' cannot be stored while it runs"):
        small(chip, sampler="smc", checkpoint=tmp_path / "new")
    assert chip.runs == 0
    assert not (tmp_path / "new").exists()


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoint of a fit"):
        resume(tmp_path / "none")


@pytest.mark.parametrize("options", [{"seconds": -1.0}, {"seconds": float("nan")}, {"draws": 0}])
def test_a_bad_cadence_is_refused(options, tmp_path):
    with pytest.raises(InputError, match=r"was .* expected"):
        Checkpoint(tmp_path, **options)


@pytest.mark.parametrize("name", ["checkpoint.json", "data"])
@pytest.mark.parametrize("torn", ["cut", "flip", "gone", "empty"])
def test_a_torn_description_or_torn_data_is_told(name, torn, stopped, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(stopped, folder)
    content = (folder / name).read_bytes()
    end = content.rindex(b'"digest"') if name == "checkpoint.json" else len(content)
    place = content.rindex(b"1" if name == "checkpoint.json" else b"\x00", 0, end)
    if torn == "gone":
        (folder / name).unlink()
    else:
        flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        (folder / name).write_bytes({"cut": content[:place], "flip": flipped, "empty": b""}[torn])
    with pytest.raises(CheckpointError, match=r"^[^\n]*\.$"):
        resume(folder, FailingChip())


def test_a_torn_state_is_told_and_the_one_before_it_used(stopped, tmp_path):
    folder = tmp_path / "copy"
    with pytest.raises(ChipError):
        small(FailingChip(850), sampler="block", checkpoint=every_few(folder, 2))
    path = max((folder / "chain_0").glob("state-*"), key=lambda path: path.stat().st_mtime_ns)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.warns(UserWarning, match=r"Chain 0 continues from the state before the last one, at draw \d+, since"):
        result = resume(folder, FailingChip())
    assert_same(result, small(FailingChip(), sampler="block"), folder)


def test_a_full_disk_ends_the_fit_in_one_sentence_and_it_goes_on(tmp_path, monkeypatch):
    write = chain_store.write_durably
    n = 0

    def full(path, data):
        nonlocal n
        n += 1
        if n > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr("bayes_snn.checkpoint.chain_store.write_durably", full)
        with pytest.warns(UserWarning, match="No space left"), pytest.raises(CheckpointError) as raised:
            small(FailingChip(), sampler="block", checkpoint=every_few(tmp_path, 2))
    said = r"No space left on device\), but draws up to \d+ of 10 of chain \d are safe there: make room on the disk"
    assert re.search(said, str(raised.value))
    assert_same(resume(tmp_path, FailingChip()), small(FailingChip(), sampler="block"), tmp_path)
