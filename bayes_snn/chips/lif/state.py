"""What the kernels of the simulated chip hand on to each other, as tuples that Numba takes apart at no cost."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.lif.circuit import Circuit
from bayes_snn.chips.lif.lanes import GROUP, aligned_zeros

ALL = -1  # synapses of a neuron, see `Site`


class Run(NamedTuple):
    """One group of samples on its way through a chip whose neurons are not plain, see `new_run`.

    Attributes
    ----------
    first_sample, key
        The number of its first sample, and the name of the run: noise depends on them.
    drive, scratch
        (GROUP,) float32, room for intermediate results.
    current_table, noise
        Of the `Circuit`.
    """

    first_sample: int
    key: np.uint64
    drive: NDArray[np.float32]
    scratch: NDArray[np.float32]
    current_table: NDArray[np.float32]
    noise: NDArray[np.float32]


class State(NamedTuple):
    """What a sweeper knows of all samples under the current weights, group by group.

    Attributes
    ----------
    columns
        (n_weights,) the current weights, see `Circuit.starts`.
    trains, proposed
        (n_groups, n_words, n_neurons, GROUP) spikes: the current ones, and room for those of a proposal.
    sums
        (n_groups, n_later, n_steps, GROUP) current synaptic sums of the neurons behind the first layer.
    terms
        (n_groups,) current log L of each group.
    """

    columns: NDArray[np.float32]
    trains: NDArray[np.uint32]
    proposed: NDArray[np.uint32]
    sums: NDArray[np.float32]
    terms: NDArray[np.float64]


class Scratch(NamedTuple):
    """Room for what a sweep works out and forgets.

    Attributes
    ----------
    places
        (GROUP,) uint32, of the likelihood.
    terms, changed
        (n_groups,) log L of each group under a proposal, and whether its spikes are others.
    """

    places: NDArray[np.uint32]
    terms: NDArray[np.float64]
    changed: NDArray[np.bool_]


class Site(NamedTuple):
    """One synapse and what it is to change to; or all those of a neuron, where `pre` is ALL.

    It leads from `pre`, counted in its layer, to `neuron`, counted in the chip, of `layer`.
    """

    layer: int
    neuron: int
    pre: int
    w_old: np.float32
    w_new: np.float32


def new_run(circuit: Circuit, key: np.uint64) -> Run | None:
    """The first group in the run of this name; None where neurons are plain, which kernels are then compiled for.

    Plain are those without noise and with currents as they are, whose trains in the first layer are tabulated.
    """
    if len(circuit.n_marks) and not len(circuit.noise) and not len(circuit.current_table):
        return None
    drive, scratch = np.empty(GROUP, np.float32), np.empty(GROUP, np.float32)
    return Run(0, key, drive, scratch, circuit.current_table, circuit.noise)


def empty_state(circuit: Circuit, n_samples: int) -> tuple[State, Scratch]:
    """A state to fill, of weights equal to none, and its scratch."""
    layers, n_words = circuit.layers, -(-circuit.n_steps // 32)
    n_groups = -(-n_samples // GROUP)
    trains = aligned_zeros((n_groups, n_words, int(layers[1:].sum()), GROUP), np.uint32)
    sums = aligned_zeros((n_groups, int(layers[2:].sum()), circuit.n_steps, GROUP), np.float32)
    columns = np.full(int(circuit.starts[-1]), np.nan, np.float32)
    state = State(columns, trains, aligned_zeros(trains.shape, np.uint32), sums, np.zeros(n_groups))
    places = aligned_zeros((GROUP,), np.uint32)
    return state, Scratch(places, np.empty(n_groups), np.empty(n_groups, np.bool_))
