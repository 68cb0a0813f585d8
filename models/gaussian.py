"""Independent Gaussian weights, the default: W_ij ~ Normal(0, 1).

The standard deviation is in units of the threshold per unit of input: with 30 standardised features it gives the
first layer's currents a standard deviation of sqrt(30), several thresholds. Change `sigma` to tighten the prior.
"""

import pymc as pm


def weights(chip):
    """One (n_pre, n_post) matrix for each layer, inputs first."""
    return [
        pm.Normal(name, mu=0.0, sigma=1.0, dims=dims)
        for name, dims in zip(chip.spec.weight_names, chip.spec.weight_dims, strict=True)
    ]
