"""A query: two or more items put before a teacher, all segments or all action candidates."""

from dataclasses import dataclass, field

from robopref.data.segment import Segment

ATTENTION = "attention"
"""Strategy of queries that ask to press a certain key, to see whether the question is read: what is
answered says nothing of the items, and is never a label."""


@dataclass(frozen=True)
class ActionCandidate:
    """An action or action chunk proposed for the observation at `step` of an episode.

    Args:
        episode_id: The episode that holds the observation.
        step: Step of the observation.
        action: The chunk as nested tuples, (Tp, Da).
    """

    episode_id: str
    step: int
    action: tuple[tuple[float, ...], ...]


Item = Segment | ActionCandidate
"""What can be compared."""


@dataclass(frozen=True)
class Query:
    """Items to be compared.

    Args:
        id: UUID of the query.
        items: K >= 2 segments, or K >= 2 action candidates for one observation.
        strategy: What proposed it.
        reason: Why it was chosen, in words for the annotator.

    Raises:
        ValueError: Fewer than two items, items of two kinds, equal items, or candidates for
            different observations.
    """

    id: str
    items: tuple[Item, ...]
    strategy: str = field(default="", compare=False)
    reason: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Check that the items can be compared."""
        if len(self.items) < 2:
            raise ValueError(f"`items` must hold at least 2 items, got {len(self.items)}.")
        if len({type(item) for item in self.items}) != 1:
            raise ValueError("`items` must be all segments or all action candidates.")
        if len(set(self.items)) != len(self.items):
            raise ValueError("`items` must differ from each other; the same item stands twice.")
        places = {(i.episode_id, i.step) for i in self.items if isinstance(i, ActionCandidate)}
        if len(places) > 1:
            raise ValueError("Action candidates of one query must be for the same observation.")
