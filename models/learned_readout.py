"""The model of gaussian.py, and the weight of a spike learned with it: beta ~ LogNormal(log 0.5, 1).

    p(y = k | x, W) = softmax(beta c + b)_k,   c the spike counts of the output neurons

How sure the spikes of this chip make its answers; it costs no run.
"""

import numpy as np
import pymc as pm

from bayes_snn.likelihood import BETA
from bayes_snn.posterior import class_biases
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
    beta = pm.LogNormal("beta", mu=np.log(BETA), sigma=1.0)
    _, bias = class_biases.readout(chip)
    return beta, bias
