"""How large the weights of a layer are before any label was seen: the scales that the priors of `models/` share.

What a weight does depends on how many there are: a neuron receives a sum over its fan-in. So a prior says how far the
currents of a layer spread, in thresholds, which means the same in any network. The scale of a weight follows from the
fan-in and from what a presynaptic neuron sends,

    scale_l = CURRENT / (activity_l sqrt(n_pre))

with activity_l the root mean square of an input, 1 where it is standardised, or of a spike train.
"""

from __future__ import annotations

from bayes_snn.chips.contract import Chip

CURRENT = 3.0  # standard deviation of a neuron's input current, in thresholds
SPIKES = 0.25  # root mean square of a spike train: a spike every 16 steps
MOST = 0.75  # of the largest weight: a wider prior would leave little but the ends of the range


def weight_scales(chip: Chip) -> list[float]:
    """Scale of the weights of each layer, in units of the threshold per unit of input, one for each weight matrix.

    A chip whose units are its own says the scale of a `Parameter`; 1 where it has one that is no matrix between layers.
    """
    spec, scales = chip.spec, []
    most = MOST * max(abs(bound) for bound in spec.weight_range)
    for layer, parameter in enumerate(spec.parameters):
        if parameter.scale is not None:
            scales.append(parameter.scale)
        elif parameter.shape != tuple(spec.layers[layer : layer + 2]):
            scales.append(1.0)
        else:
            scales.append(min(CURRENT / ((SPIKES if layer else 1.0) * parameter.shape[0] ** 0.5), most))
    return scales
