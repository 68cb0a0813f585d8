"""A spike and a slab (George and McCulloch, JASA 1993): each weight is either near zero or free.

    W_ij ~ p Normal(0, 0.05 scale_l) + (1 - p) Normal(0, 1.5 scale_l),   p = 0.7

The mixture is summed over which of the two a weight belongs to, so every variable stays continuous.
"""

import pymc as pm

from bayes_snn.posterior.weight_scales import weight_scales

NEAR_ZERO = 0.7  # prior share of the weights that the task does not need


def weights(chip):
    """One (n_pre, n_post) matrix for each layer, inputs first."""
    spec = chip.spec
    return [
        pm.NormalMixture(
            name, w=[NEAR_ZERO, 1 - NEAR_ZERO], mu=[0.0, 0.0], sigma=[0.05 * scale, 1.5 * scale], dims=dims
        )
        for name, scale, dims in zip(spec.weight_names, weight_scales(chip), spec.weight_dims, strict=True)
    ]
