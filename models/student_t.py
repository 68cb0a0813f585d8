"""Student-t weights, W_ij ~ scale_l StudentT(4), with scale_l ~ HalfNormal(that of models/gaussian.py).

A few weights may lie far beyond their layer's scale, fewer than under models/horseshoe.py. It is sqrt(2) scale_l wide.
"""

import pymc as pm

from bayes_snn.posterior.weight_scales import weight_scales

NU = 4.0  # degrees of freedom: 1 is a Cauchy, some 30 nearly a Normal


def weights(chip):
    """One (n_pre, n_post) matrix for each layer, inputs first."""
    spec, matrices = chip.spec, []
    for name, expected, dims in zip(spec.weight_names, weight_scales(chip), spec.weight_dims, strict=True):
        scale = pm.HalfNormal(f"scale_{name}", sigma=expected)
        matrices.append(pm.StudentT(name, nu=NU, mu=0.0, sigma=scale, dims=dims))
    return matrices
