"""What a prior believes before it has seen a label: spike rates, class probabilities and accuracy, through the chip.

The chip is run with weights drawn from the prior. A prior under which output neurons never spike, or under which the
network is sure of every answer, has said so before any data came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayes_snn.chips.contract import (
    Chip,
    FloatArray,
    IntArray,
    ask_counts,
    ask_spikes,
    check_chip,
    check_inputs,
    check_labels,
    frozen,
)
from bayes_snn.errors import check_whole
from bayes_snn.estimates.metrics import accuracy
from bayes_snn.likelihood import BETA
from bayes_snn.posterior.build import build_model
from bayes_snn.posterior.prior_draws import draw_weights
from bayes_snn.posterior.priors import PriorFunction, ReadoutFunction

SURE = 0.95  # a class probability from which an answer is called sure


@dataclass(frozen=True)
class PriorPredictive:
    """What the chip did under draws from a prior.

    Attributes
    ----------
    data
        Dataset over the dim `draw`. `probability` (draw, sample, class). For each layer l that the chip shows, 1 the
        first behind the inputs: `rate_l` (draw, post_l), spikes per step of each neuron, from 0 to 1, averaged over
        the inputs; `silent_l` (draw,), share of neurons that spike for no input; `saturated_l` (draw,), share of
        neurons that are either off or full on: half or more of the inputs that make them spike make them spike at
        every step. With labels also `accuracy` (draw,).
    layers
        The layers l that are in it: all where the chip shows hidden spikes, otherwise the output layer alone.
    n_layers
        How many there are.
    chance
        Accuracy of answering with the most frequent class always; None without labels.
    presentations
        Samples that were shown to the chip.
    """

    data: xr.Dataset
    layers: tuple[int, ...]
    n_layers: int
    chance: float | None
    presentations: int

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Probability of the class that is answered, (draw, sample)."""
        return np.asarray(self.data["probability"].max("class").values)

    @property
    def sure(self) -> float:
        """Share of answers that are given with a probability of 0.95 or more."""
        return float((self.confidence >= SURE).mean())

    @property
    def undecided(self) -> float:
        """Share of answers in which classes tie for the most probable: output neurons that spike equally often."""
        probability = self.data["probability"].values
        return float(((probability == probability.max(axis=2, keepdims=True)).sum(axis=2) > 1).mean())

    def layer_name(self, layer: int) -> str:
        """`output`, `hidden`, or `hidden 2` where there are several."""
        if layer == self.n_layers:
            return "output"
        return "hidden" if self.n_layers == 2 else f"hidden {layer}"

    def table(self) -> pd.DataFrame:
        """A row for each layer: the median rate of its neurons, the interval of 90% of them, and the two shares."""
        rows = {}
        for layer in self.layers:
            low, middle, high = np.quantile(self.data[f"rate_{layer}"].values, (0.05, 0.5, 0.95))
            rows[self.layer_name(layer)] = {
                "rate": float(middle),
                "rate_low": float(low),
                "rate_high": float(high),
                "silent": float(self.data[f"silent_{layer}"].mean()),
                "saturated": float(self.data[f"saturated_{layer}"].mean()),
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")

    def __str__(self) -> str:
        layers = [
            f"{name}: {row['rate']:.2f} spikes per step (90% of neurons {row['rate_low']:.2f} to "
            f"{row['rate_high']:.2f}), {row['silent']:.0%} of neurons silent, {row['saturated']:.0%} saturated"
            for name, row in self.table().iterrows()
        ]
        said = [
            *layers,
            f"answers: {self.sure:.0%} sure (probability {SURE:.2f} or more), {self.undecided:.0%} undecided",
        ]
        if "accuracy" in self.data:
            low, high = np.quantile(self.data["accuracy"].values, (0.05, 0.95))
            said.append(f"accuracy: 90% of draws from {low:.2f} to {high:.2f} (one class always: {self.chance:.2f})")
        if len(self.layers) < self.n_layers:
            said.append("hidden neurons: the chip does not show their spikes")
        return "\n".join(said)


def prior_predictive(
    chip: Chip,
    inputs: FloatArray,
    weights: str | Path | PriorFunction | None = None,
    labels: IntArray | None = None,
    *,
    draws: int = 200,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
    beta: float = BETA,
    readout: ReadoutFunction | None = None,
) -> PriorPredictive:
    """Run the chip with weights drawn from a prior.

    Parameters
    ----------
    chip
        Any chip. Hidden neurons are looked at where it has a method `spikes(weights, inputs)`, which returns a
        (n_samples, n_steps, n_neurons) array of booleans for each layer.
    inputs
        (n_samples, n_in) floats, standardised as for a fit.
    weights
        The prior: a function `weights(chip)`, or the name or path of a model file (default "gaussian").
    labels
        (n_samples,) labels, to tell the accuracy under the prior. They do not change anything else.
    draws
        Draws from the prior: each is one pass of the inputs.
    seed
        Of the draws.
    class_names
        Coordinates of the dim `class`; numbers when left out.
    beta, readout
        As for `fit`: the weight of a spike, or a function `readout(chip)`; by default that of the model file, if it has
        one.

    Warns
    -----
    UserWarning
        When the prior has potentials (`pm.Potential`), which draws from it ignore.

    Raises
    ------
    InputError
        When an argument cannot be used, or the prior cannot be drawn from.
    ChipError
        When the chip answers something else than spikes.
    """
    spec = check_chip(chip).spec
    inputs = frozen(check_inputs(inputs, spec.layers[0]))  # a chip may then prepare them once
    checked = None if labels is None else check_labels(labels, len(inputs), spec.layers[-1])
    check_whole("draws", draws, 1, None, 200)
    placeholder = np.zeros(len(inputs), int) if checked is None else checked
    model = build_model(chip, inputs, placeholder, weights, class_names=class_names, beta=beta, readout=readout)
    drawn, readouts = draw_weights(model, int(draws), seed)

    n_layers = len(spec.layers) - 1
    shows = callable(getattr(chip, "spikes", None))
    layers = tuple(range(1, n_layers + 1)) if shows else (n_layers,)
    counts = [np.empty((draws, len(inputs), spec.layers[layer]), np.int32) for layer in layers]
    for draw in range(draws):
        programmed = [layer[draw] for layer in drawn]
        if shows:
            for kept, fired in zip(counts, ask_spikes(chip, programmed, inputs), strict=True):
                kept[draw] = fired.sum(axis=1)
        else:
            counts[0][draw] = ask_counts(chip, programmed, inputs)

    variables: dict[str, Any] = {}
    for layer, count in zip(layers, counts, strict=True):
        variables[f"rate_{layer}"] = (("draw", f"post_{layer}"), count.mean(axis=1) / spec.n_steps)
        variables[f"silent_{layer}"] = ("draw", (count == 0).all(axis=1).mean(axis=1))
        variables[f"saturated_{layer}"] = ("draw", _saturated(count, spec.n_steps).mean(axis=1))
    pairs = zip(readouts, counts[-1], strict=True)
    probability = np.stack([readout.probabilities(of_draw) for readout, of_draw in pairs])
    variables["probability"] = (("draw", "sample", "class"), probability)
    if checked is not None:
        variables["accuracy"] = ("draw", np.array([accuracy(answers, checked) for answers in probability]))
    coords = {"class": list(range(spec.layers[-1]) if class_names is None else class_names)}
    chance = None if checked is None else float(np.bincount(checked).max() / len(checked))
    return PriorPredictive(xr.Dataset(variables, coords), layers, n_layers, chance, int(draws) * len(inputs))


def _saturated(counts: NDArray[np.int32], n_steps: int) -> NDArray[np.bool_]:
    """(draw, neuron) of counts (draw, sample, neuron): at least half of the answers that are not 0 are n_steps."""
    spiking, full = (counts > 0).sum(axis=1), (counts == n_steps).sum(axis=1)
    return np.asarray((spiking > 0) & (2 * full >= spiking))
