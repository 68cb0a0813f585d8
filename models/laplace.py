"""Laplace weights, the Bayesian lasso (Park and Casella, JASA 2008): most weights small, a few large.

b = scale_l / sqrt(2) gives the standard deviation scale_l of models/gaussian.py.
"""

import pymc as pm

from bayes_snn.posterior.weight_scales import weight_scales


def weights(chip):
    """One (n_pre, n_post) matrix for each layer, inputs first."""
    spec = chip.spec
    return [
        pm.Laplace(name, mu=0.0, b=0.5**0.5 * scale, dims=dims)
        for name, scale, dims in zip(spec.weight_names, weight_scales(chip), spec.weight_dims, strict=True)
    ]
