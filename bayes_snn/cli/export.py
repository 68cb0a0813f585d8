"""The command `python -m bayes_snn.export`: the weights of a fit as NIR or as plain .npz."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bayes_snn.cli.terminal import CHIP_HELP, help_option, option, run_app
from bayes_snn.errors import InputError, unknown_name

PROGRAM = "python -m bayes_snn.export"
FORMATS = ("nir", "npz")

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
console = Console()

_WEIGHTS, _OUTPUT, _NIR = "Weights", "Output", "NIR"
_EXAMPLES = f"""Examples:

{PROGRAM} fits/mine --output mine.npz

{PROGRAM} fits/mine --estimate mean --output mine.nir --dt 1e-4
"""


@app.command(epilog=_EXAMPLES, add_help_option=False)
def command(
    folder: Annotated[str, typer.Argument(metavar="FIT", help="Folder of the fit.", show_default=False)],
    output: Annotated[str, option(_OUTPUT, "FILE", "File to write.")],
    file_format: Annotated[
        str | None, option(_OUTPUT, "NAME", f"{', '.join(FORMATS)}. [default: the file's ending]", "--format")
    ] = None,
    overwrite: Annotated[bool, option(_OUTPUT, None, "Replace the file.", "--overwrite")] = False,
    estimate: Annotated[str, option(_WEIGHTS, "NAME", "mean, map, medoid or distilled.")] = "map",
    draw: Annotated[int | None, option(_WEIGHTS, "N", "Number of a posterior draw, instead of an estimate.")] = None,
    chip: Annotated[str | None, option(_WEIGHTS, "NAME", CHIP_HELP)] = None,
    effective: Annotated[
        bool,
        option(
            _NIR, None, "Write what the distorted chip computes with, not what it is programmed with.", "--effective"
        ),
    ] = False,
    discretisation: Annotated[
        str, option(_NIR, "NAME", "How the simulator steps through time: euler or exact.")
    ] = "euler",
    dt: Annotated[
        float, option(_NIR, "SECONDS", "The simulator's time step: 1e-3 for Norse, 1e-4 for snnTorch.")
    ] = 1e-3,
    show_help: Annotated[bool, help_option(_OUTPUT)] = False,
) -> None:
    """Write the weights of a fit to a file that simulators read.

    NIR is read by Norse, snnTorch and other simulators; .npz holds w_1, w_2, ... and needs NumPy alone.
    """
    # imported here, for they take seconds, and --help comes at once
    from bayes_snn.chips.by_name import read_token
    from bayes_snn.estimates.predict import check_estimate
    from bayes_snn.exports.npz import write_weights
    from bayes_snn.inference.load import load_described

    check_estimate(estimate)
    if not output.strip():
        raise InputError("--output was empty, but the name of a file is expected: give one, mine.npz for example.")
    path = Path(os.path.expanduser(output))
    kind = path.suffix.removeprefix(".") if file_format is None else file_format
    if kind not in FORMATS:
        if file_format is not None:
            raise unknown_name("format", kind, FORMATS)
        raise InputError(f"{path} does not end in .nir or .npz, so its format is not known: give --format nir or npz.")
    if kind == "npz" and (effective or discretisation != "euler" or dt != 1e-3):
        raise InputError("--effective, --discretisation and --dt belong to NIR, but the format is npz: leave them out.")
    if not overwrite and os.path.lexists(path):
        raise InputError(f"{path} already exists: give another file, or --overwrite to replace it.")
    if kind == "nir":
        from bayes_snn.exports.nir import write_nir  # whose package may not be there: that is said first
    result = load_described(os.path.expanduser(folder), chip, read_token(None))
    before = result.cost.total
    if kind == "nir":
        write_nir(result, path, estimate, draw=draw, effective=effective, discretisation=discretisation, dt=dt)
    else:
        write_weights(result, path, estimate, draw=draw)
    what = estimate if draw is None else f"draw {draw}"
    if shown := result.cost.total - before:
        console.print(f"The chip was shown {shown:,} samples to find them.", highlight=False)
    console.print(f"The weights ({what}) are in {path}", highlight=False, markup=False, soft_wrap=True)


def main() -> None:
    """Run the command; what a person can fix is said in one sentence, with exit code 2."""
    run_app(app, PROGRAM, "Interrupted: no file was written.", "The fit does not fit into memory: give a smaller one.")
