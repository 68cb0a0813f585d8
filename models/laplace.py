"""Laplace weights, the Bayesian lasso (Park and Casella, JASA 2008): most weights small, a few large.

Scale 1 / sqrt(2) gives standard deviation 1, as in models/gaussian.py.
"""

import pymc as pm


def weights(chip):
    """One (n_pre, n_post) matrix for each layer, inputs first."""
    return [
        pm.Laplace(name, mu=0.0, b=0.5**0.5, dims=dims)
        for name, dims in zip(chip.spec.weight_names, chip.spec.weight_dims, strict=True)
    ]
