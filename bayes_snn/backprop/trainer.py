"""Minibatch training of replicates side by side: Adam, best epoch by validation, weights kept in the chip's range.

A replicate is one learning rate with one starting point; all see the same minibatches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from bayes_snn.backprop.chip_in_loop import CountedChip, replicates
from bayes_snn.backprop.distortion import LayerDistortion, draw_distortion
from bayes_snn.backprop.network import Surrogate, run_network, spike_counts, straight_through
from bayes_snn.likelihood import PLAIN, Readout

# root mean square of the current at the start, in units of the threshold
FIRST_DRIVE, LATER_DRIVE = 4.0, 2.0
N_VALIDATION_DISTORTIONS = 4

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """Samples (n, n_in) and labels (n,) of the fitting or the validation part, for chip and model.

    `weights` (n,) > 0 say how often each sample counts.
    """

    inputs: Array
    labels: NDArray[np.int64]
    weights: Array
    columns: Tensor = field(init=False)  # (n_in, n) float32
    targets: Tensor = field(init=False)
    counted: Tensor = field(init=False)  # the weights

    def __post_init__(self) -> None:
        self.inputs.setflags(write=False)  # the simulated chip prepares such inputs once
        object.__setattr__(self, "columns", torch.from_numpy(np.ascontiguousarray(self.inputs.T, np.float32)))
        object.__setattr__(self, "targets", torch.from_numpy(self.labels.copy()))
        object.__setattr__(self, "counted", torch.from_numpy(self.weights.astype(np.float32)))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> Part:
        return Part(self.inputs[rows], self.labels[rows], self.weights[rows])


@dataclass
class Trained:
    """Replicates after training, in the order learning rate, restart: the weights of each one's best epoch.

    The best has the highest validation accuracy, and of equal ones the lowest validation loss. `best_weights` are
    (R, n_pre, n_post) each, `best_bias` is (R, 1, n_classes); `best_accuracies`, `best_losses` and `best_epochs` (R,),
    epochs from 1; the rest one (R,) array for each epoch.
    """

    best_weights: list[Tensor]
    best_bias: Tensor
    best_accuracies: Array
    best_losses: Array
    best_epochs: NDArray[np.int64]
    train_losses: list[Array] = field(default_factory=list)
    validation_losses: list[Array] = field(default_factory=list)
    validation_accuracies: list[Array] = field(default_factory=list)

    def record(self, weights: Sequence[Tensor], bias: Tensor, train_loss: Array, loss: Array, accuracy: Array) -> None:
        """Keep an epoch's scores, and its weights and biases where it is the best so far."""
        self.train_losses.append(train_loss)
        self.validation_losses.append(loss)
        self.validation_accuracies.append(accuracy)
        level = (accuracy == self.best_accuracies) & (loss < self.best_losses)
        better = (accuracy > self.best_accuracies) | level
        self.best_accuracies[better] = accuracy[better]
        self.best_losses[better] = loss[better]
        self.best_epochs[better] = len(self.train_losses)
        chosen = torch.from_numpy(better)
        for kept, now in zip([*self.best_weights, self.best_bias], [*weights, bias], strict=True):
            kept[chosen] = now.detach()[chosen]

    def best(self) -> int:
        """The best replicate."""
        return int(np.lexsort((self.best_losses, -self.best_accuracies))[0])

    def weights_of(self, replicate: int) -> list[Array]:
        """(n_pre, n_post) weights of each layer."""
        return replicates(self.best_weights)[replicate]

    def bias_of(self, replicate: int) -> Array:
        """(n_classes,) biases of the classes."""
        found: Array = self.best_bias[replicate, 0].numpy()
        return found

    def history_of(self, replicate: int) -> list[dict[str, float]]:
        """Losses and accuracy at each epoch."""
        columns = (self.train_losses, self.validation_losses, self.validation_accuracies)
        names = ("train_loss", "validation_loss", "validation_accuracy")
        return [
            {"epoch": epoch, **{name: float(values[replicate]) for name, values in zip(names, row, strict=True)}}
            for epoch, row in enumerate(zip(*columns, strict=True), start=1)
        ]


