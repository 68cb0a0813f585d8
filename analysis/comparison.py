"""One set of weights from MH, distilled or the best of mean, map and medoid, against backprop's, chip by chip."""

from __future__ import annotations

import pandas as pd
from drawing import BACKPROP_MODES, CHOSEN, DISTILLED, ENSEMBLE, Series

from bayes_snn.studies.cells import IN_THE_LOOP
from bayes_snn.studies.over_chips import Interval, by_chip, difference_over_chips

LOOP_MODES = tuple(series for series in BACKPROP_MODES if series.method in IN_THE_LOOP)
TEST = "test_chosen_accuracy"  # of backprop, which has one set of weights
OURS = (DISTILLED, CHOSEN)


def best_in_the_loop(rows: pd.DataFrame) -> Series | None:
    """The in-the-loop mode of backprop with the higher mean test accuracy over the chips of `rows`.

    That is a choice with the test data in hand, in favour of backprop.
    """
    means = {series.method: by_chip(series.rows(rows), TEST).mean() for series in LOOP_MODES}
    there = [series for series in LOOP_MODES if means[series.method] == means[series.method]]
    return max(there, key=lambda series: means[series.method], default=None)


def best_by_training(rows: pd.DataFrame) -> pd.Series:
    """Test accuracy of each chip in the in-the-loop mode that has its better log score on the training samples."""
    train, test = (
        pd.DataFrame({series.method: by_chip(series.rows(rows), column) for series in LOOP_MODES})
        for column in ("train_chosen_log_score", TEST)
    )
    modes = train.dropna(how="all").idxmax(axis=1)
    return pd.Series({chip: test.loc[chip, mode] for chip, mode in modes.items()}, dtype=float)


def difference_to(rows: pd.DataFrame, series: Series, ours: Series = DISTILLED) -> Interval:
    """One set of weights from MH minus a series, over the chips of `rows`."""
    return difference_over_chips(by_chip(ours.rows(rows), ours.column), by_chip(series.rows(rows), series.column))


def difference_tables(rows: pd.DataFrame, where: str) -> list[str]:
    """The lines of `difference_lines` for either set of weights from MH, with a title that says where."""
    lines: list[str] = []
    for ours in OURS:
        lines += ["", f"{where}: {ours.label}, minus", *difference_lines(rows, ours)]
    return lines


def difference_lines(rows: pd.DataFrame, ours: Series = DISTILLED) -> list[str]:
    """A line for the best in-the-loop mode, chosen in two ways, and one for each mode."""
    compared: list[tuple[str, Interval]] = []
    best = best_in_the_loop(rows)
    if best is not None:
        name = best.method.removeprefix("backprop-")
        compared.append((f"best in the loop by mean test accuracy ({name})", difference_to(rows, best, ours)))
        by_training = difference_over_chips(by_chip(ours.rows(rows), ours.column), best_by_training(rows))
        compared.append(("in the loop, each chip's mode by training log score", by_training))
    compared += [(series.method, difference_to(rows, series, ours)) for series in BACKPROP_MODES]
    return [difference_line(name, interval) for name, interval in compared if interval.n]


def fewer_samples_lines(rows: pd.DataFrame) -> list[str]:
    """The MH ensemble with each number of training samples, minus each in-the-loop mode with the most."""
    most, lines = rows["n_train"].max(), []
    for number, few in ENSEMBLE.rows(rows).groupby("n_train"):
        for series in LOOP_MODES:
            all_samples = series.rows(rows[rows["n_train"] == most])
            d = difference_over_chips(by_chip(few, ENSEMBLE.column), by_chip(all_samples, series.column))
            if d.n:
                name = f"{number} samples, minus {series.method.removeprefix('backprop-')} with {most}"
                lines.append(difference_line(name, d))
    return lines


def difference_line(name: str, interval: Interval) -> str:
    """A line of a table of differences."""
    return f"  {name:<53}{interval.mean:>+8.3f}  [{interval.low:+.3f}, {interval.high:+.3f}]  {interval.n} chips"


def headline(rows: pd.DataFrame) -> str:
    """What is seen in one clause: MH's distilled set against the best in-the-loop mode, in percentage points."""
    best = best_in_the_loop(rows)
    if best is None or difference_to(rows, best).n == 0:
        return "MH's distilled set of weights on distorted chips"
    d, name = difference_to(rows, best), best.method.removeprefix("backprop-")
    ends = f"{100 * d.low:.1f} to {100 * d.high:.1f}"
    if d.low <= 0 <= d.high:
        return f"MH's distilled set and the best in-the-loop backprop ({name}) cannot be distinguished ({ends} points)"
    above = "above" if d.mean > 0 else "below"
    size = f"{abs(100 * d.mean):.1f} points [{ends}]"
    return f"MH's distilled set is {size} {above} the best in-the-loop backprop ({name})"
