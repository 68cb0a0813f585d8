"""The PyMC model: a prior over the weights, and the chip as the likelihood of the training labels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.graph.traversal import ancestors

from bayes_snn.chips.contract import (
    Chip,
    ChipSpec,
    FloatArray,
    IntArray,
    ask_counts,
    check_chip,
    check_inputs,
    check_labels,
    frozen,
)
from bayes_snn.errors import InputError
from bayes_snn.groups import LABELS
from bayes_snn.likelihood import BETA, Readout, Target, WeightedLabels, draw_labels, with_weights
from bayes_snn.names import available_models as available_models
from bayes_snn.posterior.model_file import call_function, name_of, record
from bayes_snn.posterior.noisy import NoiseChoice
from bayes_snn.posterior.op import ChipCounts
from bayes_snn.posterior.priors import PriorFunction, ReadoutFunction, load_prior, load_readout
from bayes_snn.posterior.readout import log_p, make_readout
from bayes_snn.posterior.sample_weights import ClassWeight, sample_weights_of
from bayes_snn.posterior.values import shape_of


@dataclass(frozen=True)
class ChipLikelihood:
    """The chip's part of a model made by `build_model`, its attribute `likelihood`.

    `op` runs the chip; `weights` are the matrices (n_pre, n_post) that it is programmed with, of the model's
    variables; `label` is the observed variable, and `labels` (n_samples,) its values. `beta` and `bias` (n_classes,)
    are the readout, of the model's variables too, and `fixed` is the same in numbers, None where it is random.
    `target` is what log L is a sum over: the labels, with how often each sample counts where they do not all count
    once. `recorded` says whether the posterior holds it. `on(twin)` makes the same model with another chip in the
    place of this one, which the prior does not see.
    """

    op: ChipCounts
    weights: list[Any]
    label: Any
    labels: IntArray
    target: Target
    beta: Any
    bias: Any
    fixed: Readout | None
    recorded: bool
    on: Callable[[Chip], pm.Model]

    @property
    def sample_weight(self) -> FloatArray | None:
        """How often each sample counts, (n_samples,); None where each counts once."""
        return self.target.weights if isinstance(self.target, WeightedLabels) else None


def build_model(
    chip: Chip,
    inputs: FloatArray,
    labels: IntArray,
    weights: str | Path | PriorFunction | None = None,
    *,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    beta: float = BETA,
    readout: ReadoutFunction | None = None,
    sample_weight: FloatArray | None = None,
    class_weight: ClassWeight = None,
) -> pm.Model:
    """The posterior of a chip's weights as a PyMC model.

    Parameters
    ----------
    chip
        Any chip.
    inputs, labels
        (n_samples, n_in) training inputs and (n_samples,) labels from 0 to n_classes - 1.
    weights
        The prior: a function `weights(chip)` that returns one (n_pre, n_post) variable for each layer, or the name or
        path of a file that holds one (default "gaussian").
    feature_names, class_names
        Coordinates of the first `pre` and the last `post` dim; numbers when left out.
    beta
        Weight of a spike in the likelihood, > 0, where the readout does not give another.
    readout
        A function `readout(chip)` that returns the scale beta and the biases (n_classes,), numbers or PyMC variables;
        by default the one of the model file, or a random bias of each class where that has none; see `fit`.
    sample_weight, class_weight
        How often samples count, as in `fit`.

    Returns
    -------
    A model whose weights have dims ("pre_1", "post_1"), ... and whose observed variable "label" has dim "observation".
    Its attribute `likelihood` is a `ChipLikelihood`: `model.likelihood.op` runs the chip and counts what it shows. A
    readout from a function is in the model as the variables "beta" and "bias".

    Raises
    ------
    InputError
        When inputs, labels, or the shapes of prior or readout do not fit the chip.
    """
    prior = load_prior(weights)
    return make_model(
        *(check_chip(chip), inputs, labels, prior, load_readout(readout, prior)),
        feature_names=feature_names,
        class_names=class_names,
        beta=beta,
        sample_weight=sample_weights_of(chip.spec, inputs, labels, sample_weight, class_weight),
    )


def make_model(
    chip: Chip,
    inputs: FloatArray,
    labels: IntArray,
    prior: PriorFunction,
    own: ReadoutFunction | None,
    *,
    feature_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    beta: float = BETA,
    noise: NoiseChoice = NoiseChoice(),  # noqa: B008
    sample_weight: FloatArray | None = None,
) -> pm.Model:
    """The same of what was checked and loaded already: a chip, a prior, a readout of its own, if any, and weights of
    samples, if any."""
    spec = chip.spec
    inputs = frozen(check_inputs(inputs, spec.layers[0]))  # a chip may then prepare them once
    labels = check_labels(labels, len(inputs), spec.layers[-1])
    coords = _coordinates(spec, len(inputs), feature_names, class_names)

    def on(shown: Chip, noise: NoiseChoice = NoiseChoice()) -> pm.Model:  # noqa: B008
        return _build(
            chip, ChipCounts(shown, inputs, noise), with_weights(labels, sample_weight), prior, own, beta, coords, on
        )

    return on(chip, noise)


def _build(
    chip: Chip,
    op: ChipCounts,
    target: Target,
    prior: PriorFunction,
    own: ReadoutFunction | None,
    beta: float,
    coords: dict[str, Any],
    on: Callable[[Chip], pm.Model],
) -> pm.Model:
    """The model of a chip's prior, with the Op of that chip or of another in its place; all of it checked."""
    spec, inputs = chip.spec, op.inputs
    labels = target.labels if isinstance(target, WeightedLabels) else target
    shapes = spec.weight_shapes

    # PyMC hands all these on with a batch dim of length 1, one label being one draw of many
    def logp(value: Any, *parameters: Any) -> Any:
        *matrices, beta, bias = parameters
        counts = op(*(matrix.reshape(shape) for matrix, shape in zip(matrices, shapes, strict=True)))
        terms = log_p(counts, value, beta.reshape(()), bias.reshape((spec.layers[-1],)))
        return target.weights * terms if isinstance(target, WeightedLabels) else terms

    def random(*parameters: Any, rng: np.random.Generator, size: Any = None) -> Any:
        # labels drawn from the class probabilities of a run, for prior and posterior predictive checks
        *matrices, beta, bias = parameters
        programmed = [matrix.reshape(shape) for matrix, shape in zip(matrices, shapes, strict=True)]
        counts = ask_counts(op.chip, programmed, inputs)
        op.presentations += len(inputs)
        return draw_labels(Readout(float(np.ravel(beta)[0]), np.ravel(bias)).probabilities(counts), rng)

    with pm.Model(coords=coords, model=None) as model:
        matrices = _check_matrices(call_function(prior, chip, "prior"), shapes, prior)
        scale, bias, fixed, recorded = make_readout(own, chip, beta)
        if LABELS in model.named_vars:
            raise InputError(
                f"The prior has a variable {LABELS!r}, but that is the name of the observed labels: give it another "
                "name."
            )
        for name, dims, matrix in zip(spec.weight_names, spec.weight_dims, matrices, strict=True):
            record(name, matrix, dims, "weight matrix that the prior returned for this layer")
        cores = ",".join(f"(i{layer},j{layer})" for layer in range(len(matrices)))
        label = pm.CustomDist(
            LABELS,
            *matrices,
            scale,
            bias,
            logp=logp,
            random=random,
            signature=f"{cores},(),(k)->()",
            dtype="int64",
            observed=labels,
            dims="observation",
        )
    model.likelihood = ChipLikelihood(op, matrices, label, labels, target, scale, bias, fixed, recorded, on)
    return model


