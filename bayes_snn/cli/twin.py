"""The command `python -m bayes_snn.twin`: learn how a chip answers, and see what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bayes_snn.cli.chip_arguments import (
    CHIP,
    Bias,
    ChipSeed,
    Curve,
    Distortion,
    Hidden,
    OwnChip,
    Sigma,
    Steps,
    TokenFile,
)
from bayes_snn.cli.terminal import help_option, option, run_app
from bayes_snn.errors import InputError
from bayes_snn.files import make_new_folder
from bayes_snn.names import BUILT_IN
from bayes_snn.waiting import progress_shown

PROGRAM = "python -m bayes_snn.twin"
PICTURE = "twin.png"

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
console = Console()

_LEARNING, _OUTPUT = "Learning", "Output"
_EXAMPLES = f"""Examples:

{PROGRAM} --sigma 10 --chip-seed 2

{PROGRAM} --chip my_lab:MyChip --budget 5000 --out twins/mine
"""


@app.command(epilog=_EXAMPLES, add_help_option=False)
def command(
    data: Annotated[
        str, option(CHIP, "NAME", f"Data set that sets the simulated chip's inputs and outputs: {', '.join(BUILT_IN)}.")
    ] = "breast_cancer",
    distortion: Distortion = ["comparator"],  # noqa: B006
    sigma: Sigma = ["3"],  # noqa: B006
    chip_seed: ChipSeed = 0,
    hidden: Hidden = "16",
    steps: Steps = 32,
    bias: Bias = True,
    own_chip: OwnChip = None,
    token_file: TokenFile = None,
    curve: Curve = None,
    way: Annotated[
        str | None,
        option(_LEARNING, "NAME", "Learn from spikes or counts. [default: spikes where the chip shows them]"),
    ] = None,
    budget: Annotated[
        int | None, option(_LEARNING, "N", "Most presentations. [default: until the twin is good]")
    ] = None,
    seed: Annotated[int, option(_LEARNING, "N", "Seed of what the chip is shown.")] = 0,
    ms_per_presentation: Annotated[
        float | None, option(_LEARNING, "X", "Milliseconds per sample on the chip; prints how long it took there.")
    ] = None,
    out: Annotated[str | None, option(_OUTPUT, "PATH", "Folder of the twin. [default: a new one in twins/]")] = None,
    overwrite: Annotated[bool, option(_OUTPUT, None, "Replace the twin in --out.", "--overwrite")] = False,
    show_help: Annotated[bool, help_option(_OUTPUT)] = False,
) -> None:
    """Learn a twin of a chip: a simulated chip that answers as it does.

    The folder holds the twin (twin.json, twin.npz), which `python -m bayes_snn.fit --twin FOLDER` uses, and a picture
    of what is wrong with the chip (twin.png).
    """
    from bayes_snn.chips.by_name import find_chip, read_token
    from bayes_snn.cli.chip_options import make_chip, short_name, simulated_name
    from bayes_snn.cli.summary import check_pace, time_in_words
    from bayes_snn.data import load_data, split_data
    from bayes_snn.inference.figures import save_figure
    from bayes_snn.inference.twin_figure import draw_twin
    from bayes_snn.twins.learn import learn_twin
    from bayes_snn.twins.writing import DESCRIPTION

    check_pace(ms_per_presentation)
    chip: Any
    if own_chip is None:
        split = split_data(load_data(data))
        chip = make_chip(split.with_bias() if bias else split, distortion, sigma, chip_seed, hidden, steps)
        name = simulated_name(chip)
    else:
        chip, name = find_chip(own_chip, read_token(token_file), curve), short_name(own_chip)
    given = None if out is None else Path(out).expanduser()
    if given is not None and (given / DESCRIPTION).exists() and not overwrite:
        raise InputError(f"{given} already holds a twin: give another folder, or --overwrite to replace it.")
    console.print(f"{chip!r}", highlight=False, markup=False)
    with progress_shown(console):
        twin = learn_twin(chip, budget, seed, way=way)
    folder = twin.save(make_new_folder(Path("twins"), name) if given is None else given)
    save_figure(draw_twin(twin), folder / PICTURE)
    learned = twin.learned
    console.print(
        f"Learned from its {learned.way}: {learned.presentations:,} presentations, {learned.programmings:,} "
        f"programmings. It had {learned.mismatch:.2%} of {learned.n_compared:,} held-out counts wrong.",
        highlight=False,
    )
    if ms_per_presentation is not None:
        console.print(f"On the chip: {time_in_words(learned.presentations, ms_per_presentation)}.", highlight=False)
    for note in learned.notes:
        console.print(note, highlight=False, markup=False)
    console.print(f"The twin is in {folder}/", highlight=False, markup=False, soft_wrap=True)


def main() -> None:
    """Run the command; what a person can fix is said in one sentence, with exit code 2."""
    run_app(
        app, PROGRAM, "Interrupted: no twin was written.", "The twin does not fit into memory: learn a smaller chip."
    )
