"""A fit's estimates, recomputed by hand, and its folder: read back bit for bit, never torn, refused in one sentence."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bayes_snn import __version__
from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.errors import ChipError, InputError, VersionWarning
from bayes_snn.estimates.metrics import evaluate
from bayes_snn.estimates.predict import ESTIMATES, Draws
from bayes_snn.files import make_folder, write_then_rename
from bayes_snn.inference.load import load_fit
from bayes_snn.inference.result import FORMAT
from bayes_snn.likelihood import class_probabilities, log_likelihood
from tests.helpers.fits import CountingChip, hand_made_fit
from tests.helpers.refusals import refusal
from tests.helpers.toys import INPUTS, LABELS, SigmoidChip

X = np.random.default_rng(0).normal(size=(15, 3))
Y = np.arange(15) % 2
NEW = np.random.default_rng(1).normal(size=(9, 3))


@pytest.fixture
def chip():
    return LIFChip((3, 8, 2), ["comparator", "gain"], [3.0, 0.1], 1, 20, tau_m=7.0, weight_range=(-3.0, 2.5))


@pytest.fixture
def result(chip):
    made = hand_made_fit(chip, X, Y, chains=3, draws=7)
    # a chip that is not dead: otherwise all estimates are alike and little is tested here
    assert (np.ptp([made.predict(NEW, estimate) for estimate in ESTIMATES], axis=0) > 0).any()
    return made


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# estimates


def flat_draws(result):
    """Weights of every draw, chains one after the other: a list of lists of matrices."""
    posterior = result.posterior.posterior
    return [
        [posterior[name].values[place] for name in result.chip.spec.weight_names]
        for place in np.ndindex(posterior.sizes["chain"], posterior.sizes["draw"])
    ]


def test_mean(result):
    draws = flat_draws(result)
    for layer, w in enumerate(result.weights("mean")):
        np.testing.assert_allclose(w, np.mean([draw[layer] for draw in draws], axis=0), rtol=1e-12, atol=1e-15)


def test_map_is_the_draw_of_highest_posterior_density(result, chip):
    draws = flat_draws(result)
    density = [
        sum(stats.norm.logpdf(w).sum() for w in draw) + log_likelihood(chip.run(draw, X), Y, 0.5).sum()
        for draw in draws
    ]
    np.testing.assert_allclose(result.draws.logp, density, rtol=1e-12)
    best = draws[int(np.argmax(density))]
    for found, expected in zip(result.weights("map"), best, strict=True):
        np.testing.assert_array_equal(found, expected)
    # neither the likelihood nor the prior alone decides: shift one draw's prior and it wins
    result = hand_made_fit(chip, X, Y, chains=3, draws=7)
    result.posterior["log_prior/w_2"][1, 3] += 1000
    np.testing.assert_array_equal(result.weights("map")[0], draws[7 + 3][0])


def test_map_passes_over_draws_without_a_density(chip):
    result = hand_made_fit(chip, X, Y, chains=3, draws=7)
    result.posterior["log_prior/w_1"][0, :] = np.nan
    assert not any(np.array_equal(result.weights("map")[0], draw[0]) for draw in flat_draws(result)[:7])


@pytest.mark.parametrize("seed", range(5))
def test_medoid_is_the_draw_nearest_to_the_ensemble_and_knows_no_labels(chip, seed):
    result = hand_made_fit(chip, X, Y, chains=3, draws=7, seed=seed)
    draws = flat_draws(result)
    each = np.array([class_probabilities(chip.run(draw, X)) for draw in draws])
    distance = np.abs(each - each.mean(axis=0)).mean(axis=(1, 2))
    for found, expected in zip(result.weights("medoid"), draws[int(np.argmin(distance))], strict=True):
        np.testing.assert_array_equal(found, expected)
    blind = hand_made_fit(chip, X, 1 - Y, chains=3, draws=7, seed=seed)
    assert (blind.draws.logp != result.draws.logp).any()
    np.testing.assert_array_equal(blind.weights("medoid")[0], result.weights("medoid")[0])


def test_predictions_by_hand(result, chip):
    each = np.array([class_probabilities(chip.run(draw, NEW)) for draw in flat_draws(result)])
    np.testing.assert_allclose(result.predict(NEW), each.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(result.predict(NEW, size=3), each[[0, 10, 20]].mean(axis=0), rtol=1e-12)
    for estimate in ("mean", "map", "medoid"):
        expected = class_probabilities(chip.run(result.weights(estimate), NEW))
        np.testing.assert_array_equal(result.predict(NEW, estimate), expected)


def test_beta_of_the_likelihood_is_that_of_every_prediction(chip):
    result = hand_made_fit(chip, X, Y, chains=3, draws=7)
    result.arguments["beta"] = 1.7
    draws = flat_draws(result)
    each = np.array([class_probabilities(chip.run(draw, NEW), 1.7) for draw in draws])
    np.testing.assert_allclose(result.predict(NEW), each.mean(axis=0), rtol=1e-12)
    shown = np.array([class_probabilities(chip.run(draw, X), 1.7) for draw in draws])
    medoid = int(np.argmin(np.abs(shown - shown.mean(axis=0)).mean(axis=(1, 2))))
    expected = class_probabilities(chip.run(draws[medoid], NEW), 1.7)
    np.testing.assert_array_equal(result.predict(NEW, "medoid"), expected)
    assert (result.predict(NEW) != hand_made_fit(chip, X, Y, chains=3, draws=7).predict(NEW)).any()


def test_what_a_prediction_costs():
    counting = CountingChip(SigmoidChip())
    result = hand_made_fit(counting, INPUTS, LABELS, chains=2, draws=10)
    # the medoid is found by all 20 draws, one of which is `map`; an answer that was given once is remembered
    for estimate, runs in (("mean", 1), ("map", 1), ("medoid", 20 - 1), ("medoid", 0), ("ensemble", 0)):
        before = counting.runs
        result.predict(INPUTS, estimate)
        assert counting.runs - before == runs, estimate
    assert result.presentations == 2 * 10 * 100 * 6  # predictions are not training
    assert result.cost.prediction == 21 * 6
    assert result.passes == 2000


def test_the_medoid_alone_reads_the_training_inputs(result):
    for estimate in ("mean", "map", "ensemble"):
        before = result.predict(NEW, estimate)
        other = hand_made_fit(result.chip, X, Y, chains=3, draws=7)
        other.posterior["constant_data/inputs"][:] = 0
        np.testing.assert_array_equal(other.predict(NEW, estimate), before)


def test_callers_arrays_are_left_alone(result):
    inputs = NEW.copy()
    for estimate in ESTIMATES:
        result.predict(inputs, estimate)
    assert inputs.flags.writeable
    np.testing.assert_array_equal(inputs, NEW)
    np.testing.assert_array_equal(result.predict(NEW.tolist()), result.predict(NEW))
    np.testing.assert_array_equal(result.predict(NEW.astype(np.float32)[:1]).shape, (1, 2))


def test_evaluation_reports_all_four(result):
    scores = result.evaluate(NEW, [0, 1, 0, 1, 1, 1, 0, 0, 1])
    assert list(scores) == list(ESTIMATES)
    assert set(scores["mean"]) == set(evaluate(np.array([[0.5, 0.5]]), np.array([0])))
    # against its own labels an estimate is right, and against the others wrong; ties count half
    probabilities = result.predict(NEW, "medoid")
    labels, ties = probabilities.argmax(axis=1), probabilities[:, 0] == probabilities[:, 1]
    assert not ties.all()
    assert result.evaluate(NEW, labels)["medoid"]["accuracy"] == pytest.approx(1 - ties.mean() / 2)
    assert result.evaluate(NEW, 1 - labels)["medoid"]["accuracy"] == pytest.approx(ties.mean() / 2)


def test_recall_of_each_class_is_named_and_kept(result, tmp_path):
    labels = np.array([0, 1, 0, 1, 1, 1, 0, 0, 1])
    found = result.by_class(NEW, labels)
    assert {name: each["samples"] for name, each in found.items()} == dict(zip(result.classes, (4, 5), strict=True))
    recalls = [each["recall"] for each in found.values()]
    assert np.mean(recalls) == pytest.approx(result.evaluate(NEW, labels)["ensemble"]["balanced_accuracy"])
    alone = result.by_class(NEW, np.zeros(len(NEW), int))
    assert [each["samples"] for each in alone.values()] == [len(NEW), 0]
    assert alone[result.classes[1]]["recall"] is None
    result.scores["classes"] = found
    assert load_fit(result.save(tmp_path / "fit")).scores["classes"] == found


@given(st.integers(1, 500), st.integers(1, 300))
@settings(deadline=None)
def test_an_ensemble_is_spread_over_all_draws(n_draws, size):
    chosen = Draws([np.zeros((n_draws, 1, 1))], np.zeros(n_draws)).spread(size)
    assert len(chosen) == min(size, n_draws)
    assert (np.diff(chosen) > 0).all()
    assert chosen.min() == 0
    assert chosen.max() == (n_draws - 1 if size > 1 else 0)
    if 1 < size < n_draws:
        assert np.ptp(np.diff(chosen)) <= 1


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (NEW[:, :2], "have shape (9, 2)"),
        (NEW[0], "have shape (3,)"),
        (NEW[:0], "have shape (0, 3)"),
        (NEW * np.nan, "hold nan at sample 0, feature 0"),
        (NEW * 1e9, "at most 1e6"),
        ([["a", "b", "c"]], "are not numbers"),
        (None, "are None"),
    ],
)
def test_wrong_inputs_are_refused(result, inputs, says):
    for estimate in ESTIMATES:
        assert says in refusal(result.predict, inputs, estimate)
    assert says in refusal(result.evaluate, inputs, Y[:9])


def test_other_wrong_arguments_are_refused(result):
    assert "many sets of weights" in refusal(result.weights, "ensemble")
    assert "did you mean 'medoid'" in refusal(result.weights, "mediod")
    assert "known are distilled, ensemble, map, mean, medoid" in refusal(result.predict, NEW, "average")
    for size in (0, -1, 2.5, True, None):
        assert f"size was {size!r}" in refusal(result.predict, NEW, size=size)
    assert "labels have shape (3,)" in refusal(result.evaluate, NEW, [0, 1, 1])
    assert "labels run from 0 to 2" in refusal(result.evaluate, NEW, np.arange(9) % 3)


def test_a_chip_that_broke_since_is_not_believed(result):
    result.chip = type("Broken", (), {"spec": result.chip.spec, "run": lambda self, w, x: np.full((len(x), 2), -1)})()
    for estimate in ESTIMATES:
        with pytest.raises(ChipError, match="from -1 to -1"):
            result.predict(NEW, estimate)


# folders


def test_a_folder_gives_the_fit_back(result, tmp_path):
    result.scores = {"test": result.evaluate(NEW, np.arange(9) % 2)}
    folder = result.save(tmp_path / "fits" / "one")
    assert sorted(path.name for path in folder.iterdir()) == ["fit.json", "posterior.nc"]
    loaded = load_fit(str(folder))
    assert loaded.chip == result.chip
    assert loaded.chip is not result.chip
    for name in ("arguments", "presentations", "passes", "seconds", "interrupted", "scores", "diagnosis"):
        assert getattr(loaded, name) == getattr(result, name), name
    for group in result.posterior.children:
        for name, array in result.posterior[group].data_vars.items():
            read = loaded.posterior[group][name]
            assert read.dims == array.dims
            assert read.dtype == array.dtype
            np.testing.assert_array_equal(read.values, array.values)
    for inputs in (X, NEW):
        for estimate in ESTIMATES:
            np.testing.assert_array_equal(loaded.predict(inputs, estimate), result.predict(inputs, estimate))
    # what was read can be written again
    loaded.save(tmp_path / "again")
    np.testing.assert_array_equal(load_fit(tmp_path / "again").predict(NEW), result.predict(NEW))


def test_a_folder_of_another_version_says_so(result, tmp_path):
    folder = result.save(tmp_path / "fit")
    load_fit(folder)  # of this version: nothing is said
    stored = json.loads((folder / "fit.json").read_text())
    (folder / "fit.json").write_text(json.dumps(stored | {"versions": {"bayes_snn": "0.0.9", "pymc": "6.0.0"}}))
    with pytest.warns(VersionWarning) as caught:
        loaded = load_fit(folder)
    [warning] = caught
    said = f"{folder} was written by bayes_snn 0.0.9, but this is bayes_snn {__version__}: "
    assert str(warning.message).startswith(said)
    assert str(warning.message).endswith("or install that version.")
    np.testing.assert_array_equal(loaded.predict(NEW), result.predict(NEW))
    # written again, it still tells who made it
    again = json.loads((loaded.save(tmp_path / "again") / "fit.json").read_text())
    assert again["versions"]["bayes_snn"] == "0.0.9"


def test_fit_json_has_plain_nested_keys(result, tmp_path):
    def no_constant(text):
        raise AssertionError(f"{text} is no JSON")

    scores = result.evaluate(NEW, np.arange(9) % 2)
    scores["map"]["log_score"] = -np.inf  # of a label that had probability 0
    result.scores = {"train": scores, "test": scores, "baselines": {"chance": {"test": {"accuracy": np.float64(0.5)}}}}
    result.interrupted = True
    folder = result.save(tmp_path)
    stored = json.loads((folder / "fit.json").read_text(), parse_constant=no_constant)
    assert stored["test"]["ensemble"]["accuracy"] == scores["ensemble"]["accuracy"]
    assert stored["train"]["map"]["log_score"] is None
    assert stored["baselines"]["chance"]["test"]["accuracy"] == 0.5
    assert stored["format"] == FORMAT
    assert stored["arguments"]["sampler"] == "block"
    assert stored["chip"]["distortions"] == {"comparator": 3.0, "gain": 0.1}
    assert stored["chip"]["spec"]["layers"] == [3, 8, 2]
    assert stored["presentations"] == 3 * 7 * 100 * 15
    assert stored["passes"] == 2100
    assert stored["interrupted"] is True
    assert stored["diagnosis"]["verdict"] == result.diagnosis.verdict
    assert {"bayes_snn", "python", "pymc", "numpy"} <= set(stored["versions"])
    with xr.open_datatree(folder / "posterior.nc", engine="h5netcdf") as tree:
        assert tree["posterior/w_1"].dims == ("chain", "draw", "pre_1", "post_1")


def test_what_json_cannot_hold_does_not_lose_a_fit(tmp_path):
    result = hand_made_fit(SigmoidChip(), INPUTS, LABELS, chains=1, draws=2)  # R-hat of one chain is nan
    result.arguments["data"] = tmp_path / "mine.csv"
    result.arguments["n_train"] = np.int64(6)
    stored = json.loads((result.save(tmp_path) / "fit.json").read_text())
    assert stored["arguments"]["data"] == str(tmp_path / "mine.csv")
    assert stored["arguments"]["n_train"] == 6
    assert stored["diagnosis"]["weights"]["r_hat"] is None


def test_a_user_s_chip_must_be_passed(tmp_path):
    result = hand_made_fit(SigmoidChip(), INPUTS, LABELS)
    result.save(tmp_path)
    assert "was a SigmoidChip, which cannot be made from its description: pass chip=" in refusal(load_fit, tmp_path)
    loaded = load_fit(tmp_path, chip=SigmoidChip())
    np.testing.assert_array_equal(loaded.predict(INPUTS), result.predict(INPUTS))
    for other in (SigmoidChip(n_steps=11), LIFChip((1, 3, 2), n_steps=12)):
        assert "pass the chip it was fitted on" in refusal(load_fit, tmp_path, chip=other)
    quantised = SigmoidChip()
    quantised.spec = ChipSpec((1, 2), 12, weight_bits=4)
    assert "was fitted on" in refusal(load_fit, tmp_path, chip=quantised)


def cut(name, length):
    def tear(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(length * len(data))])

    return tear


def edit(**changes):
    def tear(folder):
        stored = json.loads((folder / "fit.json").read_text())
        for key, value in changes.items():
            stored[key] = value
            if value is None:
                del stored[key]
        (folder / "fit.json").write_text(json.dumps(stored))

    return tear


def without_group(folder):
    with xr.open_datatree(folder / "posterior.nc", engine="h5netcdf") as opened:
        tree = opened.load()
    del tree["log_prior"]
    tree.to_netcdf(folder / "posterior.nc", engine="h5netcdf")


def without_permission(folder):
    if os.geteuid() == 0:
        pytest.skip("root may read anything")
    (folder / "posterior.nc").chmod(0)


def as_folder(folder):
    (folder / "posterior.nc").unlink()
    (folder / "posterior.nc").mkdir()


def as_pipe(folder):
    (folder / "posterior.nc").unlink()
    os.mkfifo(folder / "posterior.nc")


def to_itself(folder):
    (folder / "posterior.nc").unlink()
    (folder / "posterior.nc").symlink_to("posterior.nc")


@pytest.mark.parametrize(
    ("tear", "says"),
    [
        (shutil.rmtree, "holds no readable fit.json, because it is not there: check the path"),
        (lambda folder: (folder / "fit.json").unlink(), "holds no readable fit.json, because it is not there"),
        (cut("fit.json", 0), "because it is no JSON (JSONDecodeError)"),
        (cut("fit.json", 0.6), "because it is no JSON (JSONDecodeError)"),
        (lambda folder: (folder / "fit.json").write_bytes(b"\xff\xfe"), "because it is no JSON (UnicodeDecodeError)"),
        (lambda folder: (folder / "fit.json").write_text("[1, 2]"), "does not say of which format it is"),
        (lambda folder: (folder / "fit.json").write_text("[" * 100_000), "because it is nested too deeply"),
        (edit(format=None), "does not say of which format it is"),
        (edit(chip=None, seconds=None), "missing required field 'chip'"),
        (edit(format=99), f"in format 99, by bayes_snn {__version__}, but this version reads format {FORMAT}"),
        (edit(format=99, versions=None), "in format 99, by bayes_snn None"),
        (lambda folder: (folder / "posterior.nc").unlink(), "posterior.nc cannot be read, because it is not there"),
        (cut("posterior.nc", 0), "posterior.nc cannot be read, because it is damaged or of another kind"),
        (cut("posterior.nc", 0.5), "posterior.nc cannot be read, because it is damaged or of another kind"),
        (cut("posterior.nc", 0.999), "posterior.nc cannot be read, because it is damaged or of another kind"),
        (lambda folder: (folder / "posterior.nc").write_text("text"), "because it is damaged or of another kind"),
        (without_group, "posterior.nc cannot be read, because it has no group log_prior"),
        (without_permission, "posterior.nc cannot be read, because this user may not (Permission denied): change its"),
        (as_folder, "posterior.nc cannot be read, because it is a folder: check the path"),
        (as_pipe, "posterior.nc cannot be read, because it is a pipe or a device"),
        (to_itself, "posterior.nc cannot be read, because it is a link that leads to itself"),
    ],
)
def test_folders_that_are_no_fit(result, tmp_path, tear, says):
    folder = result.save(tmp_path / "fit")
    tear(folder)
    message = refusal(load_fit, folder)
    assert says in message
    assert str(folder) in message


def no_space(*arguments, **options):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("what", ["to_netcdf", "write_text", "write_bytes", "replace"])
def test_a_failing_write_leaves_the_files_of_before(result, tmp_path, monkeypatch, what):
    folder = result.save(tmp_path)
    before = contents(folder)
    other = hand_made_fit(result.chip, X, Y, seed=9)
    owner = {"to_netcdf": xr.DataTree, "replace": os}.get(what, type(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(owner, what, no_space)
        message = refusal(other.save, folder, overwrite=True)
    assert "cannot be written (No space left on device): make room on the disk" in message
    assert contents(folder) == before
    np.testing.assert_array_equal(load_fit(folder).predict(NEW), result.predict(NEW))
    other.save(folder, overwrite=True)
    assert contents(folder).keys() == before.keys()
    assert contents(folder)["posterior.nc"] != before["posterior.nc"]


def test_another_fit_is_not_replaced_unasked(result, tmp_path):
    folder = result.save(tmp_path / "fit")
    other = hand_made_fit(result.chip, X, Y, seed=9)
    before = contents(folder)
    for left in ("fit.json", "posterior.nc", None):  # one of them alone is enough
        (moved := tmp_path / "moved").mkdir(exist_ok=True)
        if left is not None:
            (folder / left).rename(moved / left)
        assert f"{folder} holds another fit: give another folder, or save(..., overwrite=True)" in refusal(
            other.save, folder
        )
        if left is not None:
            (moved / left).rename(folder / left)
    assert contents(folder) == before
    # the same fit again, from where it was made and from where it was read
    result.scores = {"test": result.evaluate(NEW, np.arange(9) % 2)}
    result.save(folder)
    loaded = load_fit(folder)
    assert loaded.scores == result.scores
    loaded.save(folder)
    # but not once another has taken its place
    other.save(folder, overwrite=True)
    for fit in (result, loaded):
        assert "holds another fit" in refusal(fit.save, folder)
    np.testing.assert_array_equal(load_fit(folder).predict(NEW), other.predict(NEW))


def test_a_fit_that_was_stopped_is_not_replaced_unasked(result, tmp_path):
    (tmp_path / "checkpoint").mkdir()
    for name in ("lock", "checkpoint.json"):
        (tmp_path / "checkpoint" / name).write_text("{}")
    assert "holds a fit that is running or was stopped: " in refusal(result.save, tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["checkpoint", "checkpoint.json", "lock"]
    result.save(tmp_path, overwrite=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["fit.json", "posterior.nc"]


def test_a_bug_in_a_writer_is_not_taken_for_a_full_disk(tmp_path):
    def write(path):
        path.write_text("half")
        raise ZeroDivisionError

    (tmp_path / "kept.txt").write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_then_rename(tmp_path / "kept.txt", write)
    assert contents(tmp_path) == {"kept.txt": b"old"}


def save_with_little_room(result, folder):
    """Exit code 3 when save raises an InputError; HDF5 crashes where it meets the limit itself."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        result.save(folder)
    except InputError:
        os._exit(3)
    os._exit(0)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_no_room_for_the_posterior(result, tmp_path):
    folder = result.save(tmp_path)
    before = contents(folder)
    assert len(before["posterior.nc"]) > 8192 > len(before["fit.json"])
    process = multiprocessing.get_context("fork").Process(target=save_with_little_room, args=(result, folder))
    process.start()
    process.join()
    assert process.exitcode == 3
    assert contents(folder) == before


def test_folders_that_cannot_be_written(result, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be made" in refusal(result.save, tmp_path / "file")
    assert "cannot be made" in refusal(result.save, tmp_path / "file" / "below")
    assert contents(tmp_path) == {"file": b""}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folders_without_permission(result, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "cannot be" in refusal(result.save, locked)
    assert "cannot be" in refusal(make_folder, locked / "below")
