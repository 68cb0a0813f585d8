"""Weights that are all alike, W_ij ~ Normal(0, 1), and p(y = k | x, W) = softmax(0.5 c)_k of spike counts c.

The default of version 0.1, kept to make its fits again. With 30 standardised features currents of the first layer
spread over sqrt(30) thresholds, those behind 16 neurons over hardly one; and a class whose output neuron is silent is
the answer only where all are. Where samples are few or neurons broken, models/gaussian.py is better.
"""

import numpy as np
import pymc as pm

from bayes_snn.likelihood import BETA


def weights(chip):
    """One (n_pre, n_post) matrix for each layer, inputs first."""
    return [
        pm.Normal(name, mu=0.0, sigma=1.0, dims=dims)
        for name, dims in zip(chip.spec.weight_names, chip.spec.weight_dims, strict=True)
    ]


def readout(chip, beta=BETA):
    """The weight of a spike, and no bias of any class."""
    return beta, np.zeros(chip.spec.layers[-1])
