"""Candidates of several policies side by side, for a score to choose among.

A policy that was tuned on preferences proposes better candidates, and fewer different ones; the one
it was tuned from knows more ways. With both, what the score likes most can come from either.

Shapes: B batch, N candidates, To observation steps, Tp action chunk, Da action size.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from robopref.diffusion import Randomness
from robopref.policies.execution import ChunkExecution


class Proposals(ChunkExecution):
    """A policy whose candidates come from several others in turn.

    Args:
        policies: Who proposes; of N candidates each gives as many as the others, the first ones one
            more where N is no multiple of their number.

    Raises:
        ValueError: There are none, or they differ in what they see or return.
    """

    def __init__(self, policies: Sequence[Any]) -> None:
        self.policies = tuple(policies)
        if not self.policies:
            raise ValueError("Give at least one policy that proposes, got none.")
        first = self.policies[0]
        for name in ("n_obs_steps", "chunk_size", "n_action_steps", "action_dim", "obs_shapes"):
            values = [getattr(policy, name) for policy in self.policies]
            if any(value != values[0] for value in values):
                raise ValueError(
                    f"Policies that propose for one score must be alike, got `{name}` {values}."
                )
        self.n_obs_steps = first.n_obs_steps
        self.chunk_size = first.chunk_size
        self.n_action_steps = first.n_action_steps
        self.action_dim = first.action_dim
        self.obs_shapes = first.obs_shapes
        self.reset()

    def sample(
        self, obs: Mapping[str, Tensor], num_candidates: int, generator: Randomness
    ) -> Float[Tensor, "B N Tp Da"]:
        """Return candidates for observations (B, To, ...), the policies taking turns."""
        num = len(self.policies)
        drawn = [
            policy.sample(obs, -(-(num_candidates - place) // num), generator).to(self.device)
            for place, policy in enumerate(self.policies[:num_candidates])
        ]
        mixed = torch.empty(
            (len(drawn[0]), num_candidates, *drawn[0].shape[2:]), device=self.device
        )
        for place, some in enumerate(drawn):
            mixed[:, place::num] = some
        return mixed

    @property
    def device(self) -> torch.device:
        """Where the candidates are: where the first policy is."""
        device: torch.device = self.policies[0].device
        return device
