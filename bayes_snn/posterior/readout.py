"""The readout in PyTensor: spike counts to the log-probability of labels, by a scale and biases that may be random.

    p(y = k | x, W) = softmax(beta c + b)_k

It is the last thing on the way from weights to labels, and digital: a step that moves beta and b alone finds the counts
in the Op's memory, and has a gradient. A model file may hold a function `readout(chip)` that returns (beta, b).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from pymc.pytensorf import compile as compile_function
from pytensor.gradient import disconnected_grad
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.basic import NormalRV

from bayes_snn.chips.contract import Chip
from bayes_snn.errors import InputError
from bayes_snn.groups import BIAS, SCALE
from bayes_snn.likelihood import BETA, Readout, check_beta
from bayes_snn.posterior.model_file import call_function, name_of, record
from bayes_snn.posterior.priors import ReadoutFunction
from bayes_snn.posterior.values import shape_of, value_of

DRAWS = 32  # of a random beta, to see that it is above 0


def log_p(counts: Any, labels: Any, beta: Any, bias: Any) -> Any:
    """log p of each label (n_samples,) from counts (n_runs, n_samples, n_classes), averaged over runs as probabilities.

    The same as `Readout.log_p`.
    """
    counts = counts.astype("float64")
    scores = beta * (counts - counts.max(axis=2, keepdims=True)) + bias
    scores = scores - disconnected_grad(scores.max(axis=2, keepdims=True))
    runs = scores - pt.log(pt.exp(scores).sum(axis=2, keepdims=True))
    runs = runs[:, pt.arange(labels.shape[0]), labels]
    largest = disconnected_grad(runs.max(axis=0))
    return largest + pt.log(pt.exp(runs - largest).mean(axis=0))


def make_readout(function: ReadoutFunction | None, chip: Chip, beta: float) -> tuple[Any, Any, Readout | None, bool]:
    """beta and bias (n_classes,) as tensors, called inside a model; in numbers, None where they are random; recorded?

    Without a function they are `beta` and zeros, and nothing is added to the model; nor is it by a function that
    returns the same. What another one returns is recorded as the variables "beta" and "bias", but for a beta that is a
    number beside random biases. `beta` is passed on to a function that has a parameter of this name.
    """
    n_classes = chip.spec.layers[-1]
    plain = Readout(check_beta(beta), np.zeros(n_classes))
    if function is None:
        return pt.constant(plain.beta), pt.constant(plain.bias), plain, False
    given = {"beta": plain.beta} if takes_beta(function) else {}
    if beta != BETA and not given:
        raise InputError(
            f"beta was {beta!r:.60}, but the model has a readout of its own, which gives beta: leave one of them out."
        )
    scale, bias = _check(call_function(function, chip, "readout", given), n_classes, name_of(function))
    random = _is_random([scale, bias])
    fixed = None if random else Readout(float(value_of(scale)), value_of(bias).astype(np.float64))
    if fixed is not None and fixed.beta == plain.beta and not np.any(fixed.bias):
        return pt.constant(plain.beta), pt.constant(plain.bias), plain, False
    if fixed is not None or _is_random([scale]):  # else it would be a column of equal numbers
        record(SCALE, scale, (), "beta that the readout returned")
    record(BIAS, bias, (f"post_{len(chip.spec.layers) - 1}",), "bias that the readout returned")
    return scale.astype("float64"), bias.astype("float64"), fixed, True


def takes_beta(function: ReadoutFunction) -> bool:
    """Whether a readout function has a parameter `beta`, and so takes what was asked for."""
    try:
        return "beta" in signature(function).parameters
    except (TypeError, ValueError):  # a callable that tells nothing
        return False


def readout_function(model: pm.Model, shared: dict[Any, Any] | None = None) -> Callable[..., Readout]:
    """The readout of a model in numbers: where it is random, at the values of the variables.

    Parameters
    ----------
    shared
        Shared variables in the place of value variables, as a step has them: the function takes no arguments then. Left
        out, it takes a point.
    """
    likelihood = model.likelihood
    if likelihood.fixed is not None:
        return _Always(likelihood.fixed)
    if (known := normal_bias(model)) is not None:
        return _Biases(known, None if shared is None else shared[known.value])
    graphs = model.replace_rvs_by_values([likelihood.beta, likelihood.bias])
    if shared is None:
        return _At(compile_function(model.value_vars, graphs, on_unused_input="ignore", mode="FAST_COMPILE"), model)
    return _At(compile_function([], clone_replace(graphs, shared)), None)


def readout_variables(model: pm.Model) -> list[Any]:
    """Value variables that the readout is computed from and no weight is, on a continuous scale.

    Given spike counts they are drawn at no run of the chip. Of the others PyMC chooses how they are drawn.
    """
    likelihood = model.likelihood
    of_weights = set(ancestors(likelihood.weights, blockers=model.free_RVs))
    found = set(ancestors([likelihood.beta, likelihood.bias], blockers=model.free_RVs)) - of_weights
    return [model.rvs_to_values[rv] for rv in model.free_RVs if rv in found and rv.dtype.startswith("float")]


def with_readout_variables(model: pm.Model, variables: Sequence[Any]) -> list[Any]:
    """Value variables of the weights, and behind them those of the readout: what a step that moves both has."""
    return [*variables, *(value for value in readout_variables(model) if value not in variables)]


@dataclass(frozen=True)
class NormalBias:
    """A readout of a number beta and Normal biases, that of class_biases.py: known without a compiled function.

    `value` is the value variable of the biases, `means` and `sds` (n_classes,) are those of its prior.
    """

    value: Any
    beta: float
    means: NDArray[np.float64]
    sds: NDArray[np.float64]


def normal_bias(model: pm.Model) -> NormalBias | None:
    """What is random of a readout, where that is biases with a fixed Normal prior that stand nowhere else, or None."""
    beta, bias = model.likelihood.beta, model.likelihood.bias
    if bias not in model.free_RVs or not isinstance(bias.owner.op, NormalRV) or _is_random([beta], model):
        return None
    means, sds = bias.owner.op.dist_params(bias.owner)
    value, others = model.rvs_to_values[bias], [rv for rv in model.basic_RVs if rv is not model.likelihood.label]
    terms = [rv for rv in others if rv is not bias and bias in ancestors([rv])]
    terms += [term for term in model.potentials if bias in ancestors([term])]
    if terms or _is_random([means, sds], model) or model.rvs_to_transforms[bias] is not None:
        return None
    shape = shape_of(bias)
    means, sds = (np.broadcast_to(value_of(each), shape).astype(np.float64) for each in (means, sds))
    return NormalBias(value, float(value_of(beta)), means, sds)


class _Biases:
    """A readout whose biases are those of a shared variable, or of a point."""

    def __init__(self, known: NormalBias, shared: Any) -> None:
        self._beta, self._name, self._shared = known.beta, known.value.name, shared

    def __call__(self, point: Any = None) -> Readout:
        bias = self._shared.get_value() if self._shared is not None else point[self._name]
        return Readout(self._beta, np.array(bias, np.float64))


class _Always:
    """A readout that does not change."""

    def __init__(self, readout: Readout) -> None:
        self._readout = readout

    def __call__(self, point: Any = None) -> Readout:
        return self._readout


class _At:
    """A readout at values of the variables."""

    def __init__(self, function: Any, model: pm.Model | None) -> None:
        self._function = function
        self._names = None if model is None else [value.name for value in model.value_vars]

    def __call__(self, point: Any = None) -> Readout:
        values = [] if self._names is None else [point[name] for name in self._names]
        beta, bias = self._function(*values)
        return Readout(float(beta), np.array(bias, np.float64))


def _check(returned: Any, n_classes: int, name: object) -> tuple[Any, Any]:
    """What a readout function returned as two tensors, a number above 0 and one number for each class."""
    try:
        beta, bias = returned
        beta, bias = pt.as_tensor_variable(beta), pt.as_tensor_variable(bias)
        shapes = tuple(shape_of(part) for part in (beta, bias))
    except (TypeError, ValueError, NotImplementedError):
        raise InputError(
            f"The readout {name!r} returned {returned!r:.60}, but (beta, bias) is expected, a number and one bias for "
            "each class: end it as models/learned_readout.py does."
        ) from None
    if shapes != ((), (n_classes,)):
        raise InputError(
            f"The readout {name!r} returned shapes {shapes[0]} and {shapes[1]}, but beta is one number and the biases "
            f"have the shape ({n_classes},), one for each class of this chip: give them these shapes."
        )
    if not _is_random([bias]) and not np.isfinite(value_of(bias)).all():
        raise InputError(f"The readout {name!r} returned biases that are not finite, but numbers are expected.")
    if not _is_random([beta]):
        check_beta(float(value_of(beta)))
        return beta, bias
    try:
        drawn = pm.draw(beta, DRAWS, random_seed=0, mode="FAST_COMPILE")
    except NotImplementedError:  # an improper prior, which no chain can start at: the fit says so
        return beta, bias
    if not (drawn > 0).all():
        raise InputError(
            f"The readout {name!r} has a beta that was {drawn.min():.3g} in a draw from its prior, but the weight of a "
            "spike is above 0: take pm.LogNormal or pm.HalfNormal, for example."
        )
    return beta, bias


def _is_random(tensors: list[Any], model: pm.Model | None = None) -> bool:
    model = pm.modelcontext(model)
    return any(variable in model.free_RVs for variable in ancestors(tensors))
