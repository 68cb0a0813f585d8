"""Metropolis sweeps over single weights of a simulated chip, re-running only what a weight touches.

A weight of the first layer touches its neuron and all later layers; one of a later layer, its neuron and what lies
behind it. Synaptic sums are exact (`distortion.current_step`), so a sum from which one term is taken and another
put in is, bit for bit, the sum computed anew: incremental and full evaluation give the same spikes, always.

Samples lie in groups, the hardest first. log L is a sum of terms <= 0 and rounding keeps partial sums falling, so a
proposal whose partial sum has fallen to its threshold is rejected there and then: the decision is the one that the
whole sum would bring, and the remaining groups are not shown to the chip.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import FloatArray, as_matrices
from bayes_snn.chips.lif.circuit import Circuit, Programming
from bayes_snn.chips.lif.compiled import kernel
from bayes_snn.chips.lif.directions import counts_before, sweep_directions
from bayes_snn.chips.lif.forward import run_groups
from bayes_snn.chips.lif.labels import (
    counts_of,
    empty_labels,
    group_log_likelihood,
    hardest_first,
    put_in_order,
    with_readout,
)
from bayes_snn.chips.lif.lanes import GROUP, aligned_zeros
from bayes_snn.chips.lif.rerun import sum_up, try_move
from bayes_snn.chips.lif.state import Site, empty_state, new_run
from bayes_snn.chips.sweeper import Charging, Moves, Sweep, sites_by_neuron
from bayes_snn.likelihood import Readout, Target, without_weights

RIDGE = 1e-3  # of a regression of 1 on what a layer receives, in squares of it for each sample


@kernel
def prepare(circuit, state, scratch, counts, labels):  # type: ignore[no-untyped-def]
    """Work out sums and terms of the state from its trains; arguments as for `sweep_sites`."""
    for group in range(state.trains.shape[0]):
        trains, sums = state.trains[group], state.sums[group]
        for layer in range(1, circuit.firsts.shape[0]):
            sum_up(circuit, layer, state.columns, trains, sums)
        state.terms[group] = group_log_likelihood(trains, group, labels, scratch.places, counts)


@kernel
def sweep_sites(  # type: ignore[no-untyped-def]
    circuit, state, scratch, run, counts, deeper, inputs, labels, sites, order, new_weights, bounds, accepted
):
    """Visit the sites of `order`, each with its own proposal; returns the number of samples shown.

    A proposal is accepted where log L(new) - log L(old) > bounds[site].

    Parameters
    ----------
    circuit, state, scratch
        The chip, what is known of it under the current weights, and room to work.
    run
        As `new_run` makes it.
    counts
        (n_classes, GROUP), room of the likelihood; None for two classes.
    deeper
        None for a chip of at most two weight matrices, True for others.
    inputs
        (n_groups, n_in, GROUP) in the order in which samples are shown, the last group padded.
    labels
        `Labels` of these samples.
    sites
        (3, n_weights) layer of each site, its neuron, counted in the chip, and its presynaptic one, in its layer.
    order
        Sites in the order in which they are visited.
    new_weights, bounds
        (n_weights,) for each site.
    accepted
        (n_weights,) bool, filled.
    """
    columns, terms, shown = state.columns, state.terms, 0
    for place in order:
        current = 0.0
        for group in range(terms.shape[0]):
            current += terms[group]
        threshold = current + bounds[place]
        site = Site(sites[0, place], sites[1, place], sites[2, place], columns[place], new_weights[place])
        accepted[place] = False
        # log L <= 0: no proposal can pass a threshold of 0 or more
        if not threshold < 0.0:
            continue
        # what the chip computes with is as before: beyond its range, stuck, or on the same level
        if site.w_new == site.w_old:
            accepted[place] = bounds[place] < 0.0
            continue
        columns[place] = site.w_new
        accepted[place], seen = try_move(circuit, state, scratch, run, counts, deeper, inputs, labels, site, threshold)
        shown += seen
        if not accepted[place]:
            columns[place] = site.w_old
    return shown


def _principal(received: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Principal directions of (n_samples, n_pre), and the regression of 1 on it; see `LIFSweeper.directions`."""
    second = received.T @ received
    ridge = RIDGE * len(received) * np.eye(len(second))
    return np.linalg.eigh(second)[1][:, ::-1].T.copy(), np.linalg.solve(second + ridge, received.sum(axis=0))


