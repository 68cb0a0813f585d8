"""A learned scale for each layer: scale_l ~ HalfNormal(1), W_ij ~ Normal(0, scale_l).

The data say how large the weights of a layer are. The weights are centred (drawn with their scale, not multiplied by
it), so that a step that changes a scale alone does not run the chip.
"""

import pymc as pm


def weights(chip):
    """One (n_pre, n_post) matrix for each layer, inputs first."""
    matrices = []
    for name, dims in zip(chip.spec.weight_names, chip.spec.weight_dims, strict=True):
        scale = pm.HalfNormal(f"scale_{name}", sigma=1.0)
        matrices.append(pm.Normal(name, mu=0.0, sigma=scale, dims=dims))
    return matrices
