"""Training policies of one task by IQL, many seeds and rewards at once; and chunks after them.

IQL judges single actions. What is to imitate whole chunks, such as a diffusion policy, is told by
`chunk_weights` how much each chunk of the data counts: by its own advantage over as many steps as
are executed, of which the value that IQL has learned knows the rest.

Shapes: M members, N steps of all episodes in their order.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from robopref.data.episode import Episode, check_has_episodes
from robopref.data.normalizer import compute_statistics
from robopref.errors import DataError, check_at_least
from robopref.policies.gaussian import GaussianPolicy
from robopref.policies.iql import IQLConfig, IQLRun
from robopref.policies.iql_data import Transitions
from robopref.seeding import make_generator
from robopref.trainer import TrainResult


def train_iql_members(
    config: IQLConfig,
    episodes: Sequence[Episode],
    rewards: Float[np.ndarray, "M N"],
    seeds: Sequence[int],
    *,
    clones: Sequence[bool] | None = None,
    directory: Path | None = None,
    device: Literal["auto", "cpu"] = "auto",
) -> tuple[list[GaussianPolicy], TrainResult]:
    """Train M policies in one go, on rewards and from seeds of their own.

    Members of one seed draw the same first weights and the same batches, so that what differs
    between them is the reward's doing.

    Args:
        config: How.
        episodes: What is learned from.
        rewards: Each member's reward of each step, in the order of the episodes.
        seeds: Each member's seed.
        clones: Members that imitate all actions alike, whatever the reward: behaviour cloning.
        directory: Gets the checkpoint and the metrics, and is where a run goes on.
        device: "auto" for the best there is, or "cpu".

    Returns:
        The policies, in the order of the rewards, and how the training went.

    Raises:
        ValueError: There are no episodes, or not a reward for each step and a seed for each member.
        DataError: A reward is not finite, or episodes differ in shape.
        CheckpointError: `directory` holds a checkpoint of another run.
        FloatingPointError: The losses are not finite.
        KeyboardInterrupt: Ctrl-C; the update was finished and saved first.
    """
    run, policy = prepare_iql(
        config, episodes, rewards, seeds, clones=clones, directory=directory, device=device
    )
    result = run.fit()
    return run.policies(policy), result


def prepare_iql(
    config: IQLConfig,
    episodes: Sequence[Episode],
    rewards: Float[np.ndarray, "M N"],
    seeds: Sequence[int],
    *,
    clones: Sequence[bool] | None = None,
    directory: Path | None = None,
    device: Literal["auto", "cpu"] = "auto",
) -> tuple[IQLRun, GaussianPolicy]:
    """Return the run that `train_iql_members` fits, and a policy with the data's normaliser.

    Raises:
        ValueError: There are no episodes, or not a reward for each step and a seed for each member.
        DataError: A reward is not finite, or episodes differ in shape.
    """
    chosen = [False] * len(seeds) if clones is None else list(clones)
    _check_members(episodes, rewards, seeds, chosen)
    policy = config.policy.build(
        {key: value.shape[1:] for key, value in episodes[0].obs.items()},
        episodes[0].action.shape[1],
        make_generator(0),
    )
    policy.fit_normalizer(compute_statistics(episodes))
    transitions = Transitions.from_episodes(policy, episodes)
    run = IQLRun(config, transitions, torch.from_numpy(rewards).float(), seeds,
                 clones=chosen, directory=directory, device=device)  # fmt: skip
    return run, policy


def chunk_weights(run: IQLRun, n_action_steps: int) -> Float[Tensor, "M N"]:
    """Return how much the chunk that begins at each step counts for each member, 1 on average.

    exp(inverse_temperature * advantage), cut off at `max_weight`, of the rewards of the executed
    steps and the value behind them less the value before. An episode that ends earlier counts what
    it holds.

    Args:
        run: Has been fitted.
        n_action_steps: Steps of a chunk that are executed.
    """
    check_at_least("n_action_steps", n_action_steps, 1)
    config, data = run.config, run.transitions
    values = run.values()
    ahead = values
    for _ in range(n_action_steps):
        following = values.clone()  # The last observation of an episode keeps its value.
        later = config.discount * data.continues * ahead[:, data.row + 1]
        following[:, data.row] = run.rewards + later
        ahead = following
    advantage = (ahead - values)[:, data.row]
    scale = run.learner.inverse_temperature[..., 0]
    weights = (scale * advantage).exp().clamp(max=config.max_weight).cpu()
    return weights / weights.mean(dim=1, keepdim=True)


def _check_members(
    episodes: Sequence[Episode],
    rewards: np.ndarray,
    seeds: Sequence[int],
    clones: Sequence[bool],
) -> None:
    check_has_episodes(episodes)
    num_steps = sum(len(episode) for episode in episodes)
    if rewards.ndim != 2 or rewards.shape != (len(seeds), num_steps) or not len(seeds):
        raise ValueError(
            f"`rewards` must have shape (M, N) = ({len(seeds)}, {num_steps}), a row for each seed "
            f"and a column for each step of the episodes, got {rewards.shape}."
        )
    if len(clones) != len(seeds):
        raise ValueError(
            f"`clones` must hold a value for each of {len(seeds)} members, got {len(clones)}."
        )
    finite = np.isfinite(rewards)
    if not finite.all():
        member, step = (int(i) for i in np.argwhere(~finite)[0])
        raise DataError(f"The reward of member {member} is not finite at step {step} of the data.")
