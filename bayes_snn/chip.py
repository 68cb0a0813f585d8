"""The contract of a chip: what it is (`ChipSpec`) and the one thing it does (`Chip.run`).

Any object with `spec` and `run` is a chip, simulated or on a bench; there is no base class and no registration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bayes_snn.errors import ChipError, InputError, check_whole

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class ChipSpec:
    """What a chip accepts and how it answers.

    Parameters
    ----------
    layers
        Neurons of each layer, inputs first: (30, 16, 2) has 30 inputs, 16 hidden and 2 output neurons.
    n_steps
        Time steps of one presentation; a spike count is at most this.
    weight_range
        Lowest and highest weight a synapse can hold; what lies outside saturates.
    weight_bits
        Bits of a synapse's weight, None for an analog synapse.
    deterministic
        True when the same weights and inputs always give the same spike counts.
    drifting
        True when what the chip computes changes slowly from run to run. A drifting chip is not deterministic, whatever
        `deterministic` says.
    """

    layers: tuple[int, ...]
    n_steps: int = 32
    weight_range: tuple[float, float] = (-4.0, 4.0)
    weight_bits: int | None = None
    deterministic: bool = True
    drifting: bool = False

    def __post_init__(self) -> None:
        layers = tuple(self.layers)
        if len(layers) < 2 or any(not isinstance(n, int | np.integer) or n < 1 for n in layers):
            raise InputError(
                f"Layers were {self.layers!r}, but at least two positive whole numbers are needed, "
                "inputs first: give for example (30, 16, 2)."
            )
        check_whole("n_steps", self.n_steps, 1, None, 32)
        low, high = self.weight_range
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise InputError(
                f"weight_range was {self.weight_range!r}, but two finite numbers are needed, the lower one "
                "first: try (-4, 4)."
            )
        if self.weight_bits is not None and not 1 <= self.weight_bits <= 24:
            raise InputError(
                f"weight_bits was {self.weight_bits!r}, but 1 to 24 bits can be simulated: try 8, or None."
            )
        object.__setattr__(self, "layers", tuple(int(n) for n in layers))
        object.__setattr__(self, "n_steps", int(self.n_steps))
        object.__setattr__(self, "deterministic", bool(self.deterministic) and not self.drifting)
        object.__setattr__(self, "weight_range", (float(low), float(high)))

    @property
    def weight_shapes(self) -> tuple[tuple[int, int], ...]:
        """Shape (n_pre, n_post) of each weight matrix."""
        return tuple(zip(self.layers[:-1], self.layers[1:], strict=True))

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Name of each weight matrix: w_1 leads from the inputs to the first layer of neurons."""
        return tuple(f"w_{layer}" for layer in range(1, len(self.layers)))

    @property
    def weight_dims(self) -> tuple[tuple[str, str], ...]:
        """Names of the two dims of each weight matrix: ("pre_1", "post_1") for w_1."""
        return tuple((f"pre_{layer}", f"post_{layer}") for layer in range(1, len(self.layers)))

    @property
    def n_weights(self) -> int:
        """Number of weights of all layers together."""
        return sum(n_pre * n_post for n_pre, n_post in self.weight_shapes)


@runtime_checkable
class Chip(Protocol):
    """A chip, simulated or real."""

    spec: ChipSpec

    def run(self, weights: Sequence[FloatArray], inputs: FloatArray) -> IntArray:
        """Show every input to the chip once.

        Parameters
        ----------
        weights
            One (n_pre, n_post) float array per layer.
        inputs
            (n_samples, n_in) floats, the constant input currents in units of the threshold.

        Returns
        -------
        Spike counts of the output neurons, integers (n_samples, n_out), each from 0 to `spec.n_steps`.
        """
        ...


def check_chip(chip: object) -> Chip:
    """Return `chip` when it keeps the contract; an `InputError` says what is missing otherwise."""
    if not isinstance(getattr(chip, "spec", None), ChipSpec) or not callable(getattr(chip, "run", None)):
        raise InputError(
            f"The chip was {type(chip).__name__}, but a chip has `spec`, a ChipSpec, and a method "
            "`run(weights, inputs)`: add them, or use LIFChip."
        )
    return chip  # type: ignore[return-value]


