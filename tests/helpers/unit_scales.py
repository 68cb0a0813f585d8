"""Chips whose weights have the scale 1 under every prior, as the posteriors that are known in closed form say it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bayes_snn.chips.contract import ChipSpec


def unit_spec(layers: tuple[int, ...], n_steps: int, **options: Any) -> ChipSpec:
    """A `ChipSpec` all parameters of which have the scale 1."""
    spec = ChipSpec(layers, n_steps, **options)
    return replace(spec, parameters=tuple(replace(parameter, scale=1.0) for parameter in spec.parameters))


def in_unit_scales(chip: Any) -> Any:
    """The chip itself, with a spec all parameters of which have the scale 1."""
    spec = chip.spec
    chip.spec = replace(spec, parameters=tuple(replace(parameter, scale=1.0) for parameter in spec.parameters))
    return chip
