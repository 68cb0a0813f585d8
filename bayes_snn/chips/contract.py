"""The contract of a chip: what it is (`ChipSpec`) and the one thing it does (`Chip.run`).

Any object with `spec` and `run` is a chip, simulated or on a bench; there is no base class and no registration.
"""

from __future__ import annotations

import itertools
import math
import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bayes_snn.arrays import ArrayError, as_array, as_floats
from bayes_snn.errors import ChipError, ChipRaisedError, InputError, check_whole, said, text_of

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Parameter:
    """One matrix of what a chip is programmed with.

    Parameters
    ----------
    name
        Its name in the posterior: "w_1".
    shape
        (n_pre, n_post).
    dims
        Names of its two dims: ("pre_1", "post_1").
    levels
        The values that an entry can have, ascending; None where they follow from the chip's `weight_range` and
        `weight_bits`.
    scale
        How large an entry is expected to be, for a chip whose units are its own: the priors of `models/` are as wide.
        None where it follows from the fan-in, see `bayes_snn.posterior.weight_scales`.

    Raises
    ------
    InputError
        When one of them is something else.
    """

    name: str
    shape: tuple[int, int]
    dims: tuple[str, str]
    levels: tuple[float, ...] | None = field(default=None, repr=False)
    scale: float | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        shape, dims = _pair(self.shape), _pair(self.dims)
        named = isinstance(self.name, str) and self.name and all(isinstance(dim, str) and dim for dim in dims)
        whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0 for n in shape)
        if not named or not whole or not shape or not dims or dims[0] == dims[1]:
            raise InputError(
                f"A parameter was {(self.name, self.shape, self.dims)!r:.200}, but a name, two positive whole numbers "
                "and the names of two dims are expected: give for example Parameter('w_1', (30, 16), ('pre', 'post'))."
            )
        object.__setattr__(self, "shape", tuple(int(n) for n in shape))
        object.__setattr__(self, "dims", dims)
        if self.levels is not None:
            object.__setattr__(self, "levels", _ascending(self.name, self.levels))
        if self.scale is not None:
            number = isinstance(self.scale, int | float | np.number) and not isinstance(self.scale, bool)
            if not number or not 0 < float(self.scale) < math.inf:
                raise InputError(
                    f"The scale of {self.name!r} was {self.scale!r:.60}, but a positive number is expected: leave it "
                    "out where weights are in units of the threshold."
                )
            object.__setattr__(self, "scale", float(self.scale))


def _pair(value: object) -> tuple[Any, ...]:
    """A sequence of two as a tuple, () for anything else."""
    sequence = isinstance(value, Sequence) and not isinstance(value, str)
    return tuple(value) if sequence and len(value) == 2 else ()  # type: ignore[arg-type]


