"""How often training samples count in the likelihood: weights of samples and of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.arrays import as_floats
from bayes_snn.chips.contract import ChipSpec, check_inputs, check_labels
from bayes_snn.errors import InputError
from bayes_snn.names import BALANCED

ClassWeight = str | Mapping[int, float] | Sequence[float] | None  # BALANCED, by label, or of each class


def find_sample_weights(
    labels: NDArray[np.integer[Any]], n_classes: int, sample_weight: Any = None, class_weight: ClassWeight = None
) -> NDArray[np.float64] | None:
    """How often each sample counts, (n_samples,); None where each counts once.

    Parameters
    ----------
    labels
        (n_samples,) from 0 to n_classes - 1.
    sample_weight
        (n_samples,) numbers >= 0, some above 0.
    class_weight
        "balanced", n_samples / (number of classes that occur x samples of the class); or a number >= 0 for each class,
        in order, or by label, 1 for those left out. It multiplies those of the samples.

    Raises
    ------
    InputError
        When a weight cannot be used.
    """
    codes = np.asarray(labels)
    weights = np.ones(len(codes))
    if sample_weight is not None:
        weights = as_floats("The sample weights", sample_weight).astype(np.float64)
        if weights.shape != codes.shape:
            raise InputError(
                f"The sample weights have shape {weights.shape}, but one number for each of the {len(codes)} samples "
                f"is expected: pass an array of shape ({len(codes)},)."
            )
        _check(weights, "sample weights")
    if class_weight is not None:
        weights = weights * _of_classes(codes, n_classes, class_weight)[codes]
    if not weights.any():
        raise InputError(
            "All weights of samples are zero, but some sample must count: give one of them a weight above 0."
        )
    return None if (weights == 1.0).all() else weights


def sample_weights_of(
    spec: ChipSpec, inputs: Any, labels: Any, sample_weight: Any, class_weight: ClassWeight
) -> NDArray[np.float64] | None:
    """The same for training data that were not checked yet; None at once where no weights came."""
    if sample_weight is None and class_weight is None:
        return None
    codes = check_labels(labels, len(check_inputs(inputs, spec.layers[0])), spec.layers[-1])
    return find_sample_weights(codes, spec.layers[-1], sample_weight, class_weight)


def _of_classes(codes: NDArray[np.integer[Any]], n_classes: int, class_weight: Any) -> NDArray[np.float64]:
    """The weight of each class, (n_classes,)."""
    if isinstance(class_weight, str):
        if class_weight != BALANCED:
            raise InputError(
                f"class_weight was {class_weight!r:.40}, but {BALANCED!r} or a number for each class is expected."
            )
        counts = np.bincount(codes, minlength=n_classes)
        return np.where(counts > 0, len(codes) / (np.count_nonzero(counts) * np.maximum(counts, 1)), 1.0)
    if isinstance(class_weight, Mapping):
        known = {label for label in class_weight if isinstance(label, int | np.integer) and 0 <= label < n_classes}
        if len(known) < len(class_weight):
            odd = next(label for label in class_weight if label not in known)
            raise InputError(
                f"class_weight has a weight for {odd!r:.40}, but labels run from 0 to {n_classes - 1}: leave it out."
            )
        class_weight = [class_weight.get(label, 1.0) for label in range(n_classes)]
    found = as_floats("The class weights", class_weight).astype(np.float64)
    if found.shape != (n_classes,):
        raise InputError(
            f"class_weight has shape {found.shape}, but one number for each of the {n_classes} classes is expected: "
            f"take {BALANCED!r}, or give {n_classes} numbers."
        )
    _check(found, "class weights")
    return found


def _check(weights: NDArray[np.float64], what: str) -> None:
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise InputError(
            f"The {what} hold {weights[bad[0]]} at {int(bad[0])}, but finite numbers of 0 or more are expected: 0 "
            "leaves a sample out."
        )
