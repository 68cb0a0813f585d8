"""Sweeps over single weights: what a sweeper does, and what one sweep reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import FloatArray
from bayes_snn.likelihood import Readout


@dataclass
class Sweep:
    """What a sweep did: proposals accepted (n_weights,) bool, log-likelihood after it, samples shown to the chip."""

    accepted: NDArray[np.bool_]
    log_likelihood: float
    presentations: int


class Sweeper(Protocol):
    """Metropolis over single weights, on one chip and one training set.

    Simulated chips offer one as the capability `site_sweeper`; `bayes_snn.samplers.shared.sweepers.BlackBoxSweeper`
    sweeps all others. Weights are numbered as `np.concatenate([w.ravel() for w in weights])` lays them out.

    Attributes
    ----------
    presentations
        Samples that starts and sweeps have shown so far. Who calls them charges for it.
    """

    presentations: int

    def start(self, weights: Sequence[FloatArray], readout: Readout) -> float:
        """Take these as current weights and readout, and give log L.

        It shows the training set once, but nothing where the chip was left at these weights or they were accepted.
        """
        ...

    def accept(self, weights: Sequence[FloatArray], counts: NDArray[np.int64]) -> None:
        """Weights that the chip was run with elsewhere, and its counts (n_runs, n_samples, n_classes).

        The next `start` at them shows nothing. Of weights that were rejected nothing may be said here: on a grid they
        may be the current ones of a later draw, and an estimate that was not accepted must not become the current one.
        """
        ...

    def sweep(self, proposals: FloatArray, bounds: NDArray[np.float64], order: NDArray[np.int64]) -> Sweep:
        """Visit all weights once.

        A proposal whose log L cannot come out of what is left to show is lost early, and the rest is not shown.

        Parameters
        ----------
        proposals
            (n_weights,) a new value for each weight.
        bounds
            (n_weights,) what log L must gain, at least, for it to be accepted: -inf for always, +inf for never.
        order
            (n_weights,) a permutation, in which they are visited.
        """
        ...

    def counts(self) -> NDArray[np.int64]:
        """Spike counts (n_runs, n_samples, n_classes) of the current weights."""
        ...

    def checkpoint_state(self) -> dict[str, Any]:
        """What a chain that continues later must know, in plain values."""
        ...

    def restore_state(self, state: dict[str, Any]) -> None:
        """Continue from what `checkpoint_state` returned; a `ValueError` where that is none of this chip's."""
        ...


class Moves(NamedTuple):
    """Proposals of the neurons of one layer, each along several directions: from w to w' = sign w + step direction.

    Attributes
    ----------
    means, sds
        (n_post, n_pre) mean and standard deviation of each weight under its prior, a Normal.
    prior_power
        Power of the prior, over that of the likelihood.
    basis
        (n_directions, n_pre) a direction in each row.
    signs, steps
        (n_post, n_directions) of each neuron's move along each direction.
    bounds
        (n_post, n_directions) a move is accepted where the gain of log L and prior_power times that of log p exceed it.
    order
        (n_post n_directions,) a permutation of neurons and directions, numbered row by row.
    """

    means: NDArray[np.float64]
    sds: NDArray[np.float64]
    prior_power: float
    basis: NDArray[np.float64]
    signs: NDArray[np.float64]
    steps: NDArray[np.float64]
    bounds: NDArray[np.float64]
    order: NDArray[np.int64]


@runtime_checkable
class DirectionSweeper(Protocol):
    """A sweeper that can also move all weights of a neuron at once, along directions: an optional capability."""

    def directions(self, layer: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """An orthonormal basis (n_pre, n_pre), one vector a row, and what (n_pre,) moves currents alike on all samples.

        No weight of this or a later layer changes them.
        """
        ...

    def sweep_along(self, layer: int, weights: NDArray[np.float64], moves: Moves) -> tuple[NDArray[np.bool_], float]:
        """Visit each neuron of a layer and each direction of the moves once.

        weights (n_post, n_pre) are the layer's current ones, and become the new ones. Returns which moves were
        accepted, (n_post, n_directions), and log L after them.
        """
        ...


class Charging:
    """Mixin of the sweepers of simulated chips: they know where the chip was left, and count what they show.

    A simulated chip is run again at every start, for the order of the samples, but a chip that is at these weights
    already would not be: that is not counted.
    """

    def __init__(self, shapes: Sequence[tuple[int, int]], n_samples: int) -> None:
        self.presentations = 0
        self._n_weights, self._n_samples = sum(a * b for a, b in shapes), n_samples
        self._left: NDArray[np.float64] | None = None  # weights, (n_weights,)
        self._accepted: NDArray[np.float64] | None = None

    def accept(self, weights: Sequence[FloatArray], counts: NDArray[np.int64]) -> None:
        """See `Sweeper`; the simulation has the counts itself."""
        self._accepted = _joined(weights)

    def checkpoint_state(self) -> dict[str, Any]:
        """The weights that the chip was left at, (n_weights,)."""
        return {"weights": self._left}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Continue from what `checkpoint_state` returned."""
        weights = state["weights"]
        if weights is not None and (
            not isinstance(weights, np.ndarray) or weights.shape != (self._n_weights,) or weights.dtype != np.float64
        ):
            raise ValueError("the weights are those of another chip")
        self._left = weights

    def _arrive(self, weights: Sequence[FloatArray]) -> None:
        """Count the run that a start at these weights is."""
        joined = _joined(weights)
        if not any(seen is not None and np.array_equal(joined, seen) for seen in (self._left, self._accepted)):
            self.presentations += self._n_samples
        self._left, self._accepted = joined, None

    def _report(self, proposals: FloatArray, accepted: NDArray[np.bool_], log_likelihood: float, shown: int) -> Sweep:
        """What a sweep did, which leaves the chip somewhere else."""
        self._left = None if self._left is None else np.where(accepted, proposals, self._left)
        self.presentations += shown
        return Sweep(accepted, log_likelihood, shown)


def in_rows(values: NDArray[Any], size: int, padding: float) -> NDArray[Any]:
    """Values (n_samples,) in groups of this size, (n_groups, size), the last one padded."""
    return np.pad(values, (0, -len(values) % size), constant_values=padding).reshape(-1, size)


def sites_by_neuron(
    shapes: Sequence[tuple[int, int]], firsts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sites as kernels have them, neuron by neuron, each neuron's weights in a row; a `Sweeper`'s lie matrix by matrix.

    Parameters: (n_pre, n_post) of each layer, and the first neuron of each, counted in the chip. Returns the number of
    each site among those of a `Sweeper`, (n_weights,); and (3, n_weights) its layer, its neuron, counted in the chip,
    and the presynaptic one, in its layer.
    """
    site_of, sites = [], []
    first_site = 0
    for layer, (n_pre, n_post) in enumerate(shapes):
        pre, post = np.meshgrid(np.arange(n_pre), np.arange(n_post))  # both (n_post, n_pre)
        site_of.append((first_site + pre * n_post + post).ravel())
        neuron = firsts[layer] + post
        sites.append(np.stack([np.full(pre.size, layer), neuron.ravel(), pre.ravel()]))
        first_site += n_pre * n_post
    return np.concatenate(site_of), np.concatenate(sites, axis=1)


def _joined(weights: Sequence[FloatArray]) -> NDArray[np.float64]:
    return np.concatenate([np.ravel(matrix) for matrix in weights]).astype(np.float64)
