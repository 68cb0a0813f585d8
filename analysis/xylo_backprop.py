"""Offline backprop for a Xylo core: a float model of its arithmetic is trained, then rounded with care (torch).

The model has the core's decays, thresholds, spikes of several a step and events, and no rounding; its surrogate
gradient is 1 from half a threshold on. Several learning rates and starting points are trained at once. Rounding: each
neuron's weights and threshold may be scaled together, for the arithmetic does not see a common factor; a scale for
each layer or one for each neuron, and how much is clipped, are searched for each of them, and what is best on the
validation samples on the core itself is deployed.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bayes_snn.backprop.trainer import split_validation
from bayes_snn.chips.rounding import clip_and_round
from bayes_snn.chips.xylo.chip import WEIGHT_UNIT, Integers, XyloChip
from bayes_snn.chips.xylo.core import MOST_HIDDEN, MOST_OUTPUT
from bayes_snn.estimates.metrics import evaluate
from bayes_snn.likelihood import BETA, class_probabilities

RATES, RESTARTS, EPOCHS, BATCH = (0.01, 0.03, 0.1), 4, 60, 64
CLIPS = (0.5, 0.7, 1.0, 1.4, 2.0)  # the largest weight becomes 127 times this, and is clipped


class Spikes(torch.autograd.Function):
    """floor(u) spikes, `most` at most, of u = v / theta; the gradient is 1 from half a spike below to half above."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, most: int) -> Tensor:
        ctx.save_for_backward(u)
        ctx.most = most
        return u.floor().clamp(0, most)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        [u] = ctx.saved_tensors
        return gradient * ((u > 0.5) & (u < ctx.most + 0.5)), None


def model_counts(parameters: list[Tensor], events: Tensor, chip: XyloChip) -> Tensor:
    """Spike counts (R, n, n_out) of replicates (R, ...) shown events (n, n_steps, n_in)."""
    w_1, w_2, powers = parameters
    n_replicates, n_hidden = len(w_1), w_1.shape[2]
    thresholds = (chip.base_threshold / WEIGHT_UNIT) * torch.exp2(powers)
    keep_syn, keep_mem = 1 - 2.0**-chip.decay_syn, 1 - 2.0**-chip.decay_mem
    arriving = torch.einsum("nti,rih->trnh", events, w_1)
    shape = (n_replicates, len(events))
    i_1 = v_1 = torch.zeros(*shape, n_hidden)
    i_2 = v_2 = counts = torch.zeros(*shape, w_2.shape[2])
    theta_1, theta_2 = thresholds[..., :n_hidden], thresholds[..., n_hidden:]
    spikes = torch.zeros(*shape, n_hidden)
    for drive in arriving:
        i_2 = (i_2 + spikes @ w_2) * keep_syn  # a hidden spike takes a step to arrive
        v_2 = v_2 * keep_mem + i_2
        out = Spikes.apply(v_2 / theta_2, MOST_OUTPUT)
        v_2, counts = v_2 - out * theta_2, counts + out
        i_1 = (i_1 + drive) * keep_syn
        v_1 = v_1 * keep_mem + i_1
        spikes = Spikes.apply(v_1 / theta_1, MOST_HIDDEN)
        v_1 = v_1 - spikes * theta_1
    return counts


def losses(counts: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each replicate, in nats per sample."""
    terms = cross_entropy(BETA * counts.flatten(0, 1), labels.repeat(len(counts)), reduction="none")
    return terms.view(len(counts), -1).mean(dim=1)


def train(chip: XyloChip, inputs: np.ndarray, labels: np.ndarray, seed: int) -> tuple[Integers, dict[str, float]]:
    """The integers to deploy, and what the search saw: validation accuracy of the model and of the core."""
    rng = np.random.default_rng(seed)
    rows, kept = split_validation(labels, 0.2, rng)
    events, targets = torch.from_numpy(chip.events(inputs).astype(np.float32)), torch.from_numpy(np.array(labels))
    rates = torch.from_numpy(np.repeat(RATES, RESTARTS).astype(np.float32))[:, None, None]
    starts = [rng.normal(size=(RESTARTS, *s)) * f for s, f in zip(chip.spec.weight_shapes, (1, 1, 0), strict=True)]
    parameters = [torch.from_numpy(np.tile(s, (len(RATES), 1, 1)).astype(np.float32)) for s in starts]
    for p in parameters:
        p.requires_grad_()
    optimiser = torch.optim.Adam(parameters, lr=1.0)
    best_losses = np.full(len(rates), np.inf)
    best = [p.detach().clone() for p in parameters]
    for epoch in range(EPOCHS):
        for batch in np.array_split(rng.permutation(rows), max(1, len(rows) // BATCH)):
            optimiser.zero_grad()
            losses(model_counts(parameters, events[batch], chip), targets[batch]).sum().backward()
            before = [p.detach().clone() for p in parameters]
            optimiser.step()
            scale = rates * 0.5 * (1 + np.cos(np.pi * epoch / EPOCHS))
            with torch.no_grad():
                for p, old in zip(parameters, before, strict=True):
                    p.copy_(old + scale * (p - old))
                parameters[2].clamp_(-3, 3)
        with torch.no_grad():
            now = losses(model_counts(parameters, events[kept], chip), targets[kept]).numpy()
            for r in np.flatnonzero(now < best_losses):
                best_losses[r] = now[r]
                for b, p in zip(best, parameters, strict=True):
                    b[r] = p[r]
    with torch.no_grad():
        modelled = model_counts(best, events[kept], chip).numpy().astype(int)
    found = []
    for r in range(len(rates)):
        of_model = evaluate(class_probabilities(modelled[r]), labels[kept])
        for integers in roundings([b[r].numpy().astype(np.float64) for b in best], chip.base_threshold):
            score = evaluate(class_probabilities(chip.run_integers(integers, inputs[kept])), labels[kept])
            found.append(((score["accuracy"], score["log_score"]), of_model["accuracy"], integers))
    (accuracy, _), of_model_accuracy, integers = max(found, key=lambda each: each[0])
    return integers, {"validation_accuracy": accuracy, "model_validation_accuracy": of_model_accuracy}


def roundings(parameters: list[np.ndarray], base_threshold: int) -> list[Integers]:
    """Integer versions of one trained network, for every choice of scales."""
    w_1, w_2, powers = parameters
    thresholds = np.split(base_threshold / WEIGHT_UNIT * 2.0 ** powers[0], [w_1.shape[1]])
    each_layer = []
    for w, theta in ((w_1, thresholds[0]), (w_2, thresholds[1])):
        largest = np.maximum(np.abs(w).max(axis=0), 1e-9)
        choices = []
        for top, clip in itertools.product((np.full_like(largest, largest.max()), largest), CLIPS):
            scale = np.minimum(127 * clip / top, 32767 / theta)
            whole = clip_and_round(w * scale, -128, 127, 1).astype(np.int32)
            choices.append((whole, clip_and_round(theta * scale, 1, 32767, 1).astype(np.int32)))
        each_layer.append(choices)
    return [(a, b, np.concatenate([s, t])) for (a, s), (b, t) in itertools.product(*each_layer)]
