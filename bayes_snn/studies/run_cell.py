"""Run one cell of a study and turn it into a row; this is what a Dask worker calls.

A row depends on the cell alone, but for the columns TIMES: whichever worker ran it, and after whatever other cell.
"""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from threadpoolctl import threadpool_limits

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.data import Split, check_parts, load_data, split_data
from bayes_snn.errors import InputError, in_one_sentence
from bayes_snn.estimates.metrics import evaluate
from bayes_snn.estimates.predict import DEPLOYABLE, DISTILLED, ESTIMATES, choose_deployable
from bayes_snn.studies.cells import Cell, digest_file
from bayes_snn.version import package_versions

SCORES = ("accuracy", "log_score", "calibration_error", "brier_score")  # in the rows of a study
SCORED = ("chosen", *ESTIMATES, DISTILLED)
TIMES = ("run", "started", "finished", "seconds")  # columns in which two runs of one cell differ

_one_at_a_time = threading.Lock()  # PyMC and warnings filters are not made for several threads of one process


def run_cell(cell: Cell, run: str = "") -> dict[str, Any]:
    """The row of a cell. An error of the method goes into the row, so that it ends one cell and not the study.

    Parameters
    ----------
    cell
        What to run.
    run
        Names the start of the study that asked for it.
    """
    # processor time: what a cell costs must not depend on what else the computer does
    started, clock = datetime.now(UTC), time.process_time()
    measured: dict[str, Any] = {}
    try:
        with _one_at_a_time, warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")  # nobody reads a worker's log; the diagnosis is in the row
            measured = run_method(cell)
    except Exception as error:
        measured = {"error": in_one_sentence(error)}
    return {
        "id": cell.id,
        **asdict(cell),
        **measured,
        "versions": json.dumps(package_versions()),
        "run": run,
        "started": started,
        "finished": datetime.now(UTC),
        "seconds": time.process_time() - clock,
    }


def run_method(cell: Cell) -> dict[str, Any]:
    """What a method achieves in a cell, by column."""
    for name, expected in ((cell.data, cell.data_digest), (cell.model, cell.model_digest)):
        if expected and digest_file(name) != expected:
            raise InputError(
                f"{name} is missing here, or not what it was when the study began: give every worker the same file."
            )
    reading = json.loads(cell.reading) if cell.reading else {}
    dataset = load_data(cell.data, cell.target or None, **reading)
    split = check_parts(split_data(dataset, n_train=cell.n_train, seed=cell.split_seed))
    split = split.with_bias() if cell.bias else split
    family, _, mode = cell.method.partition("-")
    measured = _FAMILIES[family](cell, split, mode)
    return {"n_test": split.n_test, **measured}


def _run_mh(cell: Cell, split: Split, mode: str) -> dict[str, Any]:
    from bayes_snn.inference.fit import fit
    from bayes_snn.inference.sampling import Sampling

    chip = make_chip(cell, split)
    # a Dask worker is a daemon, which may have no processes of its own
    sizes = (cell.draws or None, cell.tune if cell.draws else cell.tune or None, cell.chains or None)
    sampling = Sampling(cell.sampler, *sizes, cell.random_seed, cores=1, budget=cell.budget or None)
    result = fit(
        chip,
        split.train_inputs,
        split.train_labels,
        cell.model,
        **sampling.keywords(),
    )
    result.distil()
    train = result.evaluate(split.train_inputs, split.train_labels)
    test = result.evaluate(split.test_inputs, split.test_labels)
    chosen = choose_deployable({name: train[name]["log_score"] for name in DEPLOYABLE})
    columns: dict[str, Any] = {"chosen": chosen}
    for part, scores in (("train", train), ("test", test)):
        columns |= score_columns(part, {**scores, "chosen": scores[chosen]})
    diagnosis = result.diagnosis
    return columns | {
        "presentations": result.presentations,
        "passes": result.passes,
        "distil_presentations": result.cost.distilling,
        "likelihood_presentations": result.cost.log_likelihood,
        "prediction_presentations": result.cost.prediction,
        "check_presentations": result.cost.checks,
        "all_presentations": result.cost.total,
        "n_weights": chip.spec.n_weights,
        "r_hat": diagnosis.function.r_hat,
        "r_hat_weights": diagnosis.weights.r_hat,
        "ess": diagnosis.function.ess,
        "diagnosis": diagnosis.verdict,
    }


def _run_backprop(cell: Cell, split: Split, mode: str) -> dict[str, Any]:
    import torch

    from bayes_snn.backprop.train import train_backprop  # type: ignore[import, unused-ignore]

    torch.set_num_threads(1)
    chip = make_chip(cell, split)
    budget: dict[str, Any] = {"budget": cell.budget} if cell.budget else {}
    result = train_backprop(chip, split.train_inputs, split.train_labels, mode=mode, seed=cell.random_seed, **budget)
    columns: dict[str, Any] = {"chosen": "weights", "n_weights": chip.spec.n_weights}
    for part, inputs, labels in _parts(split):
        columns |= score_columns(part, {"chosen": evaluate(result.predict(inputs), labels)})
    return columns | {"presentations": result.presentations, "passes": result.presentations / split.n_train}


def _run_logistic(cell: Cell, split: Split, mode: str) -> dict[str, Any]:
    from bayes_snn.estimates.baselines import baseline_scores

    scores = baseline_scores(split)["logistic"]
    columns: dict[str, Any] = {"chosen": "weights"}
    for part, _, _ in _parts(split):
        columns |= score_columns(part, {"chosen": scores[part]})
    return columns


_FAMILIES: dict[str, Callable[[Cell, Split, str], dict[str, Any]]] = {
    "mh": _run_mh,
    "backprop": _run_backprop,
    "logistic": _run_logistic,
}


def make_chip(cell: Cell, split: Split) -> LIFChip:
    """The chip of a cell, with an input for each feature and an output neuron for each class."""
    hidden = [int(part) for part in cell.hidden.split(",")]
    layers = (split.n_inputs, *hidden, split.n_classes)
    return LIFChip(layers, cell.distortion_names, cell.sigmas, cell.chip_seed, cell.n_steps)


def score_columns(part: str, scores: dict[str, dict[str, float]]) -> dict[str, float]:
    """Scores of each estimate as columns: `test_mean_accuracy` and its like; others are left out."""
    return {
        f"{part}_{name}_{score}": each[score] for name, each in scores.items() if name in SCORED for score in SCORES
    }


def score_names() -> list[str]:
    """All columns of scores that a row can have, in order."""
    return [f"{part}_{estimate}_{score}" for part in ("train", "test") for estimate in SCORED for score in SCORES]


def _parts(split: Split) -> list[tuple[str, Any, Any]]:
    return [
        ("train", split.train_inputs, split.train_labels),
        ("test", split.test_inputs, split.test_labels),
    ]
