"""Neuron models of NEST that a `NestChip` is made of, and how their parameters spread from neuron to neuron.

Membrane V, synaptic conductances g, adaptation current w (Brette and Gerstner, J. Neurophysiol. 94, 2005; units of
NEST: mV, ms, pF, nS, pA):

    C_m dV/dt = -g_L (V - E_L) + g_L Delta_T exp((V - V_th) / Delta_T) - g_ex (V - E_ex) - g_in (V - E_in) - w + I
    tau_w dw/dt = a (V - E_L) - w
    tau_syn dg/dt = -g, and g grows by a synapse's weight when its spike arrives

It spikes at V_peak, stays at V_reset for t_ref, and w grows by b. `iaf_cond_exp` has neither exponential nor w, and
spikes at V_th.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.chips.nest.process import DT

LARGEST = 2.0  # standard deviations beyond which a neuron's parameters do not go
MOST_SPREAD = 0.5
KICK = 0.2  # what a spike adds to V through a weight of 1, as a share of the distance from rest to threshold

_SYNAPSES = {"tau_syn_ex": 2.0, "tau_syn_in": 2.0}
_REVERSAL = {"E_ex": 0.0, "E_in": -85.0}
# of each model, NEST's own values but for those of the synapses, of t_ref and of V_reset, which is rest
MODELS: dict[str, dict[str, float]] = {
    "aeif_cond_exp": {
        "C_m": 281.0,
        "g_L": 30.0,
        "E_L": -70.6,
        "V_th": -50.4,
        "V_reset": -70.6,
        "t_ref": 2.0,
        "Delta_T": 2.0,
        "a": 4.0,
        "b": 80.5,
        "tau_w": 144.0,
        **_SYNAPSES,
        **_REVERSAL,
    },
    "iaf_cond_exp": {
        "C_m": 250.0,
        "g_L": 16.6667,
        "E_L": -70.0,
        "V_th": -55.0,
        "V_reset": -70.0,
        "t_ref": 2.0,
        **_SYNAPSES,
        **_REVERSAL,
    },
}
_SCALED = ("C_m", "g_L", "t_ref", "Delta_T", "a", "b", "tau_w", "tau_syn_ex", "tau_syn_in")


class Units(NamedTuple):
    """What a weight of 1 is: a current in pA at an input of 1, and conductances in nS behind the first layer."""

    current: float
    excitatory: float
    inhibitory: float


def units_of(model: str) -> Units:
    """An input of 1 through a weight of 1 holds V at threshold; a spike through it moves V by KICK of the way there."""
    p = MODELS[model]
    way, middle = p["V_th"] - p["E_L"], 0.5 * (p["V_th"] + p["E_L"])
    charge = KICK * way * p["C_m"]
    excitatory = charge / (p["tau_syn_ex"] * (p["E_ex"] - middle))
    return Units(p["g_L"] * way, excitatory, charge / (p["tau_syn_in"] * (middle - p["E_in"])))


def draw_neurons(model: str, spec: ChipSpec, spread: float, seed: int) -> list[dict[str, NDArray[np.float64]]]:
    """Parameters (n_neurons,) of each layer, by NEST's names.

    All but the potentials are multiplied by exp(spread e), and the distance of V_th from rest likewise, each with an e
    of its own, standard normal and cut at LARGEST. t_ref is a step at least.
    """
    drawn = []
    for layer, n in enumerate(spec.layers[1:]):
        rng = np.random.default_rng([seed, layer])
        p = {name: np.full(n, value) for name, value in MODELS[model].items()}
        factors = {
            name: np.exp(spread * np.clip(rng.standard_normal(n), -LARGEST, LARGEST)) for name in ("V_th", *_SCALED)
        }
        p |= {name: p[name] * factors[name] for name in _SCALED if name in p}
        p["V_th"] = p["E_L"] + (p["V_th"] - p["E_L"]) * factors["V_th"]
        p["t_ref"] = np.maximum(p["t_ref"], DT)
        drawn.append(p)
    return drawn
