"""Folders that can be written to, and files that are whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from bayes_snn.errors import InputError


def make_folder(folder: str | Path) -> Path:
    """Make a folder, or say in one sentence why it cannot be."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The folder {folder} cannot be made ({error.strerror}): give another one, for example --out fits/mine."
        ) from None
    try:
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise InputError(
            f"The folder {folder} cannot be written to ({error.strerror}): change its permissions or give another one."
        ) from None


def write_then_rename(path: Path, write: Any) -> None:
    """Call `write` with a temporary name beside `path` and rename it when it is complete."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}): make room on the disk or give another folder."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
