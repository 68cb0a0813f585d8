"""What a step asks of the model: compiled as a function of its own variables, ravelled and joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pymc.pytensorf import compile as compile_function
from pymc.pytensorf import join_nonshared_inputs


def ravelled_function(
    outputs: Any, variables: Sequence[Any], shared: dict[Any, Any], point: dict[str, np.ndarray], **options: Any
) -> Any:
    """(n_weights,) -> the value of a graph, or of each of a list of graphs.

    Parameters
    ----------
    outputs
        Made from value variables.
    variables, shared
        The step's value variables, and shared variables in the place of all others.
    point
        Any point, for shapes.
    options
        Of `pymc.pytensorf.compile`.
    """
    several = isinstance(outputs, list)
    graphs, joined = join_nonshared_inputs(
        point=point, outputs=outputs if several else [outputs], inputs=list(variables), shared_inputs=shared
    )
    function = compile_function([joined], graphs if several else graphs[0], **options)
    function.trust_input = True
    return function
