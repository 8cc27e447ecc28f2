"""Proposals that an arm cannot carry out, left out before one is chosen."""

from typing import Any


def drop_what_cannot_be_done(policy: Any, env: Any) -> None:
    """Let a policy that chooses among candidates choose among those that the arm can carry out."""
    if not hasattr(policy, "feasible"):
        return
    import torch

    def feasible(obs: Any, candidates: torch.Tensor) -> torch.Tensor:
        """Return which candidates (B, N, Tp, Da) the arm could follow."""
        del obs
        can = [[not env.look_ahead(chunk).refusal for chunk in row] for row in candidates.numpy()]
        allowed = torch.tensor(can)
        # Where nothing can be done as proposed the supervisor decides what is.
        allowed[~allowed.any(dim=1)] = True
        return allowed

    policy.feasible = feasible
