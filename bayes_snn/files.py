"""Folders that can be written to, and files that are whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bayes_snn.errors import InputError

AGAIN = "take it from a copy, or fit again"  # where it is the content that is wrong
_LOCKED = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK, errno.ENOLCK, errno.EBUSY, errno.ETXTBSY)
_SHARING = (32, 33)  # of Windows: another program has the file, or a part of it, for itself
_DENIED = (errno.EACCES, errno.EPERM)


class UnreadableError(Exception):
    """A file that cannot be read: `reason` follows "cannot be read, because"; `advice`, where it does not lie in the
    content, says what to do."""

    def __init__(self, reason: str, advice: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.advice = reason, advice

    def input_error(self, path: Path, again: str = AGAIN) -> InputError:
        """The sentence for a person; `again` is the advice where the content is wrong."""
        return InputError(f"{path} cannot be read, because {self.reason}: {self.advice or again}.")


def why(error: OSError) -> UnreadableError:
    """What an error of the system means, and what to do about it."""
    number, text = error.errno, error.strerror or str(error)
    if isinstance(error, FileNotFoundError) or number in (errno.ENOENT, errno.ENOTDIR):
        return UnreadableError("it is not there", "check the path, or take it from a copy")
    if number in _LOCKED or getattr(error, "winerror", None) in _SHARING:
        return UnreadableError("another program holds it open", "close it there and try again")
    if number in _DENIED:
        return UnreadableError(f"this user may not ({os.strerror(number)})", "change its permissions or ask its owner")
    if number == errno.EISDIR:
        return UnreadableError("it is a folder", "check the path")
    if number == errno.ELOOP:
        return UnreadableError("it is a link that leads to itself", "check the path")
    if number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return UnreadableError(f"the computer has no room for it ({os.strerror(number)})", "close other programs")
    if number is None:  # HDF5, of wrong bytes
        return UnreadableError(f"it is damaged or of another kind ({text})")
    return UnreadableError(f"the system says {text!r}", "check the disk or the network, then try again")


def what_helps(error: OSError) -> str:
    """What to do about a file that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return "make room on the disk"
    if error.errno in (*_DENIED, errno.EROFS):
        return "change its permissions"
    if error.errno in _LOCKED or getattr(error, "winerror", None) in _SHARING:
        return "close the program that holds it open"
    return "check the disk or the network"


def check_regular(path: Path) -> int:
    """The size of a file; an `UnreadableError` where it cannot be opened or is a pipe or a device, without an end."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            found = os.fstat(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise why(error) from None
    if stat.S_ISDIR(found.st_mode):
        raise UnreadableError("it is a folder", "check the path")
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableError("it is a pipe or a device, no file", "check the path")
    return found.st_size


def read_file(path: Path, most_bytes: int) -> bytes:
    """The bytes of a file, or an `UnreadableError`."""
    size = check_regular(path)
    if size > most_bytes:
        raise UnreadableError(f"it has {size:,} bytes, and at most {most_bytes:,} are expected")
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError as error:
        raise why(error) from None


def netcdf_bytes(tree: Any, **options: Any) -> bytes:
    """A DataTree as a netCDF file in memory, which no other process can write to.

    In a process with a Dask client, such as a worker's, xarray would ask the scheduler for a lock on it, and fail.
    """
    with contextlib.ExitStack() as here:
        if dask := sys.modules.get("dask"):
            here.enter_context(dask.config.set(scheduler="synchronous"))
        return bytes(tree.to_netcdf(None, engine="h5netcdf", **options))


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


def make_new_folder(parent: Path, name: str) -> Path:
    """Make a folder that was not there: `name`, or with the first number behind it that is free."""
    folder, i = parent / name, 2
    while True:
        make_folder(parent)
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            folder, i = parent / f"{name}-{i}", i + 1
        except FileNotFoundError:
            continue  # another process came to nothing and took the parent away
        except OSError:
            return make_folder(folder)  # which says why not


def write_then_rename(path: Path, write: Any) -> None:
    """Call `write` with a temporary name beside `path` and rename it when it is complete."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}): {what_helps(error)} or give another folder."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_durably(path: Path, data: bytes) -> None:
    """Write a file that is whole or the old one whatever happens, a power loss included; folders are made.

    Raises `OSError`; the temporary file is taken away then.
    """
    made = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if hasattr(os, "O_DIRECTORY"):  # new names must reach the disk too; Windows has no such call
        for folder in (path.parent, *(new.parent for new in made)):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def take_lock(path: Path, patience: float, busy: InputError) -> int:
    """Lock a file for this process; the open file whose closing gives it free, as the end of the process does.

    Its folder is made where it is missing. Whoever has the lock may delete the file: one who waited for it locks the
    file that is there then.

    Raises `busy` when another process still has it after so many seconds, and one of its kind when it cannot be opened.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # deleted, folder and all, between the two calls
            handle = None
        except OSError as error:
            raise type(busy)(f"{path} cannot be opened ({error.strerror}): change its permissions.") from None
        if handle is not None:
            if _locked(handle) and _is_at(handle, path):
                return handle
            os.close(handle)
        if time.monotonic() > deadline:
            raise busy
        time.sleep(0.05)


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is the one at this path, and was not deleted."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False


def _locked(handle: int) -> bool:
    """Whether a lock on an open file could be taken; the system gives it free when the process ends, however."""
    if sys.platform == "win32":
        import msvcrt

        with contextlib.suppress(OSError):
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            return True
        return False
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
