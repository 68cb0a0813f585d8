"""Test accuracy against the presentations of a fit with a twin: python analysis/budgets.py

One command makes its results, analysis/results/budgets.parquet: python analysis/budgets.py --run
Every fit is saved as it ends: the same command continues where it was. All of them take a core some hours, and as many
run at once as there are cores.

What a chip is shown is counted by a wrapper around it, and each fit is one of default options but for its budget. A
chip that is learned from its counts hides its spikes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from drawing import Series, accuracy_axis, draw_series, legend, shifts
from matplotlib.figure import Figure
from saved import made_by, main_of_rows, run_jobs

from bayes_snn.chips.contract import Chip, FloatArray
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.data import Split, load_data, split_data
from bayes_snn.estimates.metrics import accuracy
from bayes_snn.inference.fit import fit
from bayes_snn.studies.over_chips import by_chip, mean_interval

SIGMAS, CHIPS = (3.0, 6.0, 10.0), range(20)
FITS = [("spikes", 5_000), ("counts", 10_000), ("spikes", 100_000), ("spikes", 2_000), ("counts", 5_000)]
FITS += [(way, budget) for budget in (20_000, 50_000) for way in ("spikes", "counts")] + [("spikes", 10_000)]
LABELS = {"spikes": ("learned from spikes", "#0072B2", "s"), "counts": ("learned from counts", "#D55E00", "o")}


class Counted:
    """A chip, counted; without `spikes` it shows its output counts alone."""

    def __init__(self, chip: Any, spikes: bool) -> None:
        self.chip, self.spec = chip, chip.spec
        self.shown = self.programmings = 0
        self._written = b""
        if spikes:
            self.spikes = self._spikes

    def run(self, weights: Sequence[FloatArray], inputs: FloatArray) -> Any:
        self._count(weights, inputs)
        return self.chip.run(weights, inputs)

    def _spikes(self, weights: Sequence[FloatArray], inputs: FloatArray) -> Any:
        self._count(weights, inputs)
        return self.chip.spikes(weights, inputs)

    def _count(self, weights: Sequence[FloatArray], inputs: FloatArray) -> None:
        self.shown += len(inputs)
        written = b"".join(np.ascontiguousarray(matrix, np.float64).tobytes() for matrix in weights)
        self.programmings += written != self._written
        self._written = written


def run(rows: list[dict[str, Any]]) -> None:
    """Make the rows that are not there yet, those that matter most first."""
    known = {(row["way"], row["budget"], row["sigma"], row["chip_seed"]) for row in rows}
    wanted = [(way, budget, sigma, chip) for way, budget in FITS for chip in CHIPS for sigma in SIGMAS]
    run_jobs("budgets", rows, [job for job in wanted if job not in known], row_of)


def row_of(way: str, budget: int, sigma: float, chip_seed: int) -> dict[str, Any]:
    """The row of one fit."""
    split = split_of_figures()
    chip = LIFChip((split.n_inputs, 16, 2), "comparator", sigma, chip_seed)
    return {"sigma": sigma, "chip_seed": chip_seed, **measure(chip, way, budget, split)}


def split_of_figures() -> Split:
    """The data of all fits here."""
    return split_data(load_data("breast_cancer"), n_train=398, seed=0).with_bias()


def measure(chip: Chip, way: str, budget: int, split: Split) -> dict[str, Any]:
    """The row of a fit."""
    counted, began = Counted(chip, spikes=way == "spikes"), time.process_time()
    result = fit(counted, split.train_inputs, split.train_labels, budget=budget, cores=1, seed=1)
    shown, programmings, told = counted.shown, counted.programmings, result.cost.total  # predictions are not limited
    test = result.evaluate(split.test_inputs, split.test_labels)
    stats, found = result.posterior.sample_stats, result.diagnosis
    distilled = np.nan
    if result.twin is not None:  # elsewhere the search would show the chip millions of samples
        result.distil(seed=1)
        distilled = accuracy(result.predict(split.test_inputs, "distilled"), split.test_labels)
    checks = result.twin_check or {}
    return {
        "way": way,
        "budget": budget,
        "shown": shown,
        "told": told,
        "programmings": programmings,
        "learning": result.cost.learning,
        "s": checks.get("spread", np.nan),
        "accepted": float(stats["accept"].mean()),
        "chains": result.posterior.posterior.sizes["chain"],
        "draws": result.posterior.posterior.sizes["draw"],
        "test_ensemble_accuracy": test["ensemble"]["accuracy"],
        "test_mean_accuracy": test["mean"]["accuracy"],
        "test_distilled_accuracy": distilled,
        "distilling": result.cost.distilling,
        "r_hat": found.function.r_hat,
        "ess": found.function.ess,
        "r_hat_of_log_likelihood": found.log_likelihood.r_hat,
        "ess_of_log_likelihood": found.log_likelihood.ess,
        "converged": found.converged,
        "seconds": time.process_time() - began,
    }


def accuracies(rows: pd.DataFrame, way: str, budget: int, sigma: float) -> pd.Series:
    """Test accuracy of the ensemble, of each chip."""
    chosen = rows[(rows["way"] == way) & (rows["budget"] == budget) & (rows["sigma"] == sigma)]
    return by_chip(chosen, "test_ensemble_accuracy")


def mean_and_interval(values: pd.Series) -> str:
    """A mean over chips and half its 90% interval, for a table; blank where one chip has none."""
    found = mean_interval(values)
    return f"{found.mean:.4f} {f'+- {found.high - found.mean:.4f}' if len(values) > 1 else '':<9}"


def tell(rows: pd.DataFrame) -> str:
    """Means over chips with 90% intervals, the worst chip, and what the chip was shown."""
    head = f"{'':<8}{'budget':>9}{'sigma':>7}{'chips':>7}{'ensemble':>19}{'worst':>8}{'distilled':>19}"
    head += f"{'to learn, at most':>20}"
    head += f"{'s':>7}{'accepted':>10}{'draws':>7}{'converged':>11}{'shown, at most':>16}{'programmings':>14}"
    lines = ["test accuracy of the ensemble, comparator, breast cancer; means over chips, s is a median", "", head]
    for (way, budget, sigma), at in rows.groupby(["way", "budget", "sigma"]):
        lines.append(
            f"{way:<8}{budget:>9,}{sigma:>7g}{len(at):>7}{mean_and_interval(at['test_ensemble_accuracy']):>19}"
            f"{at['test_ensemble_accuracy'].min():>8.4f}{mean_and_interval(at['test_distilled_accuracy']):>19}"
            f"{at['learning'].mean():>12,.0f}, {at['learning'].max():>6,}{at['s'].median():>7.2f}"
            f"{at['accepted'].mean():>10.2f}{(at['chains'] * at['draws']).mean():>7.0f}"
            f"{at['converged'].sum():>5} of {len(at):<3}{at['shown'].max():>16,}{at['programmings'].max():>14,}"
        )
    wrong = int((rows["shown"] != rows["told"]).sum())
    lines += ["", f"{wrong} of {len(rows)} fits report another number of presentations than the wrapper counted."]
    lines.append(made_by(rows))
    return "\n".join([*lines, f"{rows['seconds'].sum() / 3600:.2f} hours of one core"])


def draw(rows: pd.DataFrame) -> Figure:
    """A panel for each sigma."""
    figure = Figure(figsize=(2.0 + 3.6 * len(SIGMAS), 4.4), layout="constrained")
    panels = figure.subplots(1, len(SIGMAS), sharex=True, sharey=True)
    for axis, sigma in zip(panels, SIGMAS, strict=True):
        for (way, (label, colour, marker)), shift in zip(LABELS.items(), shifts(len(LABELS)), strict=True):
            shown = sorted(rows.loc[(rows["way"] == way) & (rows["sigma"] == sigma), "budget"].unique())
            values = [accuracies(rows, way, budget, sigma) for budget in shown]
            draw_series(axis, shown, values, Series(label, way, colour, marker, "ensemble"), shift)
        axis.set_xscale("log")
        axis.set(xlabel="presentations of the fit", title=f"sigma {sigma:g}")
        accuracy_axis(axis, float(rows["test_ensemble_accuracy"].min()), label=axis is panels[0])
    legend(figure, panels)
    least = rows[rows["budget"] == rows.loc[rows["way"] == "spikes", "budget"].min()]
    found = mean_interval(least["test_ensemble_accuracy"])
    words = f"With {least['budget'].iloc[0]:,} presentations in all, an ensemble has {found.mean:.1%} of the test"
    figure.suptitle(f"{words} samples right", x=0.01, ha="left", fontsize=11)
    note = (
        f"Comparators distorted, {rows['chip_seed'].nunique()} chips at most, breast cancer, split 0: means with 90% "
        "intervals over chips (Student's t); every chip is a faint dot."
    )
    figure.supxlabel(note, fontsize=7.5, x=0.01, ha="left", color="0.35")
    return figure


if __name__ == "__main__":
    main_of_rows("budgets", run, draw, tell)
