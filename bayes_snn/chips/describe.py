"""A chip in plain values, as files and messages hold it, and a simulated chip made of them again."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct

from bayes_snn.chips.contract import AbsentChip, Chip, ChipSpec
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.lif.distortion import check_distortions
from bayes_snn.chips.link.link import Link
from bayes_snn.errors import InputError, said
from bayes_snn.files import UnreadableError
from bayes_snn.json_file import Text, check, in_words

MOST_LAYERS = 64
MOST_WEIGHTS = 100_000_000
MOST_STEPS = 1_000_000
MOST_EDGES = 20_000  # of the neurons of a simulated chip, about: more take minutes to make


class ChipFields(Struct, rename={"kind": "class"}):
    """A chip; what a simulated one needs beside its spec may be missing of others."""

    kind: Text
    spec: dict[str, Any]
    distortions: dict[str, float] | None = None
    seed: int | None = None
    tau_m: Annotated[float, Meta(gt=0, le=1e6)] | None = None


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
            f"The chip's spec cannot be used ({in_words(error)}): describe it as ChipSpec has it."
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


def describe_chip(chip: Chip) -> dict[str, Any]:
    """A chip in plain values; enough to make a `LIFChip` again."""
    chip = chip.chip if isinstance(chip, Link) else chip  # how it is reached is no part of what it is
    described: dict[str, Any] = {"class": type(chip).__name__, "spec": _plain(chip.spec.as_dict())}
    if isinstance(chip, AbsentChip):
        described["class"] = chip.name
    if isinstance(chip, LIFChip):
        described |= {"distortions": chip.strengths, "seed": chip.seed, "tau_m": chip.tau_m}
    return described


def make_chip(described: dict[str, Any]) -> LIFChip:
    """The simulated chip of a description; an `InputError` for any other."""
    if described["class"] != LIFChip.__name__:
        raise InputError(
            f"The fit's chip was a {said(described['class'])}, which cannot be made from its description: pass "
            "chip=, or give --chip to a command."
        )
    spec = check_simulated(described)
    names = list(described["distortions"])
    return LIFChip(
        spec.layers,
        names,
        [described["distortions"][name] for name in names] or 0.0,  # an ideal chip has none
        described["seed"],
        spec.n_steps,
        tau_m=described["tau_m"],
        weight_range=spec.weight_range,
    )


def _plain(value: Any) -> Any:
    """Tuples as lists, NumPy numbers as Python's: what JSON gives back."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
