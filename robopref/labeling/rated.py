"""How far annotators agree who rated the same clips, and where they contradict each other.

Verdicts are classes without an order; "cannot tell" and skips are none.
"""

from collections import defaultdict
from typing import Any

import numpy as np
import sqlalchemy as sa

from robopref.labeling.recent import IN_ONE
from robopref.preferences import tables
from robopref.preferences.agreement import Agreement, cohen_kappa, krippendorff_alpha
from robopref.preferences.database import Database
from robopref.preferences.details import tags_of
from robopref.preferences.rating import Verdict

ratings, rating_queries = tables.ratings, tables.rating_queries
decisions = tables.rating_adjudications

NOTHING = (str(Verdict.CANNOT_TELL), str(Verdict.SKIPPED))
FAR = 4
"""Marks differ that are more than this part of the clip apart: a fourth. Nobody sets one exactly
where another does."""

Plain = dict[str, Any]


def measure_rating_agreement(
    database: Database, criterion: str, limit: int
) -> tuple[Agreement, int]:
    """Return how far annotators agree, and of how many ratings that is said: the last ones.

    Args:
        database: Of the preference store.
        criterion: By what was judged.
        limit: How many ratings are looked at.
    """
    newest = (
        sa.select(ratings.c.annotator, ratings.c.query_id, ratings.c.rating)
        .where(*_stands(criterion))
        .order_by(ratings.c.seq.desc())
        .limit(limit)
    )
    with database.reading() as connection:
        rows = connection.execute(newest).all()
    names = sorted({row.annotator for row in rows})
    place = {query_id: k for k, query_id in enumerate({row.query_id for row in rows})}
    verdicts = {verdict: k for k, verdict in enumerate(Verdict)}
    table = np.full((len(names), len(place)), np.nan)
    for row in rows:
        table[names.index(row.annotator), place[row.query_id]] = verdicts[Verdict(row.rating)]
    kappa = {}
    for i, first in enumerate(names):
        for j in range(i + 1, len(names)):
            both = ~np.isnan(table[i]) & ~np.isnan(table[j])
            if both.any():
                kappa[first, names[j]] = cohen_kappa(*table[[i, j]][:, both].tolist())
    return Agreement(tuple(names), kappa, krippendorff_alpha(table), {}), len(rows)


def find_contradictions(database: Database, criterion: str, limit: int) -> list[Plain]:
    """Return the clips rated differently and not decided, with what was said, the oldest first."""
    differing = _differing(criterion).order_by(sa.func.min(ratings.c.seq)).limit(limit)
    given: dict[str, list[Plain]] = defaultdict(list)
    with database.reading() as connection:
        ids = [row[0] for row in connection.execute(differing)][:IN_ONE]
        rows = connection.execute(
            sa.select(ratings, rating_queries.c["item"])
            .join(rating_queries, rating_queries.c.id == ratings.c.query_id)
            .where(*_stands(criterion), ratings.c.query_id.in_(ids))
            .order_by(ratings.c.seq)
        ).mappings()
        items = {}
        for row in rows:
            items[row["query_id"]] = row["item"]
            given[row["query_id"]].append(
                {key: row[key] for key in ("annotator", "rating", "mark_step", "reason", "time_s")}
                | {"tags": tags_of(row["details"])}
            )
    return [
        {
            "query_id": query_id, "criterion": criterion, "ratings": given[query_id],
            "episode_id": items[query_id]["episode_id"], "start": items[query_id]["start"],
            "length": items[query_id]["length"],
        }
        for query_id in given
    ]  # fmt: skip


def count_contradictions(database: Database, criterion: str) -> int:
    """Return how many clips were rated differently and are not decided."""
    statement = sa.select(sa.func.count()).select_from(_differing(criterion).subquery())
    with database.reading() as connection:
        return int(connection.scalar(statement) or 0)


def _stands(criterion: str) -> tuple[Any, ...]:
    return (
        ratings.c.criterion == criterion, ~ratings.c.undone, ratings.c.rating.not_in(NOTHING),
    )  # fmt: skip


def rated_differently(criterion: str) -> sa.Select[tuple[str]]:
    """Return the selection of clips of which verdicts or marks differ, decided or not."""
    mark = ratings.c.mark_step
    length = sa.func.max(rating_queries.c["item"]["length"].as_integer())
    return (
        sa.select(ratings.c.query_id)
        .join(rating_queries, rating_queries.c.id == ratings.c.query_id)
        .where(*_stands(criterion))
        .group_by(ratings.c.query_id)
        .having(
            sa.or_(
                sa.func.min(ratings.c.rating) != sa.func.max(ratings.c.rating),
                (sa.func.max(mark) - sa.func.min(mark)) * FAR > length,
            )
        )
    )


def _differing(criterion: str) -> sa.Select[tuple[str]]:
    decided = sa.exists().where(
        decisions.c.query_id == ratings.c.query_id, decisions.c.criterion == criterion
    )
    return rated_differently(criterion).where(~decided)
