"""Errors that a person can act on: one sentence with what came, what was expected and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class InputError(ValueError):
    """What a user passed cannot be used; the command line prints the sentence and exits with code 2."""


class CheckpointError(InputError):
    """A checkpoint cannot be written, or cannot be gone on from."""


class ChipError(RuntimeError):
    """A chip answered something that is not a spike count matrix; it never enters a chain as a likelihood."""


class VersionWarning(UserWarning):
    """A fit folder was written by another version of bayes_snn than the one that reads it."""


class LinkError(ChipError):
    """A chip that a `Link` could not reach within its patience.

    Attributes
    ----------
    draws
        Of a fit that ended so: an ArviZ DataTree with the draws up to then (posterior, sample_stats), or None.
    """

    draws: Any = None


def unknown_name(kind: str, name: object, valid: Iterable[str]) -> InputError:
    """The error for a name that is not one of `valid`, with the nearest valid one as a suggestion."""
    names = sorted(valid)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "pick one of these."
    return InputError(f"Unknown {kind} {name!r}; known are {', '.join(names)}: {hint}")
