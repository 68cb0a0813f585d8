"""Data sets to train a chip on: built-in ones by name or a user's CSV, split by class and standardised."""

from __future__ import annotations

import math
import os
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.model_selection import train_test_split

from bayes_snn.errors import InputError, check_whole, unknown_name
from bayes_snn.names import BUILT_IN as BUILT_IN
from bayes_snn.table_file import Reading, listed, point_out, read_table

WIDTH = 120  # characters of a line
LARGEST_CURRENT = 1e6  # that a chip is shown, see `check_inputs` of chips/contract.py
PENGUINS = Path(__file__).with_name("penguins.csv")
BIAS = "bias"  # name of the input that is the same for all samples


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and their classes as the source gives them, neither split nor standardised.

    Inputs (n, d) are float64 in the source's units; labels (n,), int64 from 0 to K - 1, index `class_names`.
    """

    name: str
    inputs: NDArray[np.float64]
    labels: NDArray[np.int64]
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]
    lines: NDArray[np.int64] | None = None  # (n,) of the file

    def __repr__(self) -> str:
        return describe_data(self)


@dataclass(frozen=True, eq=False)
class Split:
    """Training and test samples, standardised; labels, int64 from 0 to K - 1, index `class_names`.

    Inputs, float64 (n_train, d) and (n_test, d), are in standard deviations from the training samples' mean. With
    `bias` their last column is 1, see `with_bias`.
    """

    name: str
    train_inputs: NDArray[np.float64]
    train_labels: NDArray[np.int64]
    test_inputs: NDArray[np.float64]
    test_labels: NDArray[np.int64]
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]
    train_lines: NDArray[np.int64] | None = None  # (n_train,) of the file
    test_lines: NDArray[np.int64] | None = None
    bias: bool = False

    def __repr__(self) -> str:
        return describe_data(self)

    def with_bias(self) -> Split:
        """The same samples with one more input, 1 for all of them: a constant current.

        Standardised data have the middle of each feature at current 0, where a network without it tells nothing
        apart: whatever its weights, a sample there looks like no input at all.
        """
        if self.bias:
            return self
        train, test = add_bias(self.train_inputs), add_bias(self.test_inputs)
        return replace(self, train_inputs=train, test_inputs=test, bias=True)

    @property
    def n_inputs(self) -> int:
        """Inputs of a chip for these samples."""
        return self.n_features + self.bias

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs: those of the features, and "bias"."""
        return (*self.feature_names, bias_name(self.feature_names)) if self.bias else self.feature_names

    @property
    def n_train(self) -> int:
        return len(self.train_labels)

    @property
    def n_test(self) -> int:
        return len(self.test_labels)

    @property
    def n_features(self) -> int:
        return len(self.feature_names)

    @property
    def n_classes(self) -> int:
        return len(self.class_names)


def load_data(
    name_or_path: str | Path = "breast_cancer",
    target: str | int | None = None,
    *,
    no_header: bool | None = None,
    separator: str | None = None,
    decimal: str = ".",
    missing: str | Sequence[str] | None = None,
) -> Dataset:
    """Load a built-in data set by name, or a text file with a table, such as CSV, by path.

    Parameters
    ----------
    name_or_path
        breast_cancer, digits, iris or wine, of scikit-learn; penguins, species of 342 penguins by four measures
        (Gorman, Williams and Fraser, PLOS ONE 9, 2014; public domain); or a UTF-8 file with a header line and a line
        for each sample. Lines without a value, and columns with neither a name nor a value, are skipped.
    target
        The file's column of classes, text or whole numbers; all other columns are features. `class_names` are its
        sorted distinct values. Without a header it is the column's number, counted from 1. A built-in set has its
        target already.
    no_header
        True: the first line is a sample, and features are named after their columns, "feature_1", "feature_2" and so
        on. False: it holds names, even if they are numbers. None: it holds names, and is refused if it looks like a
        sample: a field of it is a number, and its class is one of the others'.
    separator
        What stands between fields, one character or "tab". None for a comma, or else the semicolon, tab or bar that is
        in the first line.
    decimal
        "." or ",".
    missing
        Texts that stand for missing values, such as "?" or ("-9999", "999"), beside empty fields, NA and NaN. Where
        it is given, samples with a missing value are left out. Else they are refused.

    Warns
    -----
    DataWarning
        When samples are left out, no two samples share a feature's whole numbers, as in a column of ids, or a value
        such as -9999 stands far from all others of its column.

    Raises
    ------
    InputError
        The name is unknown, or the file missing, broken, or no table of numbers with a column of classes.
    """
    reading = Reading.of(no_header, separator, decimal, missing)
    # os.path, for Path.expanduser raises on an unknown ~user, and Path.is_file on a name too long
    name, path = str(name_or_path), Path(os.path.expanduser(str(name_or_path)))
    if name in BUILT_IN:
        if target is not None:
            raise InputError(
                f"Target {target!r} was given for the built-in data set {name!r}, which has its own classes: "
                "leave out the target, or give the path of a CSV file."
            )
        if reading != Reading():
            raise InputError(
                f"How to read a file was said for the built-in data set {name!r}, which is not read from one: leave "
                "out no_header, separator, decimal and missing, or give the path of a CSV file."
            )
        if name == PENGUINS.stem:
            return replace(load_data(PENGUINS, "species"), lines=None)
        bunch = getattr(datasets, f"load_{name}")()
        names = [tuple(map(str, bunch[key])) for key in ("feature_names", "target_names")]
        return Dataset(name, bunch.data.astype(np.float64), bunch.target.astype(np.int64), names[0], names[1])
    if path.suffix.lower() != ".csv" and not os.path.isfile(path):
        raise unknown_name("data set (a name, or the path of a CSV file)", name, BUILT_IN)
    table = read_table(path, target, reading)
    labels, class_names = _encode(table.labels, path)
    point_out(table, path)
    lines = _lines(table.labels.index, path, header=not reading.no_header)
    return Dataset(path.stem, table.inputs, labels, table.feature_names, class_names, lines)


