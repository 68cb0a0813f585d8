"""What a class is worth before a spike is counted: the readout of all model files that have none of their own.

    p(y = k | x, W) = softmax(beta c + b)_k,   b_k ~ Normal(0, beta n_steps / 4),   c the spike counts

An output neuron that never fires, or always does, then costs only what it could have said: the others are compared with
a bias in the place of its count. Without biases a class whose neuron is silent is the answer only where all are. A bias
can make up for half of the steps, two standard deviations. It is drawn at no run of the chip.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm

from bayes_snn.chips.contract import Chip
from bayes_snn.groups import BIAS
from bayes_snn.likelihood import BETA

SHARE = 0.25  # of what a spike at every step is worth: the standard deviation of a bias


def readout(chip: Chip, beta: float = BETA) -> tuple[float, Any]:
    """The weight of a spike, and a random bias of each class (n_classes,)."""
    scale = np.float64(SHARE * beta * chip.spec.n_steps)  # of a Python float PyTensor may take the logarithm in float32
    return beta, pm.Normal(BIAS, mu=0.0, sigma=scale, shape=chip.spec.layers[-1])


def no_biases(chip: Chip, beta: float = BETA) -> tuple[float, Any]:
    """The weight of a spike alone."""
    return beta, np.zeros(chip.spec.layers[-1])
