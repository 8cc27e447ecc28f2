"""Where data lies: in folders of this machine, or behind URLs."""

import re
from pathlib import Path


def as_url(location: str | Path) -> str | None:
    """Return a location as a URL, if it is one; None for a folder of this machine.

    A path that was made of a URL has lost one of its slashes.

    Example:
        >>> as_url(Path("s3://bucket/episodes")), as_url("runs/demo/pool")
        ('s3://bucket/episodes', None)
    """
    found = re.match(r"([a-z][a-z0-9+.-]+):/+(.*)", str(location))
    if found is None:
        return None
    scheme, rest = found.groups()
    return f"{scheme}://{'/' if scheme in ('file', 'local') else ''}{rest}"
