"""Numba kernels that re-run only what one weight touches: its neuron, and what lies behind it.

What arrives at a neuron is a sum of whole numbers, so one from which a term is taken and another put in is the sum
computed anew. All arrays are those of one group of samples; `forward.py` has their shapes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bayes_snn.twins.conductance.forward import GROUP, LAGS, Network, drive, step_neuron, sum_up


class State(NamedTuple):
    """What all samples do under the current weights, or under proposed ones.

    arrivals
        (n_groups, n_neurons, n_steps, GROUP) uint8.
    excited, inhibited
        (n_groups, n_later, LAGS + n_steps, GROUP) int32, of the neurons behind the first layer.
    counts
        (n_groups, n_out, GROUP) int32.
    """

    arrivals: NDArray[np.uint8]
    excited: NDArray[np.int32]
    inhibited: NDArray[np.int32]
    counts: NDArray[np.int32]


class Room(NamedTuple):
    """Room to work: a neuron's spikes, states and currents, and none."""

    fired: NDArray[np.uint8]
    state: NDArray[np.float32]
    current: NDArray[np.float32]
    nothing: NDArray[np.float32]


def empty_state(network: Network, n_groups: int) -> State:
    """Zeros."""
    n_neurons, n_steps, n_out = len(network.constants), network.n_steps, int(network.layers[-1])
    n_later = n_neurons - int(network.layers[1])
    sums = (n_groups, n_later, LAGS + n_steps, GROUP)
    return State(
        np.zeros((n_groups, n_neurons, n_steps, GROUP), np.uint8),
        np.zeros(sums, np.int32),
        np.zeros(sums, np.int32),
        np.zeros((n_groups, n_out, GROUP), np.int32),
    )


