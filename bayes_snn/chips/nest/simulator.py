"""Asking NEST, which runs in a process of its own (process.py): one for each process that asks."""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.nest import process
from bayes_snn.errors import ChipError, InputError

_PATIENCE = 10.0  # seconds that NEST's process has to end


class Simulator:
    """NEST in a process that is started when it is first asked, and again where it has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None

    def ask(self, **question: Any) -> list[NDArray[np.bool_]]:
        """What `process.simulate` answers; a `ChipError` where NEST raises an exception or ends."""
        with self._lock:
            try:
                running = self._start()
                process.send(running.stdin, question)  # type: ignore[arg-type]
                answer = process.receive(running.stdout)  # type: ignore[arg-type]
            except (EOFError, BrokenPipeError):
                code = self.close()
                raise ChipError(
                    f"NEST's process ended with code {code}: see what it wrote, and run the chip again."
                ) from None
            except BaseException:  # an answer that nobody has read would be taken for the next one
                self.close(kill=True)
                raise
        if isinstance(answer, str):
            raise ChipError(f"NEST cannot run the chip ({answer}): check its parameters.")
        return answer  # type: ignore[no-any-return]

    def close(self, kill: bool = False) -> int | None:
        """End NEST's process; its exit code."""
        running, self._running = self._running, None
        if running is None:
            return None
        if kill:
            running.kill()
        for stream in (running.stdin, running.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        try:
            return running.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            running.kill()
            return running.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        if self._running is None:
            check_installed()
            self._running = subprocess.Popen(
                [sys.executable, "-P", process.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        return self._running


# a process that was copied must not read what NEST answers to the one that it was copied from
_SIMULATORS: dict[int, Simulator] = {}


def simulator() -> Simulator:
    """The simulator of this process."""
    pid = os.getpid()
    if pid not in _SIMULATORS:
        atexit.register(_SIMULATORS.setdefault(pid, Simulator()).close)
    return _SIMULATORS[pid]


def check_installed() -> None:
    """An `InputError` where NEST is missing."""
    if find_spec("nest") is None:
        raise InputError(
            "A NestChip needs NEST, which is not installed: run pip install 'bayes_snn[nest]', or take a LIFChip."
        )
