"""What the checks of a fit with a twin say: how often the chip accepted, and how far it differs from its twin."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayes_snn.groups import GAP


@dataclass(frozen=True)
class TwinChecks:
    """The checks of a fit, each (n_chains, n_draws).

    The first draw of a chain is where it begins on the chip, and one that the twin did not move is not shown: they are
    no checks.

    Attributes
    ----------
    gaps
        log L_chip - log L_twin at what the chip was shown, nan where it was shown nothing, or not all samples because
        the proposal was lost before.
    accepted, rejected
        What became of each check.
    """

    gaps: NDArray[np.float64]
    accepted: NDArray[np.bool_]
    rejected: NDArray[np.bool_]

    @property
    def n(self) -> int:
        """How many there were."""
        return int(self.accepted.sum() + self.rejected.sum())

    @property
    def n_accepted(self) -> int:
        """How many were accepted."""
        return int(self.accepted.sum())

    @property
    def n_whole(self) -> int:
        """How many were shown all samples."""
        return int(np.isfinite(self.gaps[self.accepted | self.rejected]).sum())

    @property
    def share_accepted(self) -> float:
        """Share of them that was accepted; nan without any."""
        return self.n_accepted / self.n if self.n else float("nan")

    @cached_property
    def spread(self) -> float:
        """s, the standard deviation of the gaps that are known; nan of fewer than two."""
        known = self.gaps[np.isfinite(self.gaps)]
        return float(known.std(ddof=1)) if len(known) > 1 else float("nan")


def twin_checks(posterior: xr.DataTree) -> TwinChecks | None:
    """The checks of a fit; None where its sampler made none."""
    stats = posterior["sample_stats"].dataset if "sample_stats" in posterior.children else {}
    if GAP not in stats or "accept" not in stats:
        return None
    gaps, accept = (np.asarray(stats[name].transpose("chain", "draw").values, np.float64) for name in (GAP, "accept"))
    checked = np.isfinite(gaps) | (accept < 1)
    checked[:, :1] = False
    return TwinChecks(gaps, checked & (accept >= 1), checked & (accept < 1))
