"""A person who answers through text: the teacher behind `robopref answer` and `--teacher terminal`.

Nothing here reads a keyboard or opens a window: how to show a query and how to get a line of text
is passed in, so the same teacher serves a terminal, a pipe and a test.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from robopref.preferences.preference import Preference
from robopref.preferences.query import Query
from robopref.preferences.ranking import Ranking


@dataclass(frozen=True)
class Person:
    """How a person is reached.

    Args:
        show: Puts a query before the person.
        ask: Gives the person a line of text and returns the line that comes back; None when the
            person has gone (end of input, Ctrl-C).
        wait: Returns the answer that the person gives elsewhere, once it is there; None if they
            are asked here.
    """

    show: Callable[[Query], None]
    ask: Callable[[str], str | None]
    wait: Callable[[Query], Preference | None] | None = None


class Request(Enum):
    """What a person may want instead of answering."""

    UNDO = "undo"
    QUIT = "quit"


@dataclass(frozen=True)
class TerminalTeacherConfig:
    """A person at the terminal."""

    annotator: str = "person"
    """Name under which the answers are kept."""
    criterion: str = "overall"
    """What is judged, in words."""

    def build(
        self,
        score_steps: Callable[..., np.ndarray] | None = None,
        *,
        spread: float = 1.0,
        rng: np.random.Generator | None = None,
        centre: float = 0.0,
        person: Person | None = None,
    ) -> TerminalTeacher:
        """Build the teacher; all but `person` is there for scripted teachers and left unused.

        Raises:
            ValueError: There is no person.
        """
        if person is None:
            raise ValueError("`person` must be given: the teacher 'terminal' asks someone.")
        return TerminalTeacher(self, person)


class TerminalTeacher:
    """Shows each query to a person and reads the answer."""

    def __init__(self, config: TerminalTeacherConfig, person: Person) -> None:
        self.config = config
        self.person = person

    def answer(self, query: Query) -> Preference | None:
        """Return the person's answer, or None when the person wants to stop."""
        answer = self.reply(query, can_undo=False)
        return answer if isinstance(answer, Preference) else None

    def reply(self, query: Query, *, can_undo: bool = True) -> Preference | Request:
        """Show `query` once and return the answer, or what the person wants instead."""
        self.person.show(query)
        started = time.monotonic()
        question = prompt = reply_prompt(len(query.items), can_undo=can_undo)
        while True:
            text = self.person.ask(prompt)
            parsed = Request.QUIT if text is None else parse_reply(text, len(query.items))
            if parsed is Request.UNDO and not can_undo:
                parsed = None
            if isinstance(parsed, Request):
                return parsed
            if isinstance(parsed, Ranking):
                return self._preference(query, parsed, time.monotonic() - started)
            prompt = f"'{(text or '').strip()}' is no answer. {question}"

    def _preference(self, query: Query, ranking: Ranking, seconds: float) -> Preference:
        return Preference(
            id=str(uuid.uuid4()),
            query=query,
            ranking=ranking,
            annotator=self.config.annotator,
            criterion=self.config.criterion,
            time_s=time.time(),
            response_time_s=seconds,
        )


def reply_prompt(num_items: int, *, can_undo: bool = True) -> str:
    """Return the line that asks for an answer.

    Example:
        >>> reply_prompt(2)
        'Better: 1, 2, = equal, ? cannot tell, s skip, u undo, q quit: '
    """
    better = "1, 2, = equal" if num_items == 2 else "best first, such as 2>1=3; = all equal"
    undo = "u undo, " if can_undo else ""
    return f"Better: {better}, ? cannot tell, s skip, {undo}q quit: "


def parse_reply(text: str, num_items: int) -> Ranking | Request | None:
    """Return what `text` says about `num_items` items, or None if it says nothing.

    Items are counted from 1. Items left out of an ordering are worse than those in it.

    Example:
        >>> parse_reply("2", 2).order
        ((1,), (0,))
        >>> parse_reply("2 > 1=3", 3).order
        ((1,), (0, 2))
        >>> parse_reply("4", 3) is None
        True
    """
    word = "".join(text.split()).lower()
    fixed: dict[str, Ranking | Request] = {
        "=": Ranking.tie(num_items),
        "?": Ranking.incomparable(num_items),
        "s": Ranking.skipped(num_items),
        "u": Request.UNDO,
        "q": Request.QUIT,
    }
    if word in fixed:
        return fixed[word]
    groups = [group.split("=") for group in word.split(">")]
    if not all(item.isascii() and item.isdigit() for group in groups for item in group):
        return None
    order = tuple(tuple(int(item) - 1 for item in group) for group in groups)
    if len(order) == 1 == len(order[0]) and 0 <= order[0][0] < num_items:
        return Ranking.prefer(order[0][0], num_items)
    try:
        return Ranking(num_items, order)
    except ValueError:
        return None
