"""The answer to a query: an ordering with ties, or one of two ways not to order.

A ranking names its winners: `order=((2,), (0, 1))` says that item 2 is best and that 0 and 1 tie.
"""

from dataclasses import dataclass
from enum import StrEnum


class Answer(StrEnum):
    """What kind of answer was given."""

    RANKED = "ranked"
    INCOMPARABLE = "incomparable"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Ranking:
    """An ordering of a query's items, best group first.

    Items left out of `order` are an unranked tail: worse than every ranked item, and not compared
    with one another. Incomparable and skipped answers have no order and never reach a loss.
    Inside a group the items are kept sorted, so that equal rankings compare equal.

    Args:
        num_items: K, the number of items of the query.
        order: Groups of item indices; inside a group the items tie.
        answer: Ranked, incomparable or skipped.

    Raises:
        ValueError: An index is out of range or stands twice, or the order does not go with the
            kind of answer.

    Example:
        >>> Ranking(3, ((2,), (0, 1))).pairs()
        [(0, 1, 0.5), (0, 2, 1.0), (1, 2, 1.0)]
        >>> Ranking.prefer(0).pairs()
        [(0, 1, 0.0)]
    """

    num_items: int
    order: tuple[tuple[int, ...], ...] = ()
    answer: Answer = Answer.RANKED

    def __post_init__(self) -> None:
        """Check that the order is one."""
        if self.num_items < 2:
            raise ValueError(f"`num_items` must be at least 2, got {self.num_items}.")
        flat = [item for group in self.order for item in group]
        if any(not group for group in self.order):
            raise ValueError("`order` must not hold an empty group.")
        if len(set(flat)) != len(flat) or not set(flat) <= set(range(self.num_items)):
            raise ValueError(
                f"`order` must name each of the items 0 to {self.num_items - 1} at most once, "
                f"got {self.order}."
            )
        if (self.answer is Answer.RANKED) != bool(self.order):
            raise ValueError(f"An answer '{self.answer}' does not go with order {self.order}.")
        object.__setattr__(self, "order", tuple(tuple(sorted(group)) for group in self.order))

    @classmethod
    def prefer(cls, winner: int, num_items: int = 2) -> "Ranking":
        """Return the ranking in which `winner` is best and the others are not compared."""
        if num_items == 2:
            return cls(2, ((winner,), (1 - winner,)))
        return cls(num_items, ((winner,),))

    @classmethod
    def tie(cls, num_items: int = 2) -> "Ranking":
        """Return the ranking in which all items are judged equal."""
        return cls(num_items, (tuple(range(num_items)),))

    @classmethod
    def incomparable(cls, num_items: int = 2) -> "Ranking":
        """Return the answer "cannot tell"."""
        return cls(num_items, answer=Answer.INCOMPARABLE)

    @classmethod
    def skipped(cls, num_items: int = 2) -> "Ranking":
        """Return the answer of who passed the query on."""
        return cls(num_items, answer=Answer.SKIPPED)

    @property
    def num_labels(self) -> int:
        """How many labels this answer counts: K - 1, or none if nothing was ordered."""
        return self.num_items - 1 if self.answer is Answer.RANKED else 0

    def pairs(self) -> list[tuple[int, int, float]]:
        """Return (a, b, prefers_b) with a < b for every pair that the ranking decides."""
        if self.answer is not Answer.RANKED:
            return []
        level = {item: rank for rank, group in enumerate(self.order) for item in group}
        tail = len(self.order)
        pairs = []
        for a in range(self.num_items):
            for b in range(a + 1, self.num_items):
                rank_a, rank_b = level.get(a, tail), level.get(b, tail)
                if rank_a == rank_b == tail:
                    continue
                pairs.append((a, b, 0.5 if rank_a == rank_b else float(rank_b < rank_a)))
        return pairs
