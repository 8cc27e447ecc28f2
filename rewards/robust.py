"""Rewards that are Gaussian at every step: the robust reward learning (RRL) of PEARL [1].

A network gives each step a mean and a deviation. What Bradley-Terry sees in training are returns
drawn from these by reparameterisation; its cross-entropy against the labels, which may be soft, is
averaged over the draws, and a penalty keeps the deviation from going to 0. Everything else, such as
a policy that is trained on the reward, sees the mean. On the MLP a "step" is a decision.

The steps of a segment are drawn independently, so its return is Gaussian as well, and one draw of
the return stands for a draw of each step.

Cross-entropy is convex in the returns, so it grows with the deviation whatever the label is, and
only the penalty keeps the deviation up: it is nearly the one that was asked for everywhere, and
says little of where labels are wrong. What the noise does is to keep the mean from following each
label, more so than a temperature that flattens the loss as much. The numbers below are ours, chosen
by small measurements on labels of which a fifth or more were wrong; the paper's were not at hand.

Shapes: M members, B batch, X parts of a segment (decisions or steps), L segment length, K draws,
N candidates, To observation steps, Tp chunk, Da action size.
Notation: code name -> symbol: mean -> mu, deviation -> sigma, least_deviation -> eta, penalty ->
lambda.

References:
    [1] Liu et al., PEARL: Zero-shot cross-task preference alignment and robust reward learning for
        robotic manipulation, 2024, arXiv:2306.03615.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from robopref.errors import check_above, check_at_least
from robopref.rewards.ensemble import EnsembleReward, distinct_segments
from robopref.rewards.fit import Inputs
from robopref.rewards.losses import PairBatch
from robopref.rewards.mlp import MLPReward, MLPRewardConfig
from robopref.rewards.preference_transformer import (
    PreferenceTransformer,
    PreferenceTransformerConfig,
)
from robopref.seeding import make_generator
from robopref.types import SegmentBatch


@dataclass(frozen=True)
class GaussianConfig:
    """How the returns are drawn, and what keeps their deviation up."""

    num_samples: int = 8
    """Returns drawn of each segment at each step of the training."""
    least_deviation: float = 2.0
    """Deviation of a step's reward that is not penalised."""
    penalty: float = 10.0
    """Weight of what the deviation lacks, on average over the steps."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("num_samples", self.num_samples, 1)
        check_above("least_deviation", self.least_deviation, 0)
        check_at_least("penalty", self.penalty, 0)


@dataclass(frozen=True)
class RobustMLPConfig(MLPRewardConfig):
    """An ensemble of MLPs on the observation and the executed chunk, Gaussian at each decision."""

    gaussian: GaussianConfig = field(default_factory=GaussianConfig)
    """Its draws, and what keeps their deviation up."""

    def build(
        self, obs_dim: int, action_dim: int, *, generator: torch.Generator | None = None
    ) -> "RobustMLPReward":
        """Return an untrained reward; without a generator its weights are always the same."""
        return RobustMLPReward(self, obs_dim, action_dim, generator or make_generator(0, "reward"))


@dataclass(frozen=True)
class RobustTransformerConfig(PreferenceTransformerConfig):
    """An ensemble of Preference Transformers, Gaussian at each step."""

    gaussian: GaussianConfig = field(default_factory=GaussianConfig)
    """Its draws, and what keeps their deviation up."""

    def build(
        self, obs_dim: int, action_dim: int, *, generator: torch.Generator | None = None
    ) -> "RobustTransformer":
        """Return an untrained reward; without a generator its weights are always the same."""
        return RobustTransformer(
            self, obs_dim, action_dim, generator or make_generator(0, "reward")
        )


@dataclass(frozen=True, eq=False)
class Gaussians:
    """The parts that a segment's return is the weighted sum of.

    Args:
        mean: Mean of each part.
        deviation: Standard deviation of each part.
        weight: How much a part counts in the return; 0 where there is none.
    """

    mean: Float[Tensor, "M B X"]
    deviation: Float[Tensor, "M B X"]
    weight: Float[Tensor, "*#M B X"]

    def draw_returns(
        self, num_samples: int, generator: torch.Generator
    ) -> Float[Tensor, "{num_samples} M B"]:
        """Draw returns, through which gradients reach mean and deviation."""
        mean = (self.mean * self.weight).sum(-1)
        # A norm, since its gradient at 0 is 0: a segment may have no steps.
        deviation: Tensor = torch.linalg.vector_norm(self.deviation * self.weight, dim=-1)
        shape = (num_samples, *mean.shape)
        noise = torch.randn(shape, generator=generator, device=generator.device).to(mean.device)
        return mean + deviation * noise

    def lack(self, least: float) -> Float[Tensor, " M"]:
        """Return by how much the deviations of the parts there are stay below `least`."""
        real = (self.weight > 0).expand_as(self.deviation)
        missing: Tensor = (least - self.deviation).relu() * real
        return missing.sum((1, 2)) / real.sum((1, 2)).clamp_min(1)


class RobustReward(EnsembleReward):
    """An ensemble whose networks say of each step a mean and a deviation.

    A backbone with two outputs comes first among a subclass's bases.
    """

    couples_rows: ClassVar[bool] = True

    def deviation(self, output: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """Return the deviation that an output of a network stands for.

        An output of 0 is the least deviation that is not penalised, so that training begins there.
        """
        least: float = self.config.gaussian.least_deviation
        return softplus(output + math.log(math.expm1(least)))

    @abstractmethod
    def compute_gaussians(self, inputs: Inputs) -> Gaussians:
        """Return what every member says of segments."""

    @abstractmethod
    def compute_deviations(self, inputs: Inputs) -> Float[Tensor, "M B L"]:
        """Return every member's deviation of each step's reward; padded steps are 0."""

    def candidate_deviations(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "M B N"]:
        """Return every member's deviation of the scores of candidates.

        Raises:
            ValueError: This reward has no such way.
        """
        raise self._no_way("chunk")

    def pair_losses(
        self, inputs: Inputs, pairs: PairBatch, generator: torch.Generator | None
    ) -> Float[Tensor, " M"]:
        """Return every member's loss on pairs of segments, averaged over draws of their returns.

        Without a generator it is the loss of the mean, which is what will be used: the other one
        falls as long as the deviation does, and would stop training too late.
        """
        if generator is None:
            return super().pair_losses(inputs, pairs, generator)
        config: GaussianConfig = self.config.gaussian
        segments, (a, b) = distinct_segments(inputs, pairs)
        gaussians = self.compute_gaussians(segments)
        returns = gaussians.draw_returns(config.num_samples, generator)
        losses = pairs.losses(returns[..., a], returns[..., b]).mean(0)
        return losses + config.penalty * gaussians.lack(config.least_deviation)

    def reward_deviation(self, segments: SegmentBatch) -> Float[np.ndarray, "B L"]:
        """Return the deviation of the members' mixture: their spread and what they predict.

        That is the root of the variance of the members' means plus the mean of their variances.
        """
        predicted = self._evaluate(segments, "compute_deviations")
        spread = super().reward_deviation(segments)
        total: np.ndarray = np.sqrt(spread**2 + (predicted**2).mean(axis=0))
        return total

    def score_deviation(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "B N"]:
        """Return the same of the score of each candidate.

        Raises:
            ValueError: This reward cannot score candidates, or was built for other sizes.
        """
        deviations = self.candidate_deviations(obs, candidates)
        spread = super().score_deviation(obs, candidates)
        return (spread.square() + deviations.square().mean(0)).sqrt()


class RobustMLPReward(MLPReward, RobustReward):
    """Scores each decision by a Gaussian, of which the mean is bounded and the deviation is not.

    Args:
        config: How it is built and fitted.
        obs_dim: Do.
        action_dim: Da.
        generator: Draws the first weights.
    """

    num_outputs: ClassVar[int] = 2

    def compute_gaussians(self, inputs: Inputs) -> Gaussians:
        """Return what every member says of the decisions."""
        outputs = self._outputs(inputs["x"])
        return Gaussians(outputs[..., 0].tanh(), self.deviation(outputs[..., 1]), inputs["share"])

    def compute_deviations(self, inputs: Inputs) -> Float[Tensor, "M B L"]:
        """Return each decision's deviation, spread over its steps as its reward is."""
        deviations = self.deviation(self._outputs(inputs["x"])[..., 1])
        return self._spread(deviations, inputs["mask"])

    def candidate_deviations(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "M B N"]:
        """Return every member's deviation of the scores of candidates.

        Raises:
            ValueError: A chunk is shorter than Ta, or sizes are not this reward's.
        """
        return self.deviation(self._outputs(self._candidate_rows(obs, candidates))[..., 1])


class RobustTransformer(PreferenceTransformer, RobustReward):
    """Weighted sum of Gaussian values that a causal transformer gives to the steps.

    Args:
        config: How it is built and fitted.
        obs_dim: Do.
        action_dim: Da.
        generator: Draws the first weights.
    """

    num_outputs: ClassVar[int] = 2

    def compute_gaussians(self, inputs: Inputs) -> Gaussians:
        """Return what every member says of the steps, and how much it lets each count."""
        embedded = self._read(inputs)
        outputs = self._outputs(embedded)
        weight = self._weights(embedded, inputs["mask"])
        return Gaussians(outputs[..., 0], self.deviation(outputs[..., 1]), weight)

    def compute_deviations(self, inputs: Inputs) -> Float[Tensor, "M B L"]:
        """Return the deviation of each step's share in the return."""
        gaussians = self.compute_gaussians(inputs)
        return gaussians.weight * gaussians.deviation
