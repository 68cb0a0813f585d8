"""What the descriptions in files and messages hold: types and bounds, checked before anything is made of them.

One schema for chips, fits (`fit.json`), checkpoints (`checkpoint.json`), sweeps (`sweep.json`) and the header of a
chip's server. A description is nothing but JSON: no name in it is imported or called.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from bayes_snn.chip import ChipSpec
from bayes_snn.distortion import check_distortions
from bayes_snn.errors import InputError
from bayes_snn.files import AGAIN, UnreadableError, read_file

MOST_LAYERS = 64
MOST_WEIGHTS = 100_000_000
MOST_STEPS = 1_000_000
MOST_TEXT = 64 * 2**20  # bytes of a description
MOST_EDGES = 20_000  # of the neurons of a simulated chip, about: more take minutes to make

Whole = Annotated[int, Meta(ge=0, le=2**62)]
Draws = Annotated[int, Meta(ge=0, le=10**7)]
Text = Annotated[str, Meta(max_length=10_000)]


class ChipFields(Struct, rename={"kind": "class"}):
    """A chip; what a simulated one needs beside its spec may be missing of others."""

    kind: Text
    spec: dict[str, Any]
    distortions: dict[str, float] | None = None
    seed: int | None = None
    tau_m: Annotated[float, Meta(gt=0, le=1e6)] | None = None


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
    beta: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    data: Text | None = None
    target: Text | None = None
    n_train: Whole | None = None
    split_seed: Whole | None = None
    chip: Text | None = None


class FitFields(Struct):
    """`fit.json`."""

    format: int
    chip: ChipFields
    arguments: Arguments
    presentations: Whole
    seconds: float | None
    interrupted: bool
    versions: dict[str, Any] = {}
    presentations_saved: Whole = 0
    train: dict[str, Any] = {}
    test: dict[str, Any] = {}
    baselines: dict[str, Any] = {}
    sha256: dict[str, str] = {}
    cost: dict[str, Whole] = {}


class SpaceFields(Struct):
    """R-hat and effective draws in a diagnosis."""

    r_hat: float | None
    ess: float | None


class DiagnosisFields(Struct):
    """What a report reads of a stored diagnosis."""

    weights: SpaceFields
    function: SpaceFields
    log_likelihood: SpaceFields
    verdict: str
    converged: bool
    weights_converged: bool


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


class Grid(Struct):
    """One start of a sweep."""

    grid: dict[str, Any]
    versions: dict[str, Any]


class SweepFields(Struct):
    """`sweep.json`."""

    grids: list[Grid]


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
        raise UnreadableError(_in_words(error)) from None
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


def spec_from(described: Any) -> ChipSpec:
    """A `ChipSpec` out of its fields, or an `InputError`; nothing is allocated for it."""
    known = {field.name for field in fields(ChipSpec)}
    if not isinstance(described, dict) or not all(isinstance(name, str) for name in described):
        raise InputError(
            "The chip's spec is no JSON object, but its fields are expected: describe it as ChipSpec has it."
        )
    if unknown := sorted(described.keys() - known):
        raise InputError(
            f"The chip's spec has {unknown[0]!r:.60}, but only {', '.join(sorted(known))} are known: leave it out, or "
            "install the version of bayes_snn that wrote it."
        )
    layers = described.get("layers")
    if isinstance(layers, list | tuple) and len(layers) > MOST_LAYERS:
        raise InputError(f"The chip has {len(layers):,} layers, but at most {MOST_LAYERS} are taken: give fewer.")
    try:
        spec = msgspec.convert(described, ChipSpec)
    except (msgspec.ValidationError, OverflowError, RecursionError) as error:
        raise InputError(
            f"The chip's spec cannot be used ({_in_words(error)}): describe it as ChipSpec has it."
        ) from None
    if spec.n_weights > MOST_WEIGHTS or spec.n_steps > MOST_STEPS:
        raise InputError(
            f"The chip has {spec.n_weights:,} weights and {spec.n_steps:,} steps, but at most {MOST_WEIGHTS:,} and "
            f"{MOST_STEPS:,} are taken: give a smaller one."
        )
    return spec


def check_simulated(described: dict[str, Any]) -> ChipSpec:
    """The spec of a simulated chip's description; an `InputError` where it cannot be made, or not within seconds."""
    try:
        check(described, ChipFields)
        if lacking := [name for name in ("distortions", "seed", "tau_m") if described.get(name) is None]:
            raise UnreadableError(f"it lacks {', '.join(lacking)}")
        if unknown := sorted(described.keys() - {"class", "spec", "distortions", "seed", "tau_m"}):
            raise UnreadableError(f"it has {unknown[0]!r:.60}, which no simulated chip has")
    except UnreadableError as error:
        raise InputError(
            f"The description of the chip cannot be used, because {error.reason}: take it from a copy, or pass chip=."
        ) from None
    spec = spec_from(described["spec"])
    strengths = check_distortions(list(described["distortions"]), list(described["distortions"].values()))
    n_neurons, each = sum(spec.layers[1:]), 1.0 + strengths.get("comparator", 0.0)
    if n_neurons * each > MOST_EDGES:
        raise InputError(
            f"The description is of a chip of {n_neurons:,} neurons with about {each:,.0f} firing thresholds each, "
            "which would take minutes to make again: pass chip=."
        )
    return spec


def options_of(function: Callable[..., Any], given: dict[str, Any]) -> None:
    """Raise an `UnreadableError` unless every option is a parameter of a command and of its type."""
    hints = typing.get_type_hints(function)
    for name, value in given.items():
        if name not in hints or name == "context":
            raise UnreadableError(f"it has the option {name!r:.60}, which the command does not have")
        try:
            msgspec.convert(value, hints[name])
        except msgspec.ValidationError as error:
            raise UnreadableError(f"its option {name} is wrong: {_in_words(error)}") from None


def _in_words(error: Exception) -> str:
    return str(error).replace(" - at `$.", " at `").replace(" - at `$`", "").replace("`", "'").rstrip(".")
