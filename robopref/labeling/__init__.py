"""Where people compare: the web tool, and the clips that they compare by."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robopref.labeling.client import Client, ClientError

__all__ = ["Client", "ClientError"]


def __getattr__(name: str) -> Any:
    """Import what the package offers when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from robopref.labeling import client

    return getattr(client, name)
