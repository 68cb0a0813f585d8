"""A user's table of samples: a text file with a column of classes and a column for each feature.

Numbers are parsed by pandas as they are read. Only a file that has anything else in it than numbers and classes is read
again as text, to say which line and column that is.
"""

from __future__ import annotations

import csv
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayes_snn.errors import DataWarning, InputError, unknown_name

MISSING = ("", "na", "n/a", "<na>", "nan", "null", "none")  # fields without a value, in upper or lower case
LARGEST = 1e100  # a feature beyond it could overflow the variance
SEPARATORS = (",", ";", "\t", "|")  # those that are recognised
SENTINELS = tuple(sign * float(digit * n) for digit in "98" for n in (2, 3, 4, 5, 6) for sign in (-1, 1))
FEWEST = 20  # samples; of fewer, distinct whole numbers are no sign of an id
# later ones round correctly without it, and deprecate it
_EXACT = {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
_UNREADABLE = (OSError, UnicodeError, pd.errors.EmptyDataError, pd.errors.ParserError)


@dataclass(frozen=True)
class Reading:
    """How a file is written; see `bayes_snn.data.load_data`."""

    no_header: bool | None = None
    separator: str | None = None
    decimal: str = "."
    missing: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, no_header: bool | None, separator: str | None, decimal: str, missing: str | Sequence[str] | None
    ) -> Reading:
        """The options, checked; an `InputError` says which of them cannot be used."""
        if no_header is not None and not isinstance(no_header, bool):
            raise InputError(
                f"no_header was {no_header!r}, but True, False or None is expected: True for a file without names."
            )
        separator = {"tab": "\t", "\\t": "\t"}.get(separator, separator) if isinstance(separator, str) else separator
        usable = separator is None or (isinstance(separator, str) and len(separator) == 1)
        if not usable or (separator is not None and (separator in '"\r\n.+-' or separator.isalnum())):
            raise InputError(
                f"separator was {separator!r}, but one character such as ',' or ';' is expected, or 'tab': leave it "
                "out to have it recognised."
            )
        if decimal not in (".", ","):
            raise InputError(f"decimal was {decimal!r}, but '.' or ',' is expected: give the file's own.")
        if separator == decimal:
            raise InputError(
                f"separator and decimal were both {decimal!r}, but they must differ: give separator ';', for example."
            )
        texts = (missing,) if isinstance(missing, str) else tuple(missing or ())
        if not all(isinstance(text, str | int | float) and not isinstance(text, bool) for text in texts):
            raise InputError(f"missing was {missing!r}, but texts are expected: give ('?', '-9999'), for example.")
        return cls(no_header, separator, decimal, tuple(str(text).strip() for text in texts))


@dataclass(frozen=True, eq=False)
class Table:
    """What is in a file: inputs (n, d), float64; the labels' texts, indexed by line; and the names of the columns."""

    inputs: NDArray[np.float64]
    labels: Any
    feature_names: tuple[str, ...]


def read_table(path: Path, target: str | int | None, reading: Reading) -> Table:
    """The samples in a file; an `InputError` says in which line and column something else stands."""
    file = _File(path, reading)
    place = file.place_of(target)
    table = file.numbers(place)
    if table is None:
        table = file.texts(place)
    return table


