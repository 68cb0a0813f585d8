"""Writing a twin: `twin.json` says of which chip it is and how it was learned, `twin.npz` holds its arrays."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from bayes_snn.files import make_folder, write_then_rename
from bayes_snn.twins.contract import Learned
from bayes_snn.version import __version__

DESCRIPTION, ARRAYS = "twin.json", "twin.npz"
FORMAT = 1
SHOWN = "shown_"  # names of arrays that are recordings


class SavedTwin:
    """Mixin of the families of twins: what each says of how it was learned, and that it can be written."""

    learned: Learned

    def save(self, path: str | Path) -> Path:
        """Write it to a folder, of which `load_twin` makes it again."""
        return save_twin(self, path)

    @property
    def presentations(self) -> int:
        """Samples that the chip was shown to learn this twin."""
        return self.learned.presentations

    @property
    def programmings(self) -> int:
        """Times that the chip's weights were written to learn it."""
        return self.learned.programmings


def save_twin(twin: Any, path: str | Path) -> Path:
    """Write a twin to a folder, which is made; what is there of another twin is replaced.

    Raises `InputError` when it cannot be written.
    """
    folder = make_folder(path)
    named = dict(twin.arrays())
    if getattr(twin, "recordings", None) is not None:
        named |= {f"{SHOWN}{name}": array for name, array in twin.recordings.arrays().items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **named)
    learned = twin.learned.as_dict()
    learned["mismatch"] = None if np.isnan(learned["mismatch"]) else learned["mismatch"]
    described = {"format": FORMAT, "version": __version__, "family": twin.family, "spec": twin.spec.as_dict()}
    write_then_rename(folder / ARRAYS, lambda temporary: temporary.write_bytes(buffer.getvalue()))
    text = json.dumps({**described, "learned": learned}, indent=2, allow_nan=False) + "\n"
    write_then_rename(folder / DESCRIPTION, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return folder


def remove_twin(path: str | Path) -> None:
    """Take away what `save_twin` wrote to a folder, and the folder if it is empty then."""
    folder = Path(path)
    for file in (DESCRIPTION, ARRAYS):
        with contextlib.suppress(OSError):
            (folder / file).unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()
