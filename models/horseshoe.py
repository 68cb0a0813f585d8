"""Horseshoe weights (Carvalho, Polson and Scott, Biometrika 2010): a global and a local scale for each weight.

    tau_l ~ HalfCauchy(scale_l),   lambda_ij ~ HalfCauchy(1),   W_ij ~ Normal(0, tau_l lambda_ij)

Most weights are shrunk to zero and a few are left alone. A layer has as many local scales as weights, so this model
has twice the variables of the Gaussian one, whose scale_l it takes; the scales are sampled without running the chip.
"""

import pymc as pm

from bayes_snn.posterior.weight_scales import weight_scales


def weights(chip):
    """One (n_pre, n_post) matrix for each layer, inputs first."""
    spec, matrices = chip.spec, []
    for name, expected, dims in zip(spec.weight_names, weight_scales(chip), spec.weight_dims, strict=True):
        tau = pm.HalfCauchy(f"tau_{name}", beta=expected)
        local = pm.HalfCauchy(f"lambda_{name}", beta=1.0, dims=dims)
        matrices.append(pm.Normal(name, mu=0.0, sigma=tau * local, dims=dims))
    return matrices
