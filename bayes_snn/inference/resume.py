"""`resume()` continues with a fit that was stopped, `extend()` with one that ended; `--resume` and `--extend` do it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bayes_snn.checkpoint.checkpoint import Checkpoint
from bayes_snn.checkpoint.identity import check_model_file
from bayes_snn.chips.contract import Chip
from bayes_snn.chips.describe import make_chip
from bayes_snn.errors import CheckpointError, said
from bayes_snn.inference.fit import fit
from bayes_snn.inference.result import FitResult
from bayes_snn.inference.sampling import Sampling
from bayes_snn.names import ENDED, is_path
from bayes_snn.posterior.priors import PriorFunction, ReadoutFunction


def extend(checkpoint: str | Path | Checkpoint, draws: int, chip: Chip | None = None, **options: Any) -> FitResult:
    """Add draws to a fit that has ended: the whole fit, as if it had been asked for so many from the beginning.

    With a twin the moves to a draw stay as many as they were.

    Parameters
    ----------
    checkpoint
        The folder that `fit(checkpoint=)` named, or the fit folder of the command.
    draws
        Draws of each chain in the end.
    chip, options
        As for `resume`.

    Raises
    ------
    InputError
        When there are as many draws already, and as `resume` does.
    """
    if not isinstance(checkpoint, Checkpoint):
        ended = Path(checkpoint) / ENDED
        checkpoint = Checkpoint.open(ended if ended.is_dir() else checkpoint)
    checkpoint.extend(draws)
    return resume(checkpoint, chip, **options)


def resume(
    checkpoint: str | Path | Checkpoint,
    chip: Chip | None = None,
    weights: str | Path | PriorFunction | None = None,
    *,
    readout: ReadoutFunction | None = None,
    twin: Chip | str | Path | None = None,
    trust: bool = False,
    cores: int | None = None,
    progress: bool | str = False,
) -> FitResult:
    """Continue with a fit from its checkpoint, to the draws that it would have had without the stop.

    On a deterministic chip, and on a noisy one that says where its stream of noise is (`LIFChip`), they are the same
    bit for bit. On any other noisy chip the current weights keep the answer that they were accepted with, and new
    answers are as fresh as they would have been.

    Parameters
    ----------
    checkpoint
        The folder that `fit(checkpoint=)` named, or the fit folder of the command.
    chip
        The chip, where it was not a `LIFChip`: only a simulated chip can be made again from its description.
    weights
        The prior, where it was a function and not the name or path of a model file.
    readout
        The readout, where it was passed as a function.
    twin
        The twin, where one was passed: one that the fit learned itself is learned again from what the chip answered.
    trust
        Run the model file that the folder names even where the fit was begun by another user or on another computer.
        Read the file first: it is a program.
    cores, progress
        As for `fit`.

    Returns
    -------
    The whole fit: draws, presentations and seconds of all its parts together.

    Raises
    ------
    InputError
        When the folder holds no checkpoint that can be read, chip or prior are not those of the fit, the code or
        versions of the packages that compute differ, or a model file would have to be trusted.
    ChipError, KeyboardInterrupt
        As `fit` does.
    """
    saved = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint.open(checkpoint)
    arguments: dict[str, Any] = saved.known["arguments"]
    sampling = Sampling.stored(arguments, cores)
    name: str = saved.known["model"]
    if weights is None:
        if not saved.known["is_named"]:
            raise CheckpointError(
                f"The prior of the fit in {saved.folder} was a function, which is not stored: pass weights=."
            )
        weights = name
        if is_path(name):
            weights = str(Path(saved.known["directory"]) / name)
            if not (trust or saved.is_own):
                raise CheckpointError(
                    f"The fit in {saved.folder} was not begun by this user on this computer, and to continue with it "
                    f"would run the model file {said(weights, 1000)}, a program: read it, then pass trust=True, or "
                    "pass weights=."
                )
            check_model_file(saved.known, weights, saved.folder)
    if chip is None:
        chip = make_chip(saved.known["chip"])
    if arguments.get("twin") and twin is None:
        raise CheckpointError(f"The twin of the fit in {saved.folder} was passed, and is not stored: pass twin=.")
    data = saved.data()
    others = {name: arguments[name] for name in ("beta",) if name in arguments} | {"readout": readout}
    others |= {"twin": twin, "progress": progress, "checkpoint": saved}
    result = fit(chip, **data, weights=weights, **sampling.keywords(), **others)
    result.arguments["model"] = name
    return result
