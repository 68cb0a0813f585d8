"""Surrogate-gradient training of a chip, the opponent of Metropolis-Hastings: five modes, one result (torch).

offline       the ideal model is trained and its weights are deployed on the chip as they are
outputs       the chip is in the loop: loss at the chip's spike counts, gradient through the ideal model
spikes        the chip is in the loop: its spikes, hidden ones too, stand in the place of the model's in the backward
              pass (Cramer et al., PNAS 2022)
noise-aware   the ideal model, with a fresh random distortion of the chip's family and strength in each batch, as
              Rockpool's mismatch training has it
twin          as "spikes", on a twin of the chip: the chip is shown what the twin is learned from, and nothing else

The loss is that of the likelihood, the cross-entropy of softmax(beta c + b) with a bias of each class that is learned,
as in models/gaussian.py, and weights stay in the chip's range.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayes_snn.chips.contract import Chip, FloatArray, IntArray, check_chip, check_inputs, check_labels
from bayes_snn.chips.lif.neuron import TAU_M
from bayes_snn.errors import InputError, check_whole, unknown_name
from bayes_snn.estimates.metrics import evaluate
from bayes_snn.estimates.predict import probabilities
from bayes_snn.likelihood import BETA, PLAIN, Readout, check_readout
from bayes_snn.posterior.sample_weights import ClassWeight, find_sample_weights
from bayes_snn.twins.contract import check_twin
from bayes_snn.twins.families import AnyTwin
from bayes_snn.twins.folder import load_twin
from bayes_snn.twins.learn import learn_twin

try:
    import torch
except ImportError:
    raise InputError(
        "train_backprop needs torch, which is not installed: run pip install 'bayes_snn[backprop]'."
    ) from None

from bayes_snn.backprop.arguments import MODES as MODES
from bayes_snn.backprop.arguments import check_mode, check_rates, stated_strengths
from bayes_snn.backprop.chip_in_loop import CountedChip
from bayes_snn.backprop.network import SURROGATES, Surrogate
from bayes_snn.backprop.trainer import Part, Trainer, split_validation

LEARNING_RATES = (0.03, 0.1, 0.3)
LEARNED = "learned"


@dataclass
class BackpropResult:
    """A chip trained by backprop.

    Attributes
    ----------
    chip
        The chip that was trained.
    weights
        What is deployed: one (n_pre, n_post) array for each layer.
    arguments
        How it was trained: mode, seed, learning_rates, restarts, epochs and the rest.
    presentations
        Samples shown to the chip for training, validation on the chip included; 0 for "offline" and "noise-aware".
    n_train
        Training samples that count, those of the validation part included.
    learning_rate, restart, best_epoch
        What validation chose; restarts count from 0, epochs from 1.
    history
        For each epoch of the chosen learning rate and restart: epoch, train_loss (nats per sample, mean over the
        epoch's batches), validation_loss and validation_accuracy; validated where the mode trains, on the chip or on
        the model.
    seconds
        Wall time of the training.
    readout
        What is made of spike counts, in the loss and in predictions.
    """

    chip: Chip
    weights: list[NDArray[np.float64]]
    arguments: dict[str, Any]
    presentations: int
    n_train: int
    learning_rate: float
    restart: int
    best_epoch: int
    history: list[dict[str, float]]
    seconds: float = float("nan")
    readout: Readout = PLAIN

    @property
    def mode(self) -> str:
        """The mode it was trained in."""
        return str(self.arguments["mode"])

    @property
    def passes(self) -> float:
        """Training presentations in units of the training set."""
        return self.presentations / self.n_train

    def predict(self, inputs: FloatArray) -> NDArray[np.float64]:
        """Class probabilities (n_samples, n_classes), softmax(beta c + b) of the chip's counts: one pass of the inputs.

        Parameters
        ----------
        inputs
            (n_samples, n_in), standardised as the training inputs were.
        """
        checked = check_inputs(inputs, self.chip.spec.layers[0])
        return probabilities(self.chip, self.weights, checked, readout=self.readout)

    def evaluate(self, inputs: FloatArray, labels: IntArray) -> dict[str, float]:
        """Accuracy, log score, calibration error and Brier score on the chip."""
        checked = check_inputs(inputs, self.chip.spec.layers[0])
        return evaluate(self.predict(checked), check_labels(labels, len(checked), self.chip.spec.layers[-1]))


def train_backprop(
    chip: Chip,
    inputs: FloatArray,
    labels: IntArray,
    mode: str = "spikes",
    seed: int = 0,
    *,
    learning_rates: Sequence[float] = LEARNING_RATES,
    restarts: int = 8,
    epochs: int = 100,
    patience: int = 40,
    batch_size: int = 32,
    validation_size: float = 0.2,
    surrogate: str = "fast_sigmoid",
    steepness: float = 2.0,
    distortion: str | Sequence[str] | None = None,
    sigma: float | Sequence[float] | None = None,
    beta: float = BETA,
    bias: Sequence[float] | str | None = LEARNED,
    sample_weight: ArrayLike | None = None,
    class_weight: ClassWeight = None,
    twin: AnyTwin | str | Path | None = None,
    budget: int | None = None,
) -> BackpropResult:
    """Train a chip by surrogate gradients in minibatches, with Adam and a cosine schedule.

    Each learning rate is tried from each starting point. What is deployed, learning rate, starting point and epoch, is
    what has the highest accuracy on the validation part, and of equals the lowest loss: on the chip for the modes with
    the chip in the loop, on the model for the others.

    Parameters
    ----------
    chip
        Any object with `spec` and `run`. Mode "spikes" also needs the optional method `spikes(weights, inputs)`, see
        `LIFChip.spikes`. An attribute `tau_m`, in ms, is asked for by name; the model's is 9.491 without it.
    inputs, labels
        Training data: (n_samples, n_in) standardised floats, and (n_samples,) whole numbers from 0.
    mode
        "offline", "outputs", "spikes", "noise-aware" or "twin", see the module.
    seed
        Of everything random: validation part, starting points, batches and distortions.
    learning_rates
        Of Adam, in units of the weights.
    restarts
        Starting points, the same for each learning rate.
    epochs, patience
        At most so many; training ends when no learning rate and starting point improved for `patience` epochs.
    batch_size
        Samples of a batch.
    validation_size
        Fraction of the training samples that validates. Where that is not one sample of any class, all training
        samples do both.
    surrogate, steepness
        One of SURROGATES, and its steepness in 1 / threshold.
    distortion, sigma
        For "noise-aware": names and strengths of the distortions to train against. By default those that the chip
        tells, in a dict `strengths` from name to sigma.
    beta, bias
        The readout: weight of a spike, which stays as it is, and a bias of each class: "learned" with the weights, at
        their learning rates, or numbers, which stay as they are, or None for none.
    sample_weight, class_weight
        How often each training sample counts in loss and validation, as for `fit`; samples of weight 0 are not shown.
    twin, budget
        For "twin": one that was learned before, or its folder, by default one is learned; and the presentations that it
        may take.

    Returns
    -------
    The deployed weights and what can be asked of them.

    Raises
    ------
    InputError
        When an argument cannot be used, or the chip lacks what the mode needs.
    ChipError
        When the chip answers something else than spikes.
    """
    started = time.perf_counter()
    chip = check_chip(chip)
    checked = check_inputs(inputs, chip.spec.layers[0])
    codes = check_labels(labels, len(checked), chip.spec.layers[-1])
    weights = find_sample_weights(codes, chip.spec.layers[-1], sample_weight, class_weight)
    weighted = weights is not None
    if weights is None:
        weights = np.ones(len(codes))
    checked, codes, weights = checked[weights > 0], codes[weights > 0], weights[weights > 0]
    check_mode(mode, chip)
    rates = check_rates(learning_rates)
    check_whole("seed", seed, 0, None, 0)
    check_whole("restarts", restarts, 1, None, 8)
    check_whole("epochs", epochs, 1, None, 100)
    check_whole("patience", patience, 1, None, 40)
    check_whole("batch_size", batch_size, 1, None, 32)
    if not 0 < validation_size < 1:
        raise InputError(
            f"validation_size was {validation_size!r}, but a fraction between 0 and 1 is expected: try 0.2."
        )
    if surrogate not in SURROGATES:
        raise unknown_name("surrogate", surrogate, SURROGATES)
    if not 0 < steepness < np.inf:
        raise InputError(f"steepness was {steepness!r}, but a positive number is expected: try 2.")
    strengths = stated_strengths(mode, chip, distortion, sigma)
    shown, presentations = _shown(mode, chip, checked, seed, twin, budget)
    if isinstance(bias, str) and bias != LEARNED:
        raise InputError(f"bias was {bias!r:.60}, but {LEARNED!r}, a number for each class, or None is expected.")
    learns_bias = isinstance(bias, str)
    readout = check_readout(beta, None if learns_bias else bias, chip.spec.layers[-1])

    split, start, batch, distort = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4))
    rows, validation_rows = split_validation(codes, validation_size, split)
    part, validation = (Part(checked[which], codes[which], weights[which]) for which in (rows, validation_rows))
    counted = CountedChip(shown)
    bits = int(strengths.get("quantisation", 0)) or chip.spec.weight_bits
    tau_m = float(getattr(chip, "tau_m", TAU_M))
    trained_in = "spikes" if mode == "twin" else mode
    trainer = Trainer(
        counted, trained_in, tau_m, bits, strengths, Surrogate(surrogate, steepness), distort, readout, learns_bias
    )
    with torch.enable_grad():
        starts = trainer.initial_weights(restarts, part, start)
        trained = trainer.train(starts, rates, part, validation, epochs, patience, batch_size, batch)
    best = trained.best()
    return BackpropResult(
        chip=chip,
        weights=trained.weights_of(best),
        arguments={
            "mode": mode,
            "seed": int(seed),
            "learning_rates": rates,
            "restarts": int(restarts),
            "epochs": int(epochs),
            "patience": int(patience),
            "batch_size": int(batch_size),
            "validation_size": float(validation_size),
            "surrogate": surrogate,
            "steepness": float(steepness),
            "strengths": strengths,
            **({"weighted": True} if weighted else {}),
            **({} if beta == BETA else {"beta": readout.beta}),
            "bias": LEARNED if learns_bias else readout.biases(chip.spec.layers[-1]).tolist(),
        },
        presentations=counted.presentations if presentations is None else presentations,
        n_train=len(checked),
        learning_rate=rates[best // restarts],
        restart=best % restarts,
        best_epoch=int(trained.best_epochs[best]),
        history=trained.history_of(best),
        seconds=time.perf_counter() - started,
        readout=replace(readout, bias=trained.bias_of(best)) if learns_bias else readout,
    )


def _shown(
    mode: str, chip: Chip, inputs: NDArray[np.float64], seed: int, twin: AnyTwin | str | Path | None, budget: int | None
) -> tuple[Chip, int | None]:
    """What is in the loop, and of a twin what the chip was shown for it."""
    if mode != "twin":
        if twin is not None or budget is not None:
            raise InputError(
                f"A twin or a budget came with mode {mode!r}, which uses none: leave them out, or take mode 'twin'."
            )
        return chip, None
    if isinstance(twin, str | Path):
        twin = load_twin(twin)
    if twin is None:
        twin = learn_twin(chip, budget, seed, inputs=inputs)
    check_twin(twin, chip)
    return twin, twin.learned.presentations
