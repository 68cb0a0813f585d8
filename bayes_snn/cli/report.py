"""The command `python -m bayes_snn.report`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bayes_snn.cli.terminal import CHIP_HELP, help_option, option, run_app
from bayes_snn.errors import InputError
from bayes_snn.names import REPORT as FILE

PROGRAM = "python -m bayes_snn.report"

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
console = Console()


@app.command(add_help_option=False)
def command(
    folders: Annotated[list[str], typer.Argument(metavar="FIT_DIR...", help="Folders of fits, one or several.")],
    output: Annotated[
        str | None, option("Output", "FILE", f"The report. [default: {FILE} in the fit's folder; of several, here]")
    ] = None,
    chip: Annotated[str | None, option("Output", "NAME", CHIP_HELP)] = None,
    show_help: Annotated[bool, help_option("Output")] = False,
) -> None:
    """Write one report.html on a fit, or on several side by side.

    It holds the verdict, accuracies with intervals, calibration, traces, ranks, weights, spikes, cost and provenance,
    and needs no network. The chip is simulated again for predictions.
    """
    from bayes_snn.reports.write import write_report

    if output is not None and not output.strip():
        raise InputError("--output was empty, but the name of a file is expected: give one, or leave it out.")
    paths = [Path(os.path.expanduser(folder)) for folder in folders]
    for folder in paths:  # before a folder is made for the output
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder, but the folder of a fit is expected: give what --out named.")
    path = Path(os.path.expanduser(output)) if output is not None else (paths[0] if len(paths) == 1 else Path()) / FILE
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("reading", total=1.0)
        write_report(
            paths, path, chip=chip, progress=lambda what, share: bar.update(task, description=what, completed=share)
        )
    console.print(f"The report is {path}", highlight=False, markup=False, soft_wrap=True)


def main() -> None:
    """Run the command; what a person can fix is said in one sentence, with exit code 2."""
    run_app(
        app,
        PROGRAM,
        "Interrupted: no report was written.",
        "The report does not fit into memory: give fewer fits at a time.",
    )
