"""A reward for each criterion, and what pleases by all of them at once.

Answers by different criteria contradict each other, and one reward fitted to all of them pays for
much of one with little of another: a policy tuned by it takes what is cheapest. Here each criterion
has a reward of its own, fitted to its own answers, and a segment's return is the log-probability
that it is preferred to a typical one by every criterion at once. Where a criterion is satisfied,
more of it adds little; what is missing by another counts in full.

Shapes: K criteria, M members, B batch, L segment length, N candidates, To observation steps,
Tp chunk, Do observation size, Da action size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from robopref.config import component, resolve
from robopref.preferences.preference import PairwiseView
from robopref.rewards.checks import check_preferences
from robopref.rewards.measure import measure_pairs
from robopref.rewards.members import MembersReward
from robopref.seeding import make_generator
from robopref.types import SegmentBatch


@dataclass(frozen=True)
class CriteriaRewardConfig:
    """One reward a criterion; the return is what pleases by all of them."""

    criteria: tuple[str, ...] = ("overall",)
    """What is judged, by the names that the answers carry."""
    part: Any = component("robopref.rewards:REWARDS", default="mlp")
    """The reward of each criterion."""

    def __post_init__(self) -> None:
        """Check the criteria.

        Raises:
            ValueError: There are none, or one stands there twice.
        """
        if not self.criteria or len(set(self.criteria)) != len(self.criteria):
            raise ValueError(
                f"`criteria` must hold at least 1 name, each once, got {list(self.criteria)}."
            )

    def build(
        self, obs_dim: int, action_dim: int, *, generator: torch.Generator | None = None
    ) -> "CriteriaReward":
        """Return an untrained reward; without a generator its weights are always the same."""
        drawn = generator or make_generator(0, "reward")
        part = resolve(self, "part")
        parts = [part.build(obs_dim, action_dim, generator=drawn) for _ in self.criteria]
        return CriteriaReward(self, obs_dim, action_dim, parts)


class CriteriaReward(MembersReward):
    """Rewards of several criteria, of which each has to be satisfied.

    A criterion whose answers are all ties, or that was never asked about, counts for nothing.

    Args:
        config: The config that built it.
        obs_dim: Do.
        action_dim: Da.
        parts: The reward of each criterion; they have equally many members.
    """

    config: CriteriaRewardConfig
    typical: Tensor
    known: Tensor

    def __init__(
        self,
        config: CriteriaRewardConfig,
        obs_dim: int,
        action_dim: int,
        parts: list[Any],
    ) -> None:
        super().__init__(config, obs_dim, action_dim, parts[0].num_members)
        self.parts = nn.ModuleList(parts)
        # The mean return of what was judged, and whether anything was decided.
        self.register_buffer("typical", torch.zeros(len(parts), self.num_members))
        self.register_buffer("known", torch.zeros(len(parts), dtype=torch.bool))

    def action_scorer_ways(self) -> tuple[str, ...]:
        """Return the ways in which the parts can become action scorers."""
        ways: tuple[str, ...] = self._parts[0].action_scorer_ways()
        return ways

    def member_returns(self, segments: SegmentBatch) -> Float[np.ndarray, "M B"]:
        """Return every member's log-probability that all criteria prefer a segment to a typical."""
        total: np.ndarray = _log_sigmoid(self._above_typical(segments)).sum(axis=0)
        return total

    def member_rewards(self, segments: SegmentBatch) -> Float[np.ndarray, "M B L"]:
        """Return every member's reward of each step; they add up to the return.

        A step has the mean of its segment, and on top what it gives by each criterion more than
        the segment's mean step does, as far as that criterion is still to be satisfied.
        """
        above = self._above_typical(segments)
        lengths = np.maximum(segments.lengths, 1)[:, None]
        total = np.zeros((self.num_members, *segments.mask.shape), np.float32)
        for k, part in enumerate(self._parts):
            steps = part.member_rewards(segments) if self.known[k] else np.zeros_like(total)
            beyond_mean = steps - steps.sum(axis=-1, keepdims=True) / lengths
            share = _log_sigmoid(above[k])[..., None] / lengths
            missing = np.exp(_log_sigmoid(-above[k]))[..., None]
            total += share + missing * beyond_mean
        masked: np.ndarray = np.where(segments.mask, total, np.float32(0))
        return masked

    def candidate_scores(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "M B N"]:
        """Return every member's sum of the criteria's scores of candidate chunks.

        A chunk does not know what the rest of its episode satisfies, so that all count alike.

        Raises:
            ValueError: The parts cannot score candidates, or were built for other sizes.
        """
        scores = [part.candidate_scores(obs, candidates) for part in self._parts]
        weight = self.known.to(scores[0].dtype)
        total: Tensor = (torch.stack(scores) * weight[:, None, None, None]).sum(0)
        return total

    def fit(
        self,
        preferences: PairwiseView,
        *,
        validation: PairwiseView | None = None,
        generator: torch.Generator,
        directory: Path | None = None,
    ) -> dict[str, float]:
        """Learn each criterion from its own pairs, and return what was measured on all of them.

        Args:
            preferences: The pairs; without `criterion` all are of the first one.
            validation: Pairs that share no episode with them, only measured.
            generator: Draws the weights and the batches of one criterion after the other.
            directory: Gets a folder for each criterion.

        Raises:
            ValueError: There is nothing to learn from, or a pair is of another criterion.
            DataError: A number in the data is not finite.
            CheckpointError: `directory` holds a fit to other pairs, or of another reward.
        """
        check_preferences(preferences, self.obs_dim, self.action_dim)
        steps, seconds = 0.0, 0.0
        for k, of in enumerate(self._pairs_of(preferences)):
            pairs = preferences.take(np.flatnonzero(of)).compact()
            self.known[k] = bool((pairs.prefers_b != 0.5).any())
            if not self.known[k]:
                continue
            folder = None if directory is None else directory / f"criterion-{k + 1}"
            figures = self._parts[k].fit(pairs, generator=generator, directory=folder)
            typical = self._parts[k].member_returns(pairs.segments).mean(axis=1)
            self.typical[k] = torch.from_numpy(typical).to(self.typical)
            steps, seconds = (
                steps + figures.get("steps", 0.0),
                seconds + figures.get("seconds", 0.0),
            )
        measured = {"train": preferences, "validation": validation}
        return {
            f"{name}/{key}": value
            for name, view in measured.items()
            if view
            for key, value in self._measure(view).items()
        } | {"steps": steps, "best_step": steps, "seconds": seconds}

    def _measure(self, view: PairwiseView) -> dict[str, float]:
        """Return accuracy and the like over all pairs, each judged by its own criterion."""
        figures: dict[str, float] = {}
        for part, of in zip(self._parts, self._pairs_of(view), strict=True):
            if of.any():
                pairs = view.take(np.flatnonzero(of))
                for key, value in measure_pairs(part, pairs).items():
                    figures[key] = figures.get(key, 0.0) + value * float(of.mean())
        return figures

    @property
    def _parts(self) -> list[Any]:
        return list(self.parts)

    def _pairs_of(self, view: PairwiseView) -> Bool[np.ndarray, "K N"]:
        """Return which pairs are of each criterion."""
        names = self.config.criteria
        criterion = np.array(view.criterion or (names[0],) * len(view))
        unknown = sorted(set(criterion.tolist()) - set(names))
        if unknown:
            raise ValueError(
                f"The pairs are by the criteria {unknown}, of which this reward knows nothing. "
                f"It has {list(names)}."
            )
        of: np.ndarray = np.array(names)[:, None] == criterion[None]
        return of

    def _above_typical(self, segments: SegmentBatch) -> Float[np.ndarray, "K M B"]:
        """Return by how much segments are better than a typical one, by what is known."""
        above = np.zeros((len(self._parts), self.num_members, len(segments)), np.float32)
        for k, part in enumerate(self._parts):
            if self.known[k]:
                above[k] = part.member_returns(segments) - self.typical[k].cpu().numpy()[:, None]
        return above


def _log_sigmoid(x: np.ndarray) -> np.ndarray:
    negative: np.ndarray = -np.logaddexp(0.0, -x)
    return negative
