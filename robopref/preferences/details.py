"""What else is known of an answer, read with care: another program may have put it there."""

from collections.abc import Mapping
from typing import Any


def shown_order(details: Mapping[str, Any], num_items: int) -> list[int] | None:
    """Return the order in which the items were shown; None where that is not known.

    Example:
        >>> shown_order({"shown": [1, 0]}, 2)
        [1, 0]
        >>> shown_order({"shown": 5}, 2) is None
        True
    """
    shown = details.get("shown")
    if not isinstance(shown, list) or not all(type(place) is int for place in shown):
        return None
    return shown if sorted(shown) == list(range(num_items)) else None


def tags_of(details: Mapping[str, Any]) -> list[str]:
    """Return the reasons that were ticked.

    Example:
        >>> tags_of({"tags": ["smoother", 3]})
        ['smoother']
        >>> tags_of({"tags": 5})
        []
    """
    tags = details.get("tags")
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
