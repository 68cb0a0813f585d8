"""The command `python -m bayes_snn.sweep`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from bayes_snn.cli.chip_options import make_chip, parse_sigmas
from bayes_snn.cli.fit import asked_reading
from bayes_snn.cli.terminal import help_option, option, run_app
from bayes_snn.errors import InputError, unknown_name
from bayes_snn.names import (
    AUTO,
    BUILT_IN,
    CHAINS,
    DISTORTIONS,
    DRAWS,
    IDEAL,
    METHODS,
    SAMPLERS,
    available_models,
    sigma_units,
)

if TYPE_CHECKING:  # what is not a name is imported where it is used: it takes seconds, and --help comes at once
    from bayes_snn.studies.cells import Cell
    from bayes_snn.studies.run import Progress, StudyOutcome

PROGRAM = "python -m bayes_snn.sweep"
OWN = "chip"  # of --splits

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
console = Console()

_GRID, _SETTINGS, _RUN = "Grid: lists with commas", "Settings of every cell", "Running"
_EXAMPLES = f"""Examples:

{PROGRAM} --output sweeps/mine --methods mh,logistic --sigma 0,3,10 --chips 0-19

{PROGRAM} --output sweeps/mine --distortion leak:0.5,leak+gain:0.3 --scheduler tcp://10.0.0.1:8786
"""


@app.command(epilog=_EXAMPLES, add_help_option=False)
def command(
    output: Annotated[str, option(_RUN, "PATH", "Folder of the study; cells that it already holds are not run again.")],
    methods: Annotated[str, option(_GRID, "NAMES", f"{', '.join(METHODS)}; or all.")] = "mh",
    distortion: Annotated[
        str,
        option(_GRID, "NAMES", f"{IDEAL}, {', '.join(DISTORTIONS)}; leak+gain is both, leak:0.5+gain:2 sets sigmas."),
    ] = "comparator",
    sigma: Annotated[str, option(_GRID, "NUMBERS", f"Strengths. {sigma_units()}.")] = "3",
    chips: Annotated[str, option(_GRID, "SEEDS", "Chip seeds; 0-19 makes 20 chips.")] = "0-19",
    n_train: Annotated[str, option(_GRID, "NUMBERS", "Training samples; all means all but the test part.")] = "all",
    splits: Annotated[
        str,
        option(
            _GRID,
            "SEEDS",
            f"Split seeds, each with another test part; {OWN} gives each chip the split of its own seed.",
        ),
    ] = "0",
    draws: Annotated[str, option(_GRID, "NUMBERS", "Draws kept from each chain.")] = str(DRAWS),
    tune: Annotated[int | None, option(_GRID, "N", "Warm-up draws of each chain. [default: as many as draws]")] = None,
    data: Annotated[str, option(_SETTINGS, "NAME", f"{', '.join(BUILT_IN)}, or a CSV file.")] = "breast_cancer",
    target: Annotated[str, option(_SETTINGS, "NAME", "Column of the CSV file that holds the class.")] = "",
    no_header: Annotated[
        bool | None,
        option(_SETTINGS, None, "The first line is a sample; --target is a column number.", "--no-header/--header"),
    ] = None,
    separator: Annotated[
        str | None,
        option(_SETTINGS, "X", "What separates the file's fields: a character, or tab. [default: recognised]"),
    ] = None,
    decimal: Annotated[str, option(_SETTINGS, "X", "Decimal point of the file's numbers, or a comma.")] = ".",
    missing: Annotated[
        list[str],
        option(_SETTINGS, "X", "Value that means missing, beside NA and empty: its samples are left out. Repeatable."),
    ] = [],  # noqa: B006
    hidden: Annotated[str, option(_SETTINGS, "N", "Hidden neurons; 32,16 makes two layers.")] = "16",
    steps: Annotated[int, option(_SETTINGS, "N", "Time steps (ms) of a presentation.")] = 32,
    bias: Annotated[
        bool, option(_SETTINGS, None, "One more input of the chip, which is 1 for all samples.", "--bias/--no-bias")
    ] = True,
    model: Annotated[
        str, option(_SETTINGS, "NAME", f"Prior: {', '.join(sorted(available_models()))}, or the path of a model file.")
    ] = "gaussian",
    sampler: Annotated[
        str | None,
        option(_SETTINGS, "NAME", f"{AUTO}, {', '.join(SAMPLERS)}. [default: sitewise, or twin within a budget]"),
    ] = None,
    budget: Annotated[
        int | None,
        option(_SETTINGS, "N", "Presentations of a fit with a twin, and of the twin of backprop-twin. [default: none]"),
    ] = None,
    chains: Annotated[
        int | None, option(_SETTINGS, "N", f"Number of chains. [default: {CHAINS}, or as a fit has within a budget]")
    ] = None,
    seed: Annotated[int, option(_SETTINGS, "N", "Seed of the methods: another seed is another run of each.")] = 0,
    scheduler: Annotated[
        str | None, option(_RUN, "ADDRESS", "Dask scheduler, tcp://host:port. [default: a cluster of its own]")
    ] = None,
    workers: Annotated[int | None, option(_RUN, "N", "Processes of its own cluster. [default: one per core]")] = None,
    retry_failed: Annotated[bool, option(_RUN, None, "Run failed cells again.", "--retry-failed")] = False,
    adopt: Annotated[
        str, option(_RUN, "PATHS", "Other studies (folders or Parquet files) whose cells are taken over.")
    ] = "",
    show_help: Annotated[bool, help_option(_RUN)] = False,
) -> None:
    """Run a grid of methods, chips and data, and keep a row for each.

    Each cell of the grid is one fit. Its row is written as it ends: a study that was interrupted or killed continues
    with the same command. More cells come with another grid and the same folder.
    """
    from bayes_snn.data import load_data, split_data
    from bayes_snn.inference.sampling import Sampling
    from bayes_snn.posterior.priors import load_prior
    from bayes_snn.studies.cells import digest_file, make_grid, parse_strengths

    if not output.strip():
        raise InputError("--output was empty, but the name of a folder is expected: give one, sweeps/mine for example.")
    if workers is not None and (workers < 1 or scheduler is not None):
        raise InputError(
            f"--workers was {workers}, but a number >= 1 is expected, and none beside --scheduler, whose workers are "
            "started by hand: leave it out."
        )
    budgets = [(n, n if tune is None else tune) for n in map(_draws, _listed("--draws", draws))]
    sampler = sampler or ("sitewise" if budget is None else "twin")
    chains = chains if chains is not None or budget is not None else CHAINS
    if budget is not None:  # which says how many draws there are
        budgets = [(0, tune or 0)]
    for n_draws, n_tune in budgets:
        own, warm_up = (n_draws, n_tune) if budget is None else (None, n_tune or None)
        Sampling(sampler, own, warm_up, chains, seed, budget=budget)  # for its refusals
    load_prior(model)
    names = list(METHODS) if methods == "all" else _listed("--methods", methods)
    for name in names:
        if name not in METHODS:
            raise unknown_name("method", name, METHODS)
    reading = asked_reading(no_header, separator, decimal, missing)
    dataset = load_data(data, target or None, **reading)
    chip_seeds = _seeds("--chips", chips)
    split_seeds = None if splits.strip() == OWN else _seeds("--splits", splits)
    numbers = [_n_train(text) for text in _listed("--n-train", n_train)]
    sizes = sorted(
        {split_data(dataset, number, seed=split).n_train for number in numbers for split in split_seeds or chip_seeds}
    )
    make_chip(split_data(dataset), [IDEAL], ["0"], 0, hidden, steps)  # for its refusals
    settings = {"data": data, "target": target, "hidden": hidden.replace(" ", ""), "n_steps": steps, "model": model}
    settings |= {"sampler": sampler, "chains": chains or 0, "seed": seed, "budget": budget or 0, "bias": bias}
    settings |= {"reading": json.dumps(reading, sort_keys=True)} if reading else {}
    digests = {"data_digest": digest_file(data), "model_digest": digest_file(model)}
    strengths = parse_strengths(_listed("--distortion", distortion), parse_sigmas([sigma]))
    cells = make_grid(names, strengths, sizes, chip_seeds, split_seeds, budgets, **settings, **digests)
    folder = os.path.expanduser(output)
    grid = {"methods": names, "strengths": strengths, "n_train": sizes, "chips": chip_seeds}
    grid |= {"splits": split_seeds or OWN, "draws, tune": budgets}
    outcome = _run_with_bar(
        cells,
        folder,
        scheduler=scheduler,
        workers=workers,
        retry_failed=retry_failed,
        adopt=[os.path.expanduser(path) for path in (_listed("--adopt", adopt) if adopt else [])],
        grid=grid | settings | digests,
    )
    _report(outcome, folder)


def _run_with_bar(cells: Sequence[Cell], folder: str, **arguments: object) -> StudyOutcome:
    from bayes_snn.studies.run import study

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
    )
    shown: set[str] = set()
    # the rate of the last half hour, for the cells of one chip differ in length
    with Bar(*columns, console=console, speed_estimate_period=1800) as bar:
        task = bar.add_task("starting", total=len(cells))

        def report(progress: Progress) -> None:
            if progress.dashboard and not shown:
                shown.add(progress.dashboard)
                bar.console.print(f"Dashboard: {progress.dashboard}", highlight=False, markup=False, soft_wrap=True)
            text = f"{progress.workers} worker{'s' if progress.workers != 1 else ''}"
            if progress.failed:
                text += f", [red]{progress.failed} failed[/red]"
            bar.update(task, completed=progress.done, total=progress.total, description=text)

        try:
            outcome = study(cells, folder, report=report, **arguments)  # type: ignore[arg-type]
        except KeyboardInterrupt:
            bar.stop()
            console.print(
                f"The rows so far are in {folder}/: the same command continues from there.",
                highlight=False,
                markup=False,
            )
            raise
        bar.update(task, description="done", completed=len(cells))
    return outcome


def _report(outcome: StudyOutcome, folder: str) -> None:
    from bayes_snn.cli.study_table import table_over_chips
    from bayes_snn.studies.cluster import cpu_count
    from bayes_snn.studies.folder import mixed_versions

    rows = outcome.rows
    console.print(table_over_chips(rows))
    console.print(
        "Test accuracy: mean over chips, with half of its 90% interval (Student's t). chosen: of mean, map and "
        "medoid the one with the best log score on the training samples; distilled: one set of weights trained to "
        "answer as the ensemble does.\n",
        style="italic",
        highlight=False,
    )
    for path in outcome.torn:
        console.print(f"{path.name} held no readable row.", highlight=False, markup=False, soft_wrap=True)
    failed = rows[rows["error"].notna()]
    if len(failed):
        console.print(f"[bold red]{len(failed)} of {len(rows)} cells failed[/bold red], for example:", highlight=False)
        for error, count in failed["error"].value_counts().head(3).items():
            console.print(f"  {count} times: {escape(str(error))}", highlight=False, soft_wrap=True)
        console.print("--retry-failed runs them again.", highlight=False)
    if outcome.outdated:
        console.print(
            f"{outcome.outdated} cells of --adopt were not taken over, for another version of bayes_snn made them.",
            highlight=False,
        )
    if (note := mixed_versions(rows)) is not None:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    hours, cores = rows["seconds"].sum() / 3600, cpu_count()
    console.print(
        f"{outcome.ran} cells were run, {outcome.kept} were there already. All {len(rows)} take {hours:.2f} hours of "
        f"one core, {hours / cores:.2f} hours on the {cores} of this computer.",
        highlight=False,
    )
    console.print(f"The study is in {folder}/", highlight=False, markup=False, soft_wrap=True)


def _listed(name: str, text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise InputError(f"{name} was {text!r}, but names or numbers with commas between are expected: drop a comma.")
    return list(dict.fromkeys(parts))


def _seeds(name: str, text: str) -> list[int]:
    """Whole numbers from "0-3,7"."""
    seeds: list[int] = []
    for part in _listed(name, text):
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise InputError(f"{name} was {text!r}, but whole numbers or ranges are expected: give 0-19, or 0,3,5.")
        low, high = int(first), int(last or first)
        if low > high or high >= 2**32 or high - low >= 100_000:
            raise InputError(
                f"{name} was {text!r}, but a range goes up, below 2**32, by at most 100,000: give 0-19, for example."
            )
        seeds += range(low, high + 1)
    return list(dict.fromkeys(seeds))


def _n_train(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal():
        raise InputError(f"--n-train held {text!r}, but whole numbers or all are expected: give 10,50,all for example.")
    return int(text)


def _draws(text: str) -> int:
    if not text.isdecimal():
        raise InputError(f"--draws held {text!r}, but whole numbers are expected: give 1000, or 10,100,1000.")
    return int(text)


def main() -> None:
    """Run the command; what a person can fix is said in one sentence, with exit code 2."""
    run_app(
        app,
        PROGRAM,
        "Interrupted: the study is not complete.",
        "The study does not fit into memory: ask for fewer draws, chains or workers.",
    )
