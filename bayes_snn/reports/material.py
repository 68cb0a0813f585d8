"""What a report is made from: a fit, what its folder says, and samples that it was not trained on."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.by_name import read_token
from bayes_snn.chips.contract import AbsentChip, Chip, FloatArray, IntArray, check_inputs, check_labels
from bayes_snn.data import load_data, split_data
from bayes_snn.errors import InputError
from bayes_snn.estimates.metrics import accuracy_interval
from bayes_snn.estimates.predict import DEPLOYABLE, DISTILLED, choose_deployable
from bayes_snn.files import UnreadableError
from bayes_snn.inference.load import load_described, read_description
from bayes_snn.inference.result import FitResult
from bayes_snn.inference.schema import DiagnosisFields
from bayes_snn.json_file import check

Samples = tuple[NDArray[np.float64], NDArray[np.int64]]


@dataclass
class Material:
    """A fit and what a report needs beside it.

    Attributes
    ----------
    name
        What the fit is called in the report.
    result
        The fit; its chip is an `AbsentChip` where it could not be made.
    stored
        What `fit.json` holds.
    test
        Inputs and labels that the chip was not trained on, or None.
    why_no_test
        A sentence, where `test` is None.
    """

    name: str
    result: FitResult
    stored: dict[str, Any]
    test: Samples | None = None
    why_no_test: str = ""
    _predicted: dict[tuple[str, str], NDArray[np.float64]] = field(default_factory=dict)
    _shown_before: int = field(init=False)

    def __post_init__(self) -> None:
        self._shown_before = self.result.cost.total

    @property
    def shown(self) -> int:
        """Samples shown to the chip for the report, so far."""
        return self.result.cost.total - self._shown_before

    @property
    def has_chip(self) -> bool:
        return not isinstance(self.result.chip, AbsentChip)

    @property
    def train(self) -> Samples:
        return self.result.train_inputs, np.asarray(self.result.posterior["observed_data/label"].values)

    @property
    def class_names(self) -> list[str]:
        return self.result.classes

    @cached_property
    def diagnosis(self) -> dict[str, Any]:
        """As stored, or made anew."""
        found = self.stored.get("diagnosis")
        try:
            check(found, DiagnosisFields)
        except UnreadableError:
            return self.result.diagnosis.as_dict()
        return found  # type: ignore[return-value]

    def number(self, *keys: str) -> float | None:
        """A number of `fit.json` by its keys; None where there is none."""
        value: Any = self.stored
        for name in keys:
            value = value.get(name) if isinstance(value, dict) else None
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def interval(self, part: str, accuracy: float | None) -> tuple[float, float] | None:
        """90% interval of an accuracy; None where the number of samples is not known."""
        samples = self.train if part == "train" else self.test
        if accuracy is None or samples is None or not 0 <= accuracy <= 1:
            return None
        return accuracy_interval(accuracy, len(samples[1]))

    @property
    def best_single(self) -> str | None:
        """The one set of weights to program: the distilled one, or that with the best log score in training.

        A choice by test samples would flatter it.
        """
        if self.result.distilled is not None:
            return DISTILLED  # made to be the one, without labels
        scores = {name: self.number("train", name, "log_score") for name in DEPLOYABLE}
        known = {name: score for name, score in scores.items() if score is not None}
        return choose_deployable(known) if known else None

    def predict(self, part: str, estimate: str) -> NDArray[np.float64]:
        """Class probabilities of the training or test samples, through the chip, once."""
        if (part, estimate) not in self._predicted:
            samples = self.train if part == "train" else self.test
            assert samples is not None  # of this module's own making
            self._predicted[part, estimate] = self.result.predict(samples[0], estimate)
        return self._predicted[part, estimate]


def gather(
    fit: FitResult | str | Path, test: tuple[FloatArray, IntArray] | None = None, chip_name: str | None = None
) -> Material:
    """Read a fit folder, or take a fit, and find its test samples.

    `test` gives them; without, they are split again from the data set of the fit's arguments. `chip_name` is
    "module:name" or the address of a server, for folders of fits on a chip that was not simulated.
    """
    if isinstance(fit, FitResult):
        _check(fit, "fit")  # before it describes itself
        result, stored, name = fit, json.loads(json.dumps(fit.as_dict(), default=str)), "fit"
    else:
        folder = Path(fit)
        result, stored = _read(folder, chip_name)
        name = folder.resolve().name or str(folder)
    if getattr(result.chip, "copyable", False):
        # a noisy chip answers the same at every report, and the caller's continues where it was
        chip: Any = copy.deepcopy(result.chip)
        chip.restart_noise(0) if hasattr(chip, "restart_noise") else None
        result = replace(result, chip=chip)
    _check(result, name)
    found = Material(name, result, stored)
    try:
        found.test = _test_samples(result) if test is None else _given(test, result.chip)
    except InputError as error:
        if test is not None:
            raise
        found.why_no_test = str(error)
    return found


def _read(folder: Path, chip: str | None) -> tuple[FitResult, dict[str, Any]]:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder, but the folder of a fit is expected: give what --out named.")
    return load_described(folder, chip, read_token(None)), read_description(folder)


def _check(result: FitResult, name: str) -> None:
    """The posterior holds what every part of the report builds on."""
    tree = result.posterior
    if lost := [name for name in result.chip.spec.weight_names if name not in tree["posterior"]]:
        problem = f"no weights {', '.join(lost)}"
    elif "label" not in tree["log_likelihood"]:
        problem = "no log-likelihood of the labels"
    elif "inputs" not in tree["constant_data"] or "observed_data" not in tree.children:
        problem = "no training samples"
    elif min(tree["posterior"].sizes["chain"], tree["posterior"].sizes["draw"]) < 1:
        problem = "no draws"
    else:
        return
    raise InputError(f"The posterior of {name} has {problem}, which every fit has: it was edited, so fit again.")


def _test_samples(result: FitResult) -> Samples:
    """The test part of the fit's data set, split again as its arguments say."""
    arguments = result.arguments
    if not isinstance(arguments.get("data"), str):
        raise InputError("The fit does not name its data set: pass test=(inputs, labels) to write_report from Python.")
    n_train, seed, target = (arguments.get(key) for key in ("n_train", "split_seed", "target"))
    try:
        dataset = load_data(arguments["data"], target, **arguments.get("reading", {}))
        split = split_data(dataset, n_train=n_train, seed=0 if seed is None else seed)
        split = split.with_bias() if arguments.get("bias") is True else split
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"The data set cannot be split as the fit's arguments say ({error}).") from None
    if not np.array_equal(split.train_inputs, result.train_inputs):
        raise InputError(
            f"The data set {arguments['data']} no longer gives the samples that the fit was trained on: it has changed."
        )
    return split.test_inputs, split.test_labels


def _given(test: tuple[FloatArray, IntArray], chip: Chip) -> Samples:
    inputs = check_inputs(test[0], chip.spec.layers[0])
    return inputs, check_labels(test[1], len(inputs), chip.spec.layers[-1])
