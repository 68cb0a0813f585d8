"""What `python -m bayes_snn.fit` prints at the end of a fit: scores, verdict, cost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bayes_snn.chips.link.faults import in_words
from bayes_snn.chips.presentations import NAMES
from bayes_snn.cli.resume import how_to_continue
from bayes_snn.data import Split
from bayes_snn.errors import InputError
from bayes_snn.estimates.metrics import accuracy_interval
from bayes_snn.inference.fit_summary import distilled_in_words, readout_in_words, twin_in_words, weighted_in_words
from bayes_snn.inference.result import FitResult
from bayes_snn.names import ENDED, SAMPLERS
from bayes_snn.posterior.noisy import noise_in_words

MOST_CLASSES = 20  # in a table at the command line


def check_pace(milliseconds: float | None) -> None:
    """An `InputError` for a time per presentation that no chip can have."""
    if milliseconds is not None and not 0 < milliseconds < 1e9:
        raise InputError(
            f"--ms-per-presentation was {milliseconds:g}, but a number of milliseconds above 0 is expected: try 32."
        )


def time_in_words(presentations: int, milliseconds: float) -> str:
    """How long a chip takes for so many presentations, in words."""
    seconds = presentations * milliseconds / 1e3
    for unit, length in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit} at {milliseconds:g} ms each"
    return f"{seconds:,.1f} seconds at {milliseconds:g} ms each"


def print_fit(
    console: Console, result: FitResult, split: Split, folder: Path, milliseconds: float | None = None
) -> None:
    """Print scores, verdict and cost of a fit, and where it is."""
    for note in (result.note, weighted_in_words(result)):
        if note:
            console.print(f"\n{note}", highlight=False, markup=False)
    if result.interrupted:
        kept = result.posterior.posterior.sizes
        console.print(
            f"\n[bold]Interrupted:[/bold] {kept['chain']} of {result.arguments['chains']} chains were kept, with "
            f"{kept['draw']} of {result.arguments['draws']} draws each.",
            highlight=False,
        )
        if SAMPLERS[result.arguments["sampler"]].resumable:
            console.print(how_to_continue(folder), highlight=False, markup=False, soft_wrap=True)
    if not {"train", "test"} <= result.scores.keys():
        console.print("[bold]Scores are missing[/bold], for the reason above: FitResult.evaluate gives them.")
    else:
        console.print(score_table(result.scores, split.n_test))
    if classes := result.scores.get("classes"):
        console.print(class_table(classes))
        console.print(classes_in_words(result.scores["test"]["ensemble"]), highlight=False)
    console.print(
        "Accuracies with 90% intervals over the test samples; log score: mean log probability of the true class, "
        "nats; ECE: expected calibration error.\n",
        style="italic",
        highlight=False,
    )
    console.print(f"[bold]Verdict.[/bold] {result.diagnosis.verdict}", highlight=False)
    cost = f"Training took {result.presentations:,} presentations ({result.passes:,.0f} passes of the training set)"
    if saved := result.presentations_saved:
        share = saved / (saved + result.presentations)
        cost += f", {share:.1%} fewer than showing every sample for every proposal,"
    if math.isfinite(each := result.presentations_per_effective_draw):
        cost += f"{'' if saved else ','} {each:,.0f} for each effective draw,"
    compiling = "" if math.isnan(result.compile_seconds) else f", after {result.compile_seconds:.0f} s of compiling"
    console.print(f"{cost} and {result.seconds:.0f} s{compiling}.", highlight=False)
    if milliseconds is not None:
        console.print(f"On the chip: {time_in_words(result.presentations, milliseconds)}.", highlight=False)
    if words := twin_in_words(result):
        console.print(words, highlight=False)
    if words := distilled_in_words(result):
        console.print(words, highlight=False)
    console.print(cost_table(result))
    if result.faults is not None:
        none = "None of them became a likelihood; they are in the group faults." if result.faults else ""
        console.print(f"The link had {in_words(result.faults)} during the fit. {none}".rstrip(), highlight=False)
    if readout := readout_in_words(result):
        console.print(f"The readout: {readout}.", highlight=False)
    if noise := noise_in_words(result.arguments):
        console.print(f"The chip is noisy: {noise}.", highlight=False)
    console.print(f"The fit is in {folder}/", highlight=False, markup=False, soft_wrap=True)
    if not result.diagnosis.converged and (folder / ENDED).is_dir():
        console.print(
            f"More draws of it: python -m bayes_snn.fit --extend {folder} --draws {result.diagnosis.draws_wanted}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def cost_table(result: FitResult) -> Table:
    """All that the chip was shown, by what for: presentations and passes of the training set."""
    table = Table()
    table.add_column("shown to the chip for")
    for column in ("presentations", "passes"):
        table.add_column(column, justify="right")
    cost = result.cost.as_dict()
    total = cost.pop("total")
    n_train = len(result.train_inputs)
    rows = [(NAMES[purpose], n) for purpose, n in cost.items() if n]
    for i, (name, n) in enumerate([*rows, ("in all", total)]):
        table.add_row(name, f"{n:,}", f"{n / n_train:,.0f}", end_section=i == len(rows) - 1)
    return table


def class_table(classes: dict[str, dict[str, Any]]) -> Table:
    """Recall of the ensemble on the test samples of each class, those with the lowest where there are many."""
    table = Table()
    table.add_column("class")
    for column in ("test samples", "recall"):
        table.add_column(column, justify="right")
    shown = list(classes.items())
    if len(shown) > MOST_CLASSES:
        shown = sorted(shown, key=lambda each: 2.0 if each[1]["recall"] is None else each[1]["recall"])[:MOST_CLASSES]
    for name, found in shown:
        table.add_row(Text(name), f"{found['samples']:,}", "" if found["recall"] is None else f"{found['recall']:.3f}")
    return table


def classes_in_words(scores: dict[str, float]) -> str:
    """Balanced accuracy and AUC of the ensemble."""
    return (
        f"Recall is that of the ensemble; balanced accuracy, its mean, {scores['balanced_accuracy']:.3f}; area under "
        f"the ROC curve {scores['auc']:.3f}."
    )


def score_table(scores: dict[str, Any], n_test: int) -> Table:
    """Accuracies and probability scores of every estimate, with chance and logistic regression."""
    table = Table()
    table.add_column("estimate")
    for column in ("train", "test", "90% interval", "log score", "ECE"):
        table.add_column(column, justify="right")
    rows = {name: (scores["train"][name], scores["test"][name]) for name in scores["test"]}
    rows |= {
        f"{name} (digital)" if name == "logistic" else name: (parts["train"], parts["test"])
        for name, parts in scores["baselines"].items()
    }
    for i, (name, (train, test)) in enumerate(rows.items()):
        low, high = accuracy_interval(test["accuracy"], n_test)
        table.add_row(
            name,
            f"{train['accuracy']:.3f}",
            f"{test['accuracy']:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{test['log_score']:.3f}",
            f"{test['calibration_error']:.3f}",
            end_section=i == len(scores["test"]) - 1,
        )
    return table
