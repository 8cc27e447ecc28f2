"""Acting in environments with a diffusion policy, and what its decisions were worth.

A decision is one chunk: its reward is what the learned reward says of it at the observations it was
made from. Every episode starts from a reset with a given seed, so that a collection is a function
of seeds and generator alone.

Shapes: T decisions of an episode, I environments, G groups, To observation steps, S random
denoising steps, Tp action chunk, Ta executed actions, Da action size.

References:
    [1] Schulman et al., High-dimensional continuous control using generalized advantage
        estimation, 2015, arXiv:1506.02438, eq. 16.
    [2] Wang et al., Pref-GRPO: pairwise preference reward-based GRPO, 2025, arXiv:2508.20751.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from jaxtyping import Bool, Float
from torch import Tensor

from robopref.policies.finetune.denoising_mdp import Chains, DenoisingSteps
from robopref.types import STATE


@dataclass(frozen=True, eq=False)
class Experience:
    """Decisions of one episode in each environment.

    Args:
        obs: Observations that decisions were made from, (T, I, To, ...) by key.
        before: Where random denoising steps went from.
        after: Where they went to.
        reward: Learned reward of each decision, less what is taken off for doubt.
        doubt: The reward's own uncertainty.
        acted: Whether the episode was still going on.
        last_obs: Observations at the end of each episode, (I, To, ...) by key.
        terminated: Whether the task itself ended the episode.
        own_return: What the environment paid in each episode.
    """

    obs: Mapping[str, Tensor]
    before: Float[Tensor, "T I S Tp Da"]
    after: Float[Tensor, "T I S Tp Da"]
    reward: Float[Tensor, "T I"]
    doubt: Float[Tensor, "T I"]
    acted: Bool[Tensor, "T I"]
    last_obs: Mapping[str, Tensor]
    terminated: Bool[Tensor, " I"]
    own_return: Float[Tensor, " I"]


class Collector:
    """Acts in environments with a policy.

    Args:
        env: Where to act. Observations are dictionaries by LeRobot key, or a vector, taken as the
            state. Whenever it resets itself or does not, each environment acts out one episode.
        scorer: The learned reward.
        pessimism: How many deviations of the reward's members are taken off each score.
        max_decisions: After so many an episode is left.
    """

    def __init__(
        self, env: VectorEnv[Any, Any, Any], scorer: Any, *, pessimism: float, max_decisions: int
    ) -> None:
        self.env = env
        self._mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self.scorer = scorer
        self.pessimism = pessimism
        self.max_decisions = max_decisions

    @torch.no_grad()
    def collect(
        self,
        policy: Any,
        steps: DenoisingSteps,
        random: range,
        *,
        seeds: Sequence[int],
        generator: torch.Generator,
    ) -> Experience:
        """Return one episode of each environment.

        Args:
            policy: Acts.
            steps: Its denoising steps.
            random: Which of them are random.
            seeds: Seed of each environment's reset.
            generator: Draws the chunks.

        Raises:
            ValueError: An observation is not what the policy was trained on, or a score is not
                finite.
        """
        # Every VectorEnv takes a list of seeds; not every one says so.
        env: Any = self.env
        first, _ = env.reset(seed=list(seeds))
        now = _Situation(_by_key(first), self.env.num_envs, policy.n_obs_steps)
        made: list[dict[str, Tensor]] = []
        scores, chains, acted = [], [], []
        while now.running.any() and len(made) < self.max_decisions:
            obs = {key: value.clone() for key, value in now.history.items()}
            policy.check_obs(obs, policy.n_obs_steps)
            seen = {key: obs[key].to(policy.device) for key in policy.obs_shapes}
            chain = steps.sample(policy, policy.encoder(seen), random, generator)
            chunk = policy.from_network(chain.chunk, seen)
            made.append(seen)
            chains.append(chain)
            scores.append(self._score(obs, chunk))
            acted.append(now.running.clone())
            for action in chunk[:, : policy.n_action_steps].unbind(1):
                self._step(now, action)
        return _experience(made, chains, scores, acted, now, policy)

    def _score(self, obs: Mapping[str, Tensor], chunk: Tensor) -> Tensor:
        """Return the reward of each decision and its doubt, (2, I)."""
        score = self.scorer.score(obs, chunk[:, None])[:, 0]
        doubt = self.scorer.uncertainty(obs, chunk[:, None])[:, 0]
        if not torch.isfinite(score).all():
            raise ValueError("The action scorer returned scores that are not finite.")
        return torch.stack([score - self.pessimism * doubt, doubt]).float()

    def _step(self, now: "_Situation", action: Tensor) -> None:
        space = self.env.single_action_space
        command = action.cpu().numpy()
        if isinstance(space, Box):
            command = np.clip(command, space.low, space.high).astype(space.dtype)
        obs, paid, terminated, truncated, info = self.env.step(command)
        seen, ended = _by_key(obs), np.asarray(terminated) | np.asarray(truncated)
        if self._mode == AutoresetMode.SAME_STEP:
            # What is returned is of the next episode already.
            for index in np.flatnonzero(ended).tolist():
                for key, value in _by_key(info["final_obs"][index]).items():
                    seen[key][index] = value
        now.update(seen, *(torch.as_tensor(x) for x in (paid, terminated, truncated)))
        if self._mode == AutoresetMode.DISABLED and ended.any():
            self.env.reset(options={"reset_mask": ended})


class _Situation:
    """Where each environment's episode stands; one that has ended stays as it ended."""

    def __init__(self, first: Mapping[str, Tensor], num_envs: int, n_obs_steps: int) -> None:
        self.history = {
            key: value[:, None].repeat(1, n_obs_steps, *[1] * (value.ndim - 1))
            for key, value in first.items()
        }
        self.running = torch.ones(num_envs, dtype=torch.bool)
        self.terminated = torch.zeros(num_envs, dtype=torch.bool)
        self.own_return = torch.zeros(num_envs)

    def update(
        self, obs: Mapping[str, Tensor], paid: Tensor, terminated: Tensor, truncated: Tensor
    ) -> None:
        """Take note of a step of all environments."""
        for key, value in obs.items():
            past = self.history[key]
            past[self.running] = torch.cat([past[:, 1:], value[:, None]], 1)[self.running]
        self.own_return += paid.float() * self.running
        self.terminated |= terminated & self.running
        self.running &= ~(terminated | truncated)


