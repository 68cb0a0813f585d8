"""What cannot be stored, scored or written is refused before the first run of the chip, and costs no fit."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from sklearn.model_selection import train_test_split

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.cli.fit import main
from bayes_snn.errors import InputError
from bayes_snn.inference.fit import fit
from bayes_snn.inference.load import load_fit
from bayes_snn.inference.rehearsal import rehearse
from bayes_snn.inference.result import FitResult
from bayes_snn.inference.starts import prior_starts
from bayes_snn.posterior.build import build_model
from tests.helpers.fits import CountingChip

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(10, 3)), np.arange(10) % 2


def matrices(chip):
    spec = chip.spec
    return [pm.Normal(name, dims=dims) for name, dims in zip(spec.weight_names, spec.weight_dims, strict=True)]


def dims_of_another_length(chip):
    found = matrices(chip)
    pm.Deterministic("strength", abs(found[0]).sum(axis=1), dims="post_1")
    return found


def named_chain(chip):
    pm.HalfNormal("chain")
    return matrices(chip)


def named_draw(chip):
    pm.HalfNormal("draw")
    return matrices(chip)


def named_observation(chip):
    pm.HalfNormal("observation")
    return matrices(chip)


def named_like_a_default_dim(chip):
    found = matrices(chip)
    pm.Deterministic("row", found[0].sum(axis=1))
    pm.Normal("row_dim_0")
    return found


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (dims_of_another_length, "post_1"),
        (named_chain, "'chain'"),
        (named_draw, "'draw'"),
        (named_observation, "'observation'"),
        (named_like_a_default_dim, "row_dim_0"),
    ],
)
def test_a_model_that_cannot_be_stored_is_refused_before_the_first_run(weights, said):
    chip = CountingChip(LIFChip((3, 2, 2)))
    with pytest.raises(InputError, match=said) as caught:
        fit(chip, X, Y, weights, draws=3, tune=2, chains=2, cores=1, sampler="sitewise")
    assert chip.runs == 0
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "names",
    [
        {"feature_names": pd.MultiIndex.from_tuples([("m", "a"), ("m", "b"), ("s", "a")])},
        {"feature_names": [("m", "a"), ("m", "b"), ("s", "a")]},
        {"feature_names": ["a\x00b", "c", "d"]},
        {"class_names": ["x\x00z", "y"]},
    ],
)
def test_names_that_a_file_cannot_hold_are_refused_before_the_first_run(names):
    chip = CountingChip(LIFChip((3, 2, 2)))
    with pytest.raises(InputError, match="names of features and classes") as caught:
        fit(chip, X, Y, sampler="sitewise", draws=3, tune=2, chains=2, cores=1, **names)
    assert chip.runs == 0
    assert "\n" not in str(caught.value)


def test_what_can_be_stored_is_not_refused():
    def extras(chip):
        found = matrices(chip)
        pm.HalfNormal("scale with spaces")
        pm.Dirichlet("shares", np.ones(3))
        pm.Poisson("events", 3.0)
        pm.Deterministic("strength", abs(found[0]).sum(axis=1), dims="pre_1")
        pm.Deterministic("plain", found[1].sum(axis=0))
        return found

    chip = LIFChip((3, 2, 2))
    model = build_model(chip, X, Y, extras, feature_names=["a", "b/c", "ü"])
    with model:
        [start] = prior_starts(model, 1, np.random.SeedSequence(0))
        rehearse(model, chip, start, {"draws": 3})


def write_outlier(path):
    rows = np.random.default_rng(0).normal(0, 1e-3, size=(60, 2))
    kinds = np.arange(60) % 2
    rows[:, 0] += kinds
    _, test = train_test_split(np.arange(60), test_size=18, stratify=kinds, random_state=0)
    rows[test[0], 1] = 12345.0
    lines = [f"{a!r},{b!r},{'MB'[kind]}\n" for (a, b), kind in zip(rows.tolist(), kinds, strict=True)]
    path.write_text("a,b,kind\n" + "".join(lines))
    return int(test[0]) + 2


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["fit", *map(str, arguments)])
    main()


def test_an_outlier_of_the_test_part_is_refused_before_the_sampling(tmp_path, monkeypatch, capsys):
    line = write_outlier(tmp_path / "outlier.csv")
    options = ["--target", "kind", "--hidden", 3, "--draws", 3, "--tune", 2, "--chains", 2, "--sampler", "sitewise"]
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, "--data", tmp_path / "outlier.csv", *options, "--out", tmp_path / "fit")
    told = " ".join(capsys.readouterr().err.split())
    assert f"Line {line} (test part), column 'b' of outlier" in told
    assert not (tmp_path / "fit").exists()


def test_a_score_that_fails_does_not_keep_a_fit_from_being_saved(tmp_path, monkeypatch, capsys):
    right = FitResult.evaluate

    def evaluate(self, inputs, labels):
        if len(labels) == 45:  # the test part
            raise InputError("The test part cannot be scored.")
        return right(self, inputs, labels)

    monkeypatch.setattr(FitResult, "evaluate", evaluate)
    options = ["--data", "iris", "--n-train", 15, "--hidden", 3, "--steps", 8, "--draws", 4, "--tune", 2, "--chains", 1]
    options += ["--sampler", "sitewise"]
    run(monkeypatch, *options, "--out", tmp_path / "fit")
    seen = capsys.readouterr()
    assert "The test scores are missing: The test part cannot be scored." in " ".join(seen.err.split())
    assert "Scores are missing" in seen.out
    stored = json.loads((tmp_path / "fit" / "fit.json").read_text())
    assert "test" not in stored
    assert stored["train"].keys() == {"mean", "map", "medoid", "ensemble"}
    assert not (tmp_path / "fit" / "reliability.png").exists()
    assert not (tmp_path / "fit" / "checkpoint").exists()
    assert load_fit(tmp_path / "fit").posterior.posterior.sizes["draw"] == 4
