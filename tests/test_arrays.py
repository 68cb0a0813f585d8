"""Arrays out of objects of other libraries: the same numbers, or a sentence that says what is wrong with them."""

from __future__ import annotations

import datetime
import decimal
import fractions

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import xarray as xr

from bayes_snn.arrays import as_array, as_floats
from bayes_snn.chips.contract import ChipSpec, check_counts, check_inputs, check_labels, check_spikes
from bayes_snn.chips.lif.chip import LIFChip
from bayes_snn.chips.link.faults import AnswerError, check_answer
from bayes_snn.chips.xylo.chip import on_off
from bayes_snn.errors import ChipError, InputError
from bayes_snn.estimates.metrics import check_probabilities
from bayes_snn.exports.deployment import check_chain

GRID = np.arange(6.0).reshape(3, 2)
MASK = GRID > 3
SPEC = ChipSpec((2, 2), 12)
WEIGHTS = [np.eye(2)]


class Opaque:
    def __array__(self, *arguments, **options):
        raise SystemError("no\nway")


TAKEN = {
    "list": GRID.tolist(),
    "rows": [tuple(row) for row in GRID],
    "masked array without masked entries": np.ma.array(GRID),
    "list of masked arrays without masked entries": [np.ma.array(row) for row in GRID],
    "frame": pd.DataFrame(GRID),
    "frame of extension arrays": pd.DataFrame(GRID).convert_dtypes(),
    "frame of mixed columns": pd.DataFrame({"a": pd.array([0, 2, 4], "Int64"), "b": [1.0, 3.0, 5.0]}),
    "data array": xr.DataArray(GRID),
    "variable": xr.Variable(("x", "y"), GRID),
    "objects": GRID.astype(object),
    "decimals": [[decimal.Decimal(int(n)) for n in row] for row in GRID],
    "fractions": [[fractions.Fraction(int(n)) for n in row] for row in GRID],
    "buffer": memoryview(GRID),
}
REFUSED = {  # kind of fault, what the sentence says
    "masked": (np.ma.array(GRID, mask=MASK), "nan", r"masked entries \(2 of 6\)"),
    "masked NaN": (np.ma.masked_invalid(np.where(MASK, np.nan, GRID)), "nan", "masked entries"),
    "list of masked arrays": ([np.ma.array(row, mask=[0, 1]) for row in GRID], "nan", "masked entries"),
    "masked constants": ([[1.0, np.ma.masked]] * 3, "nan", "masked entries"),
    "frame with NA": (
        pd.DataFrame({"a": pd.array([1, None, 2], "Int64"), "b": [1, 2, 3]}),
        "nan",
        r"missing values \(1 of 6, the first, <NA>, at \(1, 0\)\)",
    ),
    "None": ([[1, 2], [3, None], [4, 5]], "nan", r"the first, None, at \(1, 1\)"),
    "complex": (GRID + 0j, "type", "complex"),
    "complex in lists": ([[1 + 2j, 1]] * 3, "type", "complex"),
    "complex objects": ((GRID + 0j).astype(object), "type", "complex"),
    "dates": (np.zeros((3, 2), "M8[s]"), "type", "dates or durations"),
    "durations": (np.zeros((3, 2), "m8[s]"), "type", "dates or durations"),
    "dates in a frame": (pd.DataFrame({"a": pd.date_range("2020", periods=3), "b": [1, 2, 3]}), "type", "Timestamp"),
    "records": (np.zeros(3, [("a", float), ("b", int)]), "type", "records"),
    "masked records": (np.ma.zeros(3, [("a", float)]), "type", "records"),
    "data set": (xr.Dataset({"a": (("x", "y"), GRID)}), "type", "Dataset.*DataArray"),
    "sparse": (scipy.sparse.csr_array(GRID), "type", "sparse csr_array"),
    "nothing": (None, "type", "are None"),
    "mapping": ({"out": GRID}, "type", "dict, which is no array"),
    "generator": ((row for row in GRID), "type", "generator, which is no array"),
    "opaque": (Opaque(), "type", r"Opaque, which gives no array \(no way\)"),
    "rows of several lengths": ([[1, 2], [3]], "shape", "rows of equal length"),
    "objects that are no numbers": ([[1, datetime.date(2020, 1, 1)]] * 3, "type", "type date"),
    "text among numbers": (np.array([["a", 1]] * 3, object), "type", "text among numbers"),
    "huge": ([[10**400, 1]] * 3, "type", "too large"),
}


