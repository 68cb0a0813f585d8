"""The pictures in a fit folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bayes_snn.chips.contract import IntArray
from bayes_snn.estimates.metrics import reliability
from bayes_snn.files import write_then_rename
from bayes_snn.inference.result import FitResult

COLOURS = ("#1b6ca8", "#d1603d", "#3a7d44", "#7b4b94", "#b8860b", "#5c5c5c")
_DPI = 130


def draw_trace(result: FitResult) -> Figure:
    """Log-likelihood, acceptance and two weights of each layer against the draw, a line for each chain."""
    posterior = result.posterior.posterior.dataset
    names = result.chip.spec.weight_names
    figure = Figure(figsize=(9, 2.0 * (2 + len(names))), layout="constrained")
    axes = figure.subplots(2 + len(names), 1, sharex=True)
    total = result.log_likelihood
    stats = result.posterior.sample_stats["accept"]
    accept = stats.mean([dim for dim in stats.dims if dim not in ("chain", "draw")])
    for chain in range(total.sizes["chain"]):
        line = {"color": COLOURS[chain % len(COLOURS)], "lw": 0.9}
        axes[0].plot(total.isel(chain=chain), label=f"chain {chain}", **line)
        axes[1].plot(accept.isel(chain=chain), **line)
        for axis, name in zip(axes[2:], names, strict=True):
            flat = posterior[name].isel(chain=chain).values.reshape(total.sizes["draw"], -1)
            # the weight that moves most and the median one, seen over all chains
            spread = posterior[name].values.std(axis=(0, 1)).ravel()
            order = np.argsort(spread)
            axis.plot(flat[:, order[-1]], **line)
            axis.plot(flat[:, order[len(order) // 2]], ls=":", **line)
    axes[0].set_ylabel("log-likelihood\n(nats)")
    axes[0].legend(ncols=min(4, total.sizes["chain"]), fontsize=8, frameon=False)
    axes[0].set_title(f"{result.chip!r}, sampler {result.arguments['sampler']}", fontsize=10)
    axes[1].set(ylabel="acceptance", ylim=(0, 1))
    for axis, name in zip(axes[2:], names, strict=True):
        axis.set_ylabel(f"{name}\n(widest, median ···)", fontsize=8)
    axes[-1].set_xlabel("draw")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def draw_reliability(predictions: dict[str, NDArray[np.float64]], labels: IntArray) -> Figure:
    """Accuracy against confidence for the predictions of each name, with the number of samples in each bin."""
    figure = Figure(figsize=(5.2, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    upper.plot([0, 1], [0, 1], color="0.6", lw=1, ls="--", label="calibrated")
    width = 0.1 / (len(predictions) + 1)
    for i, (name, probabilities) in enumerate(predictions.items()):
        bins = reliability(probabilities, labels)
        colour = COLOURS[i % len(COLOURS)]
        seen = bins.count > 0
        upper.plot(
            bins.confidence[seen], bins.accuracy[seen], "o-", ms=5, lw=1.2, color=colour, label=name, clip_on=False
        )
        centres = 0.5 * (bins.edges[:-1] + bins.edges[1:]) + (i - (len(predictions) - 1) / 2) * width
        lower.bar(centres, bins.count, width, color=colour)
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    upper.legend(frameon=False, loc="upper left")
    upper.set_title(f"Reliability on {len(labels)} test samples", fontsize=10)
    lower.set(xlabel="confidence (probability of the predicted class)", ylabel="samples")
    for axis in (upper, lower):
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure under a temporary name, then rename it."""
    write_then_rename(path, lambda temporary: figure.savefig(temporary, dpi=_DPI))
