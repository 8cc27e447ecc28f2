"""What a fine-tuning method may learn from; each method takes what it needs of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.errors import DataError, check_between
from robopref.preferences.preference import Preference


@dataclass(frozen=True)
class JudgedPair:
    """Two segments, and how likely the second is preferred: 0.5 where they were judged equal."""

    first: Segment
    second: Segment
    prefers_second: float

    def __post_init__(self) -> None:
        """Check the range."""
        check_between("prefers_second", self.prefers_second, 0, 1)


@dataclass(frozen=True, eq=False)
class FinetuneData:
    """Episodes and answers, from which each method takes what it needs.

    Args:
        chosen: Episodes to imitate, such as the best of those recorded with best-of-N.
        weights: How much each chosen episode counts; all the same by default.
        judged: Episodes that the pairs are of.
        pairs: What was judged.
        demonstrations: Episodes that the base policy was cloned from.
    """

    chosen: Sequence[Episode] = ()
    weights: Sequence[float] | None = None
    judged: Sequence[Episode] = ()
    pairs: Sequence[JudgedPair] = ()
    demonstrations: Sequence[Episode] = ()

    def __post_init__(self) -> None:
        """Check that every pair is of the judged episodes.

        Raises:
            DataError: An episode is missing.
        """
        known = {episode.id for episode in self.judged}
        for pair in self.pairs:
            for segment in (pair.first, pair.second):
                if segment.episode_id not in known:
                    raise DataError(
                        f"A pair is of episode {segment.episode_id}, which is not among the "
                        f"{len(known)} judged episodes."
                    )


def judged_pairs(
    preferences: Iterable[Preference], episode: Callable[[str], Episode]
) -> tuple[list[Episode], list[JudgedPair]]:
    """Return the episodes that answers are about, and the pairs that the answers order.

    Args:
        preferences: The answers; skipped and incomparable ones give no pair.
        episode: Returns an episode by its id.
    """
    pairs = [
        JudgedPair(_segment(preference, a), _segment(preference, b), prefers_b)
        for preference in preferences
        if all(isinstance(item, Segment) for item in preference.query.items)
        for a, b, prefers_b in preference.ranking.pairs()
    ]
    ids = dict.fromkeys(s.episode_id for pair in pairs for s in (pair.first, pair.second))
    return [episode(key) for key in ids], pairs


def _segment(preference: Preference, place: int) -> Segment:
    item = preference.query.items[place]
    assert isinstance(item, Segment)
    return item
