"""Reading a twin from a folder, whoever wrote it; `writing.py` says what is in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from bayes_snn.chips.describe import spec_from
from bayes_snn.errors import InputError
from bayes_snn.files import UnreadableError
from bayes_snn.json_file import Text, Whole, read_described
from bayes_snn.npz_file import UNREADABLE, in_words, read_arrays
from bayes_snn.twins.contract import COUNTS, SPIKES, Learned
from bayes_snn.twins.families import FAMILIES, AnyTwin
from bayes_snn.twins.recordings import Recordings
from bayes_snn.twins.writing import ARRAYS, DESCRIPTION, FORMAT, SHOWN

_AGAIN = "take it from a copy, or learn the twin again with learn_twin"


class LearnedFields(Struct):
    """How a twin was learned."""

    way: Text
    presentations: Whole
    programmings: Whole
    mismatch: Annotated[float, Meta(ge=0, le=1)] | None = None
    n_compared: Whole = 0
    chip: Text = ""
    notes: Annotated[list[Text], Meta(max_length=1000)] = []


class TwinFields(Struct):
    """What `twin.json` holds."""

    format: Whole
    version: Text
    family: Text
    spec: dict[str, Any]
    learned: LearnedFields


def load_twin(path: str | Path) -> AnyTwin:
    """The twin of a folder that `save_twin` wrote.

    Raises `InputError` when the folder is missing, torn, or holds other things.
    """
    folder = Path(path)
    if not (folder / DESCRIPTION).exists():
        raise InputError(
            f"{folder} holds no {DESCRIPTION}, but a folder of a twin is expected: learn one with "
            f"'python -m bayes_snn.twin --out {folder}'."
        )
    described = read_described(folder / DESCRIPTION, TwinFields, _AGAIN)
    if described["format"] != FORMAT or described["family"] not in FAMILIES:
        raise InputError(
            f"{folder} holds a twin of format {described['format']} and family {described['family']!r:.40}, but this "
            f"version reads format {FORMAT} and {', '.join(FAMILIES)}: install bayes_snn {described['version']:.40}, "
            "or learn the twin again."
        )
    spec = spec_from(described["spec"])
    if described["learned"]["way"] not in (SPIKES, COUNTS):
        raise InputError(f"{folder} says that its twin was learned from {described['learned']['way']!r:.40}: {_AGAIN}.")
    try:
        found = read_arrays(folder / ARRAYS)
        shown = {name.removeprefix(SHOWN): found.pop(name) for name in list(found) if name.startswith(SHOWN)}
        twin = FAMILIES[described["family"]].from_arrays(spec, found, _learned(described["learned"]))
        twin.recordings = Recordings.from_arrays(spec, shown) if shown else None
    except UnreadableError as error:
        raise error.input_error(folder / ARRAYS, _AGAIN) from None
    except UNREADABLE as error:
        raise InputError(f"{folder / ARRAYS} holds no whole twin ({in_words(error)}): {_AGAIN}.") from None
    return twin


def _learned(fields: dict[str, Any]) -> Learned:
    mismatch = fields.get("mismatch")
    found = Learned(**{**fields, "notes": tuple(fields.get("notes", ()))})
    return replace(found, mismatch=float("nan") if mismatch is None else float(mismatch))
