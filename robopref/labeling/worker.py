"""Work for child processes: what is urgent first, each thing once, and a crash is survived.

Children are spawned, not forked, since OpenGL and torch survive no fork. They run at a lower
priority than the server, ignore Ctrl-C, and end when the pipe to their parent does.
"""

import functools
import heapq
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from robopref.errors import MissingExtraError, RoboprefError

TIMEOUT_S = 300.0
"""How long a child may be silent, where nothing else is said [s]."""
ATTEMPTS = 2
"""Children that a job may bring down before it is given up."""
MAX_WAITING = 256
"""Urgent jobs that may wait, and others; beyond these the oldest is dropped."""


class ClipError(RoboprefError):
    """Raised when something of a query cannot be shown.

    Args:
        reason: Why, for whoever looks after the data.
        passing: The query is not to blame, and later it may work: the disk is full, say.
    """

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing


class Dropped(ClipError):  # noqa: N818 - nothing is wrong
    """Set on what was never come to among too much else."""


@dataclass(order=True)
class _Task:
    """A job in the queue; smaller is earlier."""

    rank: tuple[bool, int]
    key: Hashable = field(compare=False)
    job: Any = field(compare=False)
    future: "Future[Any]" = field(compare=False)
    attempts: int = field(default=0, compare=False)


class Workers:
    """Gives jobs to child processes and brings back what they return.

    Args:
        make: Called in a child with `settings`; returns what does a job. A function or class of a
            module, so that the child finds it by name.
        settings: What it is called with.
        num_processes: Children, each doing one job at a time.
        what: What they do, for messages.
        timeout_s: A child that is silent for longer [s] is taken to hang, and killed.
    """

    def __init__(
        self, make: Callable[[Any], Callable[[Any], Any]], settings: Any, *,
        num_processes: int = 1, what: str = "work", timeout_s: float = TIMEOUT_S,
    ) -> None:  # fmt: skip
        self.what = what
        self._timeout_s = timeout_s
        self._arguments = (make, settings)
        self._number = itertools.count()
        self._queue: list[_Task] = []
        self._tasks: dict[Hashable, _Task] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._children: dict[int, _Child] = {}
        self._threads = [
            threading.Thread(target=self._serve, args=(number,), daemon=True)
            for number in range(num_processes)
        ]
        self._started = False

    @property
    def pids(self) -> list[int]:
        """Process ids of the children that live now."""
        return [child.pid for child in list(self._children.values()) if child.is_alive]

    def submit(self, key: Hashable, job: Any, *, urgent: bool = False) -> "Future[Any]":
        """Have a job done; one that waits or runs already under this key is not done again.

        Returns:
            What the job returns, or a `ClipError`.
        """
        with self._changed:
            if self._closing:
                return _failed(ClipError(f"The server stops: no {self.what}.", passing=True))
            if not self._started:
                self._started = True
                for thread in self._threads:
                    thread.start()
            dropped = None
            task = self._tasks.get(key)
            if task is None:
                task = _Task(self._rank(urgent), key, job, Future())
                # Others may wait for it too: nobody can cancel it.
                task.future.set_running_or_notify_cancel()
                self._tasks[key] = task
                task.future.add_done_callback(functools.partial(self._forget, task))
                heapq.heappush(self._queue, task)
                self._changed.notify()
                dropped = self._overflow(urgent)
            elif urgent and task in self._queue:
                task.rank = self._rank(urgent)
                heapq.heapify(self._queue)
        if dropped is not None:
            dropped.future.set_exception(Dropped(f"Too much waits for {self.what}.", passing=True))
        return task.future

    def has(self, key: Hashable) -> bool:
        """Return whether a job under this key waits or runs."""
        return key in self._tasks

    def close(self) -> None:
        """End the children; what was not done fails."""
        with self._changed:
            self._closing = True
            waiting, self._queue = self._queue, []
            self._changed.notify_all()
        while self._started and any(thread.is_alive() for thread in self._threads):
            for child in list(self._children.values()):
                child.end()
            for thread in self._threads:
                thread.join(0.1)
        for task in waiting:
            task.future.set_exception(ClipError(f"The server stops: no {self.what}.", passing=True))

    def _forget(self, task: _Task, _future: "Future[Any]") -> None:
        with self._changed:
            if self._tasks.get(task.key) is task:
                del self._tasks[task.key]

    def _rank(self, urgent: bool) -> tuple[bool, int]:
        """Return the place of what is asked for now.

        Of what is urgent the newest comes first: who asked for the others has waited, or has gone.
        """
        number = next(self._number)
        return not urgent, -number if urgent else number

    def _overflow(self, urgent: bool) -> _Task | None:
        """Take the oldest of what is urgent, or is not, out of the queue if it is too much."""
        waiting = [task for task in self._queue if task.rank[0] is not urgent]
        if len(waiting) <= MAX_WAITING:
            return None
        oldest = max(waiting) if urgent else min(waiting)
        self._queue.remove(oldest)
        del self._tasks[oldest.key]  # Who asks now is not to be given what is dropped.
        heapq.heapify(self._queue)
        return oldest

    def _next(self) -> _Task | None:
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            return None if self._closing else heapq.heappop(self._queue)

    def _serve(self, number: int) -> None:
        """Do jobs in one child after another, until closed."""
        while (task := self._next()) is not None:
            task.attempts += 1
            try:
                reply = self._child(number).do(task.job, self._timeout_s)
            except (EOFError, OSError) as error:
                self._bury(number, task, error)
                continue
            if isinstance(reply, ClipError):
                task.future.set_exception(reply)
            else:
                task.future.set_result(reply)
        if number in self._children:
            self._children[number].end()

    def _child(self, number: int) -> "_Child":
        child = self._children.get(number)
        if child is None or not child.is_alive:
            self._children.pop(number, None)  # What is told of it is not of the next one.
            child = self._children[number] = _Child(*self._arguments, name=f"{self.what}-{number}")
        return child

    def _bury(self, number: int, task: _Task, error: Exception) -> None:
        """Take away a child that died or never lived; its job is tried once more, or given up."""
        child = self._children.pop(number, None)
        if child is None:
            how = f"cannot be started: {error}"
        else:
            hangs = isinstance(error, TimeoutError)
            # A process that dies closes its pipe first.
            ended = child.end(grace_s=0.0 if hangs else 2.0)
            how = str(error) if hangs else ended
        with self._changed:
            if task.attempts < ATTEMPTS and not self._closing:
                heapq.heappush(self._queue, task)
                self._changed.notify()
                return
        again = " again, at the same thing" if child is not None and task.attempts > 1 else ""
        passing = self._closing or child is None
        fault = ClipError(f"The process for {self.what} {how}{again}.", passing=passing)
        task.future.set_exception(fault)


