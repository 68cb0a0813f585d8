"""Weights on the grid of a chip with few bits: those of models/gaussian.py, rounded to the nearest level.

    P(level_ij = k) = Phi((m_k+1) / scale_l) - Phi(m_k / scale_l),   m_k halfway between levels k - 1 and k
    W_ij = levels[level_ij]

The levels are those of the chip's weight bits, 4 bits where it names none; the variables are whole numbers from 0.
"""

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayes_snn.chips.levels import normal_log_mass, weight_levels
from bayes_snn.posterior.weight_scales import weight_scales


def weights(chip):
    """One (n_pre, n_post) matrix for each layer, inputs first."""
    spec, matrices = chip.spec, []
    on_each = zip(spec.weight_names, spec.weight_dims, weight_levels(chip), weight_scales(chip), strict=True)
    for name, dims, levels, scale in on_each:
        level = pm.Categorical(f"level_{name}", p=np.exp(normal_log_mass(levels, scale)), dims=dims)
        matrices.append(pm.Deterministic(name, pt.as_tensor(levels)[level], dims=dims))
    return matrices
