"""The figure of simulation-based calibration."""

from __future__ import annotations

import arviz as az
from matplotlib.figure import Figure

from bayes_snn.checks.simulation_based import Calibration


def draw_sbc(found: Calibration) -> Figure:
    """A panel for each quantity: the distribution of its ranks less the uniform one, as `az.plot_ecdf_pit` draws it.

    Where a test finds ranks that are not uniform, the points that say so stand out.
    """
    [group] = found.data.children
    plot = az.plot_ecdf_pit(
        found.data,
        group=group,
        method="pot_c",
        backend="matplotlib",
        figure_kwargs={"layout": "constrained"},
    )
    figure: Figure = plot.viz["figure"].item()
    figure.suptitle("ranks of the truth among draws, less uniform ones", fontsize="medium")
    return figure
