"""The figure of a prior predictive check, or of several side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from bayes_snn.checks.prior_check import PriorPredictive
from bayes_snn.errors import InputError
from bayes_snn.inference.figures import COLOURS

_DASHES = ("-", "--", "-.", ":")
_BINS = 20


def draw_prior(found: PriorPredictive | Mapping[str, PriorPredictive]) -> Figure:
    """Spike rates of each layer, the probability of the class answered, and accuracies: a line for each prior.

    Parameters
    ----------
    found
        What `prior_predictive` returned, or several by the name of their prior, of one chip.

    Raises
    ------
    InputError
        When there is nothing to draw, or the priors were tried on chips that show other layers.
    """
    priors = {"prior": found} if isinstance(found, PriorPredictive) else dict(found)
    if not priors:
        raise InputError(
            "There was no prior to draw, but one at least is expected: pass what prior_predictive returned."
        )
    first = next(iter(priors.values()))
    for name, other in priors.items():
        if (other.layers, other.n_layers) != (first.layers, first.n_layers):
            raise InputError(
                f"The priors were tried on chips of which {first.layers} and, by {name!r}, {other.layers} layers were "
                "seen, but one figure compares priors on one chip: draw them apart."
            )
    panels: list[tuple[str, str, dict[str, NDArray[np.float64]]]] = [
        (
            f"{first.layer_name(layer)} neurons",
            "spikes per step",
            {name: prior.data[f"rate_{layer}"].values.ravel() for name, prior in priors.items()},
        )
        for layer in first.layers
    ]
    panels.append(
        ("answers", "probability of the class answered", {n: p.confidence.ravel() for n, p in priors.items()})
    )
    scored = {name: prior.data["accuracy"].values for name, prior in priors.items() if "accuracy" in prior.data}
    if scored:
        panels.append(("draws", "accuracy", scored))

    n_columns = 3 if len(panels) in (3, 5, 6) else 2
    n_rows = -(-len(panels) // n_columns)
    figure = Figure(figsize=(1.4 + 3.0 * n_columns, 0.5 + 2.4 * n_rows), layout="constrained")
    axes = np.ravel(figure.subplots(n_rows, n_columns, squeeze=False))
    for axis, (what, unit, values) in zip(axes, panels, strict=False):
        _draw_shares(axis, what, unit, values, list(priors))
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    if scored and first.chance is not None:
        axes[len(panels) - 1].axvline(first.chance, color="0.5", lw=1, ls=":", zorder=0)
        axes[len(panels) - 1].set_xlabel(f"accuracy (dotted: one class always, {first.chance:.2f})")
    if len(priors) > 1:
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=min(5, len(names)), frameon=False)
    return figure


def _draw_shares(axis: Any, what: str, unit: str, values: dict[str, NDArray[np.float64]], names: list[str]) -> None:
    """Shares of values from 0 to 1 in bins of equal width, of each prior."""
    edges = np.linspace(0, 1, _BINS + 1)
    for name, each in values.items():
        place = names.index(name)
        shares = np.histogram(each, edges)[0] / each.size
        line = {"color": COLOURS[place % len(COLOURS)], "ls": _DASHES[place % len(_DASHES)]}
        axis.stairs(shares, edges, baseline=None, lw=1.5, label=name, **line)
    axis.set(xlim=(0, 1), xlabel=unit, ylabel=f"share of {what}")
    axis.set_ylim(bottom=0)
    axis.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axis.spines[["top", "right"]].set_visible(False)
