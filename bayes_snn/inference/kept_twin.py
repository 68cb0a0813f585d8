"""The twin of a fit in the fit's folder: written with it, and read with it."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from bayes_snn.chips.contract import ChipSpec
from bayes_snn.errors import ChangedFileWarning, InputError
from bayes_snn.files import make_folder
from bayes_snn.names import TWIN
from bayes_snn.twins.contract import spec_of_twin
from bayes_snn.twins.folder import load_twin
from bayes_snn.twins.writing import ARRAYS, DESCRIPTION, remove_twin


def keep_twin(twin: Any, folder: Path) -> None:
    """Write a fit's twin to the fit's folder; of a fit without one, or without one that can be saved, none is left."""
    if hasattr(twin, "save"):
        twin.save(folder / TWIN)
    else:
        remove_twin(folder / TWIN)


def move_twin(source: Path, folder: Path) -> None:
    """Have the twin of a fit that was written to `source`, or none, in the place of the one in `folder`."""
    if not (source / TWIN / DESCRIPTION).exists():
        remove_twin(folder / TWIN)
        return
    make_folder(folder / TWIN)
    for file in (ARRAYS, DESCRIPTION):
        os.replace(source / TWIN / file, folder / TWIN / file)


def kept_twin(folder: Path, spec: ChipSpec) -> Any:
    """The twin in a fit's folder; None where there is none.

    A twin that cannot be read is left out with a `ChangedFileWarning`: draws and scores do not need it.
    """
    if not (folder / TWIN / DESCRIPTION).exists():
        return None
    try:
        twin = load_twin(folder / TWIN)
        if twin.spec != spec_of_twin(spec):
            raise InputError(f"{folder / TWIN} holds the twin of another chip than that of the fit.")
    except InputError as error:
        warnings.warn(f"The fit was read without its twin: {error}", ChangedFileWarning, stacklevel=3)
        return None
    return twin