def check_inputs(inputs: object, n_in: int) -> NDArray[np.float64]:
    """Inputs as float64 (n_samples, n_in), or an `InputError`."""
    try:
        array = np.asarray(inputs, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            "The inputs are not numbers, but (n_samples, n_in) floats are expected: encode text columns first."
        ) from None
    if array.ndim != 2 or array.shape[1] != n_in or array.shape[0] == 0:
        raise InputError(
            f"The inputs have shape {array.shape}, but the chip expects (n_samples, {n_in}) with at least one "
            "sample: select the features or give the chip another first layer."
        )
    if not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise InputError(
            f"The inputs hold {array[row, column]} at sample {row}, feature {column}, but every current must be "
            "finite: drop or impute such values first."
        )
    if np.abs(array).max() > 1e6:
        raise InputError(
            f"The largest input is {np.abs(array).max():.3g}, but currents are in units of the threshold and at "
            "most 1e6: standardise the features first."
        )
    return array


def check_labels(labels: object, n_samples: int, n_classes: int) -> NDArray[np.int64]:
    """Labels as int64 (n_samples,), each from 0 to n_classes - 1, or an `InputError`."""
    array = np.asarray(labels)
    if array.shape != (n_samples,):
        raise InputError(
            f"The labels have shape {array.shape}, but one label for each of the {n_samples} samples is "
            f"expected: pass an array of shape ({n_samples},)."
        )
    numeric = np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_
    if not numeric or not np.isfinite(array).all() or (array != array.astype(np.int64)).any():
        raise InputError(
            f"The labels hold {array.dtype} values, but whole numbers from 0 to {n_classes - 1} are expected: "
            "encode the classes first, for example with load_data."
        )
    array = array.astype(np.int64)
    if array.min() < 0 or array.max() >= n_classes:
        raise InputError(
            f"The labels run from {array.min()} to {array.max()}, but a chip with {n_classes} output neurons "
            f"tells classes 0 to {n_classes - 1}: give the last layer one neuron for each class."
        )
    return array


def check_counts(counts: object, n_samples: int, spec: ChipSpec) -> NDArray[np.int32]:
    """Spike counts as int32 (n_samples, n_out), or a `ChipError`: a chip that answers nonsense is not believed."""
    expected = (n_samples, spec.layers[-1])
    array = np.asarray(counts)
    if array.shape != expected:
        raise ChipError(
            f"The chip answered an array of shape {array.shape}, but spike counts of shape {expected} were "
            "expected: check how its driver reads the output neurons."
        )
    if not np.issubdtype(array.dtype, np.integer):
        try:
            whole = np.isfinite(array.astype(np.float64)).all() and (array == np.rint(array)).all()
        except (TypeError, ValueError):
            whole = False
        if not whole:
            raise ChipError(
                f"The chip answered {array.dtype} values that are not whole numbers (NaN among them, perhaps), "
                "but spike counts were expected: check its link and its driver."
            )
    low, high = array.min(), array.max()
    if low < 0 or high > spec.n_steps:
        raise ChipError(
            f"The chip answered spike counts from {low} to {high}, but {spec.n_steps} steps allow only 0 to "
            f"{spec.n_steps}: check its link and ChipSpec.n_steps."
        )
    return array.astype(np.int32, copy=False)


def check_spikes(answer: Any, n_samples: int, chip: Chip) -> list[NDArray[Any]]:
    """Spikes (n_samples, n_steps, n_neurons) of each layer, or a `ChipError`: a chip that answers nonsense is not
    believed."""
    expected = [(n_samples, chip.spec.n_steps, n) for n in chip.spec.layers[1:]]
    if not isinstance(answer, list | tuple):
        raise ChipError(
            f"The chip answered a {type(answer).__name__}, but a list of spikes, one array a layer, was expected: "
            "check its method `spikes`."
        )
    layers = [np.asarray(layer) for layer in answer]
    if [layer.shape for layer in layers] != expected:
        raise ChipError(
            f"The chip's spikes have shapes {[layer.shape for layer in layers]}, but {expected} were expected, one "
            "array for each layer: check how its driver reads the neurons."
        )
    if any(layer.dtype != np.bool_ and not np.isin(layer, (0, 1)).all() for layer in layers):
        raise ChipError(
            "The chip's spikes hold other values than 0 and 1, but each neuron spikes or does not at each step: check "
            "its link and its driver."
        )
    return layers


def as_matrices(joined: NDArray[Any], shapes: Sequence[tuple[int, ...]]) -> list[NDArray[Any]]:
    """Weights of each layer out of all of them, ravelled and joined."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(joined, ends), shapes, strict=True)]
