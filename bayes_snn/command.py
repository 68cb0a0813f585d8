"""The command `python -m bayes_snn.fit`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bayes_snn.baselines import baseline_scores
from bayes_snn.data import Split, load_data, split_data
from bayes_snn.distortion import DISTORTIONS
from bayes_snn.errors import ChipError, InputError
from bayes_snn.figures import draw_reliability, draw_trace, save_figure
from bayes_snn.fit import CHAINS, DRAWS, TUNE, fit
from bayes_snn.lif import LIFChip
from bayes_snn.metrics import accuracy_interval
from bayes_snn.model import available_models, load_weights
from bayes_snn.predict import ESTIMATES
from bayes_snn.result import FitResult, make_folder
from bayes_snn.steps import SAMPLERS

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
console = Console()

_CHIP, _DATA, _SAMPLING, _OUTPUT = "Chip", "Data", "Prior and sampling", "Output"


@app.command()
def command(
    data: Annotated[
        str,
        typer.Option(help="breast_cancer, iris, wine, digits, or a CSV file.", rich_help_panel=_DATA),
    ] = "breast_cancer",
    target: Annotated[
        str | None, typer.Option(help="Column of the CSV file that holds the class.", rich_help_panel=_DATA)
    ] = None,
    n_train: Annotated[
        int | None, typer.Option(help="Training samples; all of the training part by default.", rich_help_panel=_DATA)
    ] = None,
    split_seed: Annotated[
        int, typer.Option(help="Which samples are for training (70%) and for test.", rich_help_panel=_DATA)
    ] = 0,
    distortion: Annotated[
        list[str],
        typer.Option(help=f"May be repeated: none, {', '.join(DISTORTIONS)}.", rich_help_panel=_CHIP),
    ] = ["comparator"],  # noqa: B006
    sigma: Annotated[
        list[float],
        typer.Option(help="Strength, one for all distortions or one for each.", rich_help_panel=_CHIP),
    ] = [3.0],  # noqa: B006
    chip_seed: Annotated[int, typer.Option(help="Which chip of its kind.", rich_help_panel=_CHIP)] = 0,
    hidden: Annotated[
        str, typer.Option(help="Hidden neurons, layers with commas: 16 or 32,16.", rich_help_panel=_CHIP)
    ] = "16",
    steps: Annotated[int, typer.Option(help="Time steps (ms) of a presentation.", rich_help_panel=_CHIP)] = 32,
    model: Annotated[
        str,
        typer.Option(
            help=f"Prior: {', '.join(sorted(available_models()))}, or the path of a model file.",
            rich_help_panel=_SAMPLING,
        ),
    ] = "gaussian",
    sampler: Annotated[str, typer.Option(help=f"One of {', '.join(SAMPLERS)}.", rich_help_panel=_SAMPLING)] = "pymc",
    draws: Annotated[int, typer.Option(help="Draws kept from each chain.", rich_help_panel=_SAMPLING)] = DRAWS,
    tune: Annotated[int, typer.Option(help="Warm-up draws of each chain.", rich_help_panel=_SAMPLING)] = TUNE,
    chains: Annotated[int, typer.Option(help="Chains; at least 2 to check them.", rich_help_panel=_SAMPLING)] = CHAINS,
    seed: Annotated[int, typer.Option(help="Of starting points and steps.", rich_help_panel=_SAMPLING)] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the fit; a new one below fits/ by default.", rich_help_panel=_OUTPUT),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the fit in --out.", rich_help_panel=_OUTPUT)
    ] = False,
) -> None:
    """Train a distorted spiking chip by Metropolis-Hastings and deploy it.

    The weights get a prior, the chip itself is the likelihood. The fit folder holds the posterior (posterior.nc), the
    scores (fit.json) and two figures.
    """
    weights = load_weights(model)
    split = split_data(load_data(data, target), n_train=n_train, seed=split_seed)
    names = [name for entry in distortion for name in entry.split(",") if name != "none"]
    layers = (split.n_features, *_hidden_layers(hidden), split.n_classes)
    chip = LIFChip(layers, names, sigma if len(sigma) > 1 else sigma[0], chip_seed, steps)
    folder = _choose_folder(out, overwrite, f"{split.name}-{'-'.join(names) or 'ideal'}-{sigma[0]:g}-chip{chip_seed}")
    console.print(
        f"{split.name}: {split.n_train} training and {split.n_test} test samples, {split.n_features} features, "
        f"{split.n_classes} classes\n{chip!r}; {chip.spec.n_weights} weights, prior {model}, sampler {sampler}",
        highlight=False,
    )
    with _removed_when_empty(folder):
        with console.status("Compiling the chip's kernels (the first time, about 20 s)"):
            chip.run([np.zeros(shape) for shape in chip.spec.weight_shapes], split.train_inputs)
        result = fit(
            chip,
            split.train_inputs,
            split.train_labels,
            weights,
            sampler=sampler,
            draws=draws,
            tune=tune,
            chains=chains,
            seed=seed,
            feature_names=split.feature_names,
            class_names=split.class_names,
            progress=True,
        )
        result.arguments |= {"model": model, "data": data, "target": target}
        result.arguments |= {"n_train": split.n_train, "split_seed": split_seed}
        with console.status("Deploying the posterior on the chip"):
            result.scores = {
                "train": result.evaluate(split.train_inputs, split.train_labels),
                "test": result.evaluate(split.test_inputs, split.test_labels),
                "baselines": baseline_scores(split),
            }
            shown = {name: result.predict(split.test_inputs, name) for name in ("ensemble", "mean")}
        with console.status("Writing the fit"):
            result.save(folder)
            save_figure(draw_trace(result), folder / "trace.png")
            save_figure(draw_reliability(shown, split.test_labels), folder / "reliability.png")
    _report(result, split, folder)


@contextlib.contextmanager
def _removed_when_empty(folder: Path) -> Iterator[None]:
    """No empty folder is left behind by a fit that came to nothing."""
    try:
        yield
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()


def _report(result: FitResult, split: Split, folder: Path) -> None:
    if result.interrupted:
        kept = result.posterior.posterior.sizes
        console.print(
            f"\n[bold]Interrupted:[/bold] {kept['draw']} of {result.arguments['draws']} draws were kept from each of "
            f"{kept['chain']} chains.",
            highlight=False,
        )
    console.print(score_table(result.scores, split.n_test))
    console.print(f"[bold]Verdict.[/bold] {result.diagnosis.verdict}", highlight=False)
    console.print(
        f"Training took {result.presentations:,} presentations ({result.passes:,.0f} passes of the training set) and "
        f"{result.seconds:.0f} s. The fit is in {folder}/.",
        highlight=False,
    )


def score_table(scores: dict[str, Any], n_test: int) -> Table:
    """Accuracies and probability scores of every estimate, with chance and logistic regression."""
    table = Table(
        caption="accuracies with 90% intervals over the test samples; log score: mean log probability of the true\n"
        "class, nats; ECE: expected calibration error",
        caption_justify="left",
    )
    table.add_column("estimate")
    for column in ("train", "test", "90% interval", "log score", "ECE"):
        table.add_column(column, justify="right")
    rows = {name: (scores["train"][name], scores["test"][name]) for name in ESTIMATES}
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
            end_section=i == len(ESTIMATES) - 1,
        )
    return table


def _hidden_layers(text: str) -> list[int]:
    try:
        layers = [int(part) for part in text.split(",")]
    except ValueError:
        layers = [0]
    if any(n < 1 for n in layers):
        raise InputError(
            f"--hidden was {text!r}, but positive whole numbers are expected: give 16, or 32,16 for two layers."
        )
    return layers


def _choose_folder(out: Path | None, overwrite: bool, name: str) -> Path:
    """The fit's folder: what --out names, or the first free name below fits/."""
    if out is not None:
        if (out / "fit.json").exists() and not overwrite:
            raise InputError(f"{out} already holds a fit: give another folder, or --overwrite to replace it.")
        return make_folder(out)
    folder, i = Path("fits") / name, 2
    while folder.exists():
        folder, i = Path("fits") / f"{name}-{i}", i + 1
    return make_folder(folder)


def main() -> None:
    """Run the command; what a person can mend is said in one sentence, with exit code 2."""
    try:
        app()
    except (InputError, ChipError) as error:
        _say(f"[bold red]Error:[/bold red] {escape(str(error))}", 2)
    except KeyboardInterrupt:
        _say("Interrupted before the first draw: there is nothing to keep, and no fit was written.", 130)


def _say(sentence: str, code: int) -> NoReturn:
    Console(stderr=True).print(sentence, highlight=False, soft_wrap=True)
    sys.exit(code)
