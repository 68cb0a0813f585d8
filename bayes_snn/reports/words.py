"""Numbers and counts as a report says them."""

from __future__ import annotations

import math

_NOT_KNOWN = "not known"


def two(value: float | None) -> str:
    return _NOT_KNOWN if value is None else f"{value:.2f}"


def three(value: float | None) -> str:
    return _NOT_KNOWN if value is None else f"{value:.3f}"


def ranged(interval: tuple[float, float] | None) -> str:
    return _NOT_KNOWN if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def counted(value: float | None) -> str:
    return _NOT_KNOWN if value is None else f"{value:,.0f}"


def said(value: object) -> str:
    """A stored value as people read it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(said(item) for item in value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def finite(value: object) -> float | None:
    """A stored number, or None: JSON keeps no infinities, and a diagnosis of today may hold some."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