class _Child:
    """One spawned process and the pipe to it."""

    def __init__(self, make: Callable[[Any], Any], settings: Any, *, name: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(
            target=_live, args=(other, make, settings), name=name, daemon=True
        )
        self._process.start()
        other.close()
        self.pid: int = self._process.pid or 0

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def do(self, job: Any, timeout_s: float) -> Any:
        """Return the reply; EOFError or OSError when the process died."""
        self._pipe.send(job)
        if not self._pipe.poll(timeout_s):
            raise TimeoutError(f"did not answer within {timeout_s:g} s")
        return self._pipe.recv()

    def end(self, *, grace_s: float = 0.0) -> str:
        """End the process, unless it does so by itself; return how it ended, in words."""
        self._process.join(grace_s)
        code = self._process.exitcode
        self._process.kill()
        self._process.join()
        if code is None or code >= 0:
            return f"ended with code {code}"
        return f"was ended by {signal.Signals(-code).name}"


def _live(pipe: Connection, make: Callable[[Any], Callable[[Any], Any]], settings: Any) -> None:
    """Do one job after another, until the parent closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(5)
    do = make(settings)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            reply = do(job)
        except ClipError as error:
            reply = error
        except MissingExtraError as error:
            reply = ClipError(str(error), passing=True)
        except (RoboprefError, ValueError, LookupError, OSError) as error:
            reply = ClipError(str(error))
        pipe.send(reply)


def _failed(error: ClipError) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
