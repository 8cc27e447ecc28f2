"""Work done by other processes, with one interface wherever they are.

A piece of work is a function from the top of a module and one argument; both are pickled. A process
with one torch thread does it, and what is random in it comes from its argument, so results are the
same by any number of workers, on one machine or many (`robopref.ray_workers`).
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from robopref.errors import RoboprefError, check_at_least
from robopref.progress import forget_launcher

A = TypeVar("A")
R = TypeVar("R")

LOOK_S = 2.0
"""Time between looks after the workers [s]."""

_AT_END: list[Callable[[], None]] = []


def at_end_of_work(function: Callable[[], None]) -> Callable[[], None]:
    """Have `function` called in each process that worked, when its work has ended."""
    _AT_END.append(function)
    return function


class Workers:
    """Processes of this machine, kept between calls; use with `with`.

    Args:
        num_workers: Processes; 0 works in this process.
    """

    may_repeat = False
    """Whether work whose worker was lost is begun again: not for what cannot be undone."""

    def __init__(self, num_workers: int = 2) -> None:
        check_at_least("num_workers", num_workers, 0)
        self.num_workers = num_workers
        self._executor: Executor | None = None
        self._looked_s = 0.0

    def __enter__(self) -> "Workers":
        """Start the processes, which import their packages meanwhile."""
        if self.num_workers:
            self._executor = self._start()
        return self

    def __exit__(self, *exception: object) -> None:
        """End the processes; work that has not begun is dropped."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None
        _end_work()

    @property
    def num_at_once(self) -> int:
        """Pieces of work that are done at the same time."""
        return self.num_workers

    def map(
        self,
        function: Callable[[A], R],
        items: Iterable[A],
        *,
        in_order: bool = True,
        tell: Callable[[str], None] | None = None,
    ) -> Iterator[R]:
        """Yield `function(item)` of each item, once.

        No more is begun than twice what is done at once, so that results do not pile up.

        Args:
            function: From the top of a module.
            items: What it is called with.
            in_order: Yield in the order of `items`; else each as soon as it is there.
            tell: Told in a line what went wrong and was made good; None for standard error.

        Raises:
            RuntimeError: This is outside of the `with` block.
            RoboprefError: robopref's own code refused an item.
        """
        if not self.num_workers:
            yield from (_work_here(function, item) for item in items)
            return
        if self._executor is None:
            raise RuntimeError("The workers are not running. Use 'with workers:'.")
        left = iter(items)
        begun: list[Future[R]] = []
        try:
            while True:
                for item in islice(left, max(0, 2 * self.num_at_once - len(begun))):
                    begun.append(self._executor.submit(work, function, item))
                if not begun:
                    return
                done = self._wait(begun[:1] if in_order else begun, tell or _say)
                begun.remove(done)
                yield done.result()
        finally:
            for future in begun:
                future.cancel()

    def _start(self) -> Executor:
        from multiprocessing import get_context

        pool = ProcessPoolExecutor(self.num_workers, get_context("spawn"), _start_worker)
        for _ in range(self.num_workers):
            pool.submit(os.getpid)
        return pool

    def _wait(self, futures: list[Future[R]], tell: Callable[[str], None]) -> Future[R]:
        """Return the first of `futures` that is done."""
        while True:
            done, _ = wait(futures, LOOK_S, FIRST_COMPLETED)
            if time.monotonic() - self._looked_s > LOOK_S:
                self._look(tell)
                self._looked_s = time.monotonic()
            if done:
                return next(future for future in futures if future in done)

    def _look(self, tell: Callable[[str], None]) -> None:
        """See how the workers are."""


def work(function: Callable[[A], R], item: A) -> R:
    """Work in a worker; what robopref's own code refused there is worded for the command line."""
    try:
        return function(item)
    except (ValueError, LookupError) as error:
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        module = "" if frame is None else str(frame.tb_frame.f_globals.get("__name__", ""))
        if isinstance(error, RoboprefError) or not module.startswith("robopref."):
            raise
        raise RoboprefError(str(error)) from error


def _work_here(function: Callable[[A], R], item: A) -> R:
    """Work in this process, with one thread as a worker has, so that results are equal."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return function(item)
    finally:
        torch.set_num_threads(threads)


def _end_work() -> None:
    for function in _AT_END:
        function()


def _start_worker() -> None:
    """Prepare a worker: one thread, Ctrl-C left to the parent, and no life without it."""
    import multiprocessing.util
    import signal

    import torch

    torch.set_num_threads(1)
    forget_launcher()
    # A worker runs nothing that `atexit` was told, and an arm is not left as it is.
    multiprocessing.util.Finalize(None, _end_work, exitpriority=100)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def leave_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
