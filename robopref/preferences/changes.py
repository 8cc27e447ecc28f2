"""Whether what was asked about is still what it was: content hashes of clips, then and now."""

from collections.abc import Callable, Iterable

import sqlalchemy as sa

from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.preferences import records, tables
from robopref.preferences.database import Database
from robopref.preferences.rating import rating_query_of

CutHash = Callable[[Segment], str]


def changed_items(
    database: Database, cut_hash: CutHash, query_ids: Iterable[str]
) -> list[records.ChangedItem]:
    """Return the items of queries whose clips have changed or are gone since they were made."""
    rows = _rows(database, tables.queries, query_ids)
    return _changed((item for row in rows for item in records.stored_items(row)), cut_hash)


def changed_ratings(
    database: Database, cut_hash: CutHash, query_ids: Iterable[str]
) -> list[records.ChangedItem]:
    """Return the same of clips that are to be rated by themselves."""
    items = (
        records.StoredItem(row["id"], rating_query_of(row).item, row["item"]["hash"])
        for row in _rows(database, tables.rating_queries, query_ids)
    )
    return _changed(items, cut_hash)


def _rows(database: Database, table: sa.Table, query_ids: Iterable[str]) -> list[records.Row]:
    statement = sa.select(table).where(table.c.id.in_(list(query_ids))).order_by(table.c.seq)
    with database.reading() as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]


def _changed(items: Iterable[records.StoredItem], cut_hash: CutHash) -> list[records.ChangedItem]:
    changed = []
    for stored in items:
        try:
            same = records.hash_item(stored.item, cut_hash) == stored.hash
            problem = "its content differs from what it was when the query was made"
        except (DataError, LookupError) as error:
            same, problem = False, f"it cannot be cut: {str(error).removesuffix('.')}"
        if not same:
            changed.append(records.ChangedItem(stored.query_id, stored.item, problem))
    return changed