def _lines(index: Any, path: Path, header: bool) -> NDArray[np.int64] | None:
    """Lines of the samples; None where empty lines were skipped, so that they are not known."""
    if not isinstance(index, pd.RangeIndex):
        return np.asarray(index, np.int64)
    with path.open("rb") as file:
        n_lines = sum(1 for _ in file)
    return np.arange(len(index)) + 1 + header if n_lines == len(index) + header else None


def _encode(column: Any, path: Path) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Codes (n,) of the classes, and their names: numbers in numerical order, text in alphabetical order."""
    labels = list(column)
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    numeric = not np.isnan(numbers).any()
    whole = bool((np.isfinite(numbers) & (np.rint(numbers) == numbers)).all())
    if whole:  # 1, 1.0 and +1 are one class; int() where it can, for a float would merge long integers
        labels = [str(int(x) if x.lstrip("+-").isdecimal() else int(float(x))) for x in labels]
    counts = Counter(labels)
    classes = sorted(counts, key=int if whole else str)
    problem = None
    if len(classes) < 2:
        problem = "at least two classes are needed"
    elif (numeric and not whole) or 2 * len(classes) > len(labels):
        problem = "classes are text or whole numbers that recur, not a continuous target"
    elif rare := [name for name in classes if counts[name] < 2]:
        problem = f"training and test need a row each of {listed(rare)}"
    if problem:
        raise InputError(
            f"Column {column.name!r} of {path} has {len(classes)} different labels in {len(labels)} rows, "
            f"such as {listed(classes, 3)}, but {problem}: choose another target, or add samples."
        )
    return pd.Categorical(labels, categories=classes).codes.astype(np.int64), tuple(classes)


def split_data(dataset: Dataset, n_train: int | None = None, test_size: float = 0.3, seed: int = 0) -> Split:
    """Split by class into training and test samples, and standardise both by the training samples alone.

    Parameters
    ----------
    n_train
        Number of training samples, at least one of each class; None for all that the test part leaves. With
        one seed, the test samples are always the same, and a larger training set contains the smaller ones.
    test_size, seed
        Fraction of the samples that is held out, between 0 and 1; whole number from 0 to 2**32 - 1.

    Raises
    ------
    InputError
        An argument is out of its range, or a class would be left without a training sample.
    """
    n_samples, n_classes = len(dataset.labels), len(dataset.class_names)
    if isinstance(test_size, bool) or not isinstance(test_size, float | np.floating) or not 0 < test_size < 1:
        raise InputError(f"test_size was {test_size!r}, but a fraction between 0 and 1 is expected: try 0.3.")
    check_whole("seed", seed, 0, 2**32 - 1, 0)
    n_test = math.ceil(test_size * n_samples)
    train, test = np.arange(0), np.arange(n_samples)
    rarest = int(np.bincount(dataset.labels, minlength=n_classes).min())
    if rarest >= 2 and min(n_test, n_samples - n_test) >= n_classes:  # what scikit-learn asks for
        train, test = train_test_split(test, test_size=n_test, stratify=dataset.labels, random_state=seed)
    if len(np.unique(dataset.labels[train])) < n_classes:
        raise InputError(
            f"test_size {test_size:g} makes {n_samples - n_test} training and {n_test} test samples, but "
            f"all {n_classes} classes, the rarest of size {rarest}, need one: change test_size, or add some."
        )
    if n_train is not None:
        whole = isinstance(n_train, int | np.integer) and not isinstance(n_train, bool)
        if not whole or not n_classes <= n_train <= len(train):
            raise InputError(
                f"n_train was {n_train!r}, but a whole number is expected, from {n_classes} (one of each "
                f"class) to {len(train)} (all that is available): choose one of these, or leave it out for all."
            )
        order = _stratified_order(dataset.labels[train], np.random.default_rng(seed))
        train = train[np.sort(order[:n_train])]
    inputs = dataset.inputs[train]
    mean, std = inputs.mean(axis=0), inputs.std(axis=0)
    constant = (inputs == inputs[0]).all(axis=0) | (std == 0)  # rounding may leave equal values a tiny std
    mean, std = np.where(constant, inputs[0], mean), np.where(constant, 1.0, std)
    train_inputs, test_inputs = ((dataset.inputs[part] - mean) / std for part in (train, test))
    arrays = (train_inputs, dataset.labels[train], test_inputs, dataset.labels[test])
    for array in arrays:
        array.setflags(write=False)
    lines = (None, None) if dataset.lines is None else (dataset.lines[train], dataset.lines[test])
    return Split(dataset.name, *arrays, dataset.feature_names, dataset.class_names, *lines)


def add_bias(inputs: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Inputs (n_samples, d) with one more column, of ones; read-only."""
    wider = np.column_stack([inputs, np.ones(len(inputs))])
    wider.setflags(write=False)
    return wider


