"""What cannot wait for the end of a step: a stop that was said, and a button that was let go.

At a tenth of the speed a step takes most of a second, and a policy may think for longer.
"""

import contextlib
import threading
import time
from types import TracebackType
from typing import Protocol, runtime_checkable

from robopref.deploy.operator import Operator
from robopref.errors import HardwareError

LOOK_S = 0.01
"""How often it is looked whether there is something to pass on [s]."""
REPEAT_S = 0.1
"""How often what was said is said again: an arm that is armed anew has not heard it [s]."""


@runtime_checkable
class Guarded(Protocol):
    """What moves only while it is told that a person holds the button, and can be stopped."""

    def set_deadman(self, *, held: bool) -> None:
        """Say whether they hold it; may be called from any thread."""
        ...

    def stop(self, reason: str) -> None:
        """Stop the arm; may be called from any thread."""
        ...


class Attention:
    """Passes on to an environment, many times a step, what its operator says. Use with `with`.

    An arm whose operator has said stop, or that they quit, is stopped at once, and again as often
    as it is armed until that word was taken. While nobody steers it moves on the word of the
    operator, and no button has to be held.

    Args:
        env: Whose arm it is.
        operator: Who may say stop; their device may have the button.
    """

    def __init__(self, env: Guarded, operator: Operator) -> None:
        self._env, self._operator = env, operator
        self.is_by_hand = False
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Attention":
        """Begin."""
        self.is_by_hand = False
        self._is_over.clear()
        if self._operator.device.has_deadman:
            self._env.set_deadman(held=True)
        self._thread = threading.Thread(target=self._run, name="attention", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End; a button counts as let go."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._operator.device.has_deadman:
            self._env.set_deadman(held=False)

    def _run(self) -> None:
        device = self._operator.device
        told, told_s = True, time.monotonic()
        while not self._is_over.wait(LOOK_S):
            word = self._operator.urgent()
            if word is not None:
                # An arm that cannot be reached is found so by whoever waits for its step, too.
                with contextlib.suppress(HardwareError):
                    self._env.stop(f"{self._operator.name} said {word}")
            held, now = device.is_held or not self.is_by_hand, time.monotonic()
            if device.has_deadman and (held != told or now - told_s > REPEAT_S):
                self._env.set_deadman(held=held)
                told, told_s = held, now