@dataclass
class Trainer:
    """Trains replicates in one mode.

    Attributes
    ----------
    chip
        Shown samples only in the modes "outputs" and "spikes".
    tau_m
        The model's membrane time constant in ms.
    bits
        Bits of the model's weights, None for analog synapses.
    strengths
        Distortions to train against, {} for none.
    rng
        Stream of the distortions.
    readout
        What the loss makes of spike counts; its biases are where they start if they are learned.
    learns_bias
        Whether a bias of each class is trained with the weights.
    """

    chip: CountedChip
    mode: str
    tau_m: float
    bits: int | None
    strengths: dict[str, float]
    surrogate: Surrogate
    rng: np.random.Generator
    readout: Readout = PLAIN
    learns_bias: bool = False

    def __post_init__(self) -> None:
        self.spec = self.chip.chip.spec
        self.ideal = self._draw({}, self.rng)
        # the same distortions at every validation: epochs differ in their weights alone
        self.validation_seeds = [int(seed) for seed in self.rng.integers(2**63, size=N_VALIDATION_DISTORTIONS)]

    def _draw(self, strengths: dict[str, float], rng: np.random.Generator) -> list[LayerDistortion]:
        return draw_distortion(strengths, self.spec, self.tau_m, lambda name, layer: rng)

    def _run(
        self, weights: Sequence[Tensor], part: Part, layers: Sequence[LayerDistortion], **run: Any
    ) -> list[Tensor]:
        return run_network(weights, part.columns, layers, self.spec, bits=self.bits, surrogate=self.surrogate, **run)

    def initial_weights(self, n: int, part: Part, rng: np.random.Generator) -> list[Tensor]:
        """Normal weights, (n, n_pre, n_post) each, scaled layer by layer so that currents reach the threshold.

        The ideal model tells the currents: the root mean square over samples, steps and neurons becomes FIRST_DRIVE or
        LATER_DRIVE, as far as the range allows.
        """
        low, high = self.spec.weight_range
        weights: list[Tensor] = []
        for depth, (n_pre, n_post) in enumerate(self.spec.weight_shapes):
            w = torch.from_numpy(rng.standard_normal((n, n_pre, n_post), np.float32))
            before = part.columns if depth == 0 else self._run(weights, part, self.ideal[:depth])[-1].mean(dim=2)
            rms = (before.transpose(-1, -2) @ w).square().mean(dim=(1, 2), keepdim=True).sqrt()
            drive = FIRST_DRIVE if depth == 0 else LATER_DRIVE
            weights.append((w * (drive / rms.clamp(min=1e-3))).clamp(low, high))
        return weights

    def train(
        self,
        starts: Sequence[Tensor],
        rates: Sequence[float],
        part: Part,
        validation: Part,
        epochs: int,
        patience: int,
        batch_size: int,
        rng: np.random.Generator,
    ) -> Trained:
        """Train every start (n, n_pre, n_post) at every learning rate; `rng` shuffles the samples into batches."""
        low, high = self.spec.weight_range
        weights = [start.repeat(len(rates), 1, 1).requires_grad_() for start in starts]
        n = len(weights[0])
        each_rate = torch.from_numpy(np.repeat(rates, n // len(rates)).astype(np.float32))[:, None, None]
        bias = torch.from_numpy(self.readout.biases(self.spec.layers[-1])).repeat(n, 1, 1)
        learned = [*weights, bias.requires_grad_()] if self.learns_bias else weights
        optimiser = torch.optim.Adam(learned, lr=1.0)
        best = [w.detach().clone() for w in weights]
        trained = Trained(best, bias.detach().clone(), np.full(n, -np.inf), np.full(n, np.inf), np.zeros(n, np.int64))
        n_batches = -(-len(part) // batch_size)
        for epoch in range(epochs):
            train_loss = np.zeros(n)
            for number, rows in enumerate(np.array_split(rng.permutation(len(part)), n_batches)):
                batch = part.take(rows)
                losses = mean_losses(self.logits(self.counts(weights, batch), bias), batch)
                optimiser.zero_grad()
                losses.sum().backward()
                train_loss += losses.detach().numpy() * (len(batch) / len(part))
                before = [w.detach().clone() for w in learned]
                optimiser.step()
                # Adam's step is proportional to its learning rate, here 1: scaled, each replicate has its own
                progress = (epoch + number / n_batches) / epochs
                scale = each_rate * (0.5 + 0.5 * math.cos(math.pi * progress))
                with torch.no_grad():
                    for w, old in zip(learned, before, strict=True):
                        w.copy_(old + scale * (w - old))
                    for w in weights:
                        w.clamp_(low, high)
            trained.record(weights, bias, train_loss, *self.validate(weights, bias, validation))
            if epoch + 1 - trained.best_epochs.max() >= patience:
                break
        return trained

    def counts(self, weights: Sequence[Tensor], part: Part) -> Tensor:
        """Spike counts (R, n, n_classes) that the mode trains on, with its gradient."""
        if self.mode == "noise-aware":
            layers = self._draw(self.strengths, self.rng)
            return spike_counts(self._run(weights, part, layers, noise=self.rng)[-1])
        if self.mode == "spikes":
            given = self.chip.spikes(weights, part.inputs)
            return spike_counts(self._run(weights, part, self.ideal, given=given)[-1])
        counts = spike_counts(self._run(weights, part, self.ideal)[-1])
        if self.mode == "outputs":
            return straight_through(self.chip.counts(weights, part.inputs), counts)
        return counts

    def logits(self, counts: Tensor, bias: Tensor) -> Tensor:
        """beta c + b of counts (R, n, n_classes) and biases (R, 1, n_classes)."""
        return self.readout.beta * counts + bias.to(counts.dtype)

    @torch.no_grad()
    def validate(self, weights: Sequence[Tensor], bias: Tensor, part: Part) -> tuple[Array, Array]:
        """Loss and accuracy (R,): on the chip where it is in the loop, else on the model."""

        def of(counts: Tensor) -> tuple[Array, Array]:
            return scores(self.logits(counts.to(torch.float64), bias), part)

        if self.mode in ("outputs", "spikes"):
            return of(self.chip.counts(weights, part.inputs))
        if not self.strengths:
            return of(spike_counts(self._run(weights, part, self.ideal)[-1]))
        each = []
        for seed in self.validation_seeds:
            rng = np.random.default_rng(seed)
            spikes = self._run(weights, part, self._draw(self.strengths, rng), noise=rng)
            each.append(of(spike_counts(spikes[-1])))
        loss, accuracy = np.mean(each, axis=0)
        return loss, accuracy


def mean_losses(logits: Tensor, part: Part) -> Tensor:
    """Cross-entropy in nats per sample, each times its weight, of each replicate: logits (R, n, n_classes) -> (R,)."""
    terms = cross_entropy(logits.flatten(0, 1), part.targets.repeat(len(logits)), reduction="none")
    return (part.counted * terms.view(len(logits), -1)).mean(dim=1)


def scores(logits: Tensor, part: Part) -> tuple[Array, Array]:
    """Loss, and weighted accuracy with ties shared out as in metrics.py, of each replicate: (R,) each."""
    winners = logits >= logits.amax(dim=2, keepdim=True)
    right = winners.gather(2, part.targets.expand(len(logits), -1).unsqueeze(2)).squeeze(2)
    accuracies = (part.counted * (right.to(torch.float64) / winners.sum(dim=2))).sum(dim=1) / part.counted.sum()
    return mean_losses(logits, part).numpy(), accuracies.numpy()


def split_validation(
    labels: NDArray[np.int64], size: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (n,) to train on and to validate on, the same fraction of each class; all twice where none can be spared."""
    validation: list[int] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        validation += members[: min(round(size * len(members)), len(members) - 1)].tolist()
    rows = np.arange(len(labels))
    if not validation:
        return rows, rows
    return np.setdiff1d(rows, validation), np.sort(np.array(validation, np.int64))
