"""What a person steers an arm by: a keyboard, a gamepad, a SpaceMouse, a leader arm.

A device says what a policy would say: how far the tool should go in this step, and what the gripper
should do. Its motions reach the arm as a policy's do, through the supervisor. A third party adds a
device with one file and an entry point in the group `robopref.teleoperators`.
"""

import contextlib
import math
import os
import select
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32

from robopref.errors import HardwareError


class Word(StrEnum):
    """What an operator may say, by a key or a button."""

    STOP = "stop"
    PAUSE = "pause"
    GO = "go"
    SUCCESS = "success"
    FAILURE = "failure"
    FASTER = "faster"
    SLOWER = "slower"
    TAKE = "take"
    QUIT = "quit"


@runtime_checkable
class TeleopDevice(Protocol):
    """What a person steers an arm by."""

    has_deadman: bool
    """Whether the arm may move only while a person holds a button of it."""
    shown: str
    """What each of its controls does, for the person."""

    @property
    def is_held(self) -> bool:
        """Whether that button is held now; true where there is none, false if the device is gone.

        May be read from any thread.
        """
        ...

    @property
    def trouble(self) -> str:
        """What is wrong with it; empty where nothing is. It then asks for no motion."""
        ...

    def connect(self) -> None:
        """Reach it.

        Raises:
            HardwareError: It is not there, or may not be read; the message says what to do.
        """
        ...

    def disconnect(self) -> None:
        """Let go of it; may be called twice, and never raises."""
        ...

    def begin(self, grip: float, reach_m: float) -> None:
        """Let a person take over: what was asked before is forgotten.

        Args:
            grip: The gripper's action until they say something else.
            reach_m: How far an action of 1 moves the tool [m].
        """
        ...

    def action(self) -> Float32[np.ndarray, " 4"]:
        """Return the motion along x, y and z of the arm's base and the gripper's, -1 to 1."""
        ...

    def words(self) -> Sequence[Word]:
        """Return what was said by its buttons since the last call, without waiting."""
        ...


class FileDevice(ABC):
    """A device that the kernel offers as a file, read by a thread of its own.

    A file that ends or fails is a device that was unplugged: nothing is held any more, no motion is
    asked for, and a stop is said.

    Args:
        name: What it is, for messages.
        size: Bytes that are read at once; reports that come one a read are not longer.
    """

    has_deadman = False

    def __init__(self, name: str, size: int) -> None:
        self.name, self._size = name, size
        self._lock = threading.Lock()
        self._words: deque[Word] = deque(maxlen=16)
        self._trouble = ""
        self._descriptor: int | None = None
        self._wake: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None

    @abstractmethod
    def find(self) -> Path:
        """Return the file of the device.

        Raises:
            HardwareError: There is none.
        """

    @abstractmethod
    def take(self, read: bytes) -> None:
        """Take what was read; called by the thread, with the lock held."""

    @abstractmethod
    def forget(self) -> None:
        """Forget what is held and moved; called with the lock held."""

    def opened(self, descriptor: int) -> None:  # noqa: B027 - most need to know nothing.
        """Ask the open file what has to be known of it."""

    @property
    def trouble(self) -> str:
        """What is wrong with it; empty where nothing is."""
        return self._trouble

    def connect(self) -> None:
        """Open its file and begin to read.

        Raises:
            HardwareError: There is no such device, or it may not be read.
        """
        if self._descriptor is not None:
            return
        path = self.find()
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            self.opened(self._descriptor)
        except OSError as error:
            self.disconnect()
            raise HardwareError(
                f"The {self.name} at {path} cannot be read: {error.strerror}. If permission is "
                "missing, see the page on steering for the rule that gives it."
            ) from error
        self._trouble = ""
        self._wake = os.pipe()
        self._thread = threading.Thread(target=self._read, name=self.name, daemon=True)
        self._thread.start()

    def disconnect(self) -> None:
        """Close the file; may be called twice."""
        if self._wake is not None and self._thread is not None:
            os.close(self._wake[1])
            self._thread.join()
            os.close(self._wake[0])
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = self._wake = self._thread = None
        with self._lock:
            self.forget()

    def words(self) -> Sequence[Word]:
        """Return what was said by its buttons since the last call."""
        with self._lock:
            found = list(self._words)
            self._words.clear()
        return found

    def say(self, word: Word) -> None:
        """Keep a word; called with the lock held."""
        self._words.append(word)

    def _read(self) -> None:
        assert self._descriptor is not None
        assert self._wake is not None
        while True:
            ready = select.select([self._descriptor, self._wake[0]], [], [])[0]
            if self._wake[0] in ready:
                return
            try:
                read = os.read(self._descriptor, self._size)
                why = "it was unplugged"
            except BlockingIOError:
                continue
            except OSError as error:
                read, why = b"", str(error.strerror)
            with self._lock:
                if not read:
                    self._trouble = f"The {self.name} is gone: {why}."
                    self.forget()
                    self.say(Word.STOP)
                    return
                self.take(read)


def beyond(value: float, zone: float) -> float:
    """Return a deflection, -1 to 1, without the part around 0 in which a control rests.

    Example:
        >>> beyond(0.1, 0.15), beyond(-1.0, 0.15)
        (0.0, -1.0)
    """
    bounded = min(max(value, -1.0), 1.0)
    return math.copysign(max(abs(bounded) - zone, 0.0) / (1 - zone), value) if bounded else 0.0


def turned(motion: Float[np.ndarray, " 3"], turned_rad: float) -> Float[np.ndarray, " 3"]:
    """Return a person's motion (right, away, up) along the axes of an arm's base.

    Args:
        motion: As the person sees it.
        turned_rad: How far their right is turned from the base's x, counterclockwise [rad].
    """
    right, away, up = motion
    cos, sin = math.cos(turned_rad), math.sin(turned_rad)
    return np.array([cos * right - sin * away, sin * right + cos * away, up])
