"""Asking within a budget of labels, counted as design and papers count them.

A label is one answered comparison of two items: an ordered query of K items costs K - 1, a tie as
much as a decision. Skips and "cannot tell" cost nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from robopref.errors import check_at_least
from robopref.preferences.preference import Preference
from robopref.preferences.query import Query
from robopref.preferences.teachers import Teacher

logger = logging.getLogger(__name__)


class BudgetedTeacher:
    """A teacher who stops when the budget is used.

    Args:
        teacher: Who answers.
        budget: Labels that may be asked for.
        num_labels: Labels used before, by the run that is resumed.

    Raises:
        ValueError: `budget` or `num_labels` is negative.
    """

    def __init__(self, teacher: Teacher, budget: int, *, num_labels: int = 0) -> None:
        check_at_least("budget", budget, 0)
        check_at_least("num_labels", num_labels, 0)
        self.teacher = teacher
        self.budget = budget
        self.num_labels = num_labels
        self.num_unanswered = 0

    @property
    def remaining(self) -> int:
        """Labels that are left."""
        return max(0, self.budget - self.num_labels)

    def answer(self, query: Query) -> Preference | None:
        """Return the answer; None when the teacher stops or the query costs more than is left."""
        if len(query.items) - 1 > self.remaining:
            return None
        preference = self.teacher.answer(query)
        if preference is not None:
            self.num_labels += preference.ranking.num_labels
            self.num_unanswered += preference.ranking.num_labels == 0
        return preference


def ask_until(
    teacher: Teacher,
    queries: Iterable[Query],
    budget: int,
    *,
    num_labels: int = 0,
    keep: Callable[[Preference], object] | None = None,
) -> list[Preference]:
    """Ask queries in turn until `budget` labels are there, the queries end, or the teacher stops.

    Args:
        teacher: Who answers.
        queries: What to ask; may be endless, and only as many as needed are taken.
        budget: Labels wanted in all.
        num_labels: Labels that are there already.
        keep: Called with each answer at once, such as `PreferenceStore.answer`.

    Returns:
        The answers, skips included.

    Raises:
        ValueError: `budget` or `num_labels` is negative.
    """
    budgeted = BudgetedTeacher(teacher, budget, num_labels=num_labels)
    answers: list[Preference] = []
    queue = iter(queries)
    while budgeted.remaining and (query := next(queue, None)) is not None:
        preference = budgeted.answer(query)
        if preference is None:
            break
        if keep is not None:
            keep(preference)
        answers.append(preference)
    if budgeted.remaining:
        logger.warning(
            "Asked %d queries and got %d of %d labels; %d were skipped or could not be told.",
            len(answers), budgeted.num_labels, budget, budgeted.num_unanswered,
        )  # fmt: skip
    return answers
