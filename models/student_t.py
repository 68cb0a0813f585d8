"""Student-t weights of a learned scale: scale_l ~ HalfNormal(1), W_ij ~ StudentT(4) times scale_l.

A few weights may lie far beyond the scale of their layer, fewer than under models/horseshoe.py, and no weight has a
scale of its own. With NU = 4 the standard deviation of a weight is sqrt(2) scale_l.
"""

import pymc as pm

NU = 4.0  # degrees of freedom: 1 is a Cauchy, some 30 nearly a Normal


def weights(chip):
    """One (n_pre, n_post) matrix for each layer, inputs first."""
    matrices = []
    for name, dims in zip(chip.spec.weight_names, chip.spec.weight_dims, strict=True):
        scale = pm.HalfNormal(f"scale_{name}", sigma=1.0)
        matrices.append(pm.StudentT(name, nu=NU, mu=0.0, sigma=scale, dims=dims))
    return matrices
