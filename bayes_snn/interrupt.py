"""Ctrl-C during sampling: the first one ends the fit and keeps its draws, the second one ends the program."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, ClassVar


class _SecondInterruptError(BaseException):
    """PyMC takes every KeyboardInterrupt for the end of one chain; this one it lets through."""


def interrupted() -> bool:
    """Whether Ctrl-C was pressed in a fit that is under way, for code that waits: the signal only makes a note."""
    return any(guard.interrupted for guard in InterruptGuard.active)


class InterruptGuard:
    """Context manager around `pm.sample` or `sample_in_turns`; pass `callback` to it.

    PyMC ends only the running chain on Ctrl-C when chains run one after the other; the callback ends all of them.
    """

    active: ClassVar[list[InterruptGuard]] = []

    def __init__(self) -> None:
        self.interrupted = False
        self._before: Any = None

    def __enter__(self) -> InterruptGuard:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        self.active.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.active.remove(self)
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        if kind is _SecondInterruptError:
            raise KeyboardInterrupt from None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise _SecondInterruptError
        self.interrupted = True

    def callback(self, trace: Any, draw: Any) -> None:
        """Called by PyMC at every draw of every chain."""
        if self.interrupted:
            raise KeyboardInterrupt


class StopOnInterrupt:
    """Ctrl-C while a server serves in the main thread: the first stops it, the second is a KeyboardInterrupt.

    Where somebody else handles the signal, as the command does, it is left to them.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self.pressed = False
        self._stop, self._ours = stop, False

    def __enter__(self) -> StopOnInterrupt:
        main = threading.current_thread() is threading.main_thread()
        self._ours = main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._ours:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.pressed = True
        self._stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)
