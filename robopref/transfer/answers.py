"""What a transfer leaves behind: soft answers that every reward trains on, and queries to ask."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from robopref.data.folders import is_free
from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.preferences.names import TRANSFERRED
from robopref.preferences.pool import pair_codes
from robopref.preferences.preference import Preference
from robopref.preferences.query import Query
from robopref.preferences.ranking import Ranking
from robopref.preferences.store import PreferenceStore
from robopref.rewards.shared_features import SharedFeaturesConfig
from robopref.rewards.transfer import TaskSegments, Transferred, have_features
from robopref.seeding import derive_uuid, make_rng
from robopref.transfer.workflow import Outcome


def make_answers(
    outcome: Outcome, num_pairs: int, *, least_confidence: float, criterion: str, seed: int
) -> list[Preference]:
    """Return transferred preferences as answers with their confidence.

    Args:
        outcome: What was transferred.
        num_pairs: How many answers; fewer where there are not so many.
        least_confidence: Leaves out pairs whose more probable order is less probable.
        criterion: By what they are answers.
        seed: Decides which pairs.

    Raises:
        DataError: No pair is confident enough.
    """
    rng = make_rng(seed, "transfer", "pairs")
    a, b, prefers_b = outcome.transferred.pairs(num_pairs, rng, least_confidence=least_confidence)
    segments, now = outcome.target.segments, time.time()
    answers = []
    for place, (first, second, p) in enumerate(zip(a, b, prefers_b, strict=True)):
        query = Query(
            derive_uuid(seed, "transfer", "query", outcome.target.name, place),
            (segments[first], segments[second]),
            TRANSFERRED,
            f"carried over by {outcome.method}",
        )
        answers.append(
            Preference(
                id=derive_uuid(seed, "transfer", "answer", outcome.target.name, place),
                query=query,
                ranking=Ranking.tie() if p == 0.5 else Ranking.prefer(int(p > 0.5)),
                annotator=TRANSFERRED,
                criterion=criterion,
                time_s=now,
                # Rounding may leave a probability of 1 a little above it.
                confidence=float(min(max(p, 1 - p), 1.0)),
            )
        )
    return answers


def write_answers(path: Path, outcome: Outcome, answers: list[Preference]) -> int:
    """Write a new store with transferred answers and those that people gave; return how many."""
    episodes = outcome.target.episodes
    context = {
        "data": str(episodes.root), "method": outcome.method,
        "sources": [source.name for source in outcome.sources],
        "verdict": outcome.verdict.level,
    }  # fmt: skip
    with PreferenceStore(path) as store:
        return store.answer_all(
            [*outcome.target.preferences, *answers],
            cut_hash=episodes.content_hash,
            context=context,
        )


def choose_queries(method: Any, outcome: Outcome, num: int, *, seed: int) -> list[Query]:
    """Return the queries whose answers about the target would tell most.

    Args:
        method: The method; one that cannot say what to ask leaves it to shared-features, or where
            the tasks have no features to its votes, which contradict each other most about them.
        outcome: What it found.
        num: How many; fewer where there are not so many.
        seed: Decides which segment of a pair is shown first.
    """
    tasks, target = [source.task for source in outcome.sources], outcome.target.task
    if hasattr(method, "choose_queries"):
        pairs = method.choose_queries(tasks, target, num)
    elif have_features([*tasks, target]):
        pairs = SharedFeaturesConfig().build().choose_queries(tasks, target, num)
    else:
        pairs = disputed_pairs(outcome.transferred, target, num)
    segments = outcome.target.segments
    return [_query(seed, segments[a], segments[b]) for a, b in pairs]


def disputed_pairs(
    transferred: Transferred, target: TaskSegments, num: int
) -> Int[np.ndarray, "num 2"]:
    """Return the pairs on which the votes differ most, of those that were not asked about."""
    a, b = np.triu_indices(len(target), 1)
    every, asked = np.stack([a, b], axis=1), np.stack([target.a, target.b], axis=1)
    free = ~np.isin(pair_codes(every, len(target)), pair_codes(asked, len(target)))
    spread = np.where(free, transferred.votes[:, a, b].std(axis=0), -1.0)
    most = np.argsort(-spread, kind="stable")[: min(num, int(free.sum()))]
    chosen: np.ndarray = every[most]
    return chosen


def _query(seed: int, first: Segment, second: Segment) -> Query:
    """Return what asks for two segments: the same whenever, and in whatever order, they come."""
    items = sorted((first, second), key=lambda s: (s.episode_id, s.start, s.length))
    words = [str(part) for s in items for part in (s.episode_id, s.start, s.length)]
    # Which of the two is shown first must not tell anything.
    if make_rng(seed, "transfer", "sides", *words).random() < 0.5:
        items.reverse()
    return Query(
        derive_uuid(seed, "transfer", "ask", *words),
        (items[0], items[1]),
        "transfer",
        "Its answer tells most about how the target differs from the source.",
    )


def check_is_free(path: Path) -> None:
    """Check that a folder can be made here.

    Raises:
        DataError: Something is there.
    """
    if not is_free(path):
        raise DataError(
            f"'{path}' is there already, and nothing in it is written over. Choose another folder "
            "with --out, or delete it."
        )