def weight_variables(model: pm.Model) -> list[Any]:
    """Value variables on which the chip's weights depend directly, in the order of the layers.

    Under a centred prior these are the weights; where a model file computes a weight from others (non-centred), they
    are those others. A step on any other variable does not run the chip.
    """
    found: list[Any] = []
    for matrix in model.likelihood.weights:
        for variable in ancestors([matrix], blockers=model.free_RVs):
            if variable in model.free_RVs and variable not in found:
                found.append(variable)
    return [model.rvs_to_values[variable] for variable in found]


def weights_at(model: pm.Model) -> Callable[[dict[str, Any]], list[Any]]:
    """A function of a point: what the chip is programmed with there, one (n_pre, n_post) matrix a layer."""
    matrices = model.replace_rvs_by_values(model.likelihood.weights)
    return model.compile_fn(  # type: ignore[no-any-return]
        matrices, inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
    )


def other_terms(model: pm.Model) -> dict[str, Any]:
    """Log-density of all that is in the model beside the prior and the labels, by name: scalars made from `free_RVs`.

    These are its `pm.Potential` terms, and observed variables of the model file's own.
    """
    terms = {potential.name: pt.sum(potential) for potential in model.potentials}
    for rv in model.observed_RVs:
        if rv is not model.likelihood.label:
            terms[rv.name] = pt.sum(pm.logp(rv, model.rvs_to_values[rv]))
    return terms


