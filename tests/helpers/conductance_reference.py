"""A neuron of the family `conductance` as bayes_snn/twins/conductance/neuron.py writes it, one step after the other."""

from __future__ import annotations

import numpy as np

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.twins.conductance import neuron as n
from bayes_snn.twins.conductance.twin import ConductanceTwin


def random_parameters(rng, first, size):
    """(size, n_parameters) of neurons that spike now and then, spread as mismatch spreads them."""
    p = np.zeros((size, n.N_FIRST if first else n.N_LATER))
    known = {
        n.LEAK: np.log(0.1),
        n.ADAPT: np.log(0.02),
        n.JUMP: 0.02,
        n.COUPLING: 0.02,
        n.REFRACTORY: np.log(1.7),
        n.RESET: 0.05,
        n.BEND: 0.2,
        n.ONSET: 0.8,
        n.H1: 0.3,
        n.H2: -0.1,
        n.H3: 0.1,
    }
    known |= {n.GAIN: 0.12} if first else {}
    if not first:
        known |= {n.DECAY_E: np.log(0.5), n.DECAY_I: np.log(0.4), n.REVERSAL_E: 3.0, n.REVERSAL_I: -0.7}
        known |= {n.E0: 0.01, n.E1: 0.05, n.E2: 0.02, n.I0: 0.02, n.I1: 0.06, n.I2: 0.0}
        known |= {n.H4: 0.1, n.H5: 0.1, n.H6: -0.1}
    for name, value in known.items():
        logarithm = name in (n.LEAK, n.ADAPT, n.REFRACTORY, n.DECAY_E, n.DECAY_I)
        p[:, name] = value + (0.25 * rng.normal(size=size) if logarithm else 0.0)
        p[:, name] *= 1.0 if logarithm else np.exp(0.2 * rng.normal(size=size))
    p[:, n.OFFSET] = 0.01 * rng.normal(size=size)
    return p


def run(p, x, excited, inhibited, n_steps):
    """Spikes (n_steps,) of one neuron, and the part of the step before each; x is None behind the first layer."""
    v = a = r = g_e = g_i = 0.0
    spikes, times = np.zeros(n_steps, bool), np.zeros(n_steps)
    for t in range(n_steps):
        if x is None:
            lagged = [[train[t - lag] if t >= lag else 0.0 for lag in range(3)] for train in (excited, inhibited)]
            g_e = np.exp(-np.exp(p[n.DECAY_E])) * g_e + p[[n.E0, n.E1, n.E2]] @ lagged[0]
            g_i = np.exp(-np.exp(p[n.DECAY_I])) * g_i + p[[n.I0, n.I1, n.I2]] @ lagged[1]
            slope = p[n.OFFSET] - a + p[n.REVERSAL_E] * g_e + p[n.REVERSAL_I] * g_i
        else:
            slope = p[n.OFFSET] - a + p[n.GAIN] * x
        slope, opened = np.clip(slope, -n.STEEPEST, n.STEEPEST), max(g_e + g_i, 0.0)
        g = np.exp(p[n.LEAK]) + opened
        d = np.clip(1.0 - r, 0.0, n.LONGEST)
        y = g * d
        shrink = 1.0 / (1.0 + y + y**2 / 2.0 + y**3 / 6.0)
        new = max(v * shrink + slope / g * (1.0 - shrink), n.LOWEST)
        new += p[n.BEND] * d * np.clip(new - p[n.ONSET], 0.0, n.HIGHEST) ** 2
        q = slope - g
        u, m = q / (n.Q + abs(q)), opened / (n.M + opened)
        theta = 1.0 + p[n.H1] * u + p[n.H2] * u**2 + p[n.H3] * u**3
        theta += p[n.H4] * m + p[n.H5] * m * u + p[n.H6] * m**2 if x is None else 0.0
        keep = np.exp(-np.exp(p[n.ADAPT]))
        a = keep * a + (1.0 - keep) * p[n.COUPLING] * new
        if new >= theta and d > 0:
            part = np.clip((theta - v) / max(new - v, 1e-9), 0.0, 1.0)
            spikes[t], times[t] = True, max(1.0 - d + part * d, 0.0)
            r, v, a = np.exp(p[n.REFRACTORY]) - (1.0 - times[t]), p[n.RESET], a + p[n.JUMP]
        else:
            r, v = max(r - 1.0, 0.0), new
    return spikes, times


class ConductanceChip:
    """A chip of such neurons, which does not say so."""

    def __init__(self, layers, n_steps=24, seed=0):
        rng = np.random.default_rng(seed)
        parameters = [random_parameters(rng, k == 0, size) for k, size in enumerate(layers[1:])]
        made = ConductanceTwin(ChipSpec(layers, n_steps), parameters)
        self.spec, self.run, self.spikes = made.spec, made.run, made.spikes
