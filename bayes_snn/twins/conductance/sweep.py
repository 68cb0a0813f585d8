"""Metropolis sweeps over single weights of a twin of the family `conductance`, re-running only what a weight touches.

Samples lie in groups, the hardest first, and the rest is not shown once a proposal is lost: as in chips/lif/sweep.py,
decisions are those of full runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bayes_snn.chips.contract import FloatArray, as_matrices
from bayes_snn.chips.sweeper import Charging, Sweep, in_rows, sites_by_neuron
from bayes_snn.likelihood import Readout, Target, log_likelihood, log_p, without_weights
from bayes_snn.twins.conductance.forward import GROUP, group_inputs
from bayes_snn.twins.conductance.rerun import empty_room, empty_state, keep, of_group, propose, run_group


@njit(cache=True, nogil=True, error_model="numpy")
def group_log_likelihood(counts, labels, weights, table, beta, bias):  # type: ignore[no-untyped-def]
    """Sum over the samples of a group of their weight times log p of their label; label -1 is padding.

    counts (n_out, GROUP), labels and weights (GROUP,).

    table
        (2, 2 n_steps + 1) log p of two classes, by label and by how far count 1 is ahead of count 0.
    """
    total = 0.0
    if counts.shape[0] == 2:
        middle = table.shape[1] // 2
        for s in range(GROUP):
            if labels[s] >= 0:
                total += weights[s] * table[labels[s], middle + counts[1, s] - counts[0, s]]
        return total
    for s in range(GROUP):
        if labels[s] >= 0:
            total += weights[s] * log_p(counts[:, s], labels[s], beta, bias)
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def prepare(network, columns, inputs, state, room, labels, readout, terms):  # type: ignore[no-untyped-def]
    """Run all samples in full; `state` and `terms` are filled."""
    for group in range(inputs.shape[0]):
        run_group(network, columns[0], columns[1], inputs[group], of_group(state, group), room)
        terms[group] = group_log_likelihood(state.counts[group], labels[0][group], labels[1][group], *readout)


@njit(cache=True, nogil=True, error_model="numpy")
def sweep_sites(  # type: ignore[no-untyped-def]
    network, columns, inputs, state, proposed, room, labels, readout, terms, sites, order, new_columns, bounds, accepted
):
    """Visit the sites of `order`, each with its own proposal; returns the number of samples shown.

    A proposal is accepted where log L(new) - log L(old) > bounds[site].

    Parameters
    ----------
    columns, new_columns
        Current and proposed weights, neuron by neuron: float32, as the first layer has them, and int32, as the later
        ones do. The current ones are changed.
    sites
        (3, n_weights) layer of each site, its neuron, counted in the network, and the presynaptic one, in its layer.
    labels
        (n_groups, GROUP), and the weights of the samples, of the same shape.
    """
    n_groups = inputs.shape[0]
    first, later = columns
    new_terms, changed = np.empty(n_groups), np.empty(n_groups, np.bool_)
    shown = 0
    for place in order:
        threshold = bounds[place]
        for group in range(n_groups):
            threshold += terms[group]
        accepted[place] = False
        if not threshold < 0.0:  # log L <= 0 cannot pass it
            continue
        layer, n, pre = sites[0, place], sites[1, place], sites[2, place]
        old_first, old = first[place], later[place]
        same = new_columns[0][place] == old_first if layer == 0 else new_columns[1][place] == old
        if same:
            accepted[place] = bounds[place] < 0.0
            continue
        first[place], later[place] = new_columns[0][place], new_columns[1][place]
        total, passed = 0.0, True
        for group in range(n_groups):
            now, then = of_group(state, group), of_group(proposed, group)
            changed[group] = propose(network, first, later, old, layer, n, pre, inputs[group], now, then, room)
            new_terms[group] = terms[group]
            if changed[group]:
                new_terms[group] = group_log_likelihood(then[3], labels[0][group], labels[1][group], *readout)
            shown += (labels[0][group] >= 0).sum()
            total += new_terms[group]
            passed = total > threshold
            if not passed:
                break
        if not passed:
            first[place], later[place] = old_first, old
            continue
        accepted[place] = True
        for group in range(n_groups):
            terms[group] = new_terms[group]
            now, then = of_group(state, group), of_group(proposed, group)
            keep(network, later, old, layer, n, pre, changed[group], now, then)
    return shown


class ConductanceSweeper(Charging):
    """The `Sweeper` of a `ConductanceTwin`, whose `site_sweeper` makes it."""

    def __init__(self, twin: Any, inputs: NDArray[np.float64], labels: Target) -> None:
        self._twin, self._network, self._inputs = twin, twin.network, inputs
        self._labels, self._weights = without_weights(labels)
        self._shapes = twin.spec.weight_shapes
        super().__init__(self._shapes, len(labels))
        n_groups = -(-len(labels) // GROUP)
        self._state, self._proposed = empty_state(self._network, n_groups), empty_state(self._network, n_groups)
        self._room, self._terms = empty_room(self._network), np.zeros(n_groups)
        self._site_of, self._sites = sites_by_neuron(self._shapes, self._network.firsts)
        self._place_of = np.argsort(self._site_of)

    def start(self, weights: Sequence[FloatArray], readout: Readout) -> float:
        """Take these as current weights and readout, order the samples by their loss, and give log L."""
        self._arrive(weights)
        self._columns = self._twin.program(weights)
        n_out, n_steps = self._twin.spec.layers[-1], self._twin.spec.n_steps
        beta, bias, table = float(readout.beta), readout.biases(n_out), np.zeros((2, 2 * n_steps + 1))
        if n_out == 2:
            leads = np.arange(-n_steps, n_steps + 1)
            ahead = np.stack([np.maximum(-leads, 0), np.maximum(leads, 0)], axis=1)
            table = np.stack([log_likelihood(ahead, np.full(len(leads), k), beta, bias) for k in (0, 1)])
        self._readout = table, beta, bias
        self._prepare(np.arange(len(self._labels)))
        self._prepare(np.argsort(readout.log_p(self.counts(), self._labels), kind="stable"))
        return float(self._terms.sum())

    def counts(self) -> NDArray[np.int64]:
        """Spike counts (1, n_samples, n_classes) of the weights as the last sweep left them."""
        shown = self._state.counts.transpose(0, 2, 1).reshape(-1, self._twin.spec.layers[-1])
        counts = np.empty((1, len(self._labels), shown.shape[1]), np.int64)
        counts[0, self._order] = shown[: len(self._labels)]
        return counts

    def _prepare(self, order: NDArray[np.int64]) -> None:
        self._order = order
        self._groups = group_inputs(self._inputs[order])
        self._group_labels = in_rows(self._labels[order], GROUP, -1), in_rows(self._weights[order], GROUP, 0.0)
        prepare(
            self._network,
            self._columns,
            self._groups,
            self._state,
            self._room,
            self._group_labels,
            self._readout,
            self._terms,
        )

    def sweep(self, proposals: FloatArray, bounds: NDArray[np.float64], order: NDArray[np.int64]) -> Sweep:
        """Visit all sites in this order; see `Sweeper`."""
        accepted = np.zeros(len(proposals), np.bool_)
        shown = sweep_sites(
            self._network,
            self._columns,
            self._groups,
            self._state,
            self._proposed,
            self._room,
            self._group_labels,
            self._readout,
            self._terms,
            self._sites,
            self._place_of[order],
            self._twin.program(as_matrices(proposals, self._shapes)),
            bounds[self._site_of],
            accepted,
        )
        return self._report(proposals, accepted[self._place_of], float(self._terms.sum()), int(shown))
