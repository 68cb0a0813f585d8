"""Metropolis sweeps over single weights of a simulated chip, re-running only what a weight touches.

A weight of the first layer touches its neuron and all later layers; one of a later layer, its neuron and what lies
behind it. Synaptic sums are exact (`distortion.current_step`), so a sum from which one term is taken and another
put in is, bit for bit, the sum computed anew: incremental and full evaluation give the same spikes, always.

Samples lie in blocks, the hardest first. log L is a sum of terms <= 0 and rounding keeps partial sums falling, so a
proposal whose partial sum has fallen to its threshold is rejected there and then: the decision is the one that the
whole sum would bring, and the remaining blocks are not shown to the chip.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bayes_snn.bits import count_bits
from bayes_snn.chip import FloatArray
from bayes_snn.lif_kernels import LANES, Circuit, run_block
from bayes_snn.lif_neuron import STEPS
from bayes_snn.lif_rerun import keep, propose, sum_up
from bayes_snn.likelihood import log_likelihood

HARDEST = 96  # samples of the first block: they carry nearly all of the loss once a chain has settled
WIDEST = 448  # samples of a later block at most


@dataclass
class Sweep:
    """What a sweep did: proposals accepted (n_weights,) bool, log-likelihood after it, samples shown to the chip."""

    accepted: NDArray[np.bool_]
    log_likelihood: float
    presentations: int


@njit(cache=True, nogil=True, error_model="numpy")
def prepare(circuit, programmed, inputs, columns, starts, trains, sums):  # type: ignore[no-untyped-def]
    """Run all samples in full: fills trains (n_words, n_neurons, n_all) and sums (n_later, n_rows, n_all)."""
    run_block(circuit, programmed, inputs, 0, np.uint64(0), trains)
    first_pre = 0
    target = circuit.layers[1]
    for layer in range(1, circuit.layers.shape[0] - 1):
        for _ in range(circuit.layers[layer + 1]):
            column = columns[starts[target] : starts[target + 1]]
            sum_up(circuit, column, first_pre, trains, sums[target - circuit.layers[1]])
            target += 1
        first_pre += circuit.layers[layer]


@njit(cache=True, nogil=True, error_model="numpy")
def log_likelihood_of_two(trains, start, labels, log_table):  # type: ignore[no-untyped-def]
    """log L of a block for two classes: log_table[T + c_y - c_other] is one sample's term."""
    n_words = trains.shape[0]
    middle = log_table.shape[0] // 2
    total = 0.0
    for s in range(labels.shape[0]):
        lead = 0
        for word in range(n_words):
            lead += count_bits(trains[word, 1, start + s]) - count_bits(trains[word, 0, start + s])
        total += log_table[middle + lead if labels[s] == 1 else middle - lead]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def log_likelihood_of_many(trains, start, labels, loss, beta):  # type: ignore[no-untyped-def]
    """log L of a block from the output trains (n_words, n_out, n_all); labels (n_valid,) from sample `start` on.

    A sum over samples of beta (c_y - c_max) - log sum_k exp(beta (c_k - c_max)), with loss[d] = exp(-beta d) and one
    logarithm for the product of sixteen sums.
    """
    n_words, n_out, _ = trains.shape
    behind = 0
    logs = 0.0
    product = 1.0
    counts = np.empty(n_out, np.int64)
    for s in range(labels.shape[0]):
        largest = np.int64(0)
        for k in range(n_out):
            c = np.int64(0)
            for word in range(n_words):
                c += count_bits(trains[word, k, start + s])
            counts[k] = c
            largest = c if c > largest else largest
        total = 0.0
        for k in range(n_out):
            total += loss[largest - counts[k]]
        product *= total
        behind += largest - counts[labels[s]]
        if s % 16 == 15:
            logs += np.log(product)
            product = 1.0
    return -beta * behind - (logs + np.log(product))


@njit(cache=True, nogil=True, error_model="numpy")
def block_log_likelihood(trains, start, labels, loss, log_table, beta):  # type: ignore[no-untyped-def]
    """log L of a block of labels (n_valid,) from sample `start` of the output trains on."""
    if trains.shape[1] == 2:
        return log_likelihood_of_two(trains, start, labels, log_table)
    return log_likelihood_of_many(trains, start, labels, loss, beta)


