"""Xylo on the breast cancer data, accuracy on SynSense's bit-exact simulator: python analysis/xylo.py

One command makes its results, analysis/results/xylo.parquet: python analysis/xylo.py --run
Every row is saved as it ends: the same command continues where it was. The simulator is needed (extra `xylo`).

A core has 16 inputs and the data 30 features: the first 8 principal components of the standardised training features,
each over its own standard deviation, become two inputs each, one above 0 and one below.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from saved import keep_rows, main_of_rows

from bayes_snn.chips.xylo.chip import XyloChip, on_off
from bayes_snn.data import Split, load_data, split_data
from bayes_snn.estimates.baselines import baseline_scores
from bayes_snn.estimates.metrics import evaluate
from bayes_snn.estimates.predict import DEPLOYABLE, choose_deployable, probabilities, run_draws
from bayes_snn.inference.fit import fit
from bayes_snn.likelihood import class_probabilities
from bayes_snn.studies.over_chips import mean_interval

SEEDS, N_COMPONENTS = range(5), 8  # a seed is a split of the data, and that of both methods
SETTINGS = {"draws": 200, "tune": 300, "chains": 2}
NAMES = {
    "ensemble": ("MH ensemble", "#0072B2"),
    "chosen": ("MH, best single set", "#000000"),
    "map": ("MH map", "#009E73"),
    "medoid": ("MH medoid", "#CC79A7"),
    "mean": ("MH mean", "#56B4E9"),
    "backprop": ("backprop offline, rounded", "#D55E00"),
    "logistic": ("logistic regression (digital, 30 features)", "#7f7f7f"),
}


def components(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of the core for the training and the test samples, (n, 16) each; test samples have no part in them."""
    _, _, directions = np.linalg.svd(split.train_inputs, full_matrices=False)
    train, test = (part @ directions[:N_COMPONENTS].T for part in (split.train_inputs, split.test_inputs))
    return on_off(train / train.std(axis=0)), on_off(test / train.std(axis=0))


def run(rows: list[dict[str, Any]]) -> None:
    """Make the rows that are not there yet."""
    for seed in SEEDS:
        for method, measure in (("mh", run_mh), ("backprop", run_backprop)):
            if (method, seed) in {(row["method"], row["seed"]) for row in rows}:
                continue
            started = time.perf_counter()
            split = split_data(load_data("breast_cancer"), n_train=398, seed=seed)
            measured = measure(split, seed)
            rows.append({"method": method, "seed": seed, **measured, "seconds": time.perf_counter() - started})
            keep_rows("xylo", rows)
            print(f"{time.strftime('%H:%M:%S')} {method}, seed {seed}: {measured}", flush=True)


def run_mh(split: Split, seed: int) -> dict[str, Any]:
    """Trained in the loop; its test accuracies on the simulator."""
    chip, simulator = XyloChip(), XyloChip(backend="xylosim")
    train, test = components(split)
    result = fit(chip, train, split.train_labels, "grid", sampler="sitewise", cores=1, seed=seed, **SETTINGS)
    in_training = result.evaluate(train, split.train_labels)
    chosen = choose_deployable({name: in_training[name]["log_score"] for name in DEPLOYABLE})
    found = {name: probabilities(simulator, result.weights(name), test) for name in DEPLOYABLE}
    found["ensemble"] = run_draws(simulator, result.draws, result.draws.spread(200), test).mean(axis=0)
    found["chosen"] = found[chosen]
    accuracies = {f"test_{name}_accuracy": evaluate(p, split.test_labels)["accuracy"] for name, p in found.items()}
    logistic = baseline_scores(split)["logistic"]["test"]["accuracy"]
    return {**accuracies, "chosen": chosen, "passes": result.passes, "test_logistic_accuracy": logistic}


def run_backprop(split: Split, seed: int) -> dict[str, Any]:
    """Trained on the float model and rounded; its test accuracy on the simulator."""
    import torch  # drawing needs neither
    from xylo_backprop import train as train_offline

    torch.set_num_threads(1)
    train, test = components(split)
    integers, seen = train_offline(XyloChip(), train, split.train_labels, seed)
    counts = XyloChip(backend="xylosim").run_integers(integers, test)
    accuracy = evaluate(class_probabilities(counts), split.test_labels)["accuracy"]
    return {"test_backprop_accuracy": accuracy, **seen, "passes": 0.0}


def series(rows: pd.DataFrame, name: str) -> pd.Series:
    """Test accuracy of each seed."""
    return rows.dropna(subset=[f"test_{name}_accuracy"]).set_index("seed")[f"test_{name}_accuracy"]


def tell(rows: pd.DataFrame) -> str:
    """Means over seeds with 90% intervals, and differences to backprop, seed by seed, in points."""
    lines = [f"test accuracy on xylosim, {rows['seed'].nunique()} splits, MH with {SETTINGS}", ""]
    backprop = series(rows, "backprop")
    for name, (label, _) in NAMES.items():
        each = series(rows, name)
        interval = mean_interval(each)
        line = f"{label:<44}{interval.mean:.3f} +- {interval.high - interval.mean:.3f}"
        if name != "backprop":
            d = mean_interval((100 * (each - backprop)).dropna())
            line += f"   minus backprop: {d.mean:+.1f} [{d.low:+.1f}, {d.high:+.1f}] points"
        lines.append(line)
    passes = rows.loc[rows["method"] == "mh", "passes"].mean()
    seconds = rows.groupby("method")["seconds"].mean().round().to_dict()
    return "\n".join([*lines, "", f"MH: {passes:,.0f} passes of the training set; seconds a fit: {seconds}"])


def draw(rows: pd.DataFrame) -> Figure:
    """One row of dots for each estimate, and its mean."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axis = figure.subplots()
    for place, (name, (_, colour)) in enumerate(reversed(NAMES.items())):
        each = series(rows, name)
        interval = mean_interval(each)
        axis.plot(each, [place] * len(each), ".", color=colour, alpha=0.4, ms=7, mew=0)
        ends = np.nan_to_num([[interval.mean - interval.low], [interval.high - interval.mean]])
        axis.errorbar([interval.mean], [place], xerr=ends, color=colour, marker="o", ms=5, capsize=3)
    axis.set_yticks(range(len(NAMES)), [label for label, _ in reversed(NAMES.values())])
    axis.set_xlabel("test accuracy on SynSense's simulator")
    axis.grid(axis="x", color="0.92", lw=0.8)
    n = rows["seed"].nunique()
    axis.set_title(f"Xylo core 16-16-2, breast cancer: {n} splits (dots), means with 90% intervals", x=0.0)
    return figure


if __name__ == "__main__":
    main_of_rows("xylo", run, draw, tell)
