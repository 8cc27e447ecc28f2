"""Rewards that learn nothing: what a learned reward has to be better than, or as good as.

A method that helps with the zero or the random reward does not owe its gain to preferences; one
that gains as much with the negated reward did not use it; the true reward bounds what any learned
one can give.

Shapes: M members, B batch, L segment length, N candidates, To observation steps, Tp chunk,
Do observation size, Da action size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from robopref.preferences.preference import PairwiseView
from robopref.protocols import ActionScorer, RewardModel
from robopref.rewards.checks import check_preferences
from robopref.rewards.ensemble import EnsembleReward
from robopref.rewards.fit import Inputs
from robopref.rewards.measure import measure_pairs
from robopref.seeding import make_generator
from robopref.types import STATE, SegmentBatch


@dataclass(frozen=True)
class ZeroRewardConfig:
    """A reward of 0 for everything."""

    def build(
        self, obs_dim: int, action_dim: int, *, generator: torch.Generator | None = None
    ) -> "UnfittedReward":
        """Return the reward; the generator is not used."""
        return UnfittedReward(self, obs_dim, action_dim, Zero())


@dataclass(frozen=True)
class RandomRewardConfig:
    """Noise that is the same whenever the same step is seen."""

    def build(
        self, obs_dim: int, action_dim: int, *, generator: torch.Generator | None = None
    ) -> "UnfittedReward":
        """Return the reward; the generator draws what decides the noise."""
        noise = Noise(obs_dim + action_dim, generator or make_generator(0, "reward"))
        return UnfittedReward(self, obs_dim, action_dim, noise)


class UnfittedReward(EnsembleReward):
    """A fixed function of the step, which `fit` only measures; an ensemble of one.

    Args:
        config: The config that built it.
        obs_dim: Do.
        action_dim: Da.
        function: Module that gives each (observation, action) its reward.
    """

    ways: ClassVar[tuple[str, ...]] = ("chunk",)

    def __init__(
        self,
        config: ZeroRewardConfig | RandomRewardConfig,
        obs_dim: int,
        action_dim: int,
        function: nn.Module,
    ) -> None:
        super().__init__(config, obs_dim, action_dim, num_members=1)
        self.function = function

    def prepare(
        self,
        state: Float[Tensor, "B L Do"],
        action: Float[Tensor, "B L Da"],
        mask: Bool[Tensor, "B L"],
    ) -> dict[str, Tensor]:
        """Return the observations and actions side by side as `step`, and `mask`."""
        return {"step": torch.cat([state, action], dim=-1), "mask": mask}

    def compute_rewards(self, inputs: Inputs) -> Float[Tensor, "1 B L"]:
        """Return each step's reward."""
        rewards: Tensor = self.function(inputs["step"]) * inputs["mask"]
        return rewards[None]

    def candidate_scores(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "1 B N"]:
        """Return the reward of each candidate's first action at the newest observation."""
        self._check_candidates(obs, candidates)
        state = obs[STATE][:, -1:].expand(-1, candidates.shape[1], -1)
        scores: Tensor = self.function(torch.cat([state, candidates[:, :, 0]], dim=-1))
        return scores[None]

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Keep what `build` drew."""

    def fit(
        self,
        preferences: PairwiseView,
        *,
        validation: PairwiseView | None = None,
        generator: torch.Generator,
        directory: Path | None = None,
    ) -> dict[str, float]:
        """Return what was measured, and change nothing."""
        check_preferences(preferences, self.obs_dim, self.action_dim)
        return _measured(self, preferences, validation)


class Zero(nn.Module):
    """Gives 0 to every step."""

    def forward(self, step: Float[Tensor, "B L F"]) -> Float[Tensor, "B L"]:
        """Return zeros."""
        return torch.zeros(step.shape[:2], device=step.device)


class Noise(nn.Module):
    """Gives each step a number of its own, uniform in [-1, 1].

    The number is a hash of the step: equal steps get equal rewards, and steps that differ a
    little get unrelated ones, so that a selection by it is a draw by lot.

    Args:
        size: Features of a step.
        generator: Draws the hash.
    """

    direction: Tensor

    def __init__(self, size: int, generator: torch.Generator) -> None:
        super().__init__()
        drawn = torch.randn(size, generator=generator, dtype=torch.float64)
        # So large that a change in the last digits of a float32 turns the fraction over.
        self.register_buffer("direction", 1e9 * drawn)

    def forward(self, step: Float[Tensor, "B L F"]) -> Float[Tensor, "B L"]:
        """Return the fraction of a huge weighted sum, scaled to [-1, 1]."""
        turns = (step.double() * self.direction).frac().sum(-1)
        return (2.0 * (turns - turns.floor()) - 1.0).float()


class TrueReward:
    """A reward that is known: what a function says of segments.

    Args:
        function: Returns rewards (B, L) of segments; what it says of padded steps is ignored.
    """

    def __init__(self, function: Callable[[SegmentBatch], np.ndarray]) -> None:
        self.function = function

    def rewards(self, segments: SegmentBatch) -> Float[np.ndarray, "B L"]:
        """Return the function's rewards; padded steps are 0.

        Raises:
            ValueError: The function returned another shape.
        """
        rewards = np.asarray(self.function(segments), np.float32)
        if rewards.shape != segments.mask.shape:
            raise ValueError(
                f"`function` must return rewards of shape {segments.mask.shape}, "
                f"got {rewards.shape}."
            )
        return np.where(segments.mask, rewards, np.float32(0))

    def uncertainty(self, segments: SegmentBatch, /) -> Float[np.ndarray, "B L"]:
        """Return 0: it is known."""
        return np.zeros(segments.mask.shape, np.float32)

    def segment_return(self, segments: SegmentBatch) -> Float[np.ndarray, " B"]:
        """Return the sums of rewards."""
        return_: np.ndarray = self.rewards(segments).sum(axis=1)
        return return_

    def member_returns(self, segments: SegmentBatch) -> Float[np.ndarray, "1 B"]:
        """Return the sums of rewards of its one member."""
        return self.segment_return(segments)[None]

    def fit(
        self,
        preferences: PairwiseView,
        *,
        validation: PairwiseView | None = None,
        generator: torch.Generator,
    ) -> dict[str, float]:
        """Return what was measured, and change nothing."""
        return _measured(self, preferences, validation)

    def action_scorer_ways(self) -> Sequence[str]:
        """Return no way: a function of segments says nothing of what a chunk would lead to."""
        return ()

    def as_action_scorer(self, how: str = "chunk") -> ActionScorer:
        """Raise, since there is no way.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"TrueReward cannot become an action scorer by '{how}'. Ways that it has: []."
        )


