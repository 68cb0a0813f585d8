"""Gaussian weights, and a readout that is learned with them: beta ~ LogNormal(log 0.5, 1), b_k ~ Normal(0, 1).

    p(y = k | x, W) = softmax(beta c + b)_k,   c the spike counts of the output neurons

How much a spike counts, and how often each class is the answer of a chip that says nothing. Neither costs a run.
"""

import numpy as np
import pymc as pm

from bayes_snn.posterior.weight_scales import weight_scales


def weights(chip):
    """One (n_pre, n_post) matrix for each layer, inputs first."""
    spec = chip.spec
    return [
        pm.Normal(name, mu=0.0, sigma=scale, dims=dims)
        for name, scale, dims in zip(spec.weight_names, weight_scales(chip), spec.weight_dims, strict=True)
    ]


def readout(chip):
    """The weight of a spike, and a bias of each class (n_classes,)."""
    beta = pm.LogNormal("beta", mu=np.log(0.5), sigma=1.0)
    bias = pm.Normal("bias", mu=0.0, sigma=1.0, shape=chip.spec.layers[-1])
    return beta, bias
