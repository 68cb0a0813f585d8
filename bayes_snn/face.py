"""A package that imports its public names when they are first asked for: a chip alone does not need PyMC."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def face(
    package: str, homes: dict[str, str], namespace: dict[str, Any]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose public names are in the modules that `homes` gives."""

    def getattribute(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(sorted(homes))}")
        value = namespace[name] = getattr(importlib.import_module(homes[name]), name)
        return value

    def names() -> list[str]:
        return sorted([*homes, *(["__version__"] if "__version__" in namespace else [])])

    return getattribute, names