def empty_room(network: Network) -> Room:
    """Room for one group."""
    return Room(
        np.zeros((network.n_steps, GROUP), np.uint8),
        np.zeros((6, GROUP), np.float32),
        np.zeros(GROUP, np.float32),
        np.zeros(0, np.float32),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def of_group(state: Any, group: int) -> Any:
    """The part of a group."""
    return state.arrivals[group], state.excited[group], state.inhibited[group], state.counts[group]


@njit(cache=True, nogil=True, error_model="numpy")
def copy(target, source):  # type: ignore[no-untyped-def]
    """Fill rows (n, GROUP) with others: Numba's assignment of one slice to another takes several times as long."""
    for t in range(source.shape[0]):
        to, row = target[t], source[t]
        for s in range(GROUP):
            to[s] = row[s]


@njit(cache=True, nogil=True, error_model="numpy")
def step(network, layer, n, excited, inhibited, part, room):  # type: ignore[no-untyped-def]
    """Run neuron n of a later layer on what arrives at it; arrivals of `part`, and counts of an output, are filled."""
    step_neuron(
        network.constants[n],
        room.nothing,
        excited,
        inhibited,
        network.units[layer],
        part[0][n],
        room.fired,
        room.state,
    )
    if layer == network.firsts.shape[0] - 1:
        count(room.fired, part[3][n - network.firsts[layer]])


@njit(cache=True, nogil=True, error_model="numpy")
def count(fired, counts):  # type: ignore[no-untyped-def]
    """Spikes (n_steps, GROUP) of each sample."""
    counts[:] = 0
    for t in range(fired.shape[0]):
        for s in range(GROUP):
            counts[s] += np.int32(fired[t, s])


@njit(cache=True, nogil=True, error_model="numpy")
def differ(one, other):  # type: ignore[no-untyped-def]
    """Whether two neurons' arrivals differ anywhere."""
    different = np.uint8(0)
    for t in range(one.shape[0]):
        a, b = one[t], other[t]
        for s in range(GROUP):
            different |= a[s] ^ b[s]
    return different != 0


@njit(cache=True, nogil=True, error_model="numpy")
def first_layer(network, n, weights, inputs, arrivals, room):  # type: ignore[no-untyped-def]
    """Run neuron n of the first layer."""
    drive(inputs, weights[network.starts[n] : network.starts[n + 1]], room.current)
    sums = np.empty((0, GROUP), np.int32)
    step_neuron(network.constants[n], room.current, sums, sums, network.units[0], arrivals, room.fired, room.state)


@njit(cache=True, nogil=True, error_model="numpy")
def run_layer(network, layer, weights, part, room):  # type: ignore[no-untyped-def]
    """Run a later layer, its sums computed anew."""
    arrivals, excited, inhibited, _ = part
    first, before = network.firsts[layer], network.firsts[layer - 1]
    for n in range(first, first + network.layers[layer + 1]):
        later = n - network.layers[1]
        column = weights[network.starts[n] : network.starts[n + 1]]
        sum_up(column, arrivals[before:first], excited[later], inhibited[later])
        step(network, layer, n, excited[later], inhibited[later], part, room)


@njit(cache=True, nogil=True, error_model="numpy")
def run_group(network, first_weights, weights, inputs, part, room):  # type: ignore[no-untyped-def]
    """Run all neurons of a group, of whose state `part` is filled."""
    for n in range(network.layers[1]):
        first_layer(network, n, first_weights, inputs, part[0][n], room)
        if network.firsts.shape[0] == 1:
            count(room.fired, part[3][n])
    for layer in range(1, network.firsts.shape[0]):
        run_layer(network, layer, weights, part, room)


@njit(cache=True, nogil=True, error_model="numpy")
def exchange(target, source, weight, arrivals, old_weight, old_arrivals):  # type: ignore[no-untyped-def]
    """Sums `target` of sums `source`, with one synapse's term in place of another; they may be the same array."""
    for t in range(arrivals.shape[0]):
        to, row, given, taken = target[t + LAGS], source[t + LAGS], arrivals[t], old_arrivals[t]
        for s in range(GROUP):
            to[s] = row[s] + (weight * np.int32(given[s]) - old_weight * np.int32(taken[s]))


@njit(cache=True, nogil=True, error_model="numpy")
def reweigh(to_e, to_i, excited, inhibited, weight, old, arrivals):  # type: ignore[no-untyped-def]
    """Sums with another weight of one synapse."""
    exchange(to_e, excited, np.int32(max(weight, 0)), arrivals, np.int32(max(old, 0)), arrivals)
    exchange(to_i, inhibited, np.int32(max(-weight, 0)), arrivals, np.int32(max(-old, 0)), arrivals)


@njit(cache=True, nogil=True, error_model="numpy")
def propose(network, first_weights, weights, old, layer, n, pre, inputs, now, then, room):  # type: ignore[no-untyped-def]
    """One group with one weight changed, in the columns already: `then` from `now`; False where no count may change.

    old
        The weight before, a whole number.
    layer, n, pre
        The neuron, counted in the network, its layer, and the presynaptic one, counted in its layer.
    """
    arrivals, excited, inhibited, counts = now
    new_arrivals, new_excited, new_inhibited, new_counts = then
    n_layers = network.firsts.shape[0]
    last = layer == n_layers - 1
    if last:
        copy(new_counts, counts)
    if layer == 0:
        first_layer(network, n, first_weights, inputs, new_arrivals[n], room)
        if last:
            count(room.fired, new_counts[n])
    else:
        later, source = n - network.layers[1], arrivals[network.firsts[layer - 1] + pre]
        weight, to_e, to_i = weights[network.starts[n] + pre], new_excited[later], new_inhibited[later]
        reweigh(to_e, to_i, excited[later], inhibited[later], weight, old, source)
        step(network, layer, n, to_e, to_i, then, room)
    if last or not differ(new_arrivals[n], arrivals[n]):
        return last
    behind, place = network.firsts[layer + 1], n - network.firsts[layer]
    for target in range(behind, behind + network.layers[layer + 2]):  # one neuron before them has changed
        later, weight = target - network.layers[1], weights[network.starts[target] + place]
        to_e, to_i = excited[later], inhibited[later]
        if weight > 0:
            exchange(new_excited[later], to_e, weight, new_arrivals[n], weight, arrivals[n])
            to_e = new_excited[later]
        else:
            exchange(new_inhibited[later], to_i, np.int32(-weight), new_arrivals[n], np.int32(-weight), arrivals[n])
            to_i = new_inhibited[later]
        step(network, layer + 1, target, to_e, to_i, then, room)
    for further in range(layer + 2, n_layers):  # all neurons before them may have
        run_layer(network, further, weights, then, room)
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def keep(network, weights, old, layer, n, pre, changed, now, then):  # type: ignore[no-untyped-def]
    """Make what was proposed the current state of a group; arguments as for `propose`, and what it returned."""
    arrivals, excited, inhibited, _ = now
    n_first, n_layers = network.layers[1], network.firsts.shape[0]
    if layer > 0:
        to_e, to_i = excited[n - n_first], inhibited[n - n_first]
        source = arrivals[network.firsts[layer - 1] + pre]
        reweigh(to_e, to_i, to_e, to_i, weights[network.starts[n] + pre], old, source)
    if changed and layer + 1 < n_layers:
        behind = network.firsts[layer + 1]
        for target in range(behind, behind + network.layers[layer + 2]):
            weight = weights[network.starts[target] + n - network.firsts[layer]]
            sums = excited[target - n_first] if weight > 0 else inhibited[target - n_first]
            exchange(sums, sums, np.int32(abs(weight)), then[0][n], np.int32(abs(weight)), arrivals[n])
            copy(arrivals[target], then[0][target])
        for target in range(behind + network.layers[layer + 2], network.constants.shape[0]):
            copy(arrivals[target], then[0][target])
            copy(excited[target - n_first], then[1][target - n_first])
            copy(inhibited[target - n_first], then[2][target - n_first])
    copy(arrivals[n], then[0][n])
    if changed:
        copy(now[3], then[3])
