"""What `checkpoint.json` holds: types and bounds, checked before anything is made of them."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from bayes_snn.chips.describe import ChipFields
from bayes_snn.json_file import Draws, Text, Whole


class Arguments(Struct):
    """How a fit was made; callers add others."""

    model: Text | None = None
    sampler: Text | None = None
    draws: Draws = 1
    tune: Draws = 0
    chains: Annotated[int, Meta(ge=1, le=256)] = 1
    seed: int = 0
    noise: Text | None = None
    repeats: Annotated[int, Meta(ge=1, le=10_000)] = 1
    remeasure: Draws | None = None
    until: str | Draws | None = None
    beta: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    data: Text | None = None
    target: Text | None = None
    n_train: Whole | None = None
    split_seed: Whole | None = None
    chip: Text | None = None


class CheckpointArguments(Arguments, kw_only=True):
    """Arguments that `fit` is called with again."""

    sampler: Text
    draws: Annotated[int, Meta(ge=1, le=10**7)]
    tune: Draws
    chains: Annotated[int, Meta(ge=1, le=256)]
    seed: Whole | int


class CheckpointFit(Struct):
    """The fit that a checkpoint belongs to."""

    format: int
    arguments: CheckpointArguments
    chip: ChipFields
    prior: str | None
    starts: str
    inputs: str
    labels: str
    versions: dict[str, str | None]
    model: Text
    is_named: bool
    directory: Text
    options: dict[str, Any] | None
    code: dict[str, str]
    test: str | None
    feature_names: list[str] | None
    class_names: list[str] | None
    readout: str | None = None
    note: Text = ""
    learning: tuple[Whole, Whole] = (0, 0)


class _Format(Struct):
    format: int
    versions: dict[str, Any]


class CheckpointHead(Struct):
    """What `checkpoint.json` says in every format."""

    fit: _Format
    digest: str


class CheckpointFields(Struct):
    """`checkpoint.json`."""

    fit: CheckpointFit
    digest: str
