"""The person beside the arm: what they may say at any moment, and how it reaches the program."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Sequence
from enum import StrEnum
from types import TracebackType
from typing import Any, Protocol, runtime_checkable


class Word(StrEnum):
    """What an operator may say."""

    STOP = "stop"
    PAUSE = "pause"
    GO = "go"
    SUCCESS = "success"
    FAILURE = "failure"
    FASTER = "faster"
    SLOWER = "slower"
    QUIT = "quit"


KEYS = {
    " ": Word.STOP, "p": Word.PAUSE, "g": Word.GO, "\n": Word.GO, "s": Word.SUCCESS,
    "f": Word.FAILURE, "+": Word.FASTER, "-": Word.SLOWER, "q": Word.QUIT,
}  # fmt: skip
"""One key a word. The largest one stops."""
KEYS_SHOWN = "space stop · p pause · g go · s success · f failure · + faster · - slower · q quit"


@runtime_checkable
class Operator(Protocol):
    """Who stands beside the arm."""

    name: str

    def words(self) -> Sequence[Word]:
        """Return what was said since the last call, without waiting."""
        ...

    def tell(self, text: str) -> None:
        """Say something to them."""
        ...

    def wait_for(self, wanted: frozenset[Word]) -> Word:
        """Wait until they say one of these, and return it."""
        ...


class TerminalOperator:
    """An operator at this terminal; single keys, without Enter. Use with `with`.

    Args:
        name: Who takes responsibility.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._before: list[Any] | None = None
        self._is_there = True

    def __enter__(self) -> "TerminalOperator":
        """Read single keys from now on, where the input is a terminal."""
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
        """Give the terminal back as it was."""
        if self._before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def words(self) -> Sequence[Word]:
        """Return what was said since the last call, without waiting."""
        found: list[Word] = []
        while self._is_there and select.select([sys.stdin], [], [], 0)[0]:
            read = os.read(sys.stdin.fileno(), 1)
            # A terminal that is gone takes the operator with it; without one there was none.
            self._is_there = bool(read)
            if not read and self._before is not None:
                return [*found, Word.QUIT]
            key = read.decode("ascii", "ignore")
            if key in KEYS:
                found.append(KEYS[key])
        return found

    def tell(self, text: str) -> None:
        """Print it."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def wait_for(self, wanted: frozenset[Word]) -> Word:
        """Wait until they say one of these, and return it; who is not there quits."""
        while self._is_there:
            for word in self.words():
                if word in wanted or word is Word.QUIT:
                    return word
            time.sleep(0.02)
        return Word.QUIT
