"""Arrays out of what users and drivers pass: lists, and objects of pandas, xarray, torch and others.

What `np.asarray` would change without a word is refused: masked and missing entries, complex numbers, dates.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.errors import InputError, text_of

_SCALARS = (int, float, complex, str, bytes, np.generic, type(None))
_REMEDIES = {
    "nan": "drop or impute them first",
    "shape": "give rows of equal length",
    "type": "pass a NumPy array of numbers",
}


class ArrayError(InputError):
    """An object that is no array of real numbers.

    Attributes
    ----------
    kind
        "nan" where values are missing, "shape" where rows differ in length, "type" for anything else.
    """

    kind = "type"


class _Fault(Exception):
    def __init__(self, kind: str, says: str, remedy: str | None = None) -> None:
        super().__init__(says)
        self.kind, self.says, self.remedy = kind, says, remedy or _REMEDIES[kind]


def as_array(what: str, value: object, remedy: str | None = None) -> NDArray[Any]:
    """What a user or a driver passed as an array of booleans, whole numbers, floats or text.

    Parameters
    ----------
    what
        Begins the sentence of an error: "The inputs".
    value
        Any object. An array that needs no conversion is returned as it is.
    remedy
        Ends that sentence.

    Raises
    ------
    ArrayError
        When values are masked or missing (None, pd.NA, NaT), complex, dates, records, or when there is no array in it.
    """
    if type(value) is np.ndarray and value.dtype.kind in "biuf":
        return value
    try:
        return _known(_converted(value), value)
    except _Fault as fault:
        error = ArrayError(f"{what} {fault.says}, but an array of real numbers is expected: {remedy or fault.remedy}.")
        error.kind = fault.kind
        raise error from None


def as_floats(what: str, value: object, remedy: str | None = None) -> NDArray[np.float64]:
    """The same as float64; text must read as numbers."""
    array = as_array(what, value, remedy)
    try:
        return np.asarray(array, np.float64)
    except ValueError:
        raise ArrayError(
            f"{what} are text, but an array of real numbers is expected: {remedy or _REMEDIES['type']}."
        ) from None


def _converted(value: Any) -> NDArray[Any]:
    """An object as an array of any dtype."""
    if isinstance(value, np.ma.MaskedArray):
        return _unmasked(value)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _from_tensor(value)
    if isinstance(value, list | tuple):  # NumPy would drop the masks of what is in it
        value = [_converted(item) if _is_array(item) else item for item in value]
    elif type(value).__module__.startswith("scipy.sparse"):
        raise _Fault("type", f"are a sparse {type(value).__name__}", "pass its .toarray()")
    try:
        return np.asarray(value)
    except Exception as error:
        if isinstance(value, list):
            raise _Fault("shape", "are no rows of equal length") from None
        raise _Fault("type", f"are of type {type(value).__name__}, which gives no array ({text_of(error)})") from None


def _is_array(item: object) -> bool:
    return not isinstance(item, _SCALARS) and (isinstance(item, list | tuple) or hasattr(item, "__array__"))


def _unmasked(value: np.ma.MaskedArray[Any, Any]) -> NDArray[Any]:
    masked = np.ma.getmaskarray(value)
    n_masked = 0 if masked.dtype.names else int(masked.sum())  # records are refused later
    if n_masked:
        raise _Fault("nan", f"have masked entries ({n_masked:,} of {value.size:,}), which are missing values")
    return np.asarray(value.data)


def _from_tensor(value: Any) -> NDArray[Any]:
    """A tensor of torch on any device, with or without a gradient."""
    try:
        value = value.detach()
        if value.is_floating_point():
            value = value.double()  # NumPy has no bfloat16
        return np.asarray(value.numpy(force=True))
    except Exception as error:  # sparse, quantised or without data, each with an exception of its own
        raise _Fault("type", f"are a torch tensor, which gives no array ({text_of(error)})") from None


def _known(array: NDArray[Any], value: object) -> NDArray[Any]:
    """An array whose entries are numbers, booleans or text."""
    kind = array.dtype.kind
    if kind == "c":
        raise _Fault("type", "are complex numbers")
    if kind in "mM":
        raise _Fault("type", f"are dates or durations ({array.dtype})")
    if kind == "V":
        raise _Fault("type", f"are records ({array.dtype!s:.60})")
    return _from_objects(array, value) if kind == "O" else array


def _from_objects(array: NDArray[Any], value: object) -> NDArray[Any]:
    """An array of Python objects as one of numbers or of text."""
    if array.ndim == 0 and not isinstance(array.item(), int):  # a whole number of more than 64 bits is one
        raise _Fault("type", "are None" if value is None else f"are of type {type(value).__name__}, which is no array")
    import pandas as pd

    flat = array.ravel()
    missing = np.flatnonzero(pd.isna(flat))
    if len(missing):
        place = ", ".join(map(str, np.unravel_index(missing[0], array.shape)))
        first = f"the first, {flat[missing[0]]!r:.20}, at ({place})"
        raise _Fault("nan", f"have missing values ({len(missing):,} of {flat.size:,}, {first})")
    if any(isinstance(item, complex | np.complexfloating) for item in flat):
        raise _Fault("type", "hold complex numbers")
    if any(isinstance(item, str) for item in flat):
        if all(isinstance(item, str) for item in flat):
            return array.astype(str)
        raise _Fault("type", "hold text among numbers", "encode text columns first")
    try:
        return array.astype(np.float64)
    except OverflowError:
        raise _Fault("type", "hold a number that is too large for a float") from None
    except (TypeError, ValueError):
        odd = next((item for item in flat if not isinstance(item, int | float | np.number)), flat[0])
        raise _Fault("type", f"hold an entry of type {type(odd).__name__}, which is no real number") from None
