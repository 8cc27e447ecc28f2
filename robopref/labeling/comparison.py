"""Blind comparison of policies: pairs of episodes that start alike, scores with intervals.

Which policy acted is in the metadata of an episode, and is told to nobody who compares. Scores are
those of Bradley and Terry, by criterion.
"""

import functools
import math
import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from robopref.data.rows import EpisodeRow
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from robopref.labeling.compared import STRATEGY, Judged
from robopref.preferences.bradley_terry import fit_bradley_terry
from robopref.preferences.query import Query
from robopref.seeding import draw_uuid

RECORDERS = ("collect", "evaluate")
"""Names in older episodes that tell which command recorded them, and not who acted."""
WHY = "Two episodes that start alike."

NOTHING_LEFT = (
    "There is nothing more to compare: no two episodes of different policies that start alike were "
    "not compared yet. Whoever runs this server can add some."
)
"""What annotators are told, who are not to know which policies there are."""

Plain = dict[str, Any]
Outcome = tuple[str, str, float]
"""Two policies, and how good the second was found against the first: 1 better, 0.5 equal, 0."""


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
    asked: Iterable[Collection[str]] = (),
) -> list[Query]:
    """Return pairs of whole episodes of different policies that were reset with one seed.

    Args:
        episodes: Where they are recorded.
        num: How many; fewer where there are not so many.
        rng: Draws them, which stands first, and their names.
        policies: Whose episodes; none for all.
        asked: Episodes of the queries asked before; none of their pairs is asked again.

    Raises:
        DataError: No two policies have episodes that start alike.
    """
    starts: dict[tuple[str, int], list[EpisodeRow]] = defaultdict(list)
    for row in episodes.rows:
        name = policy_of(row)
        if name and (not policies or name in policies):
            starts[row.env, row.seed].append(row)
    known = {frozenset(ids) for ids in asked}
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


def compare(judged: Iterable[Judged], policies: Mapping[str, str], *, reveal: bool) -> list[Plain]:
    """Return how policies compare by each criterion.

    Args:
        judged: What was said of episodes; only what is of two different policies counts.
        policies: Policy of each episode, by id.
        reveal: Name them; otherwise they are numbered, in an order that does not tell.
    """
    outcomes: dict[str, Counter[Outcome]] = defaultdict(Counter)
    for each in judged:
        for a, b, prefers_b in each.ranking.pairs():
            first, second = (policies.get(each.episodes[place], "") for place in (a, b))
            if first and second and first != second:
                outcomes[each.criterion][first, second, prefers_b] += 1
    return [
        {
            "criterion": criterion,
            "revealed": reveal,
            **_scores(tuple(sorted(found.items())), reveal),
        }
        for criterion, found in sorted(outcomes.items())
    ]


# Whoever looks again before somebody answered gets the same.
@functools.lru_cache(maxsize=64)
def _scores(outcomes: tuple[tuple[Outcome, int], ...], reveal: bool) -> Plain:
    names = sorted({name for (a, b, _), _ in outcomes for name in (a, b)}, key=_disguise)
    place = {name: i for i, name in enumerate(names)}
    shown = names if reveal else [f"Policy {i + 1}" for i in range(len(names))]
    a = np.array([place[first] for (first, _, _), _ in outcomes])
    b = np.array([place[second] for (_, second, _), _ in outcomes])
    prefers_b = np.array([value for (_, _, value), _ in outcomes])
    count = np.array([num for _, num in outcomes])
    found = fit_bradley_terry(a, b, prefers_b, num_items=len(names), weight=count.astype(float))
    intervals = found.intervals()
    policies = []
    for i, name in enumerate(shown):
        # How good it was found in each comparison: 1 won, 0 lost.
        good = np.concatenate([prefers_b[b == i], 1 - prefers_b[a == i]])
        times = np.concatenate([count[b == i], count[a == i]])
        policies.append(
            {
                "name": name, "score": float(found.score[i]), "low": float(intervals[i, 0]),
                "high": float(intervals[i, 1]), "wins": int(times[good > 0.5].sum()),
                "losses": int(times[good < 0.5].sum()), "ties": int(times[good == 0.5].sum()),
                "comparisons": int(times.sum()),
            }
        )  # fmt: skip
    pairs = []
    two = np.array(list(combinations(range(len(names)), 2)))
    values, bounds = found.differences(two)
    for (i, j), *interval in zip(two.tolist(), values.tolist(), *bounds.T.tolist(), strict=True):
        met = ((a == i) & (b == j)) | ((a == j) & (b == i))
        value, low, high = (x if math.isfinite(x) else None for x in interval)
        pairs.append(
            {"a": shown[i], "b": shown[j], "difference": value, "low": low, "high": high,
             "num": int(count[met].sum())}
        )  # fmt: skip
    return {"policies": policies, "pairs": pairs}


def _disguise(name: str) -> str:
    """Return what to sort policies by, so that their numbers follow neither names nor scores."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def _query(pair: tuple[EpisodeRow, EpisodeRow], rng: np.random.Generator) -> Query:
    first, second = pair if rng.random() < 0.5 else pair[::-1]
    items = tuple(Segment(row.episode_id, 0, row.length) for row in (first, second))
    return Query(draw_uuid(rng), items, STRATEGY, WHY)
