"""Policies: what proposes actions, chooses among proposals, and is fine-tuned."""

if __name__ != "robopref.policies":
    raise ImportError(
        "Import robopref.policies, not policies: two names would make two copies of every class."
    )

from robopref.registry import Registry

POLICIES = Registry("policy", "robopref.policies")

__all__ = ["POLICIES"]