@njit(cache=True, nogil=True, error_model="numpy")
def sweep_sites(  # type: ignore[no-untyped-def]
    circuit,
    inputs,
    labels,
    ends,
    loss,
    log_table,
    beta,
    columns,
    starts,
    trains,
    proposed,
    sums,
    terms,
    order,
    layer_of,
    neuron_of,
    pre_of,
    new_weights,
    bounds,
    early,
    accepted,
):
    """Visit the sites of `order`, each with its own proposal; returns the number of samples shown.

    A proposal is accepted where log L(new) - log L(old) > bounds[site]. Samples lie in blocks that end at `ends`,
    multiples of LANES; terms (n_blocks,) is the current log L of each; labels (n_samples,). columns (n_weights,)
    float32 holds the weights of each neuron in a row, from starts[neuron] on; new_weights those of the proposals.
    """
    n_blocks, n_samples = ends.shape[0], labels.shape[0]
    first_out = trains.shape[1] - circuit.layers[-1]
    widest = np.max(np.diff(ends)) if n_blocks > 1 else ends[0]
    widest = max(widest, ends[0])
    v_all, odd_all = np.empty(widest, np.float32), np.empty(widest, np.uint8)
    drives, helds = [], []
    new_terms = np.empty(n_blocks)
    changed = np.empty(n_blocks, np.bool_)
    for block in range(n_blocks):
        n = ends[block] - (ends[block - 1] if block > 0 else 0)
        drives.append(np.empty((STEPS, n), np.float32))
        helds.append(np.empty((1, n), np.float32))
    shown = 0
    for place in range(order.shape[0]):
        site = order[place]
        current = 0.0
        for block in range(n_blocks):
            current += terms[block]
        threshold = current + bounds[site]
        w_old, w_new = columns[site], new_weights[site]
        accepted[site] = False
        # log L <= 0: no proposal can pass a threshold of 0 or more
        if not threshold < 0.0:
            continue
        # what the chip computes with is as before: beyond its range, stuck, or on the same level
        if w_new == w_old:
            accepted[site] = bounds[site] < 0.0
            continue
        layer, neuron, pre = layer_of[site], neuron_of[site], pre_of[site]
        before = np.sum(circuit.layers[1:layer]) if layer > 0 else 0
        columns[site] = w_new
        total = 0.0
        passed = True
        start = 0
        for block in range(n_blocks):
            stop = ends[block]
            changed[block] = propose(
                circuit,
                inputs,
                start,
                columns,
                starts,
                layer,
                neuron,
                before,
                pre,
                w_old,
                w_new,
                trains,
                proposed,
                sums,
                v_all[: stop - start],
                odd_all[: stop - start],
                drives[block],
                helds[block],
            )
            last = min(stop, n_samples)
            shown += last - start
            if changed[block]:
                new_terms[block] = block_log_likelihood(
                    proposed[:, first_out:], start, labels[start:last], loss, log_table, beta
                )
            else:
                new_terms[block] = terms[block]
            total += new_terms[block]
            passed = total > threshold
            if early and not passed:
                break
            start = stop
        if not passed:
            columns[site] = w_old
            continue
        accepted[site] = True
        start = 0
        for block in range(n_blocks):
            terms[block] = new_terms[block]
            keep(
                circuit,
                start,
                ends[block],
                columns,
                starts,
                layer,
                neuron,
                before,
                pre,
                w_old,
                w_new,
                changed[block],
                trains,
                proposed,
                sums,
            )
            start = ends[block]
    return shown