class NegatedReward:
    """Another reward with its sign turned; fitting it fits the other one.

    Args:
        reward: The reward that is negated.
    """

    def __init__(self, reward: RewardModel) -> None:
        self.reward = reward

    def rewards(self, segments: SegmentBatch) -> Float[np.ndarray, "B L"]:
        """Return the negated rewards."""
        return -self.reward.rewards(segments)

    def uncertainty(self, segments: SegmentBatch, /) -> Float[np.ndarray, "B L"]:
        """Return the other reward's uncertainty."""
        return self.reward.uncertainty(segments)

    def segment_return(self, segments: SegmentBatch) -> Float[np.ndarray, " B"]:
        """Return the negated returns."""
        return -self.reward.segment_return(segments)

    def member_returns(self, segments: SegmentBatch) -> Float[np.ndarray, "M B"]:
        """Return the negated returns of every member."""
        return -self.reward.member_returns(segments)

    def fit(
        self,
        preferences: PairwiseView,
        *,
        validation: PairwiseView | None = None,
        generator: torch.Generator,
    ) -> Mapping[str, float]:
        """Fit the other reward, and return what was measured of that one."""
        return self.reward.fit(preferences, validation=validation, generator=generator)

    def action_scorer_ways(self) -> Sequence[str]:
        """Return the other reward's ways."""
        return self.reward.action_scorer_ways()

    def as_action_scorer(self, how: str = "chunk") -> "NegatedScorer":
        """Return the other reward's scorer with its sign turned.

        Raises:
            ValueError: The other reward cannot do it that way.
        """
        return NegatedScorer(self.reward.as_action_scorer(how))


class NegatedScorer:
    """Another action scorer with its sign turned.

    Args:
        scorer: The scorer that is negated.
    """

    def __init__(self, scorer: ActionScorer) -> None:
        self.scorer = scorer

    def score(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "B N"]:
        """Return the negated scores."""
        return -self.scorer.score(obs, candidates)

    def uncertainty(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"], /
    ) -> Float[Tensor, "B N"]:
        """Return the other scorer's uncertainty."""
        return self.scorer.uncertainty(obs, candidates)


def _measured(
    reward: RewardModel, preferences: PairwiseView, validation: PairwiseView | None
) -> dict[str, float]:
    measured = {"train": preferences, "validation": validation}
    return {
        f"{name}/{key}": value
        for name, view in measured.items()
        if view
        for key, value in measure_pairs(reward, view).items()
    }
