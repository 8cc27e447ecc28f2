"""Calls into makers' SDKs, which may block, fail or never come back, away from the control loop."""

import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from robopref.errors import HardwareError
from robopref.hardware.types import ArmState

Result = TypeVar("Result")
STUCK_S = 0.3
"""A command's call that takes longer is taken for lost [s]: a blocked xArm call takes 0.19 s."""


class Courier:
    """One thread that makes all calls to an SDK, from the first to `close`.

    Of commands only the newest waits, since an older one is of no use any more. A stop goes before
    everything that waits. What went wrong is kept until `forget`, for a driver to report.

    Args:
        name: What is called, for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._changed = threading.Condition()
        self._stop: Callable[[], object] | None = None
        self._command: Callable[[], object] | None = None
        self._asked: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._failure = ""
        self._since_s: float | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=f"courier-{name}", daemon=True)
        self._thread.start()

    def send(self, call: Callable[[], object]) -> None:
        """Make a call soon; a later one takes its place if it has not begun by then."""
        with self._changed:
            self._command = call
            self._changed.notify()

    def stop(self, call: Callable[[], object]) -> None:
        """Make a call before all others, and drop the command that waits."""
        with self._changed:
            self._stop, self._command = call, None
            self._changed.notify()

    def ask(self, call: Callable[[], Result], seconds: float, doing: str) -> Result:
        """Return what a call returns.

        Args:
            call: The call.
            seconds: How long it may take, the calls before it included [s].
            doing: What it is for; errors start with it.

        Raises:
            HardwareError: It failed, or did not come back.
        """
        answer: Future[Result] = Future()
        with self._changed:
            if self._is_closed:
                raise HardwareError(f"{doing} failed: the connection is closed.")
            self._asked.append((call, answer))
            self._changed.notify()
        try:
            return answer.result(seconds)
        except TimeoutError as error:
            if answer.cancel() or not answer.done():
                raise HardwareError(
                    f"{doing} failed: {self.name} did not answer within {seconds:g} s. Is it on, "
                    "and the address right?"
                ) from error
            raise _failed(doing, error) from error
        except HardwareError:
            raise
        except Exception as error:  # Vendors raise what they like.
            raise _failed(doing, error) from error

    @property
    def is_idle(self) -> bool:
        """Whether no call is being made, and none waits."""
        with self._changed:
            waiting = self._stop or self._command or self._asked
            return self._since_s is None and not waiting

    @property
    def trouble(self) -> str:
        """What went wrong with a command or stop; empty where nothing did."""
        with self._changed:
            if self._failure:
                return self._failure
            busy = 0.0 if self._since_s is None else time.monotonic() - self._since_s
        return f"a call did not come back for {busy:.1f} s" if busy > STUCK_S else ""

    def forget(self) -> None:
        """Begin anew after what went wrong."""
        with self._changed:
            self._failure = ""

    def close(self, seconds: float = 1.0) -> None:
        """Make the calls that wait, and end; may be called twice, and never raises."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(seconds)

    def _run(self) -> None:
        while (turn := self._next()) is not None:
            call, answer = turn
            try:
                result = call()
            except Exception as error:  # Vendors raise what they like.
                self._fail(error, answer)
            else:
                if answer is not None:
                    answer.set_result(result)
            with self._changed:
                self._since_s = None

    def _next(self) -> tuple[Callable[[], object], "Future[Any] | None"] | None:
        with self._changed:
            while not (self._stop or self._asked or self._command):
                if self._is_closed:
                    return None
                self._changed.wait()
            while self._stop is None and self._asked:
                call, answer = self._asked.popleft()
                if answer.set_running_or_notify_cancel():
                    return call, answer
            if self._stop is not None:
                call, self._stop = self._stop, None
            elif self._command is not None:
                call, self._command = self._command, None
            else:
                return (lambda: None), None
            self._since_s = time.monotonic()
            return call, None

    def _fail(self, error: Exception, answer: "Future[Any] | None") -> None:
        if answer is not None:
            answer.set_exception(error)
            return
        with self._changed:
            self._failure = self._failure or _words(error)


def reach(host: str, port: int, seconds: float = 2.0) -> None:
    """Check that somebody listens at an address, before an SDK waits for it without end.

    Raises:
        HardwareError: Nobody does, or no address was given.
    """
    if not host:
        raise HardwareError("`address` is empty. Give the arm's, such as 192.168.1.10.")
    try:
        socket.create_connection((host, port), seconds).close()
    except OSError as error:
        raise HardwareError(
            f"No controller answers at {host}:{port}: {error}. Is it on, the cable in, and the "
            "address right?"
        ) from error


def wait_until(is_so: Callable[[], bool], seconds: float) -> bool:
    """Return whether something came to be so within a time [s]."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def said_of(state: ArmState) -> str:
    """Return why an arm in this state is not started."""
    reasons = [fault.message for fault in state.faults] or ["acknowledge the stop first"]
    return f"The controller is in the mode '{state.mode}': {'; '.join(reasons)}."


def _failed(doing: str, error: BaseException) -> HardwareError:
    return HardwareError(f"{doing} failed: {_words(error)}")


def _words(error: BaseException) -> str:
    """Return what an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
