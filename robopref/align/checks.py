"""What must fit together in an alignment run, checked before anything is recorded."""

from typing import Any

import numpy as np

from robopref.align.config import AlignConfig
from robopref.align.evaluate import scores_steps
from robopref.align.reward_fitting import FEWEST_TO_DOUBT
from robopref.config import from_dict, resolve
from robopref.data.store import EpisodeStore
from robopref.envs import BEHAVIOURS, ENVS
from robopref.envs.scripted import has_expert
from robopref.errors import ConfigError, DataError, UnknownNameError
from robopref.gl import check_mujoco_gl
from robopref.policies.finetune.given import Given
from robopref.rewards import REWARDS
from robopref.types import STATE


def check_parts_fit(config: AlignConfig) -> None:
    """Refuse parts that cannot work together.

    Raises:
        UnknownNameError: There is no such environment.
        ValueError: The behaviour cannot be measured in the environment, nobody can demonstrate it,
            the teacher weighs steps that have no score, the labels are fewer than a query gives,
            the method cannot learn from what the run gives it, or the reward cannot choose among a
            policy's proposals, or judges other actions than the policy executes.
    """
    check_labels_suffice(config)
    check_env(config.env, config.max_episode_steps, config.cameras)
    behaviour, teacher = resolve(config, "behaviour"), resolve(config, "teacher")
    behaviour.check_env(config.env)
    name = BEHAVIOURS.name_of(type(behaviour))
    if config.demonstrations is None:
        check_can_demonstrate(
            config.env, behaviour, "Give a data set of demonstrations with --demonstrations."
        )
    if getattr(teacher, "discount", 1.0) < 1 and not scores_steps(behaviour):
        raise ValueError(
            f"`teacher.discount` (={teacher.discount}) weighs steps, but the behaviour '{name}' "
            "judges a segment as a whole. Take a behaviour that scores steps, such as "
            "'high-return', or a teacher without a discount."
        )
    policy, reward = resolve(config, "policy"), resolve(config, "reward")
    Given(policy, doubts_answers=doubts_answers(config)).check(resolve(config, "method"))
    executed = getattr(policy, "n_action_steps", None)
    judged = getattr(reward, "n_action_steps", None)
    if judged is not None and executed is not None and judged != executed:
        raise ValueError(
            f"`reward.n_action_steps` (={judged}) must equal `policy.n_action_steps` "
            f"(={executed}): the reward has to judge what the policy executes."
        )
    if not config.cameras:  # Else a critic chooses.
        # Its ways are those of any size.
        check_can_choose(reward.build(obs_dim=1, action_dim=1))


def doubts_answers(config: Any) -> bool:
    """Return whether a run will believe some answers more than others."""
    return bool(config.find_mistakes) and int(config.num_labels) >= FEWEST_TO_DOUBT


def check_labels_suffice(config: Any) -> None:
    """Refuse fewer labels than one query of the strategy gives.

    Raises:
        ValueError: There are fewer in all, or in a round.
    """
    least = labels_a_query(config)
    for name in ("num_labels", "labels_per_round"):
        if getattr(config, name) < least:
            raise ValueError(
                f"`{name}` must be at least {least}, what one query of {least + 1} items counts, "
                f"got {getattr(config, name)}."
            )


def labels_a_query(config: Any) -> int:
    """Return how many labels an answer to a query of a run's strategy counts."""
    return int(resolve(config, "strategy").build().num_items) - 1


def check_env(env: str, max_episode_steps: int | None, cameras: tuple[str, ...] = ()) -> None:
    """Refuse an environment that cannot be made, or cameras that see nothing, by trying.

    Raises:
        UnknownNameError: There is no such environment; the message suggests the nearest.
        ValueError: The name has no slash, or the time limit is below 1, or MUJOCO_GL is unknown, or
            there is no such camera.
        MissingExtraError: There are cameras, and nothing here can draw what they see.
    """
    from robopref.envs.make import make_env

    check_mujoco_gl()
    options = {} if max_episode_steps is None else {"max_episode_steps": max_episode_steps}
    made: Any = make_env(env, cameras=cameras, **options)
    if cameras and not hasattr(made, "open_cameras"):  # Those of an arm are devices.
        made.reset(seed=0)
    made.close()


def check_can_choose(reward: Any) -> None:
    """Refuse a reward that cannot choose among a policy's proposals.

    Raises:
        ValueError: It has no way "chunk" to become an action scorer.
    """
    ways = list(reward.action_scorer_ways())
    if "chunk" not in ways:
        raise ValueError(
            f"The reward '{REWARDS.name_of(type(reward.config))}' cannot choose among a policy's "
            f"proposals: that takes the way 'chunk' of scoring actions, and its ways are {ways}. "
            "Take a reward that has it, such as 'mlp'."
        )


