"""Data sets and preference stores as the tasks of a transfer.

Shapes: N segments.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from robopref.preferences.names import TRANSFERRED
from robopref.preferences.pool import sample_segments
from robopref.preferences.preference import Preference
from robopref.preferences.store import PreferenceStore
from robopref.rewards.transfer import TaskSegments
from robopref.train_reward import load_preferences
from robopref.transfer.tasks import make_task

MOST_SOURCE_SEGMENTS = 1000
"""Of more, some are drawn: alignments compare each segment with each other one."""


@dataclass(frozen=True)
class Place:
    """Where a task is found.

    Args:
        data: The data set.
        db: Store with answers about it; None for none.
        criterion: By what the items were compared.
    """

    data: Path
    db: str | None
    criterion: str = "overall"


@dataclass(frozen=True, eq=False)
class Loaded:
    """A task, and where its segments are.

    Args:
        episodes: The data set.
        segments: The N segments.
        preferences: The answers about them.
        task: The same as arrays.
    """

    episodes: EpisodeStore
    segments: tuple[Segment, ...]
    preferences: tuple[Preference, ...]
    task: TaskSegments

    @property
    def name(self) -> str:
        """The task, for messages."""
        return self.task.name

    @cached_property
    def recorded_returns(self) -> Float[np.ndarray, " N"] | None:
        """The sum of the recorded rewards of each segment; None where there are none."""
        returns = np.array(
            [
                self.episodes.episode(s.episode_id)
                .reward[s.start : s.start + s.length]
                .sum(dtype=np.float64)
                for s in self.segments
            ]
        )
        return returns if np.isfinite(returns).all() and np.ptp(returns) > 0 else None


def load_source(
    place: Place, rng: np.random.Generator, *, most_segments: int = MOST_SOURCE_SEGMENTS
) -> Loaded:
    """Return the segments of a data set that were answered about, all of one length.

    Args:
        place: Where it is.
        rng: Draws the answers, where they are about more segments.
        most_segments: How many segments are taken.

    Raises:
        DataError: There are no answers, they order nothing, or are about segments that changed or
            that differ in length.
        FileNotFoundError: There is no such data set or store.
    """
    episodes = EpisodeStore.open(place.data)
    answers = _answers(place, episodes)
    if not answers:
        raise DataError(
            f"No answer by '{place.criterion}' in '{place.db}' orders two segments of "
            f"'{place.data}': there is nothing to carry over."
        )
    chosen = _draw(answers, most_segments, rng)
    segments = _segments_of(chosen)
    task = make_task(str(place.data), episodes, segments, chosen)
    return Loaded(episodes, segments, tuple(chosen), task)


def load_target(
    place: Place,
    rng: np.random.Generator,
    *,
    num_segments: int,
    length: int | None,
    like: Loaded,
) -> Loaded:
    """Return segments drawn from a data set, with those that people answered about.

    Args:
        place: Where it is.
        rng: Draws the segments.
        num_segments: How many; more only where more were answered about.
        length: Steps of a segment; None for the length in the answers, or else of the source.
        like: The source.

    Raises:
        DataError: No episode is long enough, or answers are about segments that changed or that
            are of another length.
        FileNotFoundError: There is no such data set or store.
    """
    episodes = EpisodeStore.open(place.data)
    answers = _answers(place, episodes)
    answered = _segments_of(answers)
    length = length or (answered or like.segments)[0].length
    others = sorted({segment.length for segment in answered} - {length})
    if others:
        raise DataError(
            f"Answers about '{place.data}' are about segments of {others[0]} steps, and a transfer "
            f"compares segments of one length, here {length}. Leave out --segment-length, or give "
            "a store with answers about such segments."
        )
    lengths = {row.episode_id: row.length for row in episodes.rows}
    drawn = sample_segments(lengths, length, num_segments, rng)
    segments = tuple(dict.fromkeys([*answered, *drawn]))[: max(num_segments, len(answered))]
    task = make_task(str(place.data), episodes, segments, answers)
    return Loaded(episodes, segments, tuple(answers), task)


def _answers(place: Place, episodes: EpisodeStore) -> list[Preference]:
    """Return people's answers that order segments of a data set, unless it has changed since.

    What another transfer made is none of theirs.
    """
    if place.db is None:
        return []
    with PreferenceStore(place.db, create=False) as store:
        if not store.preferences(place.criterion):
            return []
    answers = load_preferences(place.db, episodes, criterion=place.criterion)
    return [a for a in answers if a.segment_pairs() and a.annotator != TRANSFERRED]


def _segments_of(answers: Iterable[Preference]) -> tuple[Segment, ...]:
    pairs = (pair for answer in answers for pair in answer.segment_pairs())
    return tuple(dict.fromkeys(segment for pair in pairs for segment in pair[:2]))


def _draw(answers: list[Preference], limit: int, rng: np.random.Generator) -> list[Preference]:
    """Return answers, in their order, about at most `limit` segments together."""
    seen: set[Segment] = set()
    kept: set[int] = set()
    for place in rng.permutation(len(answers)):
        more = seen.union(_segments_of([answers[place]]))
        if len(more) <= limit:
            seen, kept = more, kept | {int(place)}
    return [answers[place] for place in sorted(kept)]
