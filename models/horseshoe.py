"""Horseshoe weights (Carvalho, Polson and Scott, Biometrika 2010): a global and a local scale for each weight.

    tau_l ~ HalfCauchy(1),   lambda_ij ~ HalfCauchy(1),   W_ij ~ Normal(0, tau_l lambda_ij)

Most weights are shrunk to zero and a few are left alone. A layer has as many local scales as weights, so this model
has twice the variables of the Gaussian one; the scales are sampled without running the chip.
"""

import pymc as pm


def weights(chip):
    """One (n_pre, n_post) matrix for each layer, inputs first."""
    matrices = []
    for name, dims in zip(chip.spec.weight_names, chip.spec.weight_dims, strict=True):
        tau = pm.HalfCauchy(f"tau_{name}", beta=1.0)
        local = pm.HalfCauchy(f"lambda_{name}", beta=1.0, dims=dims)
        matrices.append(pm.Normal(name, mu=0.0, sigma=tau * local, dims=dims))
    return matrices
