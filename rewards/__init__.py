"""Reward models learned from preferences, and the trivial ones they are checked against."""

if __name__ != "robopref.rewards":
    raise ImportError(
        "Import robopref.rewards, not rewards: two names would make two copies of every class."
    )

from robopref.registry import Registry

REWARDS = Registry("reward", "robopref.rewards")

__all__ = ["REWARDS"]
