"""Episodes as the transitions that a critic learns from.

Each observation is turned into features once, and stays once: a transition knows the row of its
observation, and the next row is the one that follows.

Shapes: R rows (an episode of T steps has T + 1), N transitions, M members, B batch, To observation
steps, Dc feature size, Da action size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding

from robopref.data.episode import Episode


@dataclass(frozen=True, eq=False)
class Batch:
    """Transitions of every member, (M, B, ...).

    Args:
        action: Normalised actions.
        reward: Rewards, one column.
        continues: 0 where the task itself ended with the action, else 1; one column.
        features: Of the observations before the actions and, behind these, of those after.
    """

    action: Float[Tensor, "M B Da"]
    reward: Float[Tensor, "M B 1"]
    continues: Float[Tensor, "M B 1"]
    features: Float[Tensor, "M 2*B Dc"]


@dataclass(frozen=True, eq=False)
class Transitions:
    """Every step of every episode, in order.

    Args:
        features: Of every observation.
        row: Row in `features` of the observation before each action.
        action: Normalised actions.
        continues: 0 at the last step of an episode that the task itself ended (`terminated`),
            behind which nothing is to be earned. At a time limit it is 1: the episode was cut off,
            and what would have followed counts.
    """

    features: Float[Tensor, "R Dc"]
    row: Int[Tensor, " N"]
    action: Float[Tensor, "N Da"]
    continues: Float[Tensor, " N"]

    @classmethod
    def from_episodes(cls, policy: Any, episodes: Sequence[Episode]) -> "Transitions":
        """Return the transitions of episodes, as `policy` sees and scales them.

        Args:
            policy: Has an `encoder`, an `action_normalizer` and `n_obs_steps`.
            episodes: At least one.
        """
        features, rows, continues, start = [], [], [], 0
        for episode in episodes:
            with torch.no_grad():
                features.append(policy.encoder(_histories(policy, episode)))
            rows.append(torch.arange(start, start + len(episode)))
            start += len(episode) + 1
            last = torch.ones(len(episode))
            last[-1] = float(not episode.terminated)
            continues.append(last)
        action = torch.from_numpy(np.concatenate([e.action for e in episodes])).float()
        return cls(
            torch.cat(features),
            torch.cat(rows),
            policy.action_normalizer(action).clamp(-1, 1),
            torch.cat(continues),
        )

    def __len__(self) -> int:
        """Return N."""
        return len(self.row)

    def to(self, device: torch.device) -> "Transitions":
        """Return the same on a device."""
        return Transitions(*(getattr(self, name).to(device) for name in self.__annotations__))

    def gather(self, rewards: Float[Tensor, "M N"], indices: Int[Tensor, "M B"]) -> Batch:
        """Return the transitions at `indices`, each member's with its own rewards."""
        row = self.row[indices]
        # Looked up as an embedding, which copies whole rows: twice as fast as an index.
        return Batch(
            embedding(indices, self.action),
            rewards.gather(1, indices).unsqueeze(-1),
            self.continues[indices].unsqueeze(-1),
            embedding(torch.cat([row, row + 1], dim=1), self.features),
        )


def _histories(policy: Any, episode: Episode) -> dict[str, Tensor]:
    """Return the last To observations up to every step, (T + 1, To, ...); the first is repeated."""
    steps = np.arange(len(episode) + 1)[:, None] + np.arange(1 - policy.n_obs_steps, 1)
    chosen = np.maximum(steps, 0)
    return {key: torch.from_numpy(episode.obs[key][chosen]) for key in policy.encoder.keys}
