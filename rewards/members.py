"""What every reward of several members answers: their mean, their spread, scores of chunks.

Shapes: M members, B batch, L segment length, N candidates, To observation steps, Tp chunk,
Do observation size, Da action size.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, overload

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from robopref.preferences.preference import PairwiseView
from robopref.rewards.checks import check_sizes
from robopref.rewards.serialization import PretrainedReward
from robopref.types import STATE, SegmentBatch


class MembersReward(PretrainedReward, ABC):
    """A reward with M opinions; both a reward model and an action scorer.

    Args:
        config: The component's config.
        obs_dim: Do.
        action_dim: Da.
        num_members: M.
    """

    ways: ClassVar[tuple[str, ...]] = ()
    """Ways to become an action scorer."""

    def __init__(self, config: Any, obs_dim: int, action_dim: int, num_members: int) -> None:
        super().__init__()
        self.config = config
        self.obs_dim = obs_dim
        self.action_dim = action_dim
        self.num_members = num_members

    @abstractmethod
    def member_rewards(self, segments: SegmentBatch) -> Float[np.ndarray, "M B L"]:
        """Return every member's reward of each step."""

    @abstractmethod
    def member_returns(self, segments: SegmentBatch) -> Float[np.ndarray, "M B"]:
        """Return every member's return of each segment, the sum of its rewards."""

    @abstractmethod
    def fit(
        self,
        preferences: PairwiseView,
        *,
        validation: PairwiseView | None = None,
        generator: torch.Generator,
        directory: Path | None = None,
    ) -> dict[str, float]:
        """Learn from pairs, from new weights on, and return what was measured."""

    def candidate_scores(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "M B N"]:
        """Return every member's score of candidate chunks for observations (B, To, Do).

        Raises:
            ValueError: This reward has no such way.
        """
        raise self._no_way("chunk")

    def rewards(self, segments: SegmentBatch) -> Float[np.ndarray, "B L"]:
        """Return the members' mean reward of each step; padded steps are 0."""
        mean: np.ndarray = self.member_rewards(segments).mean(axis=0)
        return mean

    def segment_return(self, segments: SegmentBatch) -> Float[np.ndarray, " B"]:
        """Return the members' mean return of each segment, the sum of its rewards."""
        mean: np.ndarray = self.member_returns(segments).mean(axis=0)
        return mean

    @torch.no_grad()
    def score(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "B N"]:
        """Return the members' mean score of candidate chunks for observations (B, To, Do).

        Raises:
            ValueError: This reward cannot score candidates, or was built for other sizes.
        """
        return self.candidate_scores(obs, candidates).mean(0)

    @overload
    def uncertainty(self, segments: SegmentBatch, /) -> np.ndarray: ...

    @overload
    def uncertainty(self, obs: Mapping[str, Tensor], candidates: Tensor, /) -> Tensor: ...

    @torch.no_grad()
    def uncertainty(
        self,
        segments: SegmentBatch | Mapping[str, Tensor],
        candidates: Tensor | None = None,
        /,
    ) -> np.ndarray | Tensor:
        """Return the members' standard deviation, of rewards or of candidates' scores.

        Args:
            segments: Segments, for the deviation of each step's reward (B, L); or observations
                (B, To, Do) that `candidates` are for, for the deviation of each score (B, N).
            candidates: Chunks (B, N, Tp, Da), with observations.
        """
        if isinstance(segments, SegmentBatch):
            return self.reward_deviation(segments)
        assert candidates is not None
        return self.score_deviation(segments, candidates)

    def reward_deviation(self, segments: SegmentBatch) -> Float[np.ndarray, "B L"]:
        """Return how uncertain the reward of each step is."""
        deviation: np.ndarray = self.member_rewards(segments).std(axis=0)
        return deviation

    def score_deviation(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "B N"]:
        """Return how uncertain the score of each candidate is.

        Raises:
            ValueError: This reward cannot score candidates, or was built for other sizes.
        """
        return self.candidate_scores(obs, candidates).std(0, correction=0)

    def action_scorer_ways(self) -> tuple[str, ...]:
        """Return the ways in which this reward can become an action scorer."""
        return self.ways

    def as_action_scorer(self, how: str = "chunk") -> "MembersReward":
        """Return this reward as an action scorer.

        Raises:
            ValueError: This reward cannot do it that way.
        """
        if how not in self.action_scorer_ways():
            raise self._no_way(how)
        return self

    def _check_candidates(self, obs: Mapping[str, Tensor], candidates: Tensor) -> None:
        if STATE not in obs:
            raise ValueError(f"`obs` must hold '{STATE}', got {sorted(obs)}.")
        check_sizes(obs[STATE].shape[-1], candidates.shape[-1], self.obs_dim, self.action_dim)

    def _no_way(self, how: str) -> ValueError:
        return ValueError(
            f"{type(self).__name__} cannot become an action scorer by '{how}'. "
            f"Ways that it has: {list(self.action_scorer_ways())}."
        )