def check_same_sizes(reward: Any, policy: Any) -> None:
    """Refuse a reward that was trained for other observations or actions than a policy's.

    Raises:
        ValueError: They differ.
    """
    seen = policy.obs_shapes.get(STATE, ("none",))
    judged, acts = (reward.obs_dim, reward.action_dim), (seen[0], policy.action_dim)
    if judged != acts:
        raise ValueError(
            f"The reward judges observations of size {judged[0]} and actions of size {judged[1]}, "
            f"the policy sees {acts[0]} and acts with {acts[1]}: they are of different tasks. Give "
            "a reward that was learned from this task."
        )


def check_policy_fits(policy: Any, env: Any) -> None:
    """Refuse a policy that was trained for other observations or actions than an environment's.

    Raises:
        ValueError: They differ.
    """
    seen = {key: space.shape for key, space in env.observation_space.spaces.items()}
    for key, shape in policy.obs_shapes.items():
        if seen.get(key) != tuple(shape):
            has = f"has it of shape {seen[key]}" if key in seen else f"has only {sorted(seen)}"
            raise ValueError(
                f"The policy observes '{key}' of shape {tuple(shape)}, and {env.env_id} {has}: it "
                "was trained for another task or another arm."
            )
    if (policy.action_dim,) != env.action_space.shape:
        raise ValueError(
            f"The policy's actions have size {policy.action_dim}, and those of {env.env_id} have "
            f"size {env.action_space.shape[0]}: it was trained for another task or another arm."
        )


def check_can_demonstrate(env: str, behaviour: Any, advice: str) -> None:
    """Refuse what no scripted expert can act out.

    Raises:
        ValueError: There is no expert, or the behaviour has no styles; `advice` says what to do.
    """
    check_has_expert(env, advice)
    if not hasattr(behaviour, "styles"):
        name = BEHAVIOURS.name_of(type(behaviour))
        raise ValueError(f"The behaviour '{name}' has no styles for scripted experts. {advice}")


def check_has_expert(env: str, advice: str) -> None:
    """Refuse an environment in which nobody can act.

    Raises:
        ValueError: There is no scripted expert; `advice` says what to do.
    """
    if not has_expert(env):
        raise ValueError(f"There is no scripted expert for '{env}'. {advice}")


def check_demonstrations(store: EpisodeStore, config: AlignConfig) -> None:
    """Refuse demonstrations that a policy for the environment cannot be cloned from.

    Raises:
        DataError: There are none, none succeeded, or they are of another environment, or their
            observations or actions of another size than the environment's.
    """
    from robopref.envs.make import make_env

    if not len(store):
        raise DataError(f"'{store.root}' holds no episodes, so there is nothing to imitate.")
    env: Any = make_env(config.env)
    env.close()
    episode = next(iter(store))
    if STATE not in episode.obs:
        raise DataError(f"'{store.root}' has no '{STATE}', which the policy is to see.")
    _check_size(store, config.env, STATE, episode.state, env.observation_space[STATE])
    _check_size(store, config.env, "action", episode.action, env.action_space)
    _check_same_env(store, config.env)
    if config.knows_success and not any(e.succeeded for e in store):
        raise DataError(
            f"None of the {len(store)} demonstrations in '{store.root}' succeeded, so there is "
            "nothing to imitate. If success was not recorded, add --no-knows-success."
        )


def _check_size(store: EpisodeStore, env: str, key: str, value: np.ndarray, space: Any) -> None:
    if value.shape[1:] != space.shape:
        raise DataError(
            f"The demonstrations in '{store.root}' have '{key}' of shape {value.shape[1:]}, but "
            f"'{env}' has {space.shape}: they are of another environment."
        )


def _check_same_env(store: EpisodeStore, env: str) -> None:
    """Refuse episodes of another environment; where an import does not know its own, all pass."""
    for other in sorted({row.env for row in store.rows}):
        if _without_module(other) != _without_module(env) and _is_known(other):
            raise DataError(
                f"The demonstrations in '{store.root}' are of '{other}', not of '{env}'. Give "
                f"demonstrations of that environment, or choose --env {other}."
            )


def _without_module(env: str) -> str:
    """Return the name without the module that registers it: "gymnasium/module:id" is one of two."""
    adapter, _, task = env.partition("/")
    return f"{adapter}/{task.rpartition(':')[2]}"


def _is_known(env: str) -> bool:
    adapter, _, task = env.partition("/")
    if adapter not in ENVS:
        return False
    try:
        from_dict(ENVS.config_class(adapter), {"task": task})
    except (ConfigError, UnknownNameError):
        return False
    return True
