"""Offline RL: recorded episodes and a reward in, a policy that does better than they do out.

Shapes: E episodes, N steps of all episodes in their order.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from robopref.data.episode import Episode, batch_segments, check_has_episodes
from robopref.data.schema import is_camera
from robopref.errors import DataError, check_at_least, check_choice
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.iql import IQLConfig
from robopref.policies.iql_members import chunk_weights, prepare_iql
from robopref.protocols import RewardModel
from robopref.ranks import get_ranks
from robopref.rewards.trivial import RandomRewardConfig, ZeroRewardConfig
from robopref.seeding import make_generator
from robopref.train_policy import train_policy
from robopref.trainer import TrainerConfig, TrainResult

logger = logging.getLogger(__name__)

CONTROLS = ("true", "negated", "zero", "random", "cloning")
"""Rewards that need no model: the recorded one, its negative, nothing, noise; and cloning, which
asks for no reward and imitates all actions alike."""
EPISODES_AT_ONCE = 64
"""Episodes that a reward model judges in one call; bounds memory."""


@dataclass(frozen=True)
class RewardScaling:
    """How rewards are brought to the scale that IQL's settings are made for."""

    normalization: Literal["return-range", "none"] = "return-range"
    """return-range: divided by the difference of the highest and the lowest return of an episode,
    times the steps of an episode, as IQL and Preference Transformer do."""
    shift: Literal["minus-max", "minus-one", "none"] = "minus-max"
    """What is taken off after that. minus-max: the highest reward, so that the best step costs
    nothing and an early success is never worth less than a late one; minus-one: 1, as IQL does
    with a reward of 1 at the goal; none: nothing."""
    max_episode_steps: int | None = None
    """Steps of an episode for return-range; by default those of the longest one."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("normalization", "shift"):
            allowed = get_args(self.__annotations__[name])
            check_choice(name, getattr(self, name), allowed)
        if self.max_episode_steps is not None:
            check_at_least("max_episode_steps", self.max_episode_steps, 1)

    def apply(
        self, rewards: Float[np.ndarray, " N"], lengths: Sequence[int]
    ) -> Float[np.ndarray, " N"]:
        """Return scaled rewards; where all episodes have one return they are not divided.

        Args:
            rewards: Of each step.
            lengths: Steps of each episode.
        """
        scaled = rewards.astype(np.float64)
        if self.normalization == "return-range":
            starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
            spread = float(np.ptp(np.add.reduceat(scaled, starts)))
            if spread > 1e-8:
                scaled *= (self.max_episode_steps or max(lengths)) / spread
        if self.shift != "none":
            scaled -= scaled.max() if self.shift == "minus-max" else 1.0
        shifted: np.ndarray = scaled.astype(np.float32)
        return shifted


@dataclass(frozen=True)
class TrainIQLConfig:
    """Settings of offline RL."""

    iql: IQLConfig = field(default_factory=IQLConfig)
    """How critics, value and the Gaussian actor are trained."""
    scaling: RewardScaling = field(default_factory=RewardScaling)
    """How rewards are scaled."""
    actor: Literal["gaussian", "diffusion"] = "gaussian"
    """Which policy comes out. gaussian: IQL's own, a step at a time; diffusion: one that denoises
    chunks, trained after it by imitating each chunk of the data according to its advantage."""
    diffusion: DiffusionPolicyConfig = field(default_factory=DiffusionPolicyConfig)
    """The diffusion policy, if that is the actor."""
    extraction: TrainerConfig = field(
        default_factory=lambda: TrainerConfig(num_steps=3000, ema_decay=0.995)
    )
    """How the diffusion policy is trained."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_choice("actor", self.actor, ("gaussian", "diffusion"))


