"""Errors that a person can act on: one sentence with what came, what was expected and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """What a user passed cannot be used; the command line prints the sentence and exits with code 2."""


class CheckpointError(InputError):
    """A checkpoint cannot be written, or cannot be gone on from."""


class ChipError(RuntimeError):
    """A chip answered something that is not a spike count matrix; it never enters a chain as a likelihood."""


def unknown_name(kind: str, name: object, valid: Iterable[str]) -> InputError:
    """The error for a name that is not one of `valid`, with the nearest valid one as a suggestion."""
    names = sorted(valid)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "pick one of these."
    return InputError(f"Unknown {kind} {name!r}; known are {', '.join(names)}: {hint}")
