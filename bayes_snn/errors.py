"""Errors that a person can act on: one sentence with what came, what was expected and what to do next."""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Iterable
from typing import Any

_MOST_NAMES = 40  # in a sentence


class InputError(ValueError):
    """What a user passed cannot be used; the command line prints the sentence and exits with code 2."""


class CheckpointError(InputError):
    """A checkpoint cannot be written, or cannot be continued from."""


class ChipError(RuntimeError):
    """A chip answered something that is not a spike count matrix; it never enters a chain as a likelihood."""


class ChipRaisedError(ChipError):
    """A chip raised an exception of its own, which is the cause of this one."""


class VersionWarning(UserWarning):
    """A fit folder was written by another version of bayes_snn than the one that reads it."""


class DataWarning(UserWarning):
    """Data that can be used, but hardly as they are: ids or marks of missing values among features, raw units."""


class ChangedFileWarning(UserWarning):
    """A file of a fit folder is not the one that the fit wrote: it was edited, or is damaged."""


class ForeignNeuronsWarning(UserWarning):
    """A graph of LIF neurons was made of a chip that may have others."""


class LinkError(ChipError):
    """A chip that a `Link` could not reach within its patience.

    Attributes
    ----------
    draws
        Of a fit that ended so: an ArviZ DataTree with the draws up to then (posterior, sample_stats), or None.
    """

    draws: Any = None


def text_of(error: BaseException) -> str:
    """An exception's text in one line; its class where it has none, or where even its text raises an exception."""
    try:
        text = " ".join(str(error).split())
    except BaseException:  # it is a driver's, or a model file's: whatever it does must not end this program
        text = ""
    return text or type(error).__name__


def said(value: object, most: int = 200) -> str:
    """A value out of a file, for a sentence: as it is where it is one line of letters, else quoted; not too long.

    A line break in it would end the sentence, and a control character reach the terminal.
    """
    text = str(value)
    return (text if text.isprintable() else repr(text))[:most]


def check_whole(name: str, value: object, least: int, most: int | None, example: int) -> None:
    """Raise an `InputError` when an argument is no whole number from `least` to `most`, which None leaves open."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):  # type: ignore[operator]
        limits = f"of at least {least}" if most is None else f"from {least} to {most:,}"
        raise InputError(f"{name} was {value!r}, but a whole number {limits} is expected: try {example}.")


def unknown_name(kind: str, name: object, valid: Iterable[str]) -> InputError:
    """The error for a name that is not one of `valid`, with the nearest valid one as a suggestion."""
    names = sorted(valid)
    near = difflib.get_close_matches(str(name), names, n=1)
    listed = ", ".join(names[:_MOST_NAMES]) + (f" and {len(names) - _MOST_NAMES:,} more" if names[_MOST_NAMES:] else "")
    hint = f"did you mean {near[0]!r}?" if near else "pick one of these."
    return InputError(f"Unknown {kind} {name!r}; known are {listed}: {hint}")


def in_one_line(error: BaseException) -> str:
    """Class and text of an error, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def in_one_sentence(error: BaseException) -> str:
    """An error in one line, with its class where the sentence does not come from this library."""
    text = " ".join(str(error).split())
    if isinstance(error, InputError):
        return text
    return in_one_line(error) if text else f"{type(error).__name__}."
