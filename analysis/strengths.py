"""Comparable strengths of the distortions: python analysis/strengths.py (about two minutes)

Sigma means another thing in each family. What the families have in common is what they do to weights that were made
for the ideal chip: programmed into a distorted one, such weights lose accuracy. This fits the ideal chip on breast
cancer data, programs draws of that posterior into chips of each family, and looks for the strengths at which a tenth, a
third and two thirds of the training accuracy above 0.5 are lost, on average over chips and draws. `atlas.py` holds the
result, rounded. No method of the atlas has a part in it: none is trained so.
"""

from __future__ import annotations

import numpy as np

from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.data import load_data, split_data
from bayes_snn.estimates.metrics import accuracy
from bayes_snn.estimates.predict import probabilities
from bayes_snn.inference.fit import fit
from bayes_snn.names import DISTORTIONS

LOSSES = {"mild": 0.1, "medium": 1 / 3, "strong": 2 / 3}
LARGEST = {"stuck": 0.95, "silent": 0.9, "threshold": 5.0, "leak": 5.0, "gain": 5.0}
N_CHIPS, N_DRAWS = 20, 10


def main() -> None:
    split = split_data(load_data("breast_cancer"))
    layers = (split.n_features, 16, split.n_classes)
    settings = {"sampler": "sitewise", "draws": 200, "tune": 200, "chains": 2, "cores": 1}
    ideal = fit(LIFChip(layers), split.train_inputs, split.train_labels, **settings)
    draws = [ideal.draws[int(i)] for i in ideal.draws.spread(N_DRAWS)]

    def mean_accuracy(chips: list[LIFChip]) -> float:
        shown = [probabilities(chip, weights, split.train_inputs) for chip in chips for weights in draws]
        return float(np.mean([accuracy(each, split.train_labels) for each in shown]))

    best = mean_accuracy([LIFChip(layers)])
    print(f"training accuracy of the draws on the ideal chip: {best:.3f}; lost, by sigma:")
    for family in (name for name in DISTORTIONS if name != "drift"):  # whose strength depends on the chip's age
        sigmas = np.geomspace(0.01, LARGEST.get(family, 10.0), 16)
        if family == "quantisation":
            sigmas = np.arange(8.0, 1.0, -1.0)
        lost = []
        for sigma in sigmas:
            chips = [LIFChip(layers, family, float(sigma), seed) for seed in range(N_CHIPS)]
            lost.append((best - mean_accuracy(chips)) / (best - 0.5))
        print(f"{family:13}", " ".join(f"{s:.3g}:{loss:.2f}" for s, loss in zip(sigmas, lost, strict=True)))
        for level, loss in LOSSES.items():
            reached = np.maximum.accumulate(lost)
            if reached[-1] < loss:
                print(f"  {level:7} never; at most {reached[-1]:.2f} is lost")
            else:
                log_sigma = np.interp(loss, reached + 1e-9 * np.arange(len(reached)), np.log(sigmas))
                print(f"  {level:7} {np.exp(log_sigma):.2g}")


if __name__ == "__main__":
    main()