def compute_step_rewards(
    reward: RewardModel | str, episodes: Sequence[Episode], *, seed: int = 0
) -> Float[np.ndarray, " N"]:
    """Return the reward of every step of the episodes, each judged as a whole.

    A Preference Transformer gives the values of steps, which the past alone decides, as its
    authors do for reinforcement learning, and not their shares in the return.

    Args:
        reward: A reward model, or a control.
        episodes: Whose steps.
        seed: Decides the noise of "random".

    Raises:
        ValueError: There is no such control, or the model judges other observations or actions.
        DataError: A reward is not finite, or was not recorded.
    """
    if isinstance(reward, str) and reward in ("true", "negated"):
        for episode in episodes:
            if not episode.knows("reward"):
                raise DataError(
                    f"Nobody recorded what '{episode.env}' paid in episode {episode.id}, so there "
                    f"is nothing to train on by '{reward}'. Give the run of a reward (robopref "
                    "train reward), or 'cloning', which needs none."
                )
        recorded = np.concatenate([episode.reward for episode in episodes])
        found: np.ndarray = recorded if reward == "true" else -recorded
    else:
        found = _judge(_model(reward, episodes[0], seed), episodes)
    if not np.isfinite(found).all():
        step = int(np.argmin(np.isfinite(found)))
        ends = np.cumsum([len(episode) for episode in episodes])
        place = int(np.searchsorted(ends, step, side="right"))
        raise DataError(
            f"The reward of episode {episodes[place].id} is not finite at step "
            f"{step - int(ends[place]) + len(episodes[place])}."
        )
    return found


def train_iql(
    config: TrainIQLConfig,
    episodes: Sequence[Episode],
    reward: RewardModel | str,
    *,
    directory: Path | None = None,
    seed: int = 0,
) -> tuple[Any, TrainResult]:
    """Train a policy by IQL to earn a reward, from recorded episodes alone.

    Called again after an interruption it goes on at the last checkpoint in `directory`, and ends
    with the same weights as if nothing had happened. Many seeds and rewards of one task train at
    once with `robopref.policies.iql_members.train_iql_members`.

    Args:
        config: How.
        episodes: What is learned from, good and bad ones.
        reward: A reward model, or a control.
        directory: Gets the checkpoint, the metrics, and the policy itself in `policy/`; what trains
            a diffusion policy goes to `diffusion/`. None keeps nothing.
        seed: Decides everything random.

    Returns:
        The policy, and how the training of IQL went.

    Raises:
        ValueError: There are no episodes, or the reward does not fit them.
        DataError: A reward is not finite, or the episodes differ in shape.
        CheckpointError: `directory` holds a checkpoint of another run.
    """
    check_has_episodes(episodes)
    rewards = compute_step_rewards(reward, episodes, seed=seed)
    scaled = config.scaling.apply(rewards, [len(episode) for episode in episodes])
    logger.info("Rewards from %.3g to %.3g a step.", scaled.min(), scaled.max())
    clones = [isinstance(reward, str) and reward == "cloning"]
    run, like = prepare_iql(
        config.iql, episodes, scaled[None], [seed], clones=clones, directory=directory
    )
    result = run.fit()
    policy: Any = run.policies(like)[0]
    if config.actor == "diffusion":
        weights = chunk_weights(run, config.diffusion.n_action_steps)[0]
        policy, _ = train_policy(
            config.diffusion, episodes, config.extraction,
            directory=None if directory is None else directory / "diffusion",
            seed=seed, validation_share=0.0, weights=weights,
        )  # fmt: skip
    if directory is not None:
        get_ranks().on_main(lambda: policy.save_pretrained(directory / "policy"))
    return policy, result


def _model(reward: RewardModel | str, like: Episode, seed: int) -> RewardModel:
    """Return the reward model, built for episodes like this one if it is a control."""
    if not isinstance(reward, str):
        return reward
    check_choice("reward", reward, CONTROLS)
    config = RandomRewardConfig() if reward == "random" else ZeroRewardConfig()
    return config.build(
        like.state.shape[1], like.action.shape[1], generator=make_generator(seed, "train-iql")
    )


def _judge(model: RewardModel, episodes: Sequence[Episode]) -> Float[np.ndarray, " N"]:
    judge = getattr(model, "step_values", model.rewards)
    found = []
    for start in range(0, len(episodes), EPISODES_AT_ONCE):
        batch = batch_segments([
            ({key: value[:-1] for key, value in e.obs.items() if not is_camera(key)}, e.action)
            for e in episodes[start : start + EPISODES_AT_ONCE]
        ])  # fmt: skip
        found.append(np.asarray(judge(batch))[batch.mask])
    rewards: np.ndarray = np.concatenate(found).astype(np.float32)
    return rewards
