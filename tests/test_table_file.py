"""Files as people have them: without a header, with other separators, decimals and marks of missing values."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayes_snn.data import load_data
from bayes_snn.errors import DataWarning, InputError
from tests.helpers.refusals import refusal
from tests.test_data import GOOD

Write = Callable[..., Path]
SAMPLES = "".join(f"{842302 + 7 * i},{'MB'[i % 2]},{10.25 + 0.37 * i:.3f},{2.5 + i % 3}\n" for i in range(30))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(content: str, name: str = "mine.csv") -> Path:
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return path

    return write_file


@pytest.mark.parametrize("target", ["M", "diagnosis", None])
def test_a_first_line_that_is_a_sample_is_not_swallowed(write: Write, target: str | None) -> None:
    message = refusal(load_data, write(SAMPLES), target)
    assert "looks like a sample (842302, 10.250)" in message
    assert "--no-header" in message


@pytest.mark.parametrize(
    ("content", "target"),
    [
        ("842302,M,0.3,0.3\n842303,B,1,2\n842304,M,3,4\n842305,B,5,6\n", "M"),  # its values recur
        ("1000025,5,1,1,1,2\n1002945,5,4,4,5,2\n1,2,?,4,5,4\n1,2,3,4,5,4\n", "2"),  # and so do its numbers
        ("1.5,2.5,1\n2,3,0\n3,4,1.0\n4,5,0\n", "1"),  # one class, written in two ways
        ("?,2.5,p\n2,3,q\n3,?,p\n4,5,q\n", "p"),  # one of its values is missing
        ("1.5;2;p\n2;3;q\n3;4;p\n4;5;q\n", "p"),
    ],
)
def test_such_a_line_is_seen_in_other_files_too(write: Write, content: str, target: str) -> None:
    assert "looks like a sample" in refusal(load_data, write(content), target)


def test_names_that_are_numbers_are_names(write: Write) -> None:
    """Wavelengths, or what pandas numbers: the target's name is no class of a sample."""
    dataset = load_data(write(GOOD.replace("a,b", "400,410.5")), "kind")
    assert dataset.feature_names == ("400", "410.5")
    assert len(dataset.labels) == 4
    # a name that is also a class must be said to be one
    path = write("400,p\n1,p\n2,q\n3,p\n4,q\n")
    assert "--header" in refusal(load_data, path, "p")
    assert len(load_data(path, "p", no_header=False).labels) == 4


@pytest.mark.parametrize("target", [2, "2"])
def test_without_a_header(write: Write, target: str | int) -> None:
    with pytest.warns(DataWarning, match="'feature_1'"):
        dataset = load_data(write(SAMPLES), target, no_header=True)
    assert dataset.feature_names == ("feature_1", "feature_3", "feature_4")
    assert dataset.class_names == ("B", "M")
    assert len(dataset.labels) == 30
    np.testing.assert_array_equal(dataset.inputs[0], [842302, 10.25, 2.5])


@pytest.mark.parametrize("target", ["M", "0", "5", 5, -1, None, 1.5])
def test_without_a_header_the_target_is_a_number(write: Write, target: object) -> None:
    message = refusal(load_data, write(SAMPLES), target, no_header=True)
    assert "from 1 to 4" in message
    assert repr(target) in message


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_are_recognised(write: Write, separator: str) -> None:
    plain, other = load_data(write(GOOD), "kind"), load_data(write(GOOD.replace(",", separator), "other.csv"), "kind")
    assert other.feature_names == plain.feature_names
    np.testing.assert_array_equal(other.inputs, plain.inputs)
    np.testing.assert_array_equal(other.labels, plain.labels)
    # commas in names do not hide it when it is given
    named = write(GOOD.replace(",", separator).replace("a", "a, mm", 1), "named.csv")
    assert load_data(named, "kind", separator=separator).feature_names == ("a, mm", "b")


def test_decimal_commas(write: Write) -> None:
    path = write("a;b;kind\n1,5;2;p\n-3,25;4;q\n5e-1;6;p\n7;8;q\n")
    assert "give decimal=','" in refusal(load_data, path, "kind")
    dataset = load_data(path, "kind", decimal=",")
    np.testing.assert_array_equal(dataset.inputs[:, 0], [1.5, -3.25, 0.5, 7])
    # then a point is no decimal
    assert "'1.5'" in refusal(load_data, write(path.read_text().replace("1,5", "1.5")), "kind", decimal=",")


def test_missing_values_are_left_out_where_they_are_named(write: Write) -> None:
    path = write("a,b,kind\n1,2,p\n?,4,q\n5,-9999,p\n7,8,q\n,8,q\n9,8,p\n9,8,\n9,8,q\n")
    assert "--missing" in refusal(load_data, path, "kind")
    with pytest.warns(DataWarning, match="4 of 8 samples"):
        dataset = load_data(path, "kind", missing=("?", "-9999.0"))
    np.testing.assert_array_equal(dataset.inputs, [[1, 2], [7, 8], [9, 8], [9, 8]])
    np.testing.assert_array_equal(dataset.labels, [0, 1, 0, 1])


