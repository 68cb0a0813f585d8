"""The version of the package, and those of the packages that its draws depend on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bayes_snn.errors import said

__version__ = "0.2.0.dev3"  # raised whenever the same seed gives other draws; pyproject.toml reads it here

PACKAGES = ("pymc", "pytensor", "arviz", "numpy", "numba")  # that decide about draws
_PACKAGES = ("numpy", "numba", "scikit-learn", "pymc", "pytensor", "torch", "distributed")  # and about a study's rows


def written_by(stored: dict[str, Any]) -> str | None:
    """The version of bayes_snn that wrote a `fit.json`, where it says so."""
    versions = stored.get("versions")
    found = versions.get("bayes_snn") if isinstance(versions, dict) else None
    return None if found is None else said(found)


def version_note(found: str | None) -> str | None:
    """What is to be said of a fit of version `found` of bayes_snn; None for the version that runs, or if unknown."""
    if found is None or found == __version__:
        return None
    return (
        f"was written by bayes_snn {found}, but this is bayes_snn {__version__}: a simulated chip may answer "
        "differently now, so compare predictions with the scores in fit.json, or install that version."
    )


def package_versions() -> dict[str, str]:
    """Versions of what a result may depend on."""
    found = {"bayes_snn": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
