"""Threads that call a driver, so that a call which does not come back can be given up."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any


class NoAnswerError(TimeoutError):
    """A call has not come back in time."""


@dataclass(frozen=True)
class Answer:
    """What a call has come back with: a value, or the error that it raised."""

    number: int
    worker: Worker
    value: Any = None
    error: BaseException | None = None


class Worker:
    """A thread that calls functions one after the other; answers go to a queue that workers share.

    Python cannot end a thread. One whose call never returns stays behind as a daemon and ends with the program.

    Attributes
    ----------
    busy
        Whether a call is under way; whoever takes its answer from the queue sets it back.
    """

    def __init__(self, answers: SimpleQueue[Answer]) -> None:
        self.busy = False
        self.calls: SimpleQueue[tuple[int, Callable[..., Any], tuple[Any, ...]] | None] = SimpleQueue()
        arguments = (self, self.calls, answers)
        threading.Thread(target=_work, args=arguments, name="bayes_snn-link", daemon=True).start()


def _work(worker: Worker, calls: SimpleQueue[Any], answers: SimpleQueue[Answer]) -> None:
    while (call := calls.get()) is not None:
        number, function, arguments = call
        try:
            answer = Answer(number, worker, function(*arguments))
        except BaseException as error:  # it is raised again where the call was made
            answer = Answer(number, worker, error=error)
        answers.put(answer)
        del call, function, arguments, answer  # an idle thread keeps nothing alive


class Caller:
    """Makes calls one at a time, all in one thread for as long as each comes back in time.

    Parameters
    ----------
    late
        Called with the number of a call that had been given up and then came back with a value.
    """

    def __init__(self, late: Callable[[int], None]) -> None:
        self._late = late
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._left: list[Worker] = []  # busy with calls that were given up
        self._worker = self._hire()

    def call(self, number: int, timeout: float, function: Callable[..., Any], *arguments: Any) -> Any:
        """What `function` returns or raises, or a `NoAnswerError`; numbers differ from call to call.

        A call that was given up is waited for first, unless it was left behind, for a driver is not made for two calls
        at once. If it does not come back in time, `function` is not called.
        """
        deadline = time.monotonic() + timeout
        worker = self._worker
        while worker.busy:
            self._note(self._take(deadline))
        worker.busy = True
        worker.calls.put((number, function, arguments))
        while (answer := self._take(deadline)).number != number:
            self._note(answer)
        if answer.error is not None:
            raise answer.error
        return answer.value

    def leave_behind(self) -> None:
        """Make further calls in a new thread if one that was given up is still under way."""
        if self._worker.busy:
            self._left.append(self._worker)
            self._worker.calls.put(None)  # it ends as soon as it is free
            self._worker = self._hire()

    def settle(self, timeout: float) -> None:
        """Wait for calls that were given up to come back."""
        deadline = time.monotonic() + timeout
        try:
            while self._worker.busy or self._left:
                self._note(self._take(deadline))
        except NoAnswerError:
            return

    def _note(self, answer: Answer) -> None:
        """Tell of an answer that nobody waits for any more; an error is none, and the call is known to have failed."""
        if answer.error is None:
            self._late(answer.number)

    def _take(self, deadline: float) -> Answer:
        """The next answer to any call."""
        try:
            answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            raise NoAnswerError from None
        answer.worker.busy = False
        if answer.worker in self._left:
            self._left.remove(answer.worker)
        return answer

    def _hire(self) -> Worker:
        worker = Worker(self._answers)
        weakref.finalize(self, worker.calls.put, None)  # nobody will call it any more
        return worker
