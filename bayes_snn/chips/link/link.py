"""`Link`: any chip, made robust against a link that fails now and then.

A run ends in one of three ways: with counts that were checked, with an error of the program, or, after retries and a
pause in which the chip is tried from time to time, with a `LinkError`. A fault never becomes a likelihood.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayes_snn.chips.capabilities import CAPABILITIES
from bayes_snn.chips.contract import Chip, FloatArray, check_chip, frozen
from bayes_snn.chips.link.faults import AnswerError, FaultLog, check_answer
from bayes_snn.chips.link.worker import Caller, NoAnswerError
from bayes_snn.errors import ChipError, InputError, LinkError, check_whole
from bayes_snn.interrupt import interrupted

FAILURES = (OSError, EOFError)  # ConnectionError and TimeoutError are OSErrors
LONGEST_WAIT, LONGEST_PAUSE = 10.0, 60.0  # s
LONGEST_RESET = 10.0  # s, or as long as a run where that is more: to open a port again takes its time


def tell_on_stderr(sentence: str) -> None:
    """Print a message to standard error."""
    print(sentence, file=sys.stderr, flush=True)


class Link:
    """A chip behind a link that may fail: the same chip, with a time-out, retries, checks, a pause and a log.

    Parameters
    ----------
    chip
        Any chip. It may offer `run_tagged(weights, inputs, tag)`, which returns the tag that came back with the counts
        and the counts, so that an answer to another request is known as such; and `reset()`, which ends or disowns a
        call under way and makes the link ready again: nothing that the old call still does may reach a later one.
    timeout
        Seconds that a run may take. It is then given up: the driver is called in a thread of its own, always the
        same until a time-out. None calls it in the caller's thread, for drivers that allow no other or keep time
        themselves.
    retries
        How often a failed run is tried again before the fit pauses.
    wait
        Seconds before the first retry; each further wait is twice as long, 10 s at most.
    pause
        Seconds of the first pause; each further one is twice as long, 60 s at most. After each the run is tried once.
    patience
        Seconds after which pauses end in a `LinkError`.
    failures
        Exceptions of the driver which mean that the link has failed. Any other ends the fit, as an error of a program
        does: a retry does not help.
    tell
        Called with a sentence when the fit pauses and when it continues; prints to standard error by default.

    Attributes
    ----------
    faults
        The `FaultLog`.

    Raises
    ------
    InputError
        When an argument cannot be used.

    Notes
    -----
    A link serves one thread at a time. A driver without `reset` is never called while an earlier call is under way.
    """

    def __init__(
        self,
        chip: Chip,
        timeout: float | None = 60.0,
        retries: int = 5,
        wait: float = 0.1,
        *,
        pause: float = 1.0,
        patience: float = 600.0,
        failures: type[Exception] | tuple[type[Exception], ...] = FAILURES,
        tell: Callable[[str], None] = tell_on_stderr,
    ) -> None:
        self.chip = check_chip(chip)
        self.spec = chip.spec
        self.timeout = None if timeout is None else _seconds("timeout", timeout, above_zero=True)
        check_whole("retries", retries, 0, None, 5)
        self.retries = int(retries)
        self.wait = _seconds("wait", wait)
        self.pause = _seconds("pause", pause, above_zero=True)
        self.patience = _seconds("patience", patience)
        self.failures = failures if isinstance(failures, tuple) else (failures,)
        self.tell = tell
        self.faults = FaultLog()
        self._request = self._attempt = self._resets = 0
        self._broken = False  # patience has ended, and no run was answered since
        self._caller: Caller | None = None
        self._process = os.getpid()

    def run(self, weights: Sequence[FloatArray], inputs: FloatArray) -> NDArray[np.int32]:
        """Show every input to the chip once: spike counts (n_samples, n_out), checked; see `Chip.run`.

        Raises
        ------
        LinkError
            When the chip could not be reached within the patience, or Ctrl-C ended a pause of a fit. From then on each
            run is tried once, until one is answered.
        """
        self._attempt, paused = 0, 0.0
        while True:
            self._attempt += 1
            counts, sentence = self._try(weights, inputs)
            if counts is not None:
                self._broken = False
                if self._attempt > self.retries + 1:
                    self.tell(f"The chip answers again, after {time.monotonic() - paused:.0f} s: the fit continues.")
                return counts
            if self._broken:
                raise LinkError(f"{sentence} The chip was given up before: repair its link.")
            n_pauses = self._attempt - self.retries - 1
            if n_pauses < 0:
                self._sleep(min(self.wait * 2.0 ** min(self._attempt - 1, 60), LONGEST_WAIT), sentence)
                continue
            now = time.monotonic()
            paused = paused or now
            length = min(self.pause * 2.0 ** min(n_pauses, 60), LONGEST_PAUSE)
            if now + length > paused + self.patience:
                self._give_up(f"{sentence} {self._attempt} attempts in a row have failed")
            self.tell(
                f"{sentence} {self._attempt} attempts in a row have failed: the fit pauses and tries again in "
                f"{length:g} s."
            )
            self._sleep(length, sentence)
            self._reset()

    def settle(self) -> None:
        """Wait for answers to requests that were given up, as long as a run may take; they are logged as late."""
        if self._caller is not None and self._process == os.getpid() and self.timeout is not None:
            self._caller.settle(self.timeout)

    def _try(self, weights: Sequence[FloatArray], inputs: FloatArray) -> tuple[NDArray[np.int32] | None, str]:
        """Ask once: the counts, or None and what was wrong, which is logged."""
        self._request += 1
        request = self._request
        try:
            echo, counts = self._ask(request, weights, inputs)
            if echo != request:
                raise AnswerError(
                    "other",
                    f"The chip answered request {echo!r}, but {request} was asked: its answers are out of step.",
                )
            return check_answer(counts, len(inputs), self.spec), ""
        except AnswerError as error:
            kind, sentence = error.kind, str(error)
        except ChipError as error:
            kind, sentence = "refused", _in_one_sentence(error)
        except self.failures as error:
            kind = "timeout" if isinstance(error, TimeoutError) else "dropped"
            sentence = _in_one_sentence(error)
        self.faults.add(kind, request, self._attempt, sentence)
        if kind == "timeout":
            self._reset()
        return None, sentence

    def _ask(self, request: int, weights: Sequence[FloatArray], inputs: FloatArray) -> tuple[object, object]:
        # the caller may change its weights while a call that was given up reads them
        weights, inputs = [frozen(matrix) for matrix in weights], frozen(inputs)
        return self._call(request, self.timeout, self._drive, request, weights, inputs)  # type: ignore[no-any-return]

    def _drive(self, request: int, weights: Sequence[FloatArray], inputs: FloatArray) -> tuple[object, object]:
        """Call the driver, and give its counts with the tag they came with."""
        run_tagged = getattr(self.chip, "run_tagged", None)
        if run_tagged is None:
            return request, self.chip.run(weights, inputs)
        echo, counts = run_tagged(weights, inputs, request)
        return echo, counts

    def _call(self, number: int, timeout: float | None, function: Callable[..., Any], *arguments: Any) -> Any:
        if timeout is None:
            return function(*arguments)
        if self._caller is None or self._process != os.getpid():  # threads do not come along into a forked process
            self._caller, self._process = Caller(self._note_late), os.getpid()
        try:
            return self._caller.call(number, timeout, function, *arguments)
        except NoAnswerError:
            raise TimeoutError(f"The chip gave no answer within {timeout:g} s.") from None

    def _note_late(self, number: int) -> None:
        if number > 0:  # resets have negative numbers
            sentence = "The answer to a request that had been given up came late and was dropped."
            self.faults.add("late", number, self._attempt, sentence)

    def _reset(self) -> None:
        """Have the driver make the link ready again, if it knows how to; a call under way is then left behind."""
        reset = getattr(self.chip, "reset", None)
        if reset is None:
            return
        if self._caller is not None:
            self._caller.leave_behind()
        self._resets += 1
        try:
            self._call(-self._resets, None if self.timeout is None else max(self.timeout, LONGEST_RESET), reset)
        except self.failures as error:
            self.faults.add("reset", self._request, self._attempt, f"reset() failed. {_in_one_sentence(error)}")

    def _sleep(self, seconds: float, sentence: str) -> None:
        """Wait, unless Ctrl-C is pressed in a fit, which keeps its draws then."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if interrupted():
                self._give_up(f"{sentence} The wait for the chip was interrupted")
            time.sleep(min(left, 0.1))

    def _give_up(self, reason: str) -> None:
        self._broken = True
        raise LinkError(
            f"{reason}, so the fit has ended: repair the link, then resume the fit if it was stored, or fit again."
        )

    def __getattr__(self, name: str) -> Any:
        if name in CAPABILITIES and CAPABILITIES[name].link is None and "chip" in self.__dict__:
            return getattr(self.chip, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_caller": None}

    def __repr__(self) -> str:
        limit = "no time-out" if self.timeout is None else f"{self.timeout:g} s"
        return f"Link({self.chip!r}, {limit}, {self.retries} retries)"


def _seconds(name: str, value: object, above_zero: bool = False) -> float:
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not np.isfinite(value) or value < 0 or (above_zero and value == 0):  # type: ignore[call-overload, operator]
        least = "above 0" if above_zero else "from 0"
        raise InputError(f"{name} was {value!r}, but seconds {least} are expected: leave it out for the default.")
    return float(value)  # type: ignore[arg-type]


def _in_one_sentence(error: BaseException) -> str:
    """An error's text as a sentence, with its class where it says little by itself."""
    text = " ".join(str(error).split()) or "no reason given"
    text = text if isinstance(error, ChipError | TimeoutError) else f"{type(error).__name__}: {text}"
    return text if text.endswith((".", "!", "?")) else f"{text}."