def bias_name(feature_names: Sequence[str]) -> str:
    """What the bias is called beside these features: "bias", with underscores where one of them is called so."""
    name = BIAS
    while name in feature_names:
        name += "_"
    return name


def check_parts(split: Split) -> Split:
    """The split, when a chip can be shown all of it; an `InputError` names the first value that it cannot be shown.

    Checked before the sampling: an outlier among the test samples is met by the scores alone, which come last.
    """
    parts = (
        ("training", split.train_inputs, split.train_lines),
        ("test", split.test_inputs, split.test_lines),
    )
    for part, inputs, lines in parts:
        bad = ~(np.abs(inputs) <= LARGEST_CURRENT)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            place = f"{part.capitalize()} sample {row}" if lines is None else f"Line {lines[row]} ({part} part)"
            raise InputError(
                f"{place}, column {split.feature_names[column]!r} of {split.name} lies {abs(inputs[row, column]):.3g} "
                f"standard deviations from the mean of the training samples, but a chip is shown at most "
                f"{LARGEST_CURRENT:.0e}: correct or drop the value, or leave out a column that hardly varies."
            )
    return split


def _stratified_order(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.intp]:
    """Positions whose every beginning is stratified: one of each class first, then by Sainte-Laguë's method.

    scikit-learn's stratification can leave a rare class out of a small subset, and its subsets do not nest.
    """
    turn = np.zeros(len(labels))
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        turn[members[1:]] = (np.arange(1, len(members)) + 0.5) / len(members)
    return np.argsort(turn, kind="stable")


def describe_data(data: Dataset | Split) -> str:
    """Three lines: what it is, its classes, its features."""
    named = {"labels": "", "train_labels": "training ", "test_labels": "test "}
    parts = {what: getattr(data, name) for name, what in named.items() if hasattr(data, name)}
    counted = " and ".join(f"{len(labels):,} {part}samples" for part, labels in parts.items())
    of = [Counter(labels.tolist()) for labels in parts.values()]
    classes = ", ".join(f"{name} {' + '.join(str(each[k]) for each in of)}" for k, name in enumerate(data.class_names))
    lines = [
        f"{type(data).__name__} {data.name}: {counted}, {len(data.feature_names):,} features"
        f"{' and a bias' if getattr(data, 'bias', False) else ''}, {len(data.class_names)} classes",
        f"classes: {classes}",
        f"features: {', '.join(data.feature_names[:20])}",
    ]
    return shortened(lines)


def shortened(lines: list[str]) -> str:
    """Lines of at most WIDTH characters, as one text."""
    return "\n".join(textwrap.shorten(line, WIDTH, placeholder=" ...") for line in lines)
