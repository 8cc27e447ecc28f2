"""A reward for each decision: an ensemble of multilayer perceptrons on (observation, chunk).

A decision is taken every `n_action_steps` steps, counted from the segment's start: the policy
sees an observation and executes that many actions. The reward of a decision is bounded, as in
PEBBLE [1], and its sum over a segment's decisions is what Bradley-Terry sees.

Shapes: M members, B batch, C decisions of a segment, R rows of decisions, L segment length,
N candidates, To observation steps, Tp chunk, Ta executed steps, Do observation size, Da action
size, F features of a row, O outputs of a network.

References:
    [1] Lee et al., PEBBLE: Feedback-efficient interactive reinforcement learning via relabeling
        experience and unsupervised pre-training, 2021, arXiv:2106.05091.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from robopref.errors import check_at_least
from robopref.nn import EnsembleMLP
from robopref.rewards.ensemble import EnsembleReward
from robopref.rewards.fit import FitConfig, Inputs
from robopref.seeding import make_generator
from robopref.types import STATE


@dataclass(frozen=True)
class MLPRewardConfig:
    """An ensemble of MLPs on the observation and the executed chunk."""

    num_members: int = 5
    """Networks in the ensemble."""
    hidden_sizes: tuple[int, ...] = (128, 128)
    """Width of each hidden layer."""
    n_action_steps: int = 8
    """Actions that a decision covers, as the policy executes them; 1 gives a per-step reward."""
    use_action: bool = True
    """Judge observation and actions; else the observation alone. What an action is worth is then
    what it leads to, and not whether it looks like those of good segments: for offline RL, which
    compares the actions of one state. Such a reward cannot rank a policy's proposals."""
    fit: FitConfig = field(default_factory=FitConfig)
    """How it learns from preferences."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("num_members", self.num_members, 1)
        check_at_least("n_action_steps", self.n_action_steps, 1)
        for size in self.hidden_sizes:
            check_at_least("hidden_sizes", size, 1)

    def build(
        self, obs_dim: int, action_dim: int, *, generator: torch.Generator | None = None
    ) -> "MLPReward":
        """Return an untrained reward; without a generator its weights are always the same."""
        return MLPReward(self, obs_dim, action_dim, generator or make_generator(0, "reward"))


class MLPReward(EnsembleReward):
    """Scores each decision by tanh of an MLP; the decision's steps share its reward evenly.

    The reward of a step is the decision's reward divided by Ta, so the segment's return is the
    sum over its decisions. A last decision of which only k < Ta actions lie in the segment sees
    its last action repeated, and counts for k / Ta.

    Args:
        config: How it is built and fitted.
        obs_dim: Do.
        action_dim: Da.
        generator: Draws the first weights.
    """

    ways: ClassVar[tuple[str, ...]] = ("chunk",)
    num_outputs: ClassVar[int] = 1
    """Numbers that a network gives each decision; its reward is made of the first."""
    config: MLPRewardConfig

    def __init__(
        self, config: MLPRewardConfig, obs_dim: int, action_dim: int, generator: torch.Generator
    ) -> None:
        super().__init__(config, obs_dim, action_dim, config.num_members)
        self.network = EnsembleMLP(
            config.num_members,
            obs_dim + config.use_action * config.n_action_steps * action_dim,
            config.hidden_sizes,
            self.num_outputs,
            generator=generator,
        )

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw new weights."""
        self.network.reset_parameters(generator)

    def prepare(
        self,
        state: Float[Tensor, "B L Do"],
        action: Float[Tensor, "B L Da"],
        mask: Bool[Tensor, "B L"],
    ) -> dict[str, Tensor]:
        """Return the decisions: rows `x` (B, C, F), their `share` (B, C), and `mask`."""
        num_segments, length = mask.shape
        n_action_steps = self.config.n_action_steps
        num_decisions = -(-length // n_action_steps)
        real = mask.sum(1)
        step = torch.arange(num_decisions * n_action_steps, device=mask.device)
        x = self.normalize_state(state[:, ::n_action_steps])
        if self.config.use_action:
            source = torch.minimum(step, (real[:, None] - 1).clamp_min(0))
            index = source[..., None].expand(-1, -1, self.action_dim)
            chunk = self.normalize_action(action.gather(1, index))
            chunks = chunk.reshape(num_segments, num_decisions, n_action_steps * self.action_dim)
            x = torch.cat([x, chunks], dim=-1)
        inside = real[:, None] - step[None, ::n_action_steps]
        share = inside.clamp(0, n_action_steps) / n_action_steps
        return {"x": x, "share": share.to(x.dtype), "mask": mask}

    def compute_rewards(self, inputs: Inputs) -> Float[Tensor, "M B L"]:
        """Return each decision's reward, spread over its steps."""
        return self._spread(self._decide(inputs["x"]), inputs["mask"])

    def compute_returns(self, inputs: Inputs) -> Float[Tensor, "M B"]:
        """Return the sum of the decisions' rewards."""
        return (self._decide(inputs["x"]) * inputs["share"]).sum(-1)

    def action_scorer_ways(self) -> tuple[str, ...]:
        """Return the ways in which this reward can become an action scorer."""
        return self.ways if self.config.use_action else ()

    def candidate_scores(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "M B N"]:
        """Return the reward of executing each candidate's first Ta actions at the newest obs.

        Raises:
            ValueError: A chunk is shorter than Ta, sizes are not this reward's, or it judges no
                actions.
        """
        return self._decide(self._candidate_rows(obs, candidates))

    def _candidate_rows(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "B N F"]:
        """Return what the networks see of candidates."""
        if not self.config.use_action:
            raise ValueError(
                "A reward with `use_action` off judges no actions: all candidates of a state are "
                "worth the same to it. Fit one with `use_action` on."
            )
        self._check_candidates(obs, candidates)
        _, num_candidates, chunk_size, _ = candidates.shape
        n_action_steps = self.config.n_action_steps
        if chunk_size < n_action_steps:
            raise ValueError(
                f"`candidates` must hold chunks of at least `n_action_steps` (={n_action_steps}) "
                f"actions, got {chunk_size}."
            )
        state = self.normalize_state(obs[STATE][:, -1].float())
        chunk = self.normalize_action(candidates[:, :, :n_action_steps].float())
        return torch.cat([state[:, None].expand(-1, num_candidates, -1), chunk.flatten(2)], dim=-1)

    def _spread(
        self, decisions: Float[Tensor, "M B C"], mask: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "M B L"]:
        """Return what each step has of its decision."""
        spread = decisions.repeat_interleave(self.config.n_action_steps, dim=-1)
        return spread[..., : mask.shape[1]] * (mask / self.config.n_action_steps)

    def _decide(self, x: Float[Tensor, "B C F"]) -> Float[Tensor, "M B C"]:
        """Return every member's bounded reward of each row."""
        return torch.tanh(self._outputs(x)[..., 0])

    def _outputs(self, x: Float[Tensor, "B C F"]) -> Float[Tensor, "M B C O"]:
        """Return the numbers that every member gives each row."""
        outputs: Tensor = self.network(x.flatten(0, 1))
        return outputs.view(self.num_members, *x.shape[:2], self.num_outputs)