def warn_of_potentials(model: pm.Model) -> None:
    """The warning of PyMC, where draws from the prior are drawn without the model's potentials."""
    if model.potentials:
        warnings.warn(
            "The effect of Potentials on other parameters is ignored during prior predictive sampling. This is likely "
            "to lead to invalid or biased predictive samples.",
            UserWarning,
            stacklevel=3,
        )


def _coordinates(
    spec: ChipSpec,
    n_samples: int,
    feature_names: Sequence[str] | None,
    class_names: Sequence[str] | None,
) -> dict[str, Any]:
    """Names or numbers of the neurons along each dim of each weight matrix, and of the samples."""
    for what, names, n in (
        ("feature", feature_names, spec.layers[0]),
        ("class", class_names, spec.layers[-1]),
    ):
        if names is not None and len(names) != n:
            raise InputError(
                f"{len(names)} {what} names came, but this chip has {n}: give one name each, or none at all."
            )
    coords: dict[str, Any] = {"observation": range(n_samples)}
    for dims, shape in zip(spec.weight_dims, spec.weight_shapes, strict=True):
        coords |= {dim: list(range(n)) for dim, n in zip(dims, shape, strict=True)}
    last = f"post_{len(spec.layers) - 1}"
    named = {"pre_1": feature_names, last: class_names}
    coords |= {dim: list(names) for dim, names in named.items() if names is not None}
    return coords


def _check_matrices(returned: Any, shapes: Sequence[tuple[int, int]], function: PriorFunction) -> list[Any]:
    """What a prior returned as tensors: one matrix of the right shape for each layer."""
    prior = name_of(function)
    try:
        matrices = [pt.as_tensor_variable(matrix) for matrix in returned]
    except (TypeError, ValueError, NotImplementedError):
        raise InputError(
            f"The prior {prior!r} returned {returned!r:.60}, but a list of PyMC variables is expected, one "
            "weight matrix for each layer: end it as models/gaussian.py does."
        ) from None
    received = [shape_of(matrix) for matrix in matrices]
    if received != list(shapes):
        raise InputError(
            f"The prior {prior!r} returned weights of shapes {received}, but this "
            f"chip expects {list(shapes)}: use chip.spec.weight_names and chip.spec.weight_dims for each layer."
        )
    if not any(variable in pm.modelcontext(None).free_RVs for variable in ancestors(matrices)):
        raise InputError(
            f"The prior {prior!r} returned weights without a random variable in them, but there must be something to "
            "sample: leave at least one layer a distribution."
        )
    return matrices
