"""Values of PyTensor variables that are needed once, to set something up."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def value_of(variable: Any) -> NDArray[Any]:
    """What a variable is that depends on no other, by NumPy: to compile it takes longer than to work it out."""
    return np.asarray(variable.eval(mode="FAST_COMPILE"))


def shape_of(variable: Any) -> tuple[int, ...]:
    """The shape of a variable, which its graph may hold instead of its type."""
    return tuple(map(int, value_of(variable.shape)))
