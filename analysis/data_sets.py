"""Any table on a distorted chip, beside classifiers on an exact computer: python analysis/data_sets.py

One command makes its results, analysis/results/data_sets.parquet: python analysis/data_sets.py --run
Every fit is saved as it ends: the same command continues where it was. As many run at once as there are cores.

Fits have the default options. Beside them are a logistic regression and a network of as many hidden units (MLP), both
of scikit-learn on the same training samples; the MLP's score is a mean over seeds. In `rare` one sample of ten is
malignant, and scores are balanced accuracies.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from budgets import mean_and_interval
from drawing import Series, accuracy_axis, draw_named, legend
from matplotlib.figure import Figure
from saved import made_by, main_of_rows, run_jobs
from sklearn.neural_network import MLPClassifier

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.data import Dataset, Split, load_data, split_data
from bayes_snn.estimates.baselines import baseline_scores
from bayes_snn.estimates.metrics import evaluate
from bayes_snn.inference.fit import fit
from bayes_snn.studies.over_chips import by_chip

RARE, SHARE = "rare", 0.1
HIDDEN = {"iris": 16, "penguins": 16, "wine": 16, "breast_cancer": 16, RARE: 16, "digits": 32}
SIGMAS, CHIPS, MLP_SEEDS = (3.0, 0.0), range(8), range(5)
SERIES = {
    "ensemble": Series("MH on the chip", "mh", "#0072B2", "o"),
    "logistic": Series("logistic regression", "logistic", "#000000", "s"),
    "mlp": Series("MLP", "mlp", "#CC79A7", "^"),
}


def score_of(data: str) -> str:
    """The score that is compared on a data set."""
    return "balanced_accuracy" if data == RARE else "accuracy"


def split_of(data: str) -> Split:
    """Training and test samples of a data set, with a bias."""
    dataset = load_data("breast_cancer" if data == RARE else data)
    return split_data(thinned(dataset) if data == RARE else dataset, seed=0).with_bias()


def thinned(dataset: Dataset) -> Dataset:
    """All samples of class 1, and so many of class 0 that they are SHARE of the whole."""
    common, rare = (np.flatnonzero(dataset.labels == label) for label in (1, 0))
    kept = np.random.default_rng(0).permutation(rare)[: round(len(common) * SHARE / (1.0 - SHARE))]
    rows = np.sort(np.concatenate([common, kept]))
    return replace(dataset, name=RARE, inputs=dataset.inputs[rows], labels=dataset.labels[rows])


def run(rows: list[dict[str, Any]]) -> None:
    """Make the rows that are not there yet, chip by chip."""
    known = {(row["data"], row["sigma"], row["chip_seed"]) for row in rows}
    wanted = [(data, sigma, chip) for chip in CHIPS for data in HIDDEN for sigma in SIGMAS]
    # an ideal chip is the same whatever its seed
    run_jobs("data_sets", rows, [job for job in wanted if job not in known and (job[1] or not job[2])], row_of)


def row_of(data: str, sigma: float, chip_seed: int) -> dict[str, Any]:
    """The row of one fit and of the classifiers beside it."""
    split, score = split_of(data), score_of(data)
    chip = LIFChip((split.n_inputs, HIDDEN[data], split.n_classes), "comparator", sigma, chip_seed)
    began, cpu = time.perf_counter(), time.process_time()
    result = fit(chip, split.train_inputs, split.train_labels, cores=1, seed=1)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    test, found = result.evaluate(split.test_inputs, split.test_labels), result.diagnosis
    return {
        "data": data,
        "sigma": sigma,
        "chip_seed": chip_seed,
        "n_train": split.n_train,
        "sampler": result.arguments["sampler"],
        "presentations": result.cost.total,
        "ensemble": test["ensemble"][score],
        "ensemble_log_score": test["ensemble"]["log_score"],
        **classifiers(data),
        "r_hat": found.function.r_hat,
        "ess": found.function.ess,
        "converged": found.converged,
        "seconds": seconds,
        "processor_seconds": cpu,
    }


@cache  # they are the same beside every chip
def classifiers(data: str) -> dict[str, float]:
    """Test scores of both classifiers on an exact computer; they have an intercept of their own."""
    split, score = split_of(data), score_of(data)
    train, test = (x[:, : split.n_features] for x in (split.train_inputs, split.test_inputs))
    networks = [MLPClassifier((HIDDEN[data],), max_iter=5_000, random_state=seed) for seed in MLP_SEEDS]
    answers = [each.fit(train, split.train_labels).predict_proba(test) for each in networks]
    mlp = float(np.mean([evaluate(answer, split.test_labels)[score] for answer in answers]))
    return {"logistic": baseline_scores(split)["logistic"]["test"][score], "mlp": mlp}


def tell(rows: pd.DataFrame) -> str:
    """Means over chips of the ensemble and of what it lies above or below the classifiers, in points."""
    head = f"{'':<15}{'sigma':>6}{'chips':>7}{'ensemble':>19}{'worst':>8}{'logistic':>10}{'MLP':>8}"
    head += f"{'- logistic':>19}{'- MLP':>19}{'converged':>12}{'presentations':>15}{'seconds':>9}"
    lines = ["test score of the ensemble, default options; means over chips, differences in points", "", head]
    for (data, sigma), at in rows.groupby(["data", "sigma"], sort=False):
        against = [mean_and_interval(100.0 * (at["ensemble"] - at[name])) for name in ("logistic", "mlp")]
        lines.append(
            f"{data:<15}{sigma:>6g}{len(at):>7}{mean_and_interval(at['ensemble']):>19}{at['ensemble'].min():>8.4f}"
            f"{at['logistic'].mean():>10.4f}{at['mlp'].mean():>8.4f}{against[0]:>19}{against[1]:>19}"
            f"{at['converged'].sum():>6} of {len(at):<2}{at['presentations'].mean():>15,.0f}"
            f"{at['seconds'].mean():>9.0f}"
        )
    lines += ["", f"{RARE}: one sample of ten is malignant, balanced accuracy. Accuracy elsewhere.", made_by(rows)]
    return "\n".join([*lines, f"{rows['processor_seconds'].sum() / 3600:.2f} hours of one core"])


def draw(rows: pd.DataFrame) -> Figure:
    """A panel for the distorted chips and one for the ideal one."""
    figure = Figure(figsize=(10.4, 4.4), layout="constrained")
    panels = figure.subplots(1, len(SIGMAS), sharey=True)
    names = [data for data in HIDDEN if (rows["data"] == data).any()]
    least = float(rows[list(SERIES)].min().min())
    for axis, sigma in zip(panels, SIGMAS, strict=True):
        mine = rows[rows["sigma"] == sigma]
        values = {method: [by_chip(mine[mine["data"] == data], method) for data in names] for method in SERIES}
        draw_named(axis, names, [(SERIES[method], values[method]) for method in SERIES])
        axis.set_title(f"sigma {sigma:g}" if sigma else "ideal chip")
        accuracy_axis(axis, least, label=axis is panels[0])
    legend(figure, panels)
    figure.suptitle("Does a chip lose anything against an exact computer?", x=0.01, ha="left", fontsize=11)
    note = (
        f"Comparators distorted, {rows['chip_seed'].nunique()} chips at most, default options: means with 90% "
        f"intervals over chips; every chip is a dot. {RARE.capitalize()}: balanced accuracy."
    )
    figure.supxlabel(note, fontsize=7.5, x=0.01, ha="left", color="0.35")
    return figure


if __name__ == "__main__":
    main_of_rows("data_sets", run, draw, tell)
