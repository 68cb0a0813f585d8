"""Data sets: what load_data reads and refuses, and what split_data promises for any seed and size."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bayes_snn.data import BUILT_IN, Dataset, Split, load_data, split_data
from bayes_snn.errors import InputError

no_deadline = settings(deadline=None)
GOOD = "a,b,kind\n1,2,p\n3,4,q\n5,6,p\n7,8,q\n"


@pytest.fixture
def write(tmp_path: Path):  # noqa: ANN201
    def write(content: str | bytes, name: str = "mine.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def refusal(*arguments: object, **options: object) -> str:
    """The message with which load_data or split_data refuses: one sentence, on one line."""
    function = split_data if arguments and isinstance(arguments[0], Dataset) else load_data
    with pytest.raises(InputError) as error:
        function(*arguments, **options)  # type: ignore[arg-type]
    message = str(error.value)
    assert "\n" not in message
    assert message[-1] in ".?"
    return message


def make_dataset(counts: list[int], n_features: int = 3, seed: int = 0) -> Dataset:
    """Samples of `counts` per class; the first feature is the sample's number, so that samples can be told apart."""
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    inputs = np.random.default_rng(seed).normal(size=(len(labels), n_features))
    inputs[:, 0] = np.arange(len(labels))
    names = tuple(f"x{i}" for i in range(n_features))
    return Dataset("made", inputs, labels, names, tuple(f"c{k}" for k in range(len(counts))))


def sample_numbers(dataset: Dataset, split: Split) -> tuple[list[int], list[int]]:
    """Which samples are in the training and in the test part, found by undoing the standardisation of feature 0.

    Sample numbers are whole, so an affine map from the labels' order is not needed: the raw rows are matched instead.
    """
    raw = dataset.inputs[:, 1:]
    parts = []
    for inputs in (split.train_inputs, split.test_inputs):
        numbers = inputs[:, 0] * FEATURE_0[id(split)][1] + FEATURE_0[id(split)][0]
        parts.append([round(number) for number in numbers])
    assert raw is not None
    return parts[0], parts[1]


FEATURE_0: dict[int, tuple[float, float]] = {}
