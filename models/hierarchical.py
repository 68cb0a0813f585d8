"""A learned scale for each layer: scale_l ~ HalfNormal(that of models/gaussian.py), W_ij ~ Normal(0, scale_l).

The data say how large the weights of a layer are. The weights are centred (drawn with their scale, not multiplied by
it), so that a step that changes a scale alone does not run the chip.
"""

import pymc as pm

from bayes_snn.posterior.weight_scales import weight_scales


def weights(chip):
    """One (n_pre, n_post) matrix for each layer, inputs first."""
    spec, matrices = chip.spec, []
    for name, expected, dims in zip(spec.weight_names, weight_scales(chip), spec.weight_dims, strict=True):
        scale = pm.HalfNormal(f"scale_{name}", sigma=expected)
        matrices.append(pm.Normal(name, mu=0.0, sigma=scale, dims=dims))
    return matrices
