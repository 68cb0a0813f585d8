"""What the commands share: options in panels, and one sentence with exit code 2 for what a person can fix."""

from __future__ import annotations

import io
import sys
import warnings
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from bayes_snn.errors import (
    ChangedFileWarning,
    ChipError,
    DataWarning,
    ForeignNeuronsWarning,
    InputError,
    VersionWarning,
)

# warnings that a person can act on
_SHOWN = (DataWarning, VersionWarning, ChangedFileWarning, ForeignNeuronsWarning)
_last_words: list[str] = []
INTERRUPTED = 130  # exit code, as shells have it
CHIP_HELP = "The chip of the fit, as --chip named it; its code is run."
_USAGE_ERROR: Any = typer.BadParameter.__base__  # which Typer does not export


def option(panel: str, metavar: str | None, text: str, *names: str, **rest: Any) -> Any:
    """An option in a panel of the help page."""
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=panel, **rest)


def help_option(panel: str) -> Any:
    """--help, which stands in a panel like any other option."""
    return option(panel, None, "Show this page and end.", "--help", is_eager=True, callback=_show_help)


def _show_help(context: typer.Context, wanted: bool) -> None:
    if wanted:
        typer.echo(context.get_help())
        raise typer.Exit


def run_app(app: typer.Typer, program: str, interrupted: str, too_large: str) -> None:
    """Run a command; `interrupted` and `too_large` are what to say at Ctrl-C and without enough memory."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name or a bar that cannot be printed must not end a fit
            stream.reconfigure(errors="replace")
    shown = warnings.showwarning
    warnings.showwarning = lambda message, category, *place, **rest: (
        print_warning(message) if issubclass(category, _SHOWN) else shown(message, category, *place, **rest)
    )
    _last_words.clear()
    try:
        code = app(standalone_mode=False, prog_name=program)
    except (InputError, ChipError) as error:
        say(str(error), 2)
    except _USAGE_ERROR as error:
        say(_usage(error, program), 2)
    except MemoryError:
        say(too_large, 2)
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except Exception as error:  # of the program itself, whose traceback is shown
        for sentence in _last_words:
            error.add_note(sentence)
        raise
    finally:
        warnings.showwarning = shown
    if code == INTERRUPTED:  # Typer makes an Exit or an Abort of Ctrl-C, as its version goes
        say(interrupted, INTERRUPTED)


def _usage(error: Any, program: str) -> str:
    """One sentence for an option that Typer could not read."""
    reason = error.__cause__
    if hasattr(reason, "errors") and getattr(error, "param", None) is not None:
        first = reason.errors()[0]
        expected = first["msg"].split(",")[0].removeprefix("Input should be ")
        problem = f"{error.param.opts[0]} was {first['input']!r}, but {expected} is expected"
    else:
        problem = " ".join(error.format_message().split()).rstrip(".")
    return f"{problem}: {program} --help lists what can be given."


def print_warning(message: object) -> None:
    """A warning that a person can act on, without the line of code that it came from."""
    Console(stderr=True).print(
        f"[bold yellow]Warning:[/bold yellow] {escape(str(message))}", highlight=False, soft_wrap=True
    )


def say(sentence: str, code: int) -> NoReturn:
    """Print a sentence to standard error, what was left for the end behind it, and end the program."""
    style = "[bold red]Error:[/bold red] " if code == 2 else ""
    for line in (style + escape(sentence), *map(escape, _last_words)):
        Console(stderr=True).print(line, highlight=False, soft_wrap=True)
    sys.exit(code)


def say_last(sentence: str) -> None:
    """Have a sentence printed behind all else when the command ends with an error, a traceback included."""
    _last_words.append(sentence)
