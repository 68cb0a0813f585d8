"""Independent Gaussian weights, the default: W_ij ~ Normal(0, scale_l), with a scale for each layer.

scale_l = 3 / sqrt(n_pre) behind the inputs and 12 / sqrt(n_pre) behind neurons: currents then spread over 3 thresholds.
The readout is p(y = k | x, W) = softmax(0.5 c + b)_k of spike counts c, with a bias of each class, b_k ~ Normal(0, 4)
where a sample is shown for 32 steps: an output neuron that never fires then costs its information alone.
"""

import pymc as pm

from bayes_snn.posterior.weight_scales import weight_scales


def weights(chip):
    """One (n_pre, n_post) matrix for each layer, inputs first."""
    spec = chip.spec
    return [
        pm.Normal(name, mu=0.0, sigma=scale, dims=dims)
        for name, scale, dims in zip(spec.weight_names, weight_scales(chip), spec.weight_dims, strict=True)
    ]