def _ascending(name: str, levels: Any) -> tuple[float, ...]:
    """Levels as floats, or an `InputError`."""
    try:
        array = np.asarray(levels, np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.empty(0)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all() or (np.diff(array) <= 0).any():
        raise InputError(
            f"The levels of {name!r} were {levels!r:.60}, but finite numbers in ascending order are expected: sort "
            "them, or leave them out for a grid of weight_bits."
        )
    return tuple(array.tolist())


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
        Bits of a synapse's weight, 2 to 24, None for an analog synapse.
    deterministic
        True when the same weights and inputs always give the same spike counts.
    drifting
        True when what the chip computes changes slowly from run to run. A drifting chip is not deterministic, whatever
        `deterministic` says.
    parameters
        What the chip is programmed with, in the order in which `run` takes it. Left out, it is one weight matrix
        between each layer and the next: w_1 with dims ("pre_1", "post_1"), and so on.
    """

    layers: tuple[int, ...]
    n_steps: int = 32
    weight_range: tuple[float, float] = (-4.0, 4.0)
    weight_bits: int | None = None
    deterministic: bool = True
    drifting: bool = False
    parameters: tuple[Parameter, ...] = field(default=(), repr=False)

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
        bits = self.weight_bits
        whole = isinstance(bits, int | np.integer) and not isinstance(bits, bool)
        if bits is not None and not (whole and 2 <= bits <= 24):
            # levels are symmetric about zero, so that one bit would leave zero alone
            raise InputError(
                f"weight_bits was {bits!r}, but a whole number from 2 to 24 is expected, or None: try 8; for a chip of "
                "two levels leave it out and give the levels in parameters, see docs/integer_weights.md."
            )
        object.__setattr__(self, "layers", tuple(int(n) for n in layers))
        object.__setattr__(self, "n_steps", int(self.n_steps))
        object.__setattr__(self, "weight_bits", None if bits is None else int(bits))
        object.__setattr__(self, "deterministic", bool(self.deterministic) and not self.drifting)
        object.__setattr__(self, "weight_range", (float(low), float(high)))
        object.__setattr__(self, "parameters", self._checked_parameters() or _weight_matrices(self.layers))

    def _checked_parameters(self) -> tuple[Parameter, ...]:
        """The parameters that were given, also as what JSON makes of them."""
        given = tuple(Parameter(**p) if isinstance(p, Mapping) else p for p in self.parameters)
        if any(not isinstance(p, Parameter) for p in given):
            raise InputError(
                f"The chip's parameters were {self.parameters!r:.200}, but a sequence of Parameter is expected: leave "
                "them out for one weight matrix a layer."
            )
        sizes: dict[str, int] = {}
        for name, n in ((dim, n) for p in given for dim, n in zip(p.dims, p.shape, strict=True)):
            if sizes.setdefault(name, n) != n:
                raise InputError(
                    f"The dim {name!r} of the chip's parameters has the lengths {sizes[name]} and {n}, but a dim has "
                    "one length: give one of them another name."
                )
        if len({p.name for p in given}) < len(given):
            raise InputError("Two parameters of the chip have the same name: give each a name of its own.")
        return given

    @property
    def weight_shapes(self) -> tuple[tuple[int, int], ...]:
        """Shape (n_pre, n_post) of each weight matrix."""
        return tuple(parameter.shape for parameter in self.parameters)

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Name of each weight matrix: w_1 leads from the inputs to the first layer of neurons."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def weight_dims(self) -> tuple[tuple[str, str], ...]:
        """Names of the two dims of each weight matrix: ("pre_1", "post_1") for w_1."""
        return tuple(parameter.dims for parameter in self.parameters)

    @property
    def n_weights(self) -> int:
        """Number of weights of all layers together."""
        return sum(n_pre * n_post for n_pre, n_post in self.weight_shapes)

    def as_dict(self) -> dict[str, Any]:
        """The fields in plain values, of which ChipSpec(**fields) is made again; parameters where they were given."""
        fields = asdict(self)
        if self.parameters == _weight_matrices(self.layers):
            del fields["parameters"]
        return fields


def _weight_matrices(layers: Sequence[int]) -> tuple[Parameter, ...]:
    """One weight matrix between each layer and the next."""
    shapes = enumerate(itertools.pairwise(layers), start=1)
    return tuple(Parameter(f"w_{n}", shape, (f"pre_{n}", f"post_{n}")) for n, shape in shapes)


@runtime_checkable
class Chip(Protocol):
    """A chip, simulated or real."""

    spec: ChipSpec

    def run(self, weights: Sequence[FloatArray], inputs: FloatArray) -> IntArray:
        """Show every input to the chip once.

        Parameters
        ----------
        weights
            One (n_pre, n_post) float array per layer. Read-only: a method that changes them works on a copy.
        inputs
            (n_samples, n_in) floats, the constant input currents in units of the threshold. Read-only too.

        Returns
        -------
        Spike counts of the output neurons, integers (n_samples, n_out), each from 0 to `spec.n_steps`.
        """
        ...


class AbsentChip:
    """Stands in for a chip that cannot be made from its description: it can be described, not run."""

    def __init__(self, name: str, spec: ChipSpec) -> None:
        self.name, self.spec = name, spec

    def run(self, weights: Sequence[FloatArray], inputs: FloatArray) -> IntArray:
        """A `ChipError` always."""
        raise ChipError(
            f"The chip, a {said(self.name)}, cannot be made from its description: pass the chip to load_fit(folder, "
            "chip=), or give --chip MODULE:NAME to the command."
        )


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
    array = as_array("The inputs", inputs)
    try:
        array = np.asarray(array, np.float64)
    except ValueError:
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


ONE_EACH = "give one (n_pre, n_post) array for each layer"


def weight_matrices(
    weights: Sequence[FloatArray], shapes: Sequence[tuple[int, ...]], remedy: str = ONE_EACH
) -> list[NDArray[Any]]:
    """Weights as arrays of floats of these shapes, NaN among them or not; an `InputError` ends in the remedy."""
    matrices = [as_floats("The weights", w) for w in weights]
    found = [w.shape for w in matrices]
    if found != list(shapes):
        raise InputError(f"The weights have shapes {found}, but this chip expects {list(shapes)}: {remedy}.")
    return matrices


def check_weights(
    weights: Sequence[FloatArray], shapes: Sequence[tuple[int, ...]], remedy: str = ONE_EACH
) -> list[NDArray[Any]]:
    """The same, of which none may be NaN."""
    matrices = weight_matrices(weights, shapes, remedy)
    if any(np.isnan(w).any() for w in matrices):
        raise InputError("The weights hold NaN, but every weight must be a number: check the prior.")
    return matrices


def check_labels(labels: object, n_samples: int, n_classes: int) -> NDArray[np.int64]:
    """Labels as int64 (n_samples,), each from 0 to n_classes - 1, or an `InputError`."""
    array = as_array("The labels", labels)
    if array.shape != (n_samples,):
        raise InputError(
            f"The labels have shape {array.shape}, but one label for each of the {n_samples} samples is "
            f"expected: pass an array of shape ({n_samples},)."
        )
    numeric = array.dtype.kind in "biuf"
    odd = np.flatnonzero(~(np.isfinite(array) & (array == np.rint(array)))) if array.dtype.kind == "f" else np.empty(0)
    if not numeric or len(odd):
        found = f"{array[int(odd[0])]} at sample {int(odd[0])}" if len(odd) else f"{array.dtype} values"
        raise InputError(
            f"The labels hold {found}, but whole numbers from 0 to {n_classes - 1} are expected: "
            "encode the classes first, for example with load_data."
        )
    if array.min() < 0 or array.max() >= n_classes:
        raise InputError(
            f"The labels run from {array.min()} to {array.max()}, but a chip with {n_classes} output neurons "
            f"has classes 0 to {n_classes - 1}: give the last layer one neuron for each class."
        )
    return array.astype(np.int64)


def check_counts(counts: object, n_samples: int, spec: ChipSpec) -> NDArray[np.int32]:
    """Spike counts as int32 (n_samples, n_out), or a `ChipError`: a chip that answers nonsense is not believed."""
    expected = (n_samples, spec.layers[-1])
    try:
        array = as_array("The chip's counts", counts, "check its link and its driver")
    except ArrayError as error:
        raise ChipError(str(error)) from error
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
    try:
        layers = [as_array("The chip's spikes", layer, "check its link and its driver") for layer in answer]
    except ArrayError as error:
        raise ChipError(str(error)) from error
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


def frozen(array: Any) -> NDArray[Any]:
    """An array that nobody can write to: a read-only copy, or the array itself where it is one already.

    An array that owns its data and is read-only is handed on as it is, so that a chip may prepare such inputs once.
    """
    if isinstance(array, np.ndarray) and array.base is None and not array.flags.writeable:
        return array
    copy = np.array(array)
    copy.setflags(write=False)
    return copy


def ask_counts(chip: Chip, weights: Sequence[Any], inputs: Any) -> NDArray[np.int32]:
    """Run a chip once on read-only copies: spike counts (n_samples, n_out), checked and the caller's own.

    A chip that changed its arguments would change the weights of a chain, and one that answers with the same array
    each time the counts of an earlier run.

    Raises
    ------
    ChipError
        When the chip answers nonsense, writes into its arguments, or raises an exception, which is the error's cause.
    """
    with _at_work("run"):
        counts = chip.run([frozen(matrix) for matrix in weights], frozen(inputs))
    return np.array(check_counts(counts, len(inputs), chip.spec), order="C")


def ask_spikes(chip: Any, weights: Sequence[Any], inputs: Any) -> list[NDArray[Any]]:
    """The same of a chip's method `spikes`: (n_samples, n_steps, n_neurons) of each layer."""
    with _at_work("spikes"):
        answer = chip.spikes([frozen(matrix) for matrix in weights], frozen(inputs))
    return [np.array(layer) for layer in check_spikes(answer, len(inputs), chip)]


@contextmanager
def _at_work(method: str) -> Iterator[None]:
    """What a chip raises by itself, NumPy's complaint of a write into a read-only array too, as a `ChipError`."""
    try:
        yield
    except (ChipError, InputError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        text = text_of(error)
        if isinstance(error, ValueError) and any(word in text for word in ("read-only", "WRITEABLE")):
            raise ChipError(
                f"The chip's method `{method}` writes into its weights or inputs ({text}), but they are read-only, "
                "since a chain continues with them: let it work on a copy, for example np.array(weights[0])."
            ) from error
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise ChipRaisedError(
            f"The chip raised {type(error).__name__} ({text}) in {os.path.basename(frame.filename)}, line "
            f"{frame.lineno}: fix the chip or its driver first."
        ) from error


def as_matrices(joined: NDArray[Any], shapes: Sequence[tuple[int, ...]]) -> list[NDArray[Any]]:
    """Weights of each layer out of all of them, ravelled and joined."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(joined, ends), shapes, strict=True)]
