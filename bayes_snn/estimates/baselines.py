"""What a fit is measured against: chance below, an ideal digital classifier above."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from bayes_snn.data import Split
from bayes_snn.estimates.metrics import evaluate


def chance(split: Split, n_samples: int, sample_weight: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """The classes' frequencies in the training data, whatever the input: (n_samples, n_classes)."""
    frequencies = np.bincount(split.train_labels, sample_weight, minlength=split.n_classes)
    return np.tile(frequencies / frequencies.sum(), (n_samples, 1))


def baseline_scores(
    split: Split, sample_weight: NDArray[np.float64] | None = None
) -> dict[str, dict[str, dict[str, float]]]:
    """Train and test scores of chance and of scikit-learn's logistic regression in float64.

    `sample_weight` (n_train,) says how often each training sample counts, as it does for a fit; None for once.
    """
    parts = {  # it has an intercept of its own
        "train": (split.train_inputs[:, : split.n_features], split.train_labels),
        "test": (split.test_inputs[:, : split.n_features], split.test_labels),
    }
    model = LogisticRegression(max_iter=10_000).fit(*parts["train"], sample_weight=sample_weight)
    return {
        "chance": {part: evaluate(chance(split, len(x), sample_weight), y) for part, (x, y) in parts.items()},
        "logistic": {part: evaluate(model.predict_proba(x), y) for part, (x, y) in parts.items()},
    }
