"""Environments: one adapter a simulator, and the behaviours that episodes in them can show."""

if __name__ != "robopref.envs":
    raise ImportError(
        "Import robopref.envs, not envs: two names would make two copies of every class."
    )

from robopref.registry import Registry

ENVS = Registry("environment", "robopref.envs")
BEHAVIOURS = Registry("behaviour", "robopref.behaviours")

__all__ = ["BEHAVIOURS", "ENVS"]