def gae(
    experience: Experience,
    values: Float[Tensor, "T I"],
    last_values: Float[Tensor, " I"],
    *,
    discount: float,
    decay: float,
) -> Float[Tensor, "T I"]:
    """Return generalised advantages [1]; being cut off is not an end, and the value goes on.

    Args:
        experience: Rewards, and where episodes end.
        values: Value of each decision's observations.
        last_values: Value of the observations at each episode's end.
        discount: Of the next decision.
        decay: lambda of [1].
    """
    acted, reward = experience.acted, experience.reward
    beyond = last_values * ~experience.terminated
    advantages = torch.zeros_like(reward)
    following, carried = beyond, torch.zeros_like(beyond)
    for t in reversed(range(len(reward))):
        delta = reward[t] + discount * following - values[t]
        advantage = delta + discount * decay * carried
        advantages[t] = torch.where(acted[t], advantage, advantages[t])
        following = torch.where(acted[t], values[t], beyond)
        carried = advantages[t]
    return advantages


def win_rates(returns: Float[Tensor, " I"], group_size: int) -> Float[Tensor, " I"]:
    """Return the share of the others in its group that each episode beats; a tie is half [2].

    Args:
        returns: Learned returns; episodes of a group are next to one another.
        group_size: Episodes in a group, which have the same start.
    """
    grouped = returns.view(-1, group_size)
    gap = grouped[:, :, None] - grouped[:, None, :]
    # Each ties with itself, which is taken off again.
    wins = 0.5 * (1 + gap.sign()).sum(2) - 0.5
    return (wins / (group_size - 1)).flatten()


def _experience(
    made: Sequence[Mapping[str, Tensor]],
    chains: Sequence[Chains],
    scores: Sequence[Tensor],
    acted: Sequence[Tensor],
    now: _Situation,
    policy: Any,
) -> Experience:
    device = policy.device
    reward, doubt = torch.stack([score.to(device) for score in scores], 1)
    return Experience(
        obs={key: torch.stack([obs[key] for obs in made]) for key in policy.obs_shapes},
        before=torch.stack([chain.before for chain in chains]),
        after=torch.stack([chain.after for chain in chains]),
        reward=reward,
        doubt=doubt,
        acted=torch.stack(list(acted)).to(device),
        last_obs={key: now.history[key].to(device) for key in policy.obs_shapes},
        terminated=now.terminated.to(device),
        own_return=now.own_return,
    )


def _by_key(obs: Any) -> dict[str, Tensor]:
    named = obs if isinstance(obs, Mapping) else {STATE: obs}
    values = {key: torch.as_tensor(np.array(value)) for key, value in named.items()}
    # Environments often count in double precision; networks do not.
    return {k: v.float() if v.dtype == torch.float64 else v for k, v in values.items()}
