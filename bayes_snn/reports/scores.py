"""Drawings of how well a fit predicts: accuracies with intervals, and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.estimates.metrics import accuracy_interval, reliability
from bayes_snn.reports.page import FAINT, INK, LINES, WIDTH, Drawing, plot, short

Array = NDArray[np.float64]


def draw_accuracies(rows: Sequence[tuple[str, float | None, float | None, tuple[float, float] | None]]) -> Drawing:
    """Test accuracy with its interval, and training accuracy, of each (name, train, test, interval)."""

    def draw(axes: Any) -> None:
        for place, (_, train, test, interval) in enumerate(rows):
            if interval is not None:
                axes.plot(interval, [place, place], color=LINES[0], lw=2.2, solid_capstyle="butt")
            if test is not None:
                axes.plot(test, place, "o", color=LINES[0], ms=6)
            if train is not None:
                axes.plot(train, place, "o", mfc="none", mec=INK, ms=6, mew=1, clip_on=False)
        axes.set_yticks(range(len(rows)), [short(name, 22) for name, *_ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("accuracy (dot: test, circle: training)")
        axes.grid(axis="x", color=FAINT, lw=0.4)
        axes.set_axisbelow(True)
        axes.set_xlim(right=1.0)

    said = "; ".join(
        f"{name} {'not known' if test is None else f'{test:.3f}'}"
        + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")
        for name, _, test, interval in rows
    )
    return Drawing(
        plot(WIDTH + 0.6, 0.9 + 0.27 * len(rows), draw),
        f"Test accuracies with 90% intervals: {said}.",
        "Test accuracy: dot, with its 90% interval as a bar. Training accuracy: circle.",
    )


def draw_calibration(probabilities: Array, labels: NDArray[np.int64], name: str, part: str) -> Drawing:
    """Accuracy against confidence of one estimate, with the samples of each bin."""
    bins = reliability(probabilities, labels)
    seen = bins.count > 0

    def draw(axes: Any) -> None:
        share = bins.count / bins.count.sum()
        axes.bar(bins.edges[:-1], 0.3 * share, 0.1, align="edge", color=FAINT, alpha=0.5, lw=0)
        axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls="--")
        for x, y, n in zip(bins.confidence[seen], bins.accuracy[seen], bins.count[seen], strict=True):
            axes.plot([x, x], accuracy_interval(float(y), int(n)), color=LINES[0], lw=1.2)
        axes.plot(bins.confidence[seen], bins.accuracy[seen], "o-", color=LINES[0], ms=4.5, lw=1, clip_on=False)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy")

    points = "; ".join(
        f"confidence {x:.2f}, accuracy {y:.2f}, {n} samples"
        for x, y, n in zip(bins.confidence[seen], bins.accuracy[seen], bins.count[seen], strict=True)
    )
    return Drawing(
        plot(2.9, 2.5, draw),
        f"Reliability of the {name} on {len(labels)} {part} samples, in bins of confidence: {points}.",
        f"{name}: calibration error {bins.error:.3f}",
    )
