"""What is left of a fit whose chip could not be reached any more: its draws so far."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from pymc.backends.base import MultiTrace

from bayes_snn.errors import InputError, LinkError
from bayes_snn.files import netcdf_bytes, write_then_rename

FILE = "draws.nc"  # of a fit that its chip ended


class Traces:
    """PyMC's traces while it samples; `note` each in its callback."""

    def __init__(self, model: pm.Model, tune: int) -> None:
        self._model, self._tune = model, tune
        self._traces: dict[int, Any] = {}

    def note(self, trace: Any) -> None:
        """Remember the trace of a chain; called at each of its draws."""
        self._traces[trace.chain] = trace

    @property
    def lengths(self) -> list[int]:
        """Draws behind the warm-up of each chain that has begun."""
        return [max(0, len(trace) - self._tune) for trace in self._traces.values()]

    def first(self, n: int) -> xr.DataTree:
        """The first n draws of each chain behind the warm-up."""
        return self._cut([self._traces[chain] for chain in sorted(self._traces)], n)

    def draws(self) -> xr.DataTree | None:
        """Posterior and sample stats of the draws behind the warm-up, None where there are none.

        Chains have different lengths then. Kept are as many of them, all cut to one length, as make the most draws.
        """
        traces = sorted(self._traces.values(), key=len, reverse=True)
        lengths = np.array([max(0, len(trace) - self._tune) for trace in traces])
        if not lengths.any():
            return None
        n_chains = int(np.argmax(lengths * np.arange(1, len(lengths) + 1))) + 1
        kept = sorted(traces[:n_chains], key=lambda trace: trace.chain)
        return self._cut(kept, int(lengths[n_chains - 1]))

    def _cut(self, traces: list[Any], n: int) -> xr.DataTree:
        tree: xr.DataTree = pm.to_inference_data(MultiTrace(traces)[self._tune : self._tune + n], model=self._model)
        return tree


@contextlib.contextmanager
def draws_kept(trace: xr.DataTree) -> Iterator[None]:
    """Give a `LinkError` the draws that its chip was to be run with."""
    try:
        yield
    except LinkError as error:
        error.draws = trace
        raise


@contextlib.contextmanager
def draws_saved(folder: Path) -> Iterator[None]:
    """Write the draws of a `LinkError` into a folder that is there, and say so in its sentence."""
    try:
        yield
    except LinkError as error:
        if error.draws is None:
            raise LinkError(f"{error} There was no draw to keep.") from None
        path, sizes = folder / FILE, error.draws.posterior.sizes
        tree = error.draws
        try:
            write_then_rename(path, lambda name: name.write_bytes(netcdf_bytes(tree)))
        except InputError as failed:
            raise LinkError(f"{error} The draws so far were lost: {failed}") from None
        kept = LinkError(f"{error} {sizes['chain']} x {sizes['draw']} draws so far are in {path}, without scores.")
        kept.draws = tree
        raise kept from None
