"""How a voltage changes with what it is computed from, spikes being given: gains, leak, and the bending of currents.

    v[t] = (1 - alpha) sum_{r < k <= t} alpha^(t - k) f(I[k]),    I[k] = sum_i g_i w_i u_i[k]
    f(I) = I + sum_m c_m B_m(I)

B_m are cubic B-splines on equidistant knots. All derivatives obey the recursion of the voltage itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.lif.compiled import inner, kernel
from bayes_snn.twins.membrane import Floats, Neuron


class Bend(NamedTuple):
    """What is added to a current: splines with these coefficients (n_splines,), the first one centred at `low`, the
    next `step` further; nothing where there are none."""

    low: float
    step: float
    coefficients: Floats

    @property
    def is_straight(self) -> bool:
        """Whether nothing is added."""
        return not len(self.coefficients)

    def __call__(self, currents: Floats) -> Floats:
        """f(I), of the shape of `currents`."""
        if self.is_straight:
            return currents
        flat = np.ascontiguousarray(currents).ravel()
        bent = np.empty(flat.shape)
        _bent(flat, self.low, self.step, self.coefficients, np.empty((2, 4)), bent)
        return bent.reshape(currents.shape)


STRAIGHT = Bend(0.0, 1.0, np.zeros(0))


def slopes(neuron: Neuron, gain: Floats, decay: float, bend: Bend, wanted: NDArray[np.bool_]) -> Floats:
    """Derivatives of some voltages, (n_wanted, n_pre + 1 + n_splines): by gains, alpha, and coefficients.

    wanted (n_presentations, n_steps) says which; their order is that of `wanted`, row by row.
    """
    n_pre, n_splines = len(gain), len(bend.coefficients)
    found = np.empty((int(wanted.sum()), n_pre + 1 + n_splines))
    arguments = neuron.u, neuron.weights, neuron.programmed, neuron.spikes, gain, decay
    room = np.empty((2, 4)), np.empty(found.shape[1])
    _slopes(*arguments, bend.low, bend.step, bend.coefficients, wanted, *room, found)
    return found


@inner
def _spline(place, values):  # type: ignore[no-untyped-def]
    """The first of four splines that are not 0 at a place, in knots; values (4,) and slopes (4,) in `values`."""
    left = np.floor(place)
    x = place - left
    y = 1.0 - x
    values[0, 0] = y * y * y / 6.0
    values[0, 1] = (3.0 * x * x * x - 6.0 * x * x + 4.0) / 6.0
    values[0, 2] = (3.0 * y * y * y - 6.0 * y * y + 4.0) / 6.0
    values[0, 3] = x * x * x / 6.0
    values[1, 0] = -0.5 * y * y
    values[1, 1] = 0.5 * (3.0 * x * x - 4.0 * x)
    values[1, 2] = -0.5 * (3.0 * y * y - 4.0 * y)
    values[1, 3] = 0.5 * x * x
    return np.int64(left) - 1


@kernel
def _bent(currents, low, step, coefficients, values, bent):  # type: ignore[no-untyped-def]
    for i in range(currents.shape[0]):
        first = _spline((currents[i] - low) / step, values)
        bent[i] = currents[i]
        for m in range(max(0, first), min(coefficients.shape[0], first + 4)):
            bent[i] += coefficients[m] * values[0, m - first]


@kernel
def _slopes(  # type: ignore[no-untyped-def]
    u, weights, programmed, spikes, gain, decay, low, step, coefficients, wanted, values, by, found
):
    n_pre, n_splines, n_shown = u.shape[2], coefficients.shape[0], u.shape[1]
    row = 0
    for p in range(u.shape[0]):
        last = -1
        for t in range(spikes.shape[1]):
            if wanted[p, t]:
                last = t
        column, v = weights[programmed[p]], 0.0
        for j in range(by.shape[0]):
            by[j] = 0.0
        for t in range(last + 1):
            shown = u[p, min(t, n_shown - 1)]
            current = 0.0
            for i in range(n_pre):
                current += gain[i] * column[i] * shown[i]
            bent, slope, first = current, 1.0, -4
            if n_splines > 0:
                first = _spline((current - low) / step, values)
                for m in range(max(0, first), min(n_splines, first + 4)):
                    bent += coefficients[m] * values[0, m - first]
                    slope += coefficients[m] * values[1, m - first] / step
            for j in range(n_pre):
                by[j] = decay * by[j] + (1.0 - decay) * slope * column[j] * shown[j]
            by[n_pre] = decay * by[n_pre] + v - bent
            for m in range(n_splines):
                by[n_pre + 1 + m] *= decay
            for m in range(max(0, first), min(n_splines, first + 4)):
                by[n_pre + 1 + m] += (1.0 - decay) * values[0, m - first]
            v = decay * v + (1.0 - decay) * bent
            if wanted[p, t]:
                for j in range(by.shape[0]):
                    found[row, j] = by[j]
                row += 1
            if spikes[p, t]:
                v = 0.0
                for j in range(by.shape[0]):
                    by[j] = 0.0