class LIFSweeper(Charging):
    """The `Sweeper` of a simulated chip; `LIFChip.site_sweeper` makes it."""

    def __init__(
        self,
        circuit: Circuit,
        programming: Programming,
        inputs: NDArray[np.float64],
        labels: Target,
    ) -> None:
        self._circuit, self._programming = circuit, programming
        # writable copies: the kernels would be compiled a second time for read-only arrays
        self._inputs = inputs.astype(np.float32)
        self._labels, self._weights = without_weights(labels)
        self._weighted = bool((self._weights != 1.0).any())
        layers = circuit.layers
        self._shapes = [(int(a), int(b)) for a, b in itertools.pairwise(layers)]
        super().__init__(self._shapes, len(inputs))
        self._site_of, self._sites = sites_by_neuron(self._shapes, circuit.firsts)
        self._place_of = np.argsort(self._site_of)
        self._state, self._scratch = empty_state(circuit, len(inputs))
        self._groups = aligned_zeros((len(self._state.terms), inputs.shape[1], GROUP), np.float32)
        n_out = int(layers[-1])
        self._ordered = empty_labels(len(inputs), circuit.n_steps, n_out)
        # None has the kernels compiled without what this chip does not need
        self._run = new_run(circuit, np.uint64(0))
        self._counts = None if n_out == 2 else np.empty((n_out, GROUP), np.int64)
        self._deeper = True if len(self._shapes) > 2 else None
        self._shown = np.empty((len(inputs), n_out), np.int32)

    def _known(self) -> tuple[Any, ...]:
        """What the kernels of sweeps take alike."""
        constant = self._circuit, self._state, self._scratch, self._run, self._counts, self._deeper
        return *constant, self._groups, self._ordered

    @cached_property
    def _gains(self) -> list[NDArray[np.float32]]:
        """(n_post, n_pre) of each layer."""
        parts = np.split(self._programming.gain, np.cumsum([a * b for a, b in self._shapes])[:-1])
        return [part.reshape(shape).T.copy() for part, shape in zip(parts, self._shapes, strict=True)]

    @cached_property
    def _of_inputs(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return _principal(self._inputs.astype(np.float64))

    def start(self, weights: Sequence[FloatArray], readout: Readout) -> float:
        """Take these as current weights and readout, order the samples by their loss, and give log L."""
        self._arrive(weights)
        columns = self._programming.columns(weights)
        self._ordered = with_readout(self._ordered, readout, self._weighted)
        if not np.array_equal(columns, self._state.columns):
            self._state.columns[:] = columns
            self._prepare(np.arange(len(self._inputs)))
        n_out = int(self._circuit.layers[-1])
        loss, odds = self._ordered.loss, self._ordered.odds
        self._prepare(hardest_first(n_out, self._state.trains, self._order, self._labels, loss, odds))
        return float(self._state.terms.sum())

    def counts(self) -> NDArray[np.int64]:
        """Spike counts (1, n_samples, n_classes) of the weights as the last sweep left them."""
        counts = np.empty((1, len(self._inputs), int(self._circuit.layers[-1])), np.int64)
        counts_of(self._state.trains, self._order, self._scratch.places, counts[0])
        return counts

    def _prepare(self, order: NDArray[np.int64]) -> None:
        self._order = order
        n_steps = self._circuit.n_steps
        put_in_order(order, self._inputs, self._labels, self._weights, n_steps, self._groups, self._ordered)
        state, scratch = self._state, self._scratch
        run_groups(self._circuit, state.columns, self._groups, self._run, state.trains, self._shown, scratch.places)
        prepare(self._circuit, state, scratch, self._counts, self._ordered)

    def sweep(self, proposals: FloatArray, bounds: NDArray[np.float64], order: NDArray[np.int64]) -> Sweep:
        """Visit all sites in this order; see `Sweeper`."""
        proposed = self._programming.columns(as_matrices(proposals, self._shapes))
        accepted = np.zeros(len(proposals), np.bool_)
        shown = sweep_sites(
            *self._known(),
            self._sites,
            self._place_of[order],
            proposed,
            bounds[self._site_of],
            accepted,
        )
        return self._report(proposals, accepted[self._place_of], float(self._state.terms.sum()), int(shown))

    def directions(self, layer: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """An orthonormal basis of the weights that lead to a neuron, and what moves its current by 1 on all samples.

        The basis (n_pre, n_pre), one vector a row, are the principal directions of what the layer receives, its inputs
        or the spikes of the layer before, strongest first. No weight of this layer or a later one changes either.
        """
        if layer == 0:
            return self._of_inputs
        counts = np.empty((len(self._inputs), self._shapes[layer][0]))
        counts_before(self._circuit, self._state.trains, layer, self._scratch.places, counts)
        return _principal(counts / self._circuit.n_steps)

    def sweep_along(self, layer: int, weights: NDArray[np.float64], moves: Moves) -> tuple[NDArray[np.bool_], float]:
        """Move each neuron of a layer along each direction; see `DirectionSweeper`."""
        programming, gain = self._programming, self._gains[layer]
        accepted = np.zeros(moves.steps.shape, np.bool_)
        shown = sweep_directions(
            *self._known(),
            layer,
            weights,
            *moves,
            programming.saturation,
            gain,
            programming.grid[layer],
            np.empty(len(gain[0])),
            np.empty(len(gain[0]), np.float32),
            accepted,
        )
        self._left = None
        self.presentations += int(shown)
        return accepted, float(self._state.terms.sum())
