"""Weights that are all alike, W_ij ~ Normal(0, 1): the default of version 0.1, kept to make its fits again.

With 30 standardised features currents of the first layer spread over sqrt(30) thresholds, those behind 16 neurons over
hardly one. Where samples are few, models/gaussian.py is better.
"""

import pymc as pm


def weights(chip):
    """One (n_pre, n_post) matrix for each layer, inputs first."""
    return [
        pm.Normal(name, mu=0.0, sigma=1.0, dims=dims)
        for name, dims in zip(chip.spec.weight_names, chip.spec.weight_dims, strict=True)
    ]
