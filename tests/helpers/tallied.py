"""A chip whose presentations and programmings are counted from outside."""

from __future__ import annotations

import numpy as np


class TalliedChip:
    """Any chip, counted by what reaches `run` and `spikes`; without `spikes` it shows output counts alone."""

    def __init__(self, chip, spikes=True):
        self.chip, self.spec = chip, chip.spec
        self.shown = self.programmings = 0
        self._written = None
        if spikes:
            self.spikes = self._spikes

    def run(self, weights, inputs):
        self._count(weights, inputs)
        return self.chip.run(weights, inputs)

    def _spikes(self, weights, inputs):
        self._count(weights, inputs)
        return self.chip.spikes(weights, inputs)

    def _count(self, weights, inputs):
        self.shown += len(inputs)
        written = b"".join(np.ascontiguousarray(matrix, np.float64).tobytes() for matrix in weights)
        self.programmings += written != self._written
        self._written = written