def test_nothing_but_missing_values(write: Write) -> None:
    path = write("a,b,kind\n1,?,p\n3,?,q\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        message = refusal(load_data, path, "kind", missing="?")
    assert "Every sample" in message
    assert "'b'" in message


def table(**columns: object) -> str:
    rng = np.random.default_rng(0)
    given = {"x": rng.normal(size=40).round(3), "n": rng.integers(0, 30, 40), **columns, "kind": ["p", "q"] * 20}
    return pd.DataFrame(given).to_csv(index=False)


@pytest.mark.parametrize("value", [-9999, -999.0, 999, 99])
def test_a_sentinel_is_pointed_out(write: Write, value: float) -> None:
    age = np.random.default_rng(1).integers(20, 60 if value != 99 else 90, 40).astype(float)
    age[[3, 8]] = value
    path = write(table(age=age))
    if value == 99:  # not far from the others
        load_data(path, "kind")
        return
    with pytest.warns(DataWarning, match=rf"{value:g} stands far .* 'age' .*--missing={value:g}"):
        assert len(load_data(path, "kind").labels) == 40
    with pytest.warns(DataWarning, match="2 of 40 samples"):
        assert len(load_data(path, "kind", missing=f"{value:g}").labels) == 38


def test_an_id_is_pointed_out(write: Write) -> None:
    with pytest.warns(DataWarning, match="'patient', all whole numbers"):
        load_data(write(table(patient=np.random.default_rng(2).permutation(40) + 1000)), "kind")
    message = refusal(load_data, write(table(patient=[f"TCGA-{i}" for i in range(40)])), "kind")
    assert "drop 'patient', which looks like an id" in message


def test_counts_and_ordinary_columns_are_no_ids(write: Write) -> None:
    rng = np.random.default_rng(3)
    load_data(write(table()), "kind")
    counts = {f"gene_{i}": rng.permutation(10_000)[:40] for i in range(6)}
    load_data(write(table(**counts)), "kind")


def test_a_very_wide_table(write: Write) -> None:
    values = np.random.default_rng(0).normal(size=(8, 5000))
    frame = pd.DataFrame(values, columns=[f"gene_{i}" for i in range(5000)]).assign(kind=list("ab" * 4))
    path = write(frame.to_csv(index=False))
    np.testing.assert_array_equal(load_data(path, "kind").inputs, values)
    for target in (None, "kinds", "feature"):
        assert len(refusal(load_data, path, target)) < 1000
    frame.iloc[2:, 7:4000] = None
    assert len(refusal(load_data, write(frame.to_csv(index=False)), "kind")) < 1000


def test_a_clean_table_is_parsed_by_pandas_alone(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading as text, field by field, is for what is wrong or missing: it takes several times as long."""
    monkeypatch.setattr("bayes_snn.table_file._File.texts", lambda *arguments: pytest.fail("read as text"))
    assert load_data(write(GOOD.replace("1,2", "-1.5e-3,2.25")), "kind").inputs[0, 0] == -1.5e-3


cells = st.floats(-1e100, 1e100) | st.integers(-(2**53), 2**53).map(float)
names = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=6).filter(
    lambda text: text.strip() == text and not text.isspace() and text != "kind" and not _number(text)
)


def _number(text: str) -> bool:
    return not np.isnan(pd.to_numeric(pd.Series([text.replace(",", ".")]), errors="coerce")[0])


@settings(deadline=None, max_examples=200)
@given(
    data=st.data(),
    separator=st.sampled_from([",", ";", "\t", "|", ":"]),
    decimal=st.sampled_from([".", ","]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    header=st.booleans(),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_round_trips(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    separator: str,
    decimal: str,
    quoting: int,
    header: bool,
    newline: str,
) -> None:
    if separator == decimal:
        separator = ";"
    n, d = data.draw(st.integers(4, 8)), data.draw(st.integers(1, 4))
    columns = data.draw(st.lists(names, min_size=d, max_size=d, unique=True))
    values = np.array(data.draw(st.lists(st.lists(cells, min_size=d, max_size=d), min_size=n, max_size=n)))
    kinds = ["p", "q"] * 4
    place = data.draw(st.integers(0, d))
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=newline)
    if header:
        writer.writerow([*columns[:place], "kind", *columns[place:]])
    for row, kind in zip(values.tolist(), kinds, strict=False):
        fields = [repr(value).replace(".", decimal) for value in row]
        writer.writerow([*fields[:place], kind, *fields[place:]])
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    path.write_bytes(text.getvalue().encode())
    target = "kind" if header else place + 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # a value may be that of a sentinel
        dataset = load_data(path, target, no_header=None if header else True, separator=separator, decimal=decimal)
    np.testing.assert_array_equal(dataset.inputs, values)
    numbers = [i + 1 for i in range(d + 1) if i != place]
    assert dataset.feature_names == (tuple(columns) if header else tuple(f"feature_{i}" for i in numbers))
    assert [dataset.class_names[k] for k in dataset.labels] == kinds[:n]


@pytest.mark.parametrize(
    "options",
    [
        {"no_header": "yes"},
        {"separator": ""},
        {"separator": "::"},
        {"separator": "a"},
        {"separator": 5},
        {"decimal": ";"},
        {"decimal": ",", "separator": ","},
        {"missing": [None]},
        {"missing": [True]},
    ],
)
def test_refused_options(write: Write, options: dict[str, object]) -> None:
    message = refusal(load_data, write(GOOD), "kind", **options)
    assert next(iter(options)) in message


def test_options_of_files_are_not_for_built_in_sets() -> None:
    with pytest.raises(InputError, match="built-in"):
        load_data("iris", separator=";")
