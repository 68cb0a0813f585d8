"""Table of several fits, one chip each: python analysis/chips.py fits/chip-*

Reads what `python -m bayes_snn.fit` wrote. Prints test accuracies of every estimate for every chip, and their means
with 90% intervals over the chips (Student's t).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

ESTIMATES = ("mean", "map", "medoid", "ensemble")


def main() -> None:
    parser = argparse.ArgumentParser(description="Test accuracies of several fits.")
    parser.add_argument("folders", nargs="+", type=Path)
    folders = parser.parse_args().folders
    fits = [json.loads((folder / "fit.json").read_text(encoding="utf-8")) for folder in folders]
    fits.sort(key=lambda fit: fit["chip"].get("seed", 0))
    accuracy = np.array([[fit["test"][name]["accuracy"] for name in ESTIMATES] for fit in fits])
    best = accuracy[:, [0, 3]].max(axis=1)
    columns = np.column_stack([accuracy, best])
    table = Table()
    for header in ("chip", *ESTIMATES, "best of mean, ensemble", "R-hat of predictions", "seconds"):
        table.add_column(header, justify="right")
    for row, fit in zip(columns, fits, strict=True):
        r_hat = fit["diagnosis"]["function"]["r_hat"]
        r_hat = "-" if r_hat is None else f"{r_hat:.2f}"
        table.add_row(str(fit["chip"].get("seed")), *(f"{x:.3f}" for x in row), r_hat, f"{fit['seconds']:.0f}")
    table.add_section()
    table.add_row("mean", *(f"{x:.3f}" for x in columns.mean(axis=0)))
    if len(fits) > 1:
        half = stats.t.ppf(0.95, len(fits) - 1) * columns.std(axis=0, ddof=1) / np.sqrt(len(fits))
        table.add_row("90% interval", *(f"+- {x:.3f}" for x in half))
    table.add_row("worst", *(f"{x:.3f}" for x in columns.min(axis=0)))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
