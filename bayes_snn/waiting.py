"""Progress and time left of work on a chip, shown where it takes more than two seconds and somebody looks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from contextvars import ContextVar

from rich.console import Console

PATIENCE = 2.0  # s without a word

_console: ContextVar[Console | None] = ContextVar("console", default=None)


@contextlib.contextmanager
def progress_shown(console: Console | None) -> Iterator[None]:
    """Show the progress of what `tracked` goes through; None for not at all."""
    token = _console.set(console)
    try:
        yield
    finally:
        _console.reset(token)


def tracked[T](items: Collection[T], what: str) -> Iterator[T]:
    """The items, with a bar after two seconds; where no terminal is, with one line that says how long it will take."""
    console = _console.get()
    if console is None:
        yield from items
        return
    began, bar, announced = time.monotonic(), None, False
    try:
        for n, item in enumerate(items):
            passed = time.monotonic() - began
            if n and not announced and passed > PATIENCE:
                announced = True
                if console.is_terminal:
                    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

                    bar = Progress(
                        TextColumn("{task.description}"),
                        BarColumn(),
                        MofNCompleteColumn(),
                        TimeRemainingColumn(),
                        console=console,
                        transient=True,
                    )
                    task = bar.add_task(what, total=len(items), completed=n)
                    bar.start()
                else:
                    left = passed / n * (len(items) - n)
                    console.print(f"{what}: {n} of {len(items)}, about {left:.0f} s left", highlight=False)
            yield item
            if bar is not None:
                bar.update(task, completed=n + 1)
    finally:
        if bar is not None:
            bar.stop()


@contextlib.contextmanager
def waiting(what: str) -> Iterator[Callable[[str], None]]:
    """Say what is being done while it is done; the function that it gives adds how far it has come."""
    console = _console.get()
    if console is None:
        yield lambda how_far: None
    elif console.is_terminal:
        with console.status(what) as status:
            yield lambda how_far: status.update(f"{what}: {how_far}")
    else:
        console.print(what, highlight=False)
        yield lambda how_far: None
