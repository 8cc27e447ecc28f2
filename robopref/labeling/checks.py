"""Queries that check the annotator: the same once more, and one that says which key to press."""

import numpy as np
import sqlalchemy as sa

from robopref.labeling.config import LabelConfig
from robopref.labeling.queue import REPEAT, insert_entry
from robopref.preferences import tables
from robopref.preferences.query import ATTENTION
from robopref.preferences.records import SEGMENTS
from robopref.seeding import draw_uuid

INSTRUCTION = "To check that the question is read: press ↓ (cannot tell), whatever the clips show."
FEWEST_BETWEEN = 3
"""Answers between a query and its repetition at least, so that it is not simply recalled."""
LAST = 60
"""How many answers are looked back for one to repeat."""

queries, preferences = tables.queries, tables.preferences


def is_due(num_answered: int, every: int) -> bool:
    """Return whether it is time for a check that comes once in `every` answers.

    Example:
        >>> [n for n in range(8) if is_due(n, 4)]
        [3, 7]
    """
    return every > 0 and num_answered % every == every - 1


def make_due(
    connection: sa.Connection,
    config: LabelConfig,
    annotator: str,
    criterion: str,
    num_answered: int,
    rng: np.random.Generator,
) -> bool:
    """Queue the check for an annotator that is due; return whether one was."""
    if is_due(num_answered, config.attention_every):
        return _make(connection, annotator, criterion, rng, attention=True)
    if is_due(num_answered, config.repeat_every):
        return _make(connection, annotator, criterion, rng, attention=False)
    return False


def _make(
    connection: sa.Connection,
    annotator: str,
    criterion: str,
    rng: np.random.Generator,
    *,
    attention: bool,
) -> bool:
    """Queue a copy of a pair that this annotator has ordered, the items turned around."""
    statement = (
        sa.select(queries)
        .join(preferences, preferences.c.query_id == queries.c.id)
        .where(
            preferences.c.annotator == annotator, preferences.c.criterion == criterion,
            preferences.c.answer == "ranked", ~preferences.c.undone,
            queries.c.kind == SEGMENTS, queries.c.num_items == 2,
            queries.c.strategy.not_in([REPEAT, ATTENTION]),
        )
        .order_by(preferences.c.seq.desc())
        .limit(LAST)
    )  # fmt: skip
    found = list(connection.execute(statement).mappings())[FEWEST_BETWEEN:]
    if not found:
        return False
    chosen = dict(found[int(rng.integers(len(found)))])
    del chosen["seq"]
    role = ATTENTION if attention else REPEAT
    row = chosen | {
        "id": draw_uuid(rng),
        "items": chosen["items"][::-1],
        "strategy": role,
        "reason": INSTRUCTION if attention else chosen["reason"],
        "context": {**chosen["context"], f"{role}_of": chosen["id"]},
    }
    connection.execute(queries.insert(), row)
    insert_entry(
        connection, query_id=row["id"], criterion=criterion, kind="pair", role=role,
        annotator=annotator, why=row["reason"],
        expected={"answer": "incomparable", "order": []} if attention else None,
    )  # fmt: skip
    return True