@pytest.mark.parametrize("value", TAKEN.values(), ids=TAKEN)
def test_what_holds_numbers_is_taken(value):
    np.testing.assert_array_equal(as_floats("The values", value), GRID)
    np.testing.assert_array_equal(check_inputs(value, 2), GRID)
    counts = check_counts(value, 3, SPEC)
    np.testing.assert_array_equal(counts, GRID)
    assert counts.dtype == np.int32
    np.testing.assert_array_equal(check_answer(value, 3, SPEC), GRID)
    np.testing.assert_array_equal(LIFChip((2, 2)).run(WEIGHTS, value), LIFChip((2, 2)).run(WEIGHTS, GRID))
    np.testing.assert_array_equal(on_off(value), on_off(GRID))


def test_an_array_that_needs_no_conversion_stays_the_same_object():
    for array in (GRID, GRID.astype(np.int8), MASK):
        assert as_array("The values", array) is array
    assert check_inputs(GRID, 2) is GRID


@pytest.mark.parametrize(("value", "kind", "says"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_numbers_is_refused_in_a_sentence_about_it(value, kind, says):
    calls = [
        (InputError, lambda: check_inputs(value, 2)),
        (InputError, lambda: check_labels(value, 3, 2)),
        (InputError, lambda: check_chain([value])),
        (InputError, lambda: check_probabilities(value)),
        (InputError, lambda: LIFChip((2, 2)).run([value], GRID)),
        (InputError, lambda: LIFChip((2, 2)).run(WEIGHTS, value)),
        (ChipError, lambda: check_counts(value, 3, SPEC)),
        (ChipError, lambda: check_spikes([value], 3, LIFChip((2, 2)))),
        (AnswerError, lambda: check_answer(value, 3, SPEC)),
    ]
    for expected, call in calls:
        with pytest.raises(expected, match=says) as error:
            call()
        assert "\n" not in str(error.value)
        assert str(error.value).endswith(".")
    assert error.value.kind == kind


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.ma.array([0, 1, 1], mask=[0, 1, 0]), "masked entries"),
        (pd.Series([0, None, 1], dtype="object"), "missing values"),
        ([0.0, 1.0, np.nan], "nan at sample 2"),
        ([0, 0.5, 1], r"0\.5 at sample 1"),
        ([0, 1e300, 1], r"run from 0\.0 to 1e\+300"),
        (np.array([0, 2**63 + 1, 1], np.uint64), "run from 0"),
        (["a", "b", "a"], "encode the classes first"),
    ],
)
def test_labels_that_are_refused(labels, says):
    with pytest.raises(InputError, match=says):
        check_labels(labels, 3, 2)


@pytest.mark.parametrize(
    "labels", [pd.array([0, 1, 1], "Int64"), pd.Categorical([0, 1, 1]), [False, True, True], xr.DataArray([0, 1, 1])]
)
def test_labels_that_are_taken(labels):
    codes = check_labels(labels, 3, 2)
    assert codes.tolist() == [0, 1, 1]
    assert codes.dtype == np.int64


def test_tensors_are_taken_with_and_without_a_gradient():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    single = torch.tensor(GRID, dtype=torch.float32)
    for value in (
        single,
        single.double().requires_grad_(),
        torch.nn.Parameter(single),
        single.bfloat16(),
        single.to(torch.int8),
        list(single.requires_grad_()),
        [[row[0], row[1]] for row in single],
    ):
        np.testing.assert_array_equal(check_inputs(value, 2), GRID)
        np.testing.assert_array_equal(check_counts(value, 3, SPEC), GRID)
    assert check_labels(torch.tensor([0, 1, 1]), 3, 2).tolist() == [0, 1, 1]
    for value, says in (
        (torch.tensor(GRID + 1j), "complex"),
        (single.detach().to_sparse(), "torch tensor, which gives no array"),
        (torch.empty(3, 2, device="meta"), "torch tensor, which gives no array"),
    ):
        with pytest.raises(InputError, match=says):
            check_inputs(value, 2)
        with pytest.raises(ChipError, match=says):
            check_counts(value, 3, SPEC)
