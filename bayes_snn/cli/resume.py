"""What `python -m bayes_snn.fit` does for fits that are stopped: it stores every fit while it runs, and `--resume`."""

from __future__ import annotations

import contextlib
import os
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from bayes_snn.cli.terminal import say_last
from bayes_snn.errors import CheckpointError, InputError, said
from bayes_snn.files import UnreadableError
from bayes_snn.json_file import in_words
from bayes_snn.names import AUTO, BUILT_IN, CHECKPOINT, ENDED, SAMPLERS, is_path

if TYPE_CHECKING:
    from bayes_snn.checkpoint.checkpoint import Checkpoint
    from bayes_snn.data import Split

_NOT_STORED = ("resume", "extend", "show_help", "out", "overwrite", "check")  # options that do not say what the fit is
_FREE = ("token_file", "curve", "trust")  # how the chip is reached today, and what is thought of the folder


@contextlib.contextmanager
def storing(
    left: Checkpoint | None, folder: Path, sampler: str, options: dict[str, Any], overwrite: bool, split: Split
) -> Iterator[Checkpoint | None]:
    """The checkpoint of a fit that is about to begin or to continue; None with a sampler that cannot be stored.

    No other fit can use the folder meanwhile. When the fit fails, what it has stored is kept and reported, if there is
    a draw in it. What another fit has stored is deleted only where it is overwritten.
    """
    from bayes_snn.checkpoint.checkpoint import Checkpoint
    from bayes_snn.checkpoint.identity import digest_of_arrays

    stored = {name: value for name, value in options.items() if name not in (*_NOT_STORED, *_FREE)}
    checkpoint = left or Checkpoint(folder / CHECKPOINT, options=stored, replace=overwrite)
    checkpoint.test = digest_of_arrays([split.test_inputs, split.test_labels])
    with checkpoint.locked():
        if left is None and not overwrite and checkpoint.holds_fit:
            raise InputError(
                f"{folder} holds a fit that was stopped: continue with --resume {folder}, or --overwrite to begin anew."
            )
        resumable = sampler == AUTO or SAMPLERS[sampler].resumable
        try:
            yield checkpoint if resumable else None
        except BaseException as error:
            checkpoint.close()
            if checkpoint.begun and not checkpoint.is_worth_keeping:
                checkpoint.discard()
            elif (left is not None or checkpoint.begun) and not isinstance(error, CheckpointError):  # it says it itself
                say_last(how_to_continue(folder))
            raise
        if not resumable:
            checkpoint.discard()  # that of the fit which was overwritten


def how_to_continue(folder: Path) -> str:
    """What to say when a fit ends early."""
    return f"The fit is stored up to here: continue with --resume {folder}."


def extend_fit(context: typer.Context, folder: str, draws: int | None, command: Callable[..., None]) -> None:
    """Continue with a fit that has ended, to more draws; an `InputError` where that cannot be."""
    from bayes_snn.checkpoint.checkpoint import Checkpoint

    if not folder.strip():
        raise InputError("--extend was empty, but the folder of a fit that has ended is expected: give it.")
    if draws is None:
        raise InputError(
            "--extend came without --draws, which says how many draws each chain has in the end: give both."
        )
    path = Path(os.path.expanduser(folder))
    if (path / CHECKPOINT).exists():
        raise InputError(f"{path} holds a fit that was stopped: continue with --resume {path} first, then extend it.")
    if not (path / ENDED).is_dir():
        raise InputError(
            f"{path} holds no fit that can be extended: give the folder of a fit that this version has made with "
            "'auto', 'twin', 'sitewise' or another sampler that is stored while it runs."
        )
    Checkpoint.open(path / ENDED).extend(draws)
    os.replace(path / ENDED, path / CHECKPOINT)
    try:
        resume_fit(context, folder, command)
    except InputError:
        if context.obj is None:  # it was refused before it began
            os.replace(path / CHECKPOINT, path / ENDED)
        raise


def resume_fit(context: typer.Context, folder: str, command: Callable[..., None]) -> None:
    """Run the command again with the options of a stopped fit; an `InputError` where others were given with them."""
    from bayes_snn.checkpoint.checkpoint import Checkpoint
    from bayes_snn.checkpoint.identity import check_model_file

    if not folder.strip():
        raise InputError("--resume was empty, but the folder of a fit that was stopped is expected: give it.")
    checkpoint = Checkpoint.open(os.path.expanduser(folder))
    if checkpoint.options is None:
        raise CheckpointError(
            f"The fit in {checkpoint.folder} was begun from Python, so its data and chip are not known here: continue "
            "with it by bayes_snn.resume."
        )
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        if name in ("resume", "extend") or name in _FREE or source is None or source.name != "COMMANDLINE":
            continue
        option = "--" + {"own_chip": "chip"}.get(name, name.replace("_", "-"))
        if name in _NOT_STORED:
            raise InputError(f"{option} came with --resume, which continues in the folder of the fit: leave it out.")
        if value != (before := checkpoint.options.get(name)):
            raise InputError(
                f"{option} was {_said(value)}, but the fit in {checkpoint.folder.parent} was begun with "
                f"{said(_said(before))}: leave it out, or begin another fit."
            )

    try:
        options_of(command, {name: value for name, value in checkpoint.options.items() if name in context.params})
    except UnreadableError as error:
        raise CheckpointError(str(error.input_error(checkpoint.folder / "checkpoint.json"))) from None
    if lost := sorted(checkpoint.options.keys() - context.params.keys()):
        raise CheckpointError(
            f"The fit in {checkpoint.folder} was begun with the option {lost[0]!r:.60}, which this version does not "
            "have: continue with the version that began it, or fit again."
        )
    options = {**context.params, "bias": False, **checkpoint.options}  # a bias, which once there was none of
    options |= {"resume": None, "extend": None}
    directory = Path(checkpoint.known["directory"])
    if options["data"] not in BUILT_IN:
        options["data"] = str(directory / options["data"])
    runs = [] if options["own_chip"] is None else [f"use the chip {said(options['own_chip'])}"]
    is_file = is_path(options["model"])
    if is_file:
        options["model"] = str(directory / options["model"])
        runs.append(f"run the model file {said(options['model'], 1000)}")
    if runs and not (checkpoint.is_own or options["trust"]):
        raise CheckpointError(
            f"The fit in {checkpoint.folder.parent} was not begun by this user on this computer, and to continue with "
            f"it would {' and '.join(runs)}, which may be any program: look at it first, then add --trust."
        )
    if is_file:
        check_model_file(checkpoint.known, options["model"], checkpoint.folder)
    context.obj = checkpoint
    command(context, **options)


def asked(options: dict[str, Any], left: Checkpoint | None) -> dict[str, Any]:
    """Options as they were typed when the fit was begun."""
    if left is None or left.options is None:
        return options
    return {name: left.options[name] for name in options}


def _said(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def options_of(function: Callable[..., Any], given: dict[str, Any]) -> None:
    """Raise an `UnreadableError` unless every option is a parameter of a command and of its type."""
    hints = typing.get_type_hints(function)
    for name, value in given.items():
        if name not in hints or name == "context":
            raise UnreadableError(f"it has the option {name!r:.60}, which the command does not have")
        try:
            msgspec.convert(value, hints[name])
        except msgspec.ValidationError as error:
            raise UnreadableError(f"its option {name} is wrong: {in_words(error)}") from None
