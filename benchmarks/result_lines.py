"""Results as a file with one line for each finished run, which may be killed and gone on with."""

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_rows(results: Path) -> list[dict[str, Any]]:
    """Return the finished runs; a last line that a kill cut off is left out."""
    if not results.is_file():
        return []
    lines = results.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def append_row(row: Mapping[str, Any], results: Path) -> None:
    """Add a line, in place of one that a kill cut off."""
    line = json.dumps(row, allow_nan=False) + "\n"
    with results.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        file.truncate(len(text[: text.rfind("\n") + 1].encode()))
        file.write(line)
