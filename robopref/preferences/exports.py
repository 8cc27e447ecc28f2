"""The store's content for other programs: JSONL, parquet, and TRL's chosen/rejected pairs.

Every form names the winner: `order` is a list of groups of item numbers, best group first.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robopref.config import replacing
from robopref.errors import DataError
from robopref.preferences import records
from robopref.preferences.incoming import check_row
from robopref.preferences.preference import Preference

if TYPE_CHECKING:
    import pyarrow as pa

AT_ONCE = 10_000
"""Rows that are held in memory to be written as parquet."""


def write_jsonl(path: Path, rows: Iterable[records.Row]) -> int:
    """Write one JSON object a line, replacing `path` in one step; return how many."""
    num = 0
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
            num += 1
    return num


def read_jsonl(path: Path) -> list[records.Row]:
    """Read what `PreferenceStore.export_jsonl` wrote.

    Raises:
        DataError: A line is not JSON, or nothing that was said; the message names the line.
        FileNotFoundError: There is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No preferences at '{path}'.")
    rows = []
    # Not splitlines(): it would also cut at line separators inside a reason.
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is not UTF-8 text: {error.reason}.") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"Line {number} of '{path}'"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # Too long a number is a ValueError.
            raise DataError(f"{where} is not JSON: {error}.") from error
        rows.append(check_row(row, where))
    return rows


def write_parquet(path: Path, rows: Iterable[records.Row]) -> int:
    """Write one row each, replacing `path` in one step; return how many."""
    return write_table(path, map(_flat, rows), _parquet_schema())


def write_table(path: Path, rows: Iterable[records.Row], schema: pa.Schema) -> int:
    """Write rows as parquet, some at a time, replacing `path` in one step; return how many."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    num, rest = 0, iter(rows)
    with replacing(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        while some := list(itertools.islice(rest, AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))
            num += len(some)
    return num


def chosen_rejected(preference: Preference) -> list[dict[str, Any]]:
    """Return the pairs of one answer that have a winner, as TRL's prompt, chosen, rejected."""
    items = records.query_row(
        preference.query, [""] * len(preference.query.items), context={}, created_s=0.0
    )["items"]
    plain = [{key: value for key, value in item.items() if key != "hash"} for item in items]
    pairs = []
    for a, b, prefers_b in preference.ranking.pairs():
        if prefers_b == 0.5:
            continue
        winner, loser = (b, a) if prefers_b > 0.5 else (a, b)
        pairs.append(
            {
                "prompt": preference.criterion,
                "chosen": plain[winner],
                "rejected": plain[loser],
                "preference_id": preference.id,
                "annotator": preference.annotator,
                "strength": preference.strength,
                "confidence": preference.confidence,
            }
        )
    return pairs


def _flat(row: records.Row) -> records.Row:
    flat = {key: value for key, value in row.items() if key != "query"}
    flat["details"] = json.dumps(row.get("details", {}), ensure_ascii=False)
    query = row["query"]
    flat |= {f"query_{key}": query[key] for key in ("id", "strategy", "reason", "created_s")}
    flat["query_kind"] = query.get("kind", records.SEGMENTS)
    flat["query_context"] = json.dumps(query["context"], ensure_ascii=False)
    flat["items"] = query["items"] if "items" in query else [query["item"]]
    return flat


def _parquet_schema() -> pa.Schema:
    import pyarrow as pa

    text, real = pa.string(), pa.float64()
    item = pa.struct(
        {
            "episode_id": text, "hash": text,
            "start": pa.int64(), "length": pa.int64(),  # of a segment
            "step": pa.int64(), "action": pa.list_(pa.list_(real)),  # of an action candidate
        }
    )  # fmt: skip
    return pa.schema(
        {
            "type": text, "id": text, "answer": text, "order": pa.list_(pa.list_(pa.int64())),
            "annotator": text, "criterion": text, "strength": pa.int64(), "reason": text,
            "time_s": real, "response_time_s": real, "confidence": real, "details": text,
            "rating": text, "mark_step": pa.int64(),  # of a rating
            "query_id": text, "query_kind": text, "query_strategy": text, "query_reason": text,
            "query_context": text, "query_created_s": real, "items": pa.list_(item),
        }
    )  # fmt: skip
