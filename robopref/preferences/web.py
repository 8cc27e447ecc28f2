"""People at a browser as the teacher of a run: who answers, and when, is up to their server.

Nothing here knows of a server: how to wait for an answer is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robopref.preferences.preference import Preference
from robopref.preferences.query import Query
from robopref.preferences.terminal import Person


@dataclass(frozen=True)
class WebTeacherConfig:
    """People at a browser, as many as come."""

    annotator: str | None = None
    """Whose answers are waited for; None for anybody's."""
    criterion: str = "overall"
    """Under which name the answers are kept."""

    def build(
        self,
        score_steps: Callable[..., np.ndarray] | None = None,
        *,
        spread: float = 1.0,
        rng: np.random.Generator | None = None,
        centre: float = 0.0,
        person: Person | None = None,
    ) -> WebTeacher:
        """Build the teacher; all but `person` is there for scripted teachers and left unused.

        Raises:
            ValueError: There is nobody to wait for.
        """
        if person is None or person.wait is None:
            raise ValueError("`person` must be given with `wait`: the teacher 'web' waits for it.")
        return WebTeacher(person.wait)


class WebTeacher:
    """Waits until somebody has answered.

    Args:
        wait: Returns the answer to a query once it is there; None when nobody will come.
    """

    def __init__(self, wait: Callable[[Query], Preference | None]) -> None:
        self._wait = wait

    def answer(self, query: Query) -> Preference | None:
        """Return the answer that somebody gave, which the preference store holds already."""
        return self._wait(query)
