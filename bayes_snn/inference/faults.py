"""The faults of a link, kept with the fit that met them."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

from bayes_snn.chips.link.faults import KINDS, FaultLog
from bayes_snn.errors import LinkError

FAULTS = "faults"  # of a fit's DataTree


def _folder(checkpoint: object) -> Path | None:
    """Where a checkpoint, or a path of one, keeps its faults."""
    folder = getattr(checkpoint, "folder", checkpoint)
    return Path(folder) / "faults" if isinstance(folder, str | Path) else None


def keep_faults(tree: xr.DataTree, log: FaultLog) -> None:
    """Make the log the group `faults` of a fit's DataTree."""
    tree[FAULTS] = xr.DataTree(log.as_dataset())


def fault_counts(tree: xr.DataTree) -> dict[str, int] | None:
    """Faults by kind of a fit, {} where there were none; None where its chip kept no log of them."""
    if FAULTS not in tree.children:
        return None
    counts = json.loads(tree[FAULTS].attrs.get("counts", "{}"))
    return {kind: int(counts[kind]) for kind in KINDS if counts.get(kind)}


def keeping_faults[**P, R](fit: Callable[P, R]) -> Callable[P, R]:
    """Decorator of `fit`: the faults that its chip logs meanwhile go into the result, or into the error's draws.

    A fit with a checkpoint writes them down there as they come, so that none is lost when it is killed.
    """

    @functools.wraps(fit)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        log = getattr(args[0] if args else kwargs.get("chip"), "faults", None)
        if not isinstance(log, FaultLog):
            return fit(*args, **kwargs)
        before = dict(log.counts)
        try:
            with log.gather(_folder(kwargs.get("checkpoint"))):
                result: Any = fit(*args, **kwargs)
        except LinkError as error:
            if error.draws is not None:
                keep_faults(error.draws, log.since(before))
            raise
        keep_faults(result.posterior, log.since(before))
        return result  # type: ignore[no-any-return]

    return wrapped
