"""Progress with the figure that matters, and an interrupt that loses nothing."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

LINE_S = 10.0
"""Time between two lines where there is no terminal [s]."""


class Progress:
    """One bar on standard error, or, where that is no terminal, a line now and then."""

    def __init__(self, description: str, total: int) -> None:
        self.description = description
        self.total = total
        self._bar: Any = None
        self._task: Any = None
        self._done = 0
        self._said_s = 0.0

    def __enter__(self) -> "Progress":
        """Show the bar."""
        self._said_s = time.monotonic()
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                TextColumn("{task.description:<28}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figure]}"),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task(self.description, total=self.total, figure="")
        return self

    def __exit__(self, *exception: object) -> None:
        """Leave the finished bar on the screen."""
        if self._bar is not None:
            self._bar.stop()

    def advance(self, steps: int = 1, **figures: float) -> None:
        """Move on by `steps` and show `figures`, such as loss=0.1."""
        self._done += steps
        figure = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        if self._bar is None:
            self._say(figure)
        else:
            update = {"figure": figure} if figures else {}
            self._bar.update(self._task, advance=steps, **update)

    def _say(self, figure: str) -> None:
        """Print how far it is, unless that was said just now."""
        now = time.monotonic()
        if now - self._said_s < LINE_S:
            return
        self._said_s = now
        share = f" of {self.total} ({self._done / self.total:.0%})" if self.total else ""
        line = f"{self.description}: {self._done}{share}{figure and '  '}{figure}"
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


class Interrupt:
    """Whether Ctrl-C was pressed; truthy from then on."""

    def __init__(self) -> None:
        self.requested = False

    def __bool__(self) -> bool:
        """Return whether to stop at the next good moment."""
        return self.requested


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Let the first Ctrl-C only ask: the caller finishes its step, saves, and stops.

    A second Ctrl-C raises `KeyboardInterrupt` at once. Outside the main thread, where Python
    delivers no signals, nothing is changed.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    previous = signal.getsignal(signal.SIGINT)

    def ask(_number: int, _frame: FrameType | None) -> None:
        if interrupt.requested:
            raise KeyboardInterrupt
        interrupt.requested = True

    signal.signal(signal.SIGINT, ask)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, previous)
