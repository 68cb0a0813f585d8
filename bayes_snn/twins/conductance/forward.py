"""The neurons of the family `conductance` as they run by themselves, GROUP samples at once.

Arithmetic is float32 in a stated order, and what arrives through synapses is summed in whole numbers, so that a sum
from which one term is taken and another put in is, bit for bit, the sum computed anew. neuron.py has the equations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.twins.conductance import neuron as names
from bayes_snn.twins.conductance.neuron import FRACTIONS, HIGHEST, LONGEST, LOWEST, STEEPEST, M, Q

GROUP = 64
LAGS = 2  # steps of no arrivals before the first one
_MOST_BITS = 16  # behind the point of a weight
N_CONSTANTS = 25  # of a neuron, as `constants` lays them out


class Network(NamedTuple):
    """All neurons, as the kernels take them.

    layers
        (n_layers + 1,) neurons of each layer, inputs first.
    firsts
        (n_layers,) the number of each layer's first neuron.
    starts
        (n_neurons + 1,) where each neuron's weights are.
    constants
        (n_neurons, N_CONSTANTS) float32.
    units
        (n_layers,) float32, what a whole number that arrives is worth: a weight is so many of FRACTIONS units.
    """

    n_steps: int
    layers: NDArray[np.int64]
    firsts: NDArray[np.int64]
    starts: NDArray[np.int64]
    constants: NDArray[np.float32]
    units: NDArray[np.float32]


def make_network(spec: ChipSpec, parameters: list[NDArray[np.float64]]) -> Network:
    """Of parameters (n_neurons, n_parameters) of each layer."""
    sizes = np.array(spec.layers)
    firsts = np.concatenate([[0], np.cumsum(sizes[1:-1])])
    starts = np.concatenate([[0], np.cumsum(np.repeat(sizes[:-1], sizes[1:]))])
    rows = np.concatenate([constants(layer) for layer in parameters])
    strongest = max(abs(bound) for bound in spec.weight_range)
    # a neuron that spikes in two steps may arrive twice at once
    room = 2.0**30 / (2.0 * FRACTIONS * strongest * sizes[:-1])
    bits = np.minimum(np.floor(np.log2(room)), _MOST_BITS)
    return Network(spec.n_steps, sizes, firsts, starts, rows, (2.0**-bits / FRACTIONS).astype(np.float32))


def group_inputs(inputs: NDArray[np.float64]) -> NDArray[np.float32]:
    """Inputs (n_samples, n_in) as (n_groups, n_in, GROUP) float32, the last group padded with zeros."""
    n_groups, n_in = -(-len(inputs) // GROUP), inputs.shape[1]
    padded = np.zeros((n_groups * GROUP, n_in), np.float32)
    padded[: len(inputs)] = inputs
    return np.ascontiguousarray(padded.reshape(n_groups, GROUP, n_in).transpose(0, 2, 1))


def constants(p: NDArray[np.float64]) -> NDArray[np.float32]:
    """What the kernels compute with, (n_neurons, N_CONSTANTS), of parameters (n_neurons, n_parameters)."""
    made = np.zeros((len(p), N_CONSTANTS))
    made[:, : p.shape[1]] = p
    for name in (names.LEAK, names.REFRACTORY):
        made[:, name] = np.exp(p[:, name])
    made[:, names.ADAPT] = np.exp(-np.exp(p[:, names.ADAPT]))
    if p.shape[1] == names.N_LATER:
        for name in (names.DECAY_E, names.DECAY_I):
            made[:, name] = np.exp(-np.exp(p[:, name]))
    return made.astype(np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def step_neuron(c, current, excited, inhibited, unit, arrivals, fired, state):  # type: ignore[no-untyped-def]
    """One neuron over all steps of a group of samples.

    c
        (N_CONSTANTS,) float32.
    current
        (GROUP,) float32: the input of a neuron of the first layer; of later ones it has no length.
    excited, inhibited, unit
        (LAGS + n_steps, GROUP) int32, what arrives, in this unit.
    arrivals, fired
        (n_steps, GROUP) uint8, filled: what each spike gives to its step and the next, in FRACTIONS; and the spikes.
    state
        (6, GROUP) float32, room to work.
    """
    first = current.shape[0] > 0
    v, a, r, g_e, g_i, late = state[0], state[1], state[2], state[3], state[4], state[5]
    state[:] = np.float32(0.0)
    none, one, half, sixth = np.float32(0.0), np.float32(1.0), np.float32(0.5), np.float32(1.0 / 6.0)
    longest, lowest, highest, steepest = (
        np.float32(LONGEST),
        np.float32(LOWEST),
        np.float32(HIGHEST),
        np.float32(STEEPEST),
    )
    big_q, big_m, parts, tiny = np.float32(Q), np.float32(M), np.float32(FRACTIONS), np.float32(1e-9)
    leak, offset, keep, jump = c[names.LEAK], c[names.OFFSET], c[names.ADAPT], c[names.JUMP]
    coupling, refractory, reset = c[names.COUPLING], c[names.REFRACTORY], c[names.RESET]
    bend, onset, h1, h2, h3 = c[names.BEND], c[names.ONSET], c[names.H1], c[names.H2], c[names.H3]
    relaxing = np.float32((one - keep) * coupling)
    gain = c[names.GAIN] if first else none
    keep_e, keep_i = c[names.DECAY_E], c[names.DECAY_I]
    e0, e1, e2 = np.float32(c[names.E0] * unit), np.float32(c[names.E1] * unit), np.float32(c[names.E2] * unit)
    i0, i1, i2 = np.float32(c[names.I0] * unit), np.float32(c[names.I1] * unit), np.float32(c[names.I2] * unit)
    to_e, to_i, h4, h5, h6 = c[names.REVERSAL_E], c[names.REVERSAL_I], c[names.H4], c[names.H5], c[names.H6]
    for t in range(arrivals.shape[0]):
        if not first:
            x0, x1, x2 = excited[t + 2], excited[t + 1], excited[t]
            y0, y1, y2 = inhibited[t + 2], inhibited[t + 1], inhibited[t]
            for s in range(GROUP):
                g_e[s] = keep_e * g_e[s] + (e0 * np.float32(x0[s]) + (e1 * np.float32(x1[s]) + e2 * np.float32(x2[s])))
                g_i[s] = keep_i * g_i[s] + (i0 * np.float32(y0[s]) + (i1 * np.float32(y1[s]) + i2 * np.float32(y2[s])))
        arrived, spikes = arrivals[t], fired[t]
        for s in range(GROUP):
            was = v[s]
            j = offset - a[s]
            if first:
                j = np.float32(j + gain * current[s])
                open_ = none
            else:
                j = np.float32(j + (to_e * g_e[s] + to_i * g_i[s]))
                open_ = max(np.float32(g_e[s] + g_i[s]), none)
            j = min(max(j, -steepest), steepest)
            g = np.float32(leak + open_)
            d = min(max(np.float32(one - r[s]), none), longest)
            y = np.float32(g * d)
            fill = np.float32(one + y * (half + y * sixth))
            shrink = np.float32(one / (one + y * fill))
            w = max(np.float32(shrink * (was + j * d * fill)), lowest)
            over = min(max(np.float32(w - onset), none), highest)
            new = np.float32(w + bend * d * over * over)
            q = np.float32(j - g)
            u = np.float32(q / (big_q + abs(q)))
            theta = np.float32(one + u * (h1 + u * (h2 + u * h3)))
            if not first:
                m = np.float32(open_ / (big_m + open_))
                theta = np.float32(theta + m * (h4 + h5 * u + h6 * m))
            spike = (new >= theta) & (d > none)
            part = np.float32((theta - was) / max(np.float32(new - was), tiny))
            part = min(max(part, none), one)
            at = max(np.float32((one - d) + part * d), none)
            after = np.float32(keep * a[s] + relaxing * new)
            a[s] = np.float32(after + jump) if spike else after
            rest = max(np.float32(r[s] - one), none)
            r[s] = np.float32(refractory - (one - at)) if spike else rest
            v[s] = reset if spike else new
            told = np.float32(np.int32(at * parts + half))
            given = np.float32(parts - told) if spike else none
            arrived[s] = np.uint8(np.int32(given + late[s]))
            late[s] = told if spike else none
            spikes[s] = np.uint8(spike)


@njit(cache=True, nogil=True, error_model="numpy")
def sum_up(weights, arrivals, excited, inhibited):  # type: ignore[no-untyped-def]
    """What arrives at a neuron of whole-number weights (n_pre,), from arrivals (n_pre, n_steps, GROUP)."""
    for t in range(LAGS, excited.shape[0]):
        e, i = excited[t], inhibited[t]
        for s in range(GROUP):
            e[s] = i[s] = 0
    for pre in range(weights.shape[0]):
        weight = weights[pre]
        if weight == 0:
            continue
        target = excited if weight > 0 else inhibited
        add(target, arrivals[pre], np.int32(abs(weight)))


@njit(cache=True, nogil=True, error_model="numpy")
def add(target, arrivals, weight):  # type: ignore[no-untyped-def]
    """weight times arrivals (n_steps, GROUP) onto target (LAGS + n_steps, GROUP)."""
    for t in range(arrivals.shape[0]):
        row, given = target[t + LAGS], arrivals[t]
        for s in range(GROUP):
            row[s] += weight * np.int32(given[s])


@njit(cache=True, nogil=True, error_model="numpy")
def drive(inputs, weights, current):  # type: ignore[no-untyped-def]
    """Input current (GROUP,) of a neuron of weights (n_in,) float32, from inputs (n_in, GROUP)."""
    current[:] = np.float32(0.0)
    for pre in range(weights.shape[0]):
        weight, row = weights[pre], inputs[pre]
        for s in range(GROUP):
            current[s] = np.float32(current[s] + weight * row[s])


@njit(cache=True, nogil=True, error_model="numpy")
def run_groups(network, first_weights, later_weights, inputs, fired, counts):  # type: ignore[no-untyped-def]
    """Run all samples.

    first_weights, later_weights
        Neuron by neuron, see `Network.starts`: float32 of the first layer, int32 of all; those that are of the other
        kind are not read.
    inputs
        (n_groups, n_in, GROUP) float32.
    fired
        (n_groups, n_neurons, n_steps, GROUP) uint8, filled; with no groups only counts are wanted.
    counts
        (n_groups * GROUP, n_out) int32, filled.
    """
    n_steps, n_neurons = network.n_steps, network.constants.shape[0]
    arrivals, own = np.empty((n_neurons, n_steps, GROUP), np.uint8), np.empty((n_neurons, n_steps, GROUP), np.uint8)
    excited, inhibited = np.zeros((LAGS + n_steps, GROUP), np.int32), np.zeros((LAGS + n_steps, GROUP), np.int32)
    current, nothing = np.empty(GROUP, np.float32), np.empty(0, np.float32)
    state = np.empty((6, GROUP), np.float32)
    n_layers = network.firsts.shape[0]
    for group in range(inputs.shape[0]):
        for layer in range(n_layers):
            first = network.firsts[layer]
            before = arrivals[network.firsts[layer - 1] : first] if layer > 0 else arrivals[:0]
            for n in range(first, first + network.layers[layer + 1]):
                part, end = network.starts[n], network.starts[n + 1]
                if layer == 0:
                    drive(inputs[group], first_weights[part:end], current)
                    step_neuron(
                        network.constants[n], current, excited, inhibited, network.units[0], arrivals[n], own[n], state
                    )
                else:
                    sum_up(later_weights[part:end], before, excited, inhibited)
                    step_neuron(
                        network.constants[n],
                        nothing,
                        excited,
                        inhibited,
                        network.units[layer],
                        arrivals[n],
                        own[n],
                        state,
                    )
        if fired.shape[0]:
            fired[group] = own
        first = network.firsts[n_layers - 1]
        for n in range(first, n_neurons):
            for s in range(GROUP):
                count = 0
                for t in range(n_steps):
                    count += own[n, t, s]
                counts[group * GROUP + s, n - first] = count
