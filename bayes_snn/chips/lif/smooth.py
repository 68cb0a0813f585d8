"""Smooth random functions, which bend what a comparator or a neuron's input receives: random Fourier features.

Rahimi and Recht, NIPS 2007. A comparator that sees v + sigma g(v) fires in several intervals of v, whose ends are found
here; a bent input current is tabulated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.lif.compiled import inner, kernel
from bayes_snn.chips.lif.current import TABLE_REACH

N_FEATURES = 8  # cosines of a smooth random function
MOST_HALVINGS = 512  # of an interval of float32 numbers: the largest is 2^277 times the smallest above 0
N_KNOTS = 4097  # of a current table: 32 to the unit of the threshold
KNOTS = np.linspace(-TABLE_REACH, TABLE_REACH, N_KNOTS)


@dataclass(frozen=True)
class SmoothFunctions:
    """Smooth random functions sigma g_n(x), g_n(x) = sqrt(2 / K) sum_k cos(omega_nk x + phi_nk), one per neuron.

    omega ~ Normal(0, 1 / length), phi ~ Uniform(0, 2 pi): over the draws, g(x) has mean 0 and variance 1 at each
    x, and |g| <= sqrt(2 K). `frequencies` and `phases` have shape (n_neurons, K).
    """

    frequencies: NDArray[np.float64]
    phases: NDArray[np.float64]
    sigma: float = 1.0

    @classmethod
    def draw(cls, rng: np.random.Generator, n_neurons: int, length: float = 1.0, sigma: float = 1.0) -> SmoothFunctions:
        """One function for each neuron."""
        frequencies = rng.normal(0.0, 1.0 / length, (n_neurons, N_FEATURES))
        return cls(frequencies, rng.uniform(0.0, 2.0 * np.pi, (n_neurons, N_FEATURES)), sigma)

    def __call__(self, neuron: int, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """sigma g of one neuron at each x."""
        angles = np.multiply.outer(np.asarray(x, np.float64), self.frequencies[neuron]) + self.phases[neuron]
        return np.asarray(self.sigma * (np.sqrt(2.0 / N_FEATURES) * np.cos(angles).sum(axis=-1)))


def comparator_edges(g: SmoothFunctions, thresholds: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Where each neuron's comparator v + sigma g(v) >= theta starts and stops firing, as float32, ascending.

    A neuron fires where an odd number of its edges are <= v. Every float32 voltage is decided as the formula, in
    float64, decides it.
    """
    stack, found = np.empty((MOST_HALVINGS, 2), np.float32), np.empty(64, np.float32)
    edges = []
    for neuron, theta in enumerate(thresholds):
        arguments = g.frequencies[neuron], g.phases[neuron], g.sigma, np.float64(theta), stack
        n_edges = _find_edges(*arguments, found)
        if n_edges > len(found):
            found = np.empty(n_edges, np.float32)
            _find_edges(*arguments, found)
        edges.append(found[:n_edges].copy())
    return edges


@inner
def _comparator(v, frequencies, phases, sigma):  # type: ignore[no-untyped-def]
    total = 0.0
    for k in range(frequencies.shape[0]):
        total += np.cos(frequencies[k] * v + phases[k])
    return v + sigma * np.sqrt(2.0 / frequencies.shape[0]) * total


@kernel
def _find_edges(frequencies, phases, sigma, theta, stack, edges):  # type: ignore[no-untyped-def]
    """Number of edges of one neuron, of which edges takes as many as it has room for: intervals are halved until a
    bound on the curvature rules a crossing out, or until they lie between two neighbouring float32 numbers. Those that
    are left to look at lie in stack (MOST_HALVINGS, 2)."""
    if theta == np.inf:  # out of reach
        return 0
    n_features = frequencies.shape[0]
    squares = 0.0
    for k in range(n_features):
        squares += frequencies[k] * frequencies[k]
    reach = sigma * np.sqrt(2.0 * n_features)
    curvature = sigma * np.sqrt(2.0 / n_features) * squares
    # |sigma g| <= reach, so nothing crosses outside; the margin covers the rounding to float32
    stack[0, 0] = np.float32((theta - reach) - 1e-3 * (1.0 + np.abs(theta) + reach))
    stack[0, 1] = np.float32((theta + reach) + 1e-3 * (1.0 + np.abs(theta) + reach))
    n_edges, n_left = 0, 1
    while n_left > 0:
        n_left -= 1
        a, b = stack[n_left, 0], stack[n_left, 1]
        above_a = _comparator(np.float64(a), frequencies, phases, sigma) - theta
        above_b = _comparator(np.float64(b), frequencies, phases, sigma) - theta
        crosses = (above_a >= 0.0) != (above_b >= 0.0)
        width = np.float64(b) - np.float64(a)
        # a curve with |h''| <= curvature leaves its chord by at most curvature width^2 / 8
        sagitta = curvature * width * width / 8.0 + 1e-12
        if not crosses and min(abs(above_a), abs(above_b)) > sagitta:
            continue
        middle = np.float32(0.5 * (np.float64(a) + np.float64(b)))
        if middle <= a or middle >= b:
            if crosses:
                if n_edges < edges.shape[0]:
                    edges[n_edges] = b
                n_edges += 1
        else:  # the left half is looked at first: edges come out ascending
            stack[n_left, 0], stack[n_left, 1] = middle, b
            stack[n_left + 1, 0], stack[n_left + 1, 1] = a, middle
            n_left += 2
    return n_edges


def current_table(g: SmoothFunctions) -> NDArray[np.float32]:
    """sigma g(I) of each neuron at N_KNOTS equidistant currents from -TABLE_REACH to TABLE_REACH."""
    return np.stack([g(n, KNOTS) for n in range(len(g.frequencies))]).astype(np.float32)