def block_ends(n_samples: int) -> NDArray[np.int64]:
    """Where the blocks end: a small one of the hardest samples, then equal ones; all multiples of LANES."""
    n_all = -(-n_samples // LANES) * LANES
    if n_all <= 2 * HARDEST:
        return np.array([n_all])
    n_rest = -(-(n_all - HARDEST) // WIDEST)
    ends = HARDEST + np.arange(1, n_rest + 1) * (n_all - HARDEST) / n_rest
    return np.array([HARDEST, *(np.round(ends / LANES) * LANES).astype(np.int64)])


class LIFSweeper:
    """Site sweeps on one chip and one training set; `LIFChip.site_sweeper` makes it.

    Sites are numbered as `np.concatenate([w.ravel() for w in weights])` lays the weights out.
    """

    charges_op = False  # its runs do not go through the Op

    def __init__(
        self,
        circuit: Circuit,
        program: Callable[[Sequence[FloatArray]], NDArray[np.float32]],
        run: Callable[[Sequence[FloatArray], FloatArray], NDArray[np.int32]],
        inputs: NDArray[np.float64],
        labels: NDArray[np.int64],
        beta: float,
        early: bool,
    ) -> None:
        self._circuit, self._program, self._run = circuit, program, run
        self._inputs, self._labels, self._beta, self._early = inputs, labels, beta, early
        self._loss = np.exp(-beta * np.arange(circuit.n_steps + 1))
        layers = circuit.layers
        self._shapes = [(int(a), int(b)) for a, b in itertools.pairwise(layers)]
        self._index_sites()
        self._log_table = -np.log1p(np.exp(-beta * np.arange(-circuit.n_steps, circuit.n_steps + 1)))
        n_samples, n_in = inputs.shape
        self._ends = block_ends(n_samples)
        n_all = int(self._ends[-1])
        n_words, n_rows = -(-circuit.n_steps // 32), -(-circuit.n_steps // STEPS) * STEPS
        n_neurons, n_later = int(layers[1:].sum()), int(layers[2:].sum())
        self._ordered = np.zeros((n_in, n_all), np.float32)
        self._ordered_labels = np.zeros(n_samples, np.int64)
        self._trains = np.zeros((n_words, n_neurons, n_all), np.uint32)
        self._proposed = np.zeros_like(self._trains)
        self._sums = np.zeros((n_later, n_rows, n_all), np.float32)
        self._terms = np.zeros(len(self._ends))
        self._columns = np.zeros(len(self._site_of), np.float32)

    def _index_sites(self) -> None:
        """The kernel's sites lie neuron by neuron, each neuron's weights in a row; ours lie matrix by matrix."""
        site_of, layer_of, neuron_of, pre_of, starts = [], [], [], [], [0]
        first_site = first_neuron = 0
        for layer, (n_pre, n_post) in enumerate(self._shapes):
            pre, post = np.meshgrid(np.arange(n_pre), np.arange(n_post))  # both (n_post, n_pre)
            site_of.append((first_site + pre * n_post + post).ravel())
            neuron_of.append((first_neuron + post).ravel())
            pre_of.append(pre.ravel())
            layer_of.append(np.full(n_pre * n_post, layer))
            starts += [first_site + n_pre * (k + 1) for k in range(n_post)]
            first_site += n_pre * n_post
            first_neuron += n_post
        self._site_of = np.concatenate(site_of)
        self._place_of = np.argsort(self._site_of)
        self._layer_of, self._neuron_of = np.concatenate(layer_of), np.concatenate(neuron_of)
        self._pre_of, self._starts = np.concatenate(pre_of), np.array(starts)

    def start(self, weights: Sequence[FloatArray]) -> float:
        """Take these weights as the current ones, order the samples by their loss, and give log L."""
        programmed = self._program(weights)
        self._columns[:] = programmed[self._site_of]
        # not charged for: a chip that was swept knows where it is, and this run is only for the order of the samples
        terms = log_likelihood(self._run(weights, self._inputs), self._labels, self._beta)
        hardest = np.argsort(terms, kind="stable")
        self._ordered[:, : len(terms)] = self._inputs[hardest].T
        self._ordered_labels[:] = self._labels[hardest]
        prepare(self._circuit, programmed, self._ordered, self._columns, self._starts, self._trains, self._sums)
        outputs = self._trains[:, -int(self._circuit.layers[-1]) :]
        start = 0
        for block, stop in enumerate(self._ends.tolist()):
            labels = self._ordered_labels[start:stop]
            self._terms[block] = block_log_likelihood(outputs, start, labels, self._loss, self._log_table, self._beta)
            start = stop
        return float(self._terms.sum())

    def offer(self, weights: Sequence[FloatArray], terms: NDArray[np.float64]) -> None:
        """What a run elsewhere has answered: of no use here, where a start costs little."""

    def sweep(self, proposals: FloatArray, bounds: NDArray[np.float64], order: NDArray[np.int64]) -> Sweep:
        """Visit all sites in this order; see `sweep_sites`.

        Parameters: proposals (n_weights,), a new value for each site; bounds (n_weights,), what log L must gain at
        least for it to be accepted (-inf for always, +inf for never); order (n_weights,) a permutation of the sites.
        """
        split = np.split(proposals, np.cumsum([a * b for a, b in self._shapes])[:-1])
        programmed = self._program([part.reshape(s) for part, s in zip(split, self._shapes, strict=True)])
        accepted = np.zeros(len(proposals), np.bool_)
        shown = sweep_sites(
            self._circuit,
            self._ordered,
            self._ordered_labels,
            self._ends,
            self._loss,
            self._log_table,
            self._beta,
            self._columns,
            self._starts,
            self._trains,
            self._proposed,
            self._sums,
            self._terms,
            self._place_of[order],
            self._layer_of,
            self._neuron_of,
            self._pre_of,
            programmed[self._site_of],
            bounds[self._site_of],
            self._early,
            accepted,
        )
        return Sweep(accepted[self._place_of], float(self._terms.sum()), int(shown))
