"""The person beside the arm: what they may say at any moment, and how it reaches the program."""

import contextlib
import os
import re
import select
import sys
import termios
import threading
import time
import tty
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from robopref.deploy.page import OperatorPage, Status
from robopref.errors import Unattended
from robopref.hardware.keyboard import Keyboard
from robopref.hardware.teleop import TeleopDevice
from robopref.hardware.teleop import Word as Word  # Said here and by the buttons of devices.

Confirm = Callable[[str], str]
"""Asks a person whether an arm may begin; returns who said so, and nothing if nobody did."""


KEYS = {
    " ": Word.STOP, "p": Word.PAUSE, "g": Word.GO, "\n": Word.GO, "s": Word.SUCCESS,
    "f": Word.FAILURE, "+": Word.FASTER, "-": Word.SLOWER, "t": Word.TAKE,
    "q": Word.QUIT,
}  # fmt: skip
"""One key a word. The largest one stops."""
URGENT = frozenset({Word.STOP, Word.QUIT})
"""What stops the arm at once, in the middle of a step."""
MOST_WORDS = 64
"""Words that wait to be taken, at most; then the oldest are forgotten."""
KEYS_SHOWN = (
    "space stop · p pause · g go · t take over · s success · f failure · + faster · - slower · "
    "q quit"
)
_ARROWS = {"\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left"}
_PRESSED = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|.", re.DOTALL)
"""One key: a sequence that a terminal sends for it, or a letter."""


@runtime_checkable
class Operator(Protocol):
    """Who stands beside the arm."""

    name: str

    @property
    def device(self) -> TeleopDevice:
        """What they steer by."""
        ...

    def words(self) -> Sequence[Word]:
        """Return what was said since the last call, without waiting."""
        ...

    def urgent(self) -> Word | None:
        """Return a word that stops the arm, until `words` returns it; for any thread."""
        ...

    def tell(self, text: str) -> None:
        """Say something to them."""
        ...

    def show(self, status: Status) -> None:
        """Let them see how things are."""
        ...

    def wait_for(self, wanted: frozenset[Word]) -> Word:
        """Wait until they say one of these, and return it."""
        ...


class TerminalOperator:
    """An operator at this terminal; single keys, without Enter. Use with `with`.

    Args:
        name: Who takes responsibility.
        device: What they steer by, and may say words with; None for the keys of this terminal.
        page: A page with the same keys, open as long as this is used; None without.
    """

    def __init__(
        self, name: str, device: TeleopDevice | None = None, page: OperatorPage | None = None
    ) -> None:
        self.name = name
        self.device = Keyboard() if device is None else device
        self.page = page
        self._opened = contextlib.ExitStack()
        self._before: list[Any] | None = None
        self._is_there = True
        self._heard: deque[Word] = deque(maxlen=MOST_WORDS)
        self._hearing = threading.Lock()

    def __enter__(self) -> "TerminalOperator":
        """Reach the device, and read single keys from now on, where the input is a terminal.

        Raises:
            HardwareError: There is no such device, or the page does not start.
        """
        with contextlib.ExitStack() as opened:
            opened.callback(self.device.disconnect)
            self.device.connect()
            if self.page is not None:
                opened.enter_context(self.page)
                self.tell(f"Page       {self.page.url}")
            self._opened = opened.pop_all()
        if sys.stdin.isatty():
            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the terminal back as it was, and let go of the device."""
        self._opened.close()
        if self._before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def words(self) -> Sequence[Word]:
        """Return what was said since the last call, without waiting."""
        with self._hearing:
            self._hear()
            found = list(self._heard)
            self._heard.clear()
        return [*found, Word.QUIT] if self._is_alone else found

    def urgent(self) -> Word | None:
        """Return a word that stops the arm, until `words` returns it; for any thread."""
        with self._hearing:
            self._hear()
            said = next((word for word in self._heard if word in URGENT), None)
        return Word.QUIT if said is None and self._is_alone else said

    @property
    def _is_alone(self) -> bool:
        """Whether the only page was closed, or hidden for long."""
        return self.page is not None and self.page.is_gone and self._before is None

    def _hear(self) -> None:
        """Take what was said since the last call, by whatever means; called with the lock held."""
        said = self.device.words()
        if said and self.device.trouble:
            self.tell(f"  {self.device.trouble}")
        self._heard.extend(said)
        if self.page is not None:
            self._heard.extend(self.page.words())
            for key in self.page.pressed():
                self._steer(key)
        while self._is_there and select.select([sys.stdin], [], [], 0)[0]:
            read = os.read(sys.stdin.fileno(), 256)
            # A terminal that is gone takes the operator with it; without one there was none.
            self._is_there = bool(read)
            if not read and self._before is not None:
                self._heard.append(Word.QUIT)
            keys: list[str] = _PRESSED.findall(read.decode("ascii", "ignore"))
            for key in keys:
                if key in KEYS:
                    self._heard.append(KEYS[key])
                else:
                    self._steer(_ARROWS.get(key, key))

    def tell(self, text: str) -> None:
        """Print it."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        if self.page is not None:
            self.page.tell(text)

    def show(self, status: Status) -> None:
        """Let the page show it."""
        if self.page is not None:
            self.page.show(status)

    def wait_for(self, wanted: frozenset[Word]) -> Word:
        """Wait until they say one of these, and return it; who is not there quits."""
        while self._is_there or self.page is not None:
            for word in self.words():
                if word in wanted or word is Word.QUIT:
                    return word
            time.sleep(0.02)
        return Word.QUIT

    def _steer(self, key: str) -> None:
        if isinstance(self.device, Keyboard):
            self.device.press(key)


def ask_on_terminal(question: str) -> str:
    """Ask the person at this terminal whether the arm may begin; return who said so.

    Raises:
        Unattended: There is no terminal.
    """
    import getpass

    if not sys.stdin.isatty():
        raise Unattended(
            "An arm begins only when a person beside it says so, and there is no terminal to ask "
            "at. Run this in one."
        )
    answer = input(f"{question} Enter begins, q does not: ")
    return "" if answer.strip().lower().startswith("q") else getpass.getuser()


def nobody_is_needed(question: str) -> str:
    """Let a simulated arm begin: nobody has to stand beside it."""
    del question
    return "robopref"
