"""JSON files of any origin: read as plain values, and held to a schema before anything is made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from bayes_snn.files import AGAIN, UnreadableError, read_file

MOST_TEXT = 64 * 2**20  # bytes of a description
Whole = Annotated[int, Meta(ge=0, le=2**62)]
Draws = Annotated[int, Meta(ge=0, le=10**7)]
Text = Annotated[str, Meta(max_length=10_000)]


def read_json(path: Path) -> Any:
    """What a JSON file holds, or an `UnreadableError`."""
    content = read_file(path, MOST_TEXT)
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError:
        raise UnreadableError("it is nested too deeply") from None
    except ValueError as error:  # of UTF-8, too
        raise UnreadableError(f"it is no JSON ({type(error).__name__})") from None


def check(value: Any, kind: type[Struct]) -> None:
    """Raise an `UnreadableError` that names the first part of a description that is missing or of a wrong type."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise UnreadableError(in_words(error)) from None
    except (RecursionError, OverflowError) as error:
        raise UnreadableError(f"it is nested too deeply or holds too large a number ({type(error).__name__})") from None


def read_described(path: Path, kind: type[Struct], again: str = AGAIN) -> dict[str, Any]:
    """A JSON file that keeps to `kind`, as plain values; an `InputError` says what is wrong with it."""
    try:
        found: dict[str, Any] = read_json(path)
        check(found, kind)
    except UnreadableError as error:
        raise error.input_error(path, again) from None
    return found


def in_words(error: Exception) -> str:
    """What msgspec found wrong, without its JSON paths."""
    return str(error).replace(" - at `$.", " at `").replace(" - at `$`", "").replace("`", "'").rstrip(".")
