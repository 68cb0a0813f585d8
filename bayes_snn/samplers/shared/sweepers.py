"""How a chip is swept: by its own sweeper, or, where it offers none, the black-box way, one run a proposal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.contract import FloatArray, frozen
from bayes_snn.chips.sweeper import Sweep, Sweeper
from bayes_snn.errors import InputError
from bayes_snn.likelihood import Readout, Target, WeightedLabels
from bayes_snn.posterior.op import ChipCounts


def make_sweeper(op: ChipCounts, labels: Target) -> Sweeper:
    """The chip's own sweeper, or a black-box one: earlier answers of a noisy chip cannot be built on."""
    sweeper = own_sweeper(op, labels)
    return BlackBoxSweeper(op, labels) if sweeper is None else sweeper


def own_sweeper(op: ChipCounts, labels: Target) -> Sweeper | None:
    """The sweeper that the chip offers, and None of a chip that offers none for these labels, or is noisy."""
    offered = getattr(op.chip, "site_sweeper", None) if op.chip.spec.deterministic else None
    if isinstance(labels, WeightedLabels):  # which a sweeper of a user's chip may know nothing of
        offered = offered if getattr(op.chip, "sweeps_weighted", False) else None
        return None if offered is None else offered(op.inputs, labels)
    return None if offered is None else offered(op.inputs, frozen(labels))


def check_simulated(sampler: str, op: ChipCounts, labels: Target) -> None:
    """An `InputError` unless the chip, which is shown nothing, is a simulated one with sweeps of its own."""
    if own_sweeper(op, labels) is None:
        why = "has no sweeps of its own (site_sweeper)" if op.chip.spec.deterministic else "is noisy"
        raise InputError(
            f"Sampler {sampler!r} came with a {type(op.chip).__name__} that {why}, but it shows the chip all that its "
            "replicas propose and expects a simulated one without noise: take sampler 'twin' or 'sitewise'."
        )


HARDEST = 96  # samples of the first block: they carry nearly all of the loss once a chain has settled
WIDEST = 448  # samples of a later block at most


def block_ends(n_samples: int) -> NDArray[np.int64]:
    """Where the blocks end: a small one of the hardest samples, then equal ones.

    Few blocks, since each is a run of its own, and on a real chip a run has its fixed costs.
    """
    if n_samples <= 2 * HARDEST:
        return np.array([n_samples])
    n_rest = -(-(n_samples - HARDEST) // WIDEST)
    return HARDEST + np.round(np.arange(n_rest + 1) * (n_samples - HARDEST) / n_rest).astype(np.int64)


class BlackBoxSweeper:
    """Sweeps over single weights of any chip: one run for each proposal.

    On a chip that says `subsets = True`, which means that a run of few samples costs accordingly less, samples are
    shown in blocks, the hardest first, until the proposal is lost. The decision is the same as with all samples.

    On a noisy chip the current weights keep their answer until a proposal is accepted, or are run again at each
    proposal, as `op.noise` says.
    """

    def __init__(self, op: ChipCounts, labels: Target) -> None:
        self._op, self._labels, self.presentations = op, labels, 0
        self._in_blocks = bool(getattr(op.chip, "subsets", False)) and op.chip.spec.deterministic
        self._readout = Readout()
        self._weights: list[NDArray[np.float64]] = []
        self._counts: NDArray[np.int64] = np.zeros((1, len(labels), op.chip.spec.layers[-1]), np.int64)
        self._accepted: tuple[Sequence[FloatArray], NDArray[np.int64]] | None = None
        self._part([])

    def accept(self, weights: Sequence[FloatArray], counts: NDArray[np.int64]) -> None:
        """See `Sweeper`; of the current weights, their answer to a later run."""
        self._accepted = (weights, counts)

    def checkpoint_state(self) -> dict[str, Any]:
        """The current weights and the chip's answer to them."""
        return {"weights": self._weights, "counts": self._counts}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Continue from what `checkpoint_state` returned."""
        weights, counts = state["weights"], self._op.check_counts(state["counts"])
        if [np.shape(matrix) for matrix in weights] not in ([], list(self._op.chip.spec.weight_shapes)):
            raise ValueError("the weights are those of another chip")
        self._weights, self._counts, self._accepted = weights, counts, None

    def start(self, weights: Sequence[FloatArray], readout: Readout) -> float:
        """See `Sweeper`."""
        known = self._accepted, (self._weights, self._counts) if self._weights else None
        # on a chip that answers differently each time, an accepted answer stands until the next is accepted
        found = [seen[1] for seen in known if seen is not None and all(map(np.array_equal, weights, seen[0]))]
        self._weights = [np.array(w, np.float64) for w in weights]
        self._counts = found[0].copy() if found else self._show(self._op.inputs)
        self._readout, self._accepted = readout, None
        self._terms = readout.log_p(self._counts, self._labels)
        parts = [np.arange(len(self._labels))]
        if self._in_blocks:  # the order depends on the current state alone
            hardest = np.argsort(self._terms, kind="stable")
            parts = np.split(hardest, block_ends(len(hardest))[:-1])
        self._part(parts)
        return self._total(self._terms)

    def sweep(self, proposals: FloatArray, bounds: NDArray[np.float64], order: NDArray[np.int64]) -> Sweep:
        """Visit all sites in this order; see `Sweeper`."""
        accepted = np.zeros(len(proposals), np.bool_)
        before = self.presentations
        places = [(w, index) for w in self._weights for index in np.ndindex(w.shape)]
        new_counts, new_terms = np.empty_like(self._counts), np.empty_like(self._terms)
        for site in order:
            if self._op.noise.refreshes and bounds[site] < np.inf:
                self._counts = self._show(self._op.inputs)
                self._terms = self._readout.log_p(self._counts, self._labels)
            threshold = self._total(self._terms) + bounds[site]
            if not threshold < 0.0:  # log L <= 0 cannot pass it
                continue
            matrix, index = places[site]
            kept = matrix[index]
            matrix[index] = proposals[site]
            total, passed = 0.0, True
            for part, inputs, labels in self._blocks:
                new_counts[:, part] = self._show(inputs)
                new_terms[part] = self._readout.log_p(new_counts[:, part], labels)
                total += float(new_terms[part].sum())
                passed = total > threshold
                if not passed:
                    break
            if passed:
                accepted[site] = True
                self._counts, new_counts = new_counts, self._counts
                self._terms, new_terms = new_terms, self._terms
            else:
                matrix[index] = kept
        return Sweep(accepted, self._total(self._terms), self.presentations - before)

    def counts(self) -> NDArray[np.int64]:
        """Spike counts (n_runs, n_samples, n_classes) of the current weights."""
        return self._counts.copy()

    def _show(self, inputs: FloatArray) -> NDArray[np.int64]:
        """Counts of these inputs under the current weights, (n_runs, n, n_classes)."""
        counts = self._op.answers(self._weights, inputs)
        self.presentations += len(counts) * len(inputs)
        return counts

    def _part(self, parts: Sequence[NDArray[np.int64]]) -> None:
        """Show the samples, and sum their terms, in these parts."""
        self._blocks = [(part, frozen(self._op.inputs[part]), self._labels[part]) for part in parts if len(part) > 0]

    def _total(self, terms: NDArray[np.float64]) -> float:
        """Block by block, as a proposal's terms are summed."""
        return sum(float(terms[part].sum()) for part, _, _ in self._blocks)
