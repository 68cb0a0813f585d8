"""Leaks of neurons, by the fewest edges and errors that they leave: a wrong leak mixes labels near every edge."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bayes_snn.twins.membrane import Floats, Neuron
from bayes_snn.twins.regions import PRICE, find_region

SHORTEST, LONGEST = 0.5, 500.0  # time constants that are tried, in steps
DECAYS = (0.3, 0.6, 0.75, 0.85, 0.9, 0.94, 0.97)  # alphas that are tried where each of them takes a fit of its own
_COARSE, _FINE, _LEVELS = 25, 9, 6
_FEW = 300  # presentations that tell roughly where a leak lies


def find_common_decay(neurons: Sequence[Neuron], currents: Sequence[Floats], start: float | None = None) -> float:
    """The alpha of all neurons, if they have one in common."""
    few = [neuron.part(slice(-_FEW, None)) for neuron in neurons]

    def cost(decay: float) -> float:
        return sum(cost_of_decay(n, c[-_FEW:], decay) for n, c in zip(few, currents, strict=True))

    def whole_cost(decay: float) -> float:
        return sum(cost_of_decay(n, c, decay) for n, c in zip(neurons, currents, strict=True))

    return _search(cost, whole_cost, start)


def find_decay(neuron: Neuron, currents: Floats, start: float) -> float:
    """The alpha of one neuron; the one to start from where others are no better."""
    few = neuron.part(slice(-_FEW, None))

    def cost(decay: float) -> float:
        return cost_of_decay(few, currents[-_FEW:], decay)

    def whole_cost(decay: float) -> float:
        return cost_of_decay(neuron, currents, decay)

    rough = _search(cost, cost, start, wide=True)
    if cost(rough) >= cost(start) - PRICE and whole_cost(rough) >= whole_cost(start):
        return start
    found = _search(cost, whole_cost, rough)
    return found if whole_cost(found) < whole_cost(start) - PRICE else start


def cost_of_decay(neuron: Neuron, currents: Floats, decay: float) -> float:
    """Errors and edges that a neuron is left with."""
    return find_region(*neuron.points(currents, decay)).cost()


def _search(
    cost: Callable[[float], float], whole_cost: Callable[[float], float], start: float | None, wide: bool = False
) -> float:
    """The alpha of least cost: a coarse grid of time constants, then finer ones, the last ones on all the data."""
    if start is None or wide:
        middle = 0.0 if start is None else np.log(time_constant(start))
        low, high = (np.log(SHORTEST), np.log(LONGEST)) if start is None else (middle - 2.4, middle + 2.4)
        grid = np.linspace(low, high, _COARSE)
        best, step = _middle_of_best(grid, [cost(decay_of(tau)) for tau in np.exp(grid)]), grid[1] - grid[0]
    else:
        best, step = np.log(time_constant(start)), 0.1
    for level in range(_LEVELS):
        grid = best + step * np.linspace(-1.0, 1.0, _FINE)
        counted = cost if level < _LEVELS // 2 else whole_cost
        best, step = _middle_of_best(grid, [counted(decay_of(tau)) for tau in np.exp(grid)]), 0.4 * step
    return decay_of(np.exp(best))


def _middle_of_best(grid: Floats, costs: list[float]) -> float:
    """The middle of the values of least cost: all of them explain the data."""
    best = np.flatnonzero(np.array(costs) <= min(costs))
    return float(grid[best[len(best) // 2]])


def decay_of(tau: float) -> float:
    """alpha of a time constant in steps."""
    return float(np.exp(-1.0 / tau))


def time_constant(decay: float) -> float:
    """The time constant, in steps, of an alpha."""
    return float(-1.0 / np.log(min(max(decay, 1e-6), 1.0 - 1e-6)))