class _File:
    """A file and how it is written: its separator, whether its first line holds names, and what they are."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self.path, self.reading = path, reading
        self.options: dict[str, Any] = {"header": None, "skipinitialspace": True, "compression": None}
        self.options |= {"sep": reading.separator or self._recognised_separator(), "keep_default_na": False}
        first = self._read(nrows=1, dtype=str)
        self.width = first.shape[1]
        self.first = ["" if pd.isna(field) else str(field).strip() for field in first.iloc[0]] if len(first) else []
        numeric = [field for field in self.first if self._is_number(field)]
        self.doubtful = reading.no_header is None and bool(numeric)
        self.shown = ", ".join(numeric[:2])

    def _recognised_separator(self) -> str:
        """The separator in the first line that is not empty: a comma, or another where there is no comma."""
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                line = next((line for line in file if line.strip()), "")
        except (OSError, UnicodeError):
            return ","  # pandas says what is wrong
        candidates = [each for each in SEPARATORS if each != self.reading.decimal]
        found = {each: len(next(csv.reader([line], delimiter=each, skipinitialspace=True))) for each in candidates}
        return next((each for each in candidates if found[each] > 1), candidates[0])

    def _read(self, **options: Any) -> Any:
        try:
            return pd.read_csv(self.path, **{**self.options, **options})
        except _UNREADABLE as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split()).rstrip(".")
            raise InputError(
                f"{self.path} cannot be read ({reason}), but UTF-8 text with a header and fields separated by "
                f"{self.options['sep']!r} is expected: check the path and the file, or give its separator."
            ) from None

    def _is_number(self, text: str) -> bool:
        return bool(np.isfinite(self._parsed([text])[0]))

    def _parsed(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Numbers, NaN for what is none."""
        array = pd.Series(texts, dtype=object)
        if self.reading.decimal == ",":
            array = array.where(~array.str.contains(".", regex=False), "").str.replace(",", ".", regex=False)
        numbers: NDArray[np.float64] = pd.to_numeric(array, errors="coerce").to_numpy(np.float64)
        return numbers

    def _looks_like_a_sample(self) -> InputError:
        return InputError(
            f"The first line of {self.path} looks like a sample ({self.shown}), but a header is expected: put names in "
            "front, or give no_header=True (--no-header) and the number of the column of classes as target; for names "
            "that are numbers give no_header=False (--header)."
        )

    def names(self) -> list[str]:
        """Names of the columns; "" for one without."""
        if self.reading.no_header:
            return [f"feature_{number}" for number in range(1, self.width + 1)]
        return self.first

    def place_of(self, target: str | int | None) -> int:
        """The column of classes, counted from 0."""
        names = self.names()
        if self.reading.no_header:
            text = str(target)
            if not text.isdecimal() or not 1 <= int(text) <= self.width:
                raise InputError(
                    f"target was {target!r}, but {self.path} has no header: give the number of the column of classes, "
                    f"from 1 to {self.width}."
                )
            return int(text) - 1
        given = [name for name in names if name]
        twice = [name for name, count in Counter(given).items() if count > 1]
        if self.doubtful and (twice or target not in given):
            raise self._looks_like_a_sample()
        if target is None:
            raise InputError(f"{self.path} needs a target, the column of classes: name one of {listed(given, 20)}.")
        if target not in given:
            self._read(dtype=str)  # a file that is no text as a whole is the first thing to say
            raise unknown_name(f"target column of {self.path}", target, given)
        if twice:
            raise InputError(f"{self.path} has several columns {listed(twice)}, but names must differ: rename them.")
        return names.index(str(target))

    def numbers(self, place: int) -> Table | None:
        """The table where nothing but numbers and classes is in the file, else None."""
        skipped = 0 if self.reading.no_header else 1
        options = {"skiprows": skipped, "dtype": {place: str}, "decimal": self.reading.decimal}
        try:
            body = pd.read_csv(self.path, **self.options, **options, **_EXACT, low_memory=False, na_filter=False)
        except (*_UNREADABLE, ValueError, OverflowError):
            return None
        names = self.names()
        if body.shape[1] != len(names) or "" in names or self.reading.missing:
            return None
        features = body.drop(columns=place)
        if features.empty or not all(dtype.kind in "iuf" for dtype in set(features.dtypes)):
            return None
        inputs = features.to_numpy(np.float64)
        labels = body[place].str.strip().rename(names[place])
        self._check_first(labels, place)
        if not (np.abs(inputs) <= LARGEST).all() or labels.str.lower().isin(MISSING).any():
            return None
        return Table(inputs, labels, tuple(name for i, name in enumerate(names) if i != place))

    def texts(self, place: int) -> Table:
        """The table read as text, field by field, to say what is wrong with it, or to leave out incomplete samples."""
        # all is text at first: pandas would take surplus fields for an index
        read = self._read(dtype=str, skip_blank_lines=False).to_numpy(object)
        fields = np.array([["" if pd.isna(x) else x for x in row] for row in read], object).reshape(read.shape)
        breaks = np.array([sum(x.count("\n") for x in row) for row in fields])  # within quoted fields
        lines = 1 + np.arange(len(fields)) + np.concatenate([[0], np.cumsum(breaks)[:-1]]).astype(int)
        fields = np.array([[x.strip() for x in row] for row in fields], object).reshape(read.shape)
        filled = fields != ""
        fields, lines = fields[filled.any(axis=1)], lines[filled.any(axis=1)]
        names, present = self.names(), filled.any(axis=0)
        if nameless := [i + 1 for i in np.flatnonzero(present) if not names[i]]:
            raise InputError(
                f"Column {nameless[0]} of {self.path} has values but no name, and may hold mere row numbers: name it "
                "in the header, or remove it (in pandas, to_csv(index=False))."
            )
        if not self.reading.no_header:
            fields, lines = fields[1:], lines[1:]
        places = [int(i) for i in np.flatnonzero(present) if i != place]
        labels = pd.Series(fields[:, place], index=lines, name=names[place], dtype=object)
        self._check_first(labels, place)
        if not len(fields) or not places:
            raise InputError(
                f"{self.path} has no samples or no features, but needs both, separated by {self.options['sep']!r}: "
                "check its lines, or give its separator."
            )
        features = fields[:, places]
        inputs = np.column_stack([self._parsed(column) for column in features.T])
        if self.reading.missing:
            missing = self._missing(features.ravel(), inputs.ravel()).reshape(inputs.shape)
            whole = ~missing.any(axis=1) & ~self._missing(fields[:, place], self._parsed(fields[:, place]))
            features, inputs, labels, lines = features[whole], inputs[whole], labels[whole], lines[whole]
            if left := int((~whole).sum()):
                warnings.warn(
                    f"{left} of {len(whole)} samples of {self.path} have a missing value and are left out.",
                    DataWarning,
                    stacklevel=4,
                )
            if not len(labels):
                raise InputError(
                    f"Every sample of {self.path} has a missing value, most of them in "
                    f"{names[places[int(missing.sum(axis=0).argmax())]]!r}: drop such columns."
                )
        feature_names = tuple(names[i] for i in places)
        if (bad := ~(np.abs(inputs) <= LARGEST)).any():
            raise self._no_number(features, bad, lines, feature_names)
        if (lost := labels.str.lower().isin(MISSING)).any():
            line, label = next(labels[lost].items())  # type: ignore[call-overload, unused-ignore]
            raise InputError(
                f"Line {line}, column {labels.name!r} of {self.path} holds {label!r}, which counts as missing, but "
                "every sample needs a class: drop the line, or rename a class of that name."
            )
        return Table(inputs, labels, feature_names)

    def _check_first(self, labels: Any, place: int) -> None:
        """Raise an `InputError` where the first line's class is one of the others': a name would not be."""
        if not self.doubtful:
            return
        first = self.first[place]
        if (labels == first).any() or (self._parsed(list(labels)) == self._parsed([first])).any():
            raise self._looks_like_a_sample()

    def _missing(self, texts: Any, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Fields without a value: the usual ones, and those given, which as numbers may be written in several ways."""
        given = [text.lower() for text in self.reading.missing]
        values = self._parsed(given)
        usual: NDArray[np.bool_] = pd.Series(texts, dtype=object).str.lower().isin([*MISSING, *given]).to_numpy(bool)
        return usual | np.isin(numbers, values[~np.isnan(values)])

    def _no_number(
        self, features: Any, bad: NDArray[np.bool_], lines: NDArray[np.int_], names: tuple[str, ...]
    ) -> InputError:
        row, column = np.argwhere(bad)[0]
        text, columns = features[row, column], [names[i] for i in np.flatnonzero(bad.any(axis=0))]
        other = "," if self.reading.decimal == "." else "."
        hint = f"encode, impute or drop such values in {listed(columns)}"
        if text.lower() in MISSING or text == "?":
            hint += f", or give missing={text or 'NA'!r} (--missing) to leave such samples out"
        elif text.count(other) == 1 and text.replace(other, "").lstrip("+-").isdecimal():
            hint = f"give decimal={other!r} (--decimal) if that is how its numbers are written"
        elif bad[:, column].all() and len(set(features[:, column])) == len(features):
            hint = f"drop {names[column]!r}, which looks like an id, for no two samples share a value"
        return InputError(
            f"Line {lines[row]}, column {names[column]!r} of {self.path} holds {text!r}, but features must be finite "
            f"numbers up to {LARGEST:g}: {hint}."
        )


def point_out(table: Table, path: Path) -> None:
    """Warn of columns that are hardly features, and of values that stand for missing ones."""
    inputs, names = table.inputs, table.feature_names
    low, high = inputs.min(axis=0), inputs.max(axis=0)
    suspects = []
    if len(inputs) >= FEWEST:
        # a decimal among the first samples settles it for most columns
        maybe = np.flatnonzero((np.rint(inputs[:FEWEST]) == inputs[:FEWEST]).all(axis=0))
        for i in maybe:
            column = np.sort(inputs[:, i])
            if (np.rint(column) == column).all() and (np.diff(column) > 0).all():
                suspects.append(names[i])
    if suspects and 2 * len(suspects) <= max(2, len(names)):  # else they are counts
        warnings.warn(
            f"No two samples of {path} share a value of {listed(suspects)}, all whole numbers, as in a column of ids: "
            "drop it if it is one, for it says nothing of new samples.",
            DataWarning,
            stacklevel=3,
        )
    found: dict[float, list[str]] = {}
    for i in np.flatnonzero(np.isin(low, SENTINELS) | np.isin(high, SENTINELS)):
        for value in {float(low[i]), float(high[i])} & set(SENTINELS):
            others = inputs[:, i][inputs[:, i] != value]
            if not len(others):
                continue
            least, most = others.min(), others.max()
            if value > most + (most - least) or value < least - (most - least):
                found.setdefault(value, []).append(names[i])
    for value, columns in found.items():
        warnings.warn(
            f"{value:g} stands far from all other values of {listed(columns)} in {path}, as a mark of missing values "
            f"does: give missing='{value:g}' (--missing={value:g}) if it is one, to leave such samples out.",
            DataWarning,
            stacklevel=3,
        )


def listed(names: Iterable[str], at_most: int = 10) -> str:
    """Names in quotes with commas, not all of them where they are many."""
    shown = [repr(str(name)) for name in names]
    return ", ".join(shown[:at_most]) + (f" and {len(shown) - at_most:,} more" if len(shown) > at_most else "")
