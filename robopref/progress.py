"""Progress with the figure that matters, and an interrupt that loses nothing."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

LINE_S = 10.0
"""Time between two lines where there is no terminal [s]."""


class Progress:
    """One bar on standard error, or, where that is no terminal, a line now and then.

    Args:
        description: What the bar is called.
        total: How much there is to do; 0 if nobody knows.
        silent: Show nothing, because another process does.
    """

    def __init__(self, description: str, total: int, *, silent: bool = False) -> None:
        self.description = description
        self.total = total
        self._silent = silent
        self._bar: Any = None
        self._task: Any = None
        self._done = 0
        self._said_s = 0.0

    def __enter__(self) -> "Progress":
        """Show the bar."""
        self._said_s = time.monotonic()
        if sys.stderr.isatty() and not self._silent:
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

    def tell(self, line: str) -> None:
        """Print a line above the bar."""
        if self._silent or not line:
            return
        if self._bar is None:
            sys.stderr.write(f"{self.description}: {line}\n")
        else:
            self._bar.console.print(f"{self.description}: {line}", highlight=False)

    def advance(self, steps: int = 1, **figures: float) -> None:
        """Move on by `steps` and show `figures`, such as loss=0.1."""
        self._done += steps
        figure = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        if self._bar is None:
            self._say(figure)
        else:
            update = {"figure": figure} if figures else {}
            self._bar.update(self._task, advance=steps, **update)

    def counting(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items and move on by one for each."""
        for item in items:
            yield item
            self.advance()

    def _say(self, figure: str) -> None:
        """Print how far it is, unless that was said just now."""
        now = time.monotonic()
        if self._silent or now - self._said_s < LINE_S:
            return
        self._said_s = now
        share = f" of {self.total} ({self._done / self.total:.0%})" if self.total else ""
        line = f"{self.description}: {self._done}{share}{figure and '  '}{figure}"
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


class Interrupt:
    """Whether Ctrl-C was pressed, or the process asked to end; truthy from then on."""

    def __init__(self) -> None:
        self.requested = False

    def __bool__(self) -> bool:
        """Return whether to stop at the next good moment."""
        return self.requested


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Let the first Ctrl-C or SIGTERM only ask: the caller finishes its step, saves, and stops.

    A second one raises `KeyboardInterrupt` at once, but in a process of several that were started
    together: their launcher passes on each signal, and kills them if they take too long. Outside
    the main thread, where Python delivers no signals, nothing is changed.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    insistent, owner = not is_launched(), os.getpid()

    def ask(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != owner and number == signal.SIGTERM:
            # A worker that was forked meanwhile, which has nothing to save.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if interrupt.requested and insistent:
            raise KeyboardInterrupt
        interrupt.requested = True

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR")
"""What a launcher tells its processes in the environment."""


def is_launched() -> bool:
    """Return whether a launcher, such as torchrun, started this process together with others."""
    return all(name in os.environ for name in LAUNCHED) and os.environ["WORLD_SIZE"] != "1"


def is_first() -> bool:
    """Return whether this process speaks: the first that a launcher started, or one by itself."""
    return not is_launched() or os.environ["RANK"] == "0"


def forget_launcher() -> None:
    """Make this process one by itself: a worker inherits what its parent was told."""
    for name in LAUNCHED:
        os.environ.pop(name, None)
