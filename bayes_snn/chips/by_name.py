"""A chip by name, for the command line: `my_lab:MyChip`, or the address of a server."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from bayes_snn.chips.contract import Chip, check_chip
from bayes_snn.chips.link.link import Link
from bayes_snn.errors import ChipError, InputError
from bayes_snn.names import TOKEN


def find_chip(source: str, token: str | None = None, curve: str | None = None) -> Chip:
    """The chip that a text names.

    Parameters
    ----------
    source
        "module:name", where the name is a chip or what makes one when it is called; or the address of a server,
        "tcp://HOST:PORT", whose chip comes wrapped in a `Link`.
    token, curve
        For a server: its token, and the file with its public key.

    Raises
    ------
    InputError
        When there is no such module, name or server, or what is there is no chip.
    """
    if "://" in source:
        from bayes_snn.chips.remote.client import RemoteChip

        try:
            # it keeps time itself, and is called in one thread
            return Link(RemoteChip(source, token, curve=curve), timeout=None)
        except (OSError, ChipError) as error:
            raise InputError(str(error)) from None
    module_name, colon, name = source.partition(":")
    if not (colon and module_name and name):
        raise InputError(
            f"The chip was {source!r}, but MODULE:NAME or tcp://HOST:PORT is expected: give my_lab:MyChip for the "
            "class MyChip in my_lab.py."
        )
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.startswith(error.name):
            raise InputError(
                f"There is no module {module_name!r} to take the chip from: run the command where {module_name}.py is, "
                "or put its folder into PYTHONPATH."
            ) from None
        raise InputError(_does_not_run(source, error)) from error
    except (Exception, SystemExit) as error:
        raise InputError(_does_not_run(source, error)) from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise InputError(f"The module {module_name!r} has no {name!r}: give the name of a chip or of its class.")
        found = getattr(found, part)
    if callable(found) and not (hasattr(found, "spec") and not isinstance(found, type)):
        try:
            found = found()
        except (Exception, SystemExit) as error:
            raise InputError(_does_not_run(source, error)) from error
    try:
        return check_chip(found)
    except InputError as error:
        raise InputError(f"{source} is not a chip. {error}") from None


def read_token(path: str | None) -> str | None:
    """The token in a file, or in the environment variable BAYES_SNN_TOKEN; None where there is neither."""
    if path is None:
        return os.environ.get(TOKEN) or None
    try:
        token = Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise InputError(f"The token file {path} cannot be read ({error}): check its name and permissions.") from None
    if not token:
        raise InputError(f"The token file {path} is empty: put a secret text into it.")
    return token


def _does_not_run(source: str, error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"The chip {source} cannot be made ({type(error).__name__}: {text}): fix it; Python shows where."
