"""Pages of the documentation, of which scripts fill in the tables."""

import re
from collections.abc import Mapping
from pathlib import Path

from robopref.config import write_text_atomically


def fill_page(path: Path, tables: Mapping[str, str]) -> None:
    """Put each table between `<!-- begin NAME -->` and `<!-- end NAME -->` of a page.

    Raises:
        ValueError: The page has no place for a table; it is left as it is.
    """
    page = path.read_text()
    for name, table in tables.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        place = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if not place.search(page):
            raise ValueError(f"{path} has no place for '{name}'.")
        filled = f"{begin}\n{table}\n\n{end}"
        page = place.sub(filled.replace("\\", r"\\"), page)
    write_text_atomically(path, page)
