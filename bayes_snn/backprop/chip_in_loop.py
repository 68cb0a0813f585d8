"""The chip in the training loop: replicates run one after the other, answers checked, presentations counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bayes_snn.chips.contract import Chip, FloatArray, ask_counts, ask_spikes, frozen


class CountedChip:
    """Runs a chip for each replicate and counts the samples shown to it in `presentations`."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.presentations = 0

    def counts(self, weights: Sequence[Tensor], inputs: FloatArray) -> Tensor:
        """Spike counts (R, n_samples, n_classes), float32, of weights (R, n_pre, n_post)."""
        return torch.from_numpy(np.stack(self._answers(ask_counts, weights, inputs)).astype(np.float32))

    def spikes(self, weights: Sequence[Tensor], inputs: FloatArray) -> list[Tensor]:
        """Spikes (R, n_neurons, n_steps, n_samples), float32, of each layer."""
        answers = self._answers(ask_spikes, weights, inputs)
        layers = [np.stack(layer).transpose(0, 3, 2, 1) for layer in zip(*answers, strict=True)]
        return [torch.from_numpy(np.ascontiguousarray(layer, np.float32)) for layer in layers]

    def _answers(self, ask: Callable[..., Any], weights: Sequence[Tensor], inputs: FloatArray) -> list[Any]:
        """What the chip answers to each replicate."""
        answers, inputs = [], frozen(inputs)
        for programmed in replicates(weights):
            self.presentations += len(inputs)
            answers.append(ask(self.chip, programmed, inputs))
        return answers


def replicates(weights: Sequence[Tensor]) -> list[list[NDArray[np.float64]]]:
    """Weights of each replicate as a chip takes them."""
    arrays = [layer.detach().numpy().astype(np.float64) for layer in weights]
    return [[layer[r] for layer in arrays] for r in range(len(arrays[0]))]
