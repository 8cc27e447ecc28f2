"""Blind comparison of policies: pairs of episodes that start alike, scores with intervals.

Which policy acted is in the metadata of an episode, and is told to nobody who compares. Scores are
those of Bradley and Terry, by criterion.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from robopref.data.rows import EpisodeRow
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from robopref.preferences.bradley_terry import fit_bradley_terry
from robopref.preferences.preference import Preference
from robopref.preferences.query import Query
from robopref.seeding import draw_uuid

STRATEGY = "policy-comparison"
RECORDERS = ("collect", "evaluate")
"""Names in older episodes that tell which command recorded them, and not who acted."""
WHY = "Two episodes that start alike."

Plain = dict[str, Any]


def policy_of(row: EpisodeRow) -> str:
    """Return which policy acted in an episode; empty where that is not known.

    That is its "policy"; in an episode of `robopref align`, which has none, it is its "name": the
    stage that recorded it, such as evaluation/base, where one policy acted.
    """
    if policy := row.metadata.get("policy"):
        return str(policy)
    name = str(row.metadata.get("name") or "")
    return "" if name in RECORDERS else name


def make_comparisons(
    episodes: EpisodeStore,
    num: int,
    rng: np.random.Generator,
    *,
    policies: Sequence[str] = (),
    asked: Iterable[Query] = (),
) -> list[Query]:
    """Return pairs of whole episodes of different policies that were reset with one seed.

    Args:
        episodes: Where they are recorded.
        num: How many; fewer where there are not so many.
        rng: Draws them, which stands first, and their names.
        policies: Whose episodes; none for all.
        asked: Queries asked before; none of their pairs is asked again.

    Raises:
        DataError: No two policies have episodes that start alike.
    """
    starts: dict[tuple[str, int], list[EpisodeRow]] = defaultdict(list)
    for row in episodes.rows:
        name = policy_of(row)
        if name and (not policies or name in policies):
            starts[row.env, row.seed].append(row)
    known = {frozenset(item.episode_id for item in query.items) for query in asked}
    pairs = [
        (a, b)
        for rows in starts.values()
        for a, b in combinations(rows, 2)
        if policy_of(a) != policy_of(b) and frozenset((a.episode_id, b.episode_id)) not in known
    ]
    if not pairs:
        named = sorted({policy_of(row) for row in episodes.rows} - {""})
        raise DataError(
            f"'{episodes.root}' has no two episodes of different policies that start alike and "
            f"were not compared yet. Policies: {named}. Record more with equal --seed, each policy "
            "under a --name of its own, and bring them together with: robopref data merge."
        )
    chosen = [pairs[i] for i in rng.permutation(len(pairs))[:num]]
    return [_query(pair, rng) for pair in chosen]


def compare(
    preferences: Iterable[Preference], policies: Mapping[str, str], *, reveal: bool
) -> list[Plain]:
    """Return how policies compare by each criterion.

    Args:
        preferences: Answers; only those to pairs of different policies' episodes count.
        policies: Policy of each episode, by id.
        reveal: Name them; otherwise they are numbered, in an order that does not tell.
    """
    by_criterion: dict[str, list[tuple[str, str, float]]] = defaultdict(list)
    for preference in preferences:
        if preference.query.strategy != STRATEGY:
            continue
        for a, b, prefers_b in preference.segment_pairs():
            first, second = policies.get(a.episode_id, ""), policies.get(b.episode_id, "")
            if first and second and first != second:
                by_criterion[preference.criterion].append((first, second, prefers_b))
    return [
        {"criterion": criterion, "revealed": reveal, **_scores(rows, reveal=reveal)}
        for criterion, rows in sorted(by_criterion.items())
    ]


def _scores(rows: Sequence[tuple[str, str, float]], *, reveal: bool) -> Plain:
    names = sorted({name for a, b, _ in rows for name in (a, b)}, key=_disguise)
    place = {name: i for i, name in enumerate(names)}
    shown = names if reveal else [f"Policy {i + 1}" for i in range(len(names))]
    a = np.array([place[first] for first, _, _ in rows])
    b = np.array([place[second] for _, second, _ in rows])
    prefers_b = np.array([row[2] for row in rows])
    found = fit_bradley_terry(a, b, prefers_b, num_items=len(names))
    intervals = found.intervals()
    policies = []
    for i, name in enumerate(shown):
        # How good it was found in each comparison: 1 won, 0 lost.
        good = np.concatenate([prefers_b[b == i], 1 - prefers_b[a == i]])
        policies.append(
            {
                "name": name, "score": float(found.score[i]), "low": float(intervals[i, 0]),
                "high": float(intervals[i, 1]), "wins": int((good > 0.5).sum()),
                "losses": int((good < 0.5).sum()), "ties": int((good == 0.5).sum()),
                "comparisons": len(good),
            }
        )  # fmt: skip
    pairs = []
    for i, j in combinations(range(len(names)), 2):
        value, low, high = found.difference(i, j)
        num = int((((a == i) & (b == j)) | ((a == j) & (b == i))).sum())
        pairs.append(
            {"a": shown[i], "b": shown[j], "difference": value, "low": low, "high": high,
             "num": num}
        )  # fmt: skip
    return {"policies": policies, "pairs": pairs}


def _disguise(name: str) -> str:
    """Return what to sort policies by, so that their numbers follow neither names nor scores."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def _query(pair: tuple[EpisodeRow, EpisodeRow], rng: np.random.Generator) -> Query:
    first, second = pair if rng.random() < 0.5 else pair[::-1]
    items = tuple(Segment(row.episode_id, 0, row.length) for row in (first, second))
    return Query(draw_uuid(rng), items, STRATEGY, WHY)
