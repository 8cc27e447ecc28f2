"""From the button that a person holds to the supervisor, which holds the arm without it."""

import threading
import time
from types import TracebackType
from typing import Protocol, runtime_checkable

from robopref.hardware.teleop import TeleopDevice

LOOK_S = 0.01
"""How often the button is looked at [s]."""
REPEAT_S = 0.1
"""How often what was said is said again: an arm that is armed anew has not heard it [s]."""


@runtime_checkable
class Guarded(Protocol):
    """What moves only while it is told that a person holds the button."""

    def set_deadman(self, *, held: bool) -> None:
        """Say whether they do."""
        ...


class Deadman:
    """Tells an environment, many times a step, whether the button is held. Use with `with`.

    While nobody steers the arm moves on the word of the operator, and nothing has to be held.

    Args:
        env: Whose arm it is.
        device: What has the button, if it has one.
    """

    def __init__(self, env: Guarded, device: TeleopDevice) -> None:
        self._env, self._device = env, device
        self.is_by_hand = False
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Deadman":
        """Begin to tell, where the device has such a button."""
        self.is_by_hand = False
        if self._device.has_deadman:
            self._is_over.clear()
            self._env.set_deadman(held=True)
            self._thread = threading.Thread(target=self._run, name="deadman", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let it go, and end."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._env.set_deadman(held=False)

    def _run(self) -> None:
        told, told_s = True, time.monotonic()
        while not self._is_over.wait(LOOK_S):
            held, now = self._device.is_held or not self.is_by_hand, time.monotonic()
            if held != told or now - told_s > REPEAT_S:
                self._env.set_deadman(held=held)
                told, told_s = held, now
