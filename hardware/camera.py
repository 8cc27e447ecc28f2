"""A camera that is read in the background: what LeRobot's cameras promise, kept once for all.

A driver is a `CameraSource`, which opens a device, waits for its next picture, and closes it.
`Camera` does so in a thread of its own, since many SDKs and OpenGL want one thread throughout, and
hands out pictures. A picture that equals the last one bit for bit is none: what a sensor sees is
never twice the same, and a driver that hangs repeats itself. So a frozen camera's pictures grow
old, as do those of one that is unplugged.
"""

import atexit
import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, runtime_checkable

import numpy as np

from robopref.errors import HardwareError, MissingExtraError, NotConnected, RoboprefError
from robopref.hardware.driver import CameraInfo, Frame

OPEN_S = 20.0
"""Opening takes no longer [s]; some cameras load their firmware first."""
WARMUP_S = 5.0
"""A first picture comes within this time [s]."""
READ_S = 10.0
"""`read` waits so long at most [s]."""
CLOSE_S = 5.0
"""Closing takes no longer [s]; an SDK that hangs is left behind."""
WAIT_S = 0.2
"""A source waits so long for a picture before it looks whether it should end [s]."""
NICE = 5
"""What draws or encodes pictures stands back behind what commands an arm."""


@runtime_checkable
class CameraSource(Protocol):
    """A device, used by one thread from `open` to `close`."""

    def open(self) -> CameraInfo:
        """Open the device.

        Raises:
            HardwareError: It cannot be opened; the message says what to do.
        """
        ...

    def grab(self) -> Frame | None:
        """Wait for the next picture, at most about `WAIT_S`; None where none came.

        Raises:
            HardwareError: None will come any more.
        """
        ...

    def close(self) -> None:
        """Let go of the device."""
        ...


class Camera:
    """A camera, read in the background. Use with `with`, or `connect` and `disconnect`.

    Args:
        source: The device.
        name: What it is called in messages.
        is_exact: Whether equal pictures are new ones, as from a file or a drawing without noise.
    """

    def __init__(self, source: CameraSource, name: str, *, is_exact: bool = False) -> None:
        self.name = name
        self._source, self._is_exact = source, is_exact
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._changed = threading.Condition()
        self._info: CameraInfo | None = None
        self._frame: Frame | None = None
        self._num_frames = self._num_returned = self._num_equal = 0
        self._failure: Exception | None = None

    def info(self) -> CameraInfo:
        """Return what is known of it."""
        if self._info is None:
            raise NotConnected(f"Camera '{self.name}' is not connected. Call connect() first.")
        return self._info

    @property
    def is_connected(self) -> bool:
        """Whether it is open."""
        return self._info is not None

    def __enter__(self) -> "Camera":
        """Connect, and return it."""
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect."""
        self.disconnect()

    def connect(self, warmup: bool = True) -> None:
        """Open the camera and, with `warmup`, wait for its first picture."""
        if self._info is not None:
            return
        self._ending = threading.Event()
        self._frame, self._failure = None, None
        self._num_frames = self._num_returned = self._num_equal = 0
        self._thread = threading.Thread(target=self._run, args=(self._ending,), daemon=True)
        self._thread.start()
        try:
            self._wait(lambda: self._info is not None, OPEN_S, "does not open")
            if warmup:
                self._wait(lambda: self._frame is not None, WARMUP_S, "is open and shows nothing")
        except TimeoutError as error:
            self.disconnect()
            raise HardwareError(
                f"{error} Is it used by another program, or its cable loose?"
            ) from (None)
        except RoboprefError:
            self.disconnect()
            raise
        _open.add(self)
        # Last of all registered, so that it runs before the libraries that it draws with end.
        atexit.unregister(close_all)
        atexit.register(close_all)

    def read(self) -> Frame:
        """Return the next new picture, waiting for it."""
        with self._changed:
            self._num_returned = self._num_frames
        return self.async_read(1e3 * READ_S)

    def async_read(self, timeout_ms: float = 200) -> Frame:
        """Return a picture that no call returned before."""
        self._check_connected()
        self._wait(
            lambda: self._num_frames > self._num_returned, timeout_ms / 1e3, "shows nothing new"
        )
        with self._changed:
            self._num_returned = self._num_frames
            assert self._frame is not None
            return self._frame

    def read_latest(self, max_age_ms: float = 500) -> Frame:
        """Return the newest picture at once."""
        self._check_connected()
        with self._changed:
            self._check_failure()
            frame = self._frame
        age_ms = np.inf if frame is None else 1e3 * (time.monotonic() - frame.time_s)
        if frame is None or age_ms > max_age_ms:
            raise TimeoutError(
                f"Camera '{self.name}': its newest picture is {age_ms:.0f} ms old, more than "
                f"{max_age_ms:.0f} ms.{self._describe_silence()}"
            )
        return frame

    def disconnect(self) -> None:
        """Close the camera."""
        self._ending.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSE_S)
        self._info = None

    def _run(self, ending: threading.Event) -> None:
        """Read the source until the end, in the camera's own thread."""
        try:
            info = self._source.open()
            with self._changed:
                self._info = None if ending.is_set() else info
                self._changed.notify_all()
            while not ending.is_set():
                frame = self._source.grab()
                if frame is not None:
                    self._take(frame)
        except Exception as error:  # An SDK raises what it likes; whoever reads is told.
            with self._changed:
                self._failure = error
                self._changed.notify_all()
        finally:
            with contextlib.suppress(Exception):
                self._source.close()

    def _take(self, frame: Frame) -> None:
        with self._changed:
            last = self._frame
            if (
                last is not None
                and not self._is_exact
                and np.array_equal(last.colour, frame.colour)
            ):
                self._num_equal += 1
                return
            self._frame, self._num_equal = frame, 0
            self._num_frames += 1
            self._changed.notify_all()

    def _wait(self, is_so: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait until something is so.

        Raises:
            HardwareError: The camera failed.
            TimeoutError: It is not so in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: is_so() or self._failure is not None, timeout_s)
            self._check_failure()
            if not is_so():
                raise TimeoutError(
                    f"Camera '{self.name}' {what} within {timeout_s:g} s.{self._describe_silence()}"
                )

    def _check_connected(self) -> None:
        with self._changed:
            self._check_failure()
        if self._info is None:
            raise NotConnected(f"Camera '{self.name}' is not connected. Call connect() first.")

    def _check_failure(self) -> None:
        if isinstance(self._failure, MissingExtraError):
            raise self._failure
        if self._failure is not None:
            raise HardwareError(f"Camera '{self.name}': {self._failure}") from self._failure

    def _describe_silence(self) -> str:
        if self._num_equal:
            return f" It is frozen: the last {self._num_equal} pictures are one and the same."
        return ""


def stand_back() -> None:
    """Give this thread less of the processor, where threads can have a share of their own."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


_open: "weakref.WeakSet[Camera]" = weakref.WeakSet()


def close_all() -> None:
    """Close every camera of this process, each by its own thread."""
    for camera in list(_open):
        camera.disconnect()
