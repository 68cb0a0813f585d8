"""What is exported of a fit: one set of weights, and where it goes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bayes_snn.arrays import as_floats
from bayes_snn.chips.contract import Chip, FloatArray
from bayes_snn.errors import InputError
from bayes_snn.estimates.predict import Weights
from bayes_snn.likelihood import Readout


@dataclass(frozen=True)
class Deployment:
    """One set of weights: `weights`, (n_pre, n_post) for each layer, for `chip`; `source` names the estimate.

    `readout` is what makes class probabilities of the chip's spike counts.
    """

    chip: Chip
    weights: Weights
    source: str
    readout: Readout

    def described_readout(self) -> dict[str, Any]:
        """The readout in plain values, for metadata."""
        bias = self.readout.biases(self.chip.spec.layers[-1])
        return {"beta": self.readout.beta, "bias": bias.tolist()}


def deployment(result: Any, estimate: str = "map", draw: int | None = None) -> Deployment:
    """The one set of weights of a result.

    Parameters
    ----------
    result
        A `FitResult`, or a `BackpropResult`, which has one set and heeds neither estimate nor draw.
    estimate
        "mean", "map", "medoid" or "distilled".
    draw
        In the place of an estimate: the number of one posterior draw, chains one after the other.

    Raises
    ------
    InputError
        For an ensemble, which is many sets of weights; for a draw that is not there; for something else than a result.
    """
    chip, weights = getattr(result, "chip", None), getattr(result, "weights", None)
    if chip is None or not (callable(weights) or isinstance(weights, list)):
        raise InputError(
            f"The result was a {type(result).__name__}, but a FitResult or a BackpropResult is expected: give what "
            "fit, load_fit or train_backprop returned."
        )
    if isinstance(weights, list):
        return Deployment(chip, [np.array(w, np.float64) for w in weights], f"backprop {result.mode}", result.readout)
    if draw is not None:
        n_draws = len(result.draws)
        if isinstance(draw, bool) or not isinstance(draw, int | np.integer) or not 0 <= draw < n_draws:
            raise InputError(f"draw was {draw!r}, but this fit's draws are numbered from 0 to {n_draws - 1}: give one.")
        programmed = [np.array(w, np.float64) for w in result.draws[int(draw)]]
        return Deployment(chip, programmed, f"draw {draw}", result.draws.readout(int(draw)))
    if estimate == "ensemble":
        raise InputError(
            "An ensemble is many sets of weights, but one set is exported: take 'mean', 'map', 'medoid' or "
            "'distilled', or give draw= and export its draws one by one."
        )
    programmed = [np.array(w, np.float64) for w in weights(estimate)]
    return Deployment(chip, programmed, str(estimate), result.readout(estimate))


def check_chain(weights: Sequence[FloatArray]) -> Weights:
    """Float64 copies of weights whose layers fit to each other, or an `InputError`."""
    try:
        arrays = [np.array(as_floats("The weights", matrix)) for matrix in weights]
    except TypeError:  # no sequence
        arrays = []
    if not arrays or any(w.ndim != 2 or 0 in w.shape for w in arrays):
        raise InputError(
            f"The weights have shapes {[np.shape(w) for w in arrays]}, but one (n_pre, n_post) array of numbers is "
            "expected for each layer: give a list of them."
        )
    if any(a.shape[1] != b.shape[0] for a, b in itertools.pairwise(arrays)):
        raise InputError(
            f"The weights have shapes {[w.shape for w in arrays]}, but each layer's n_post is the next one's n_pre: "
            "give (n_pre, n_post) arrays, transposed if they are (n_post, n_pre)."
        )
    if not all(np.isfinite(w).all() for w in arrays):
        raise InputError("The weights hold NaN or infinity, but numbers are expected: check where they came from.")
    return arrays


def file_path(path: str | Path) -> Path:
    """A path that names a file, or an `InputError`."""
    path = Path(path)
    if not path.name or path.is_dir():
        raise InputError(f"The output was {str(path)!r}, but the name of a file is expected: give weights.npz, say.")
    return path
