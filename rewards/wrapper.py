"""A learned reward in place of an environment's own, for any code that trains on environments.

A reward model sees segments, and an environment pays step by step. What a step is paid is what it
adds to the learned return of the episode so far, so that the payments of an episode add up to the
return that the model gives the recorded episode, wherever it ends. Of a reward with a number for
each step that is the number itself. Of one that scores decisions of Ta steps (`MLPReward` with
`n_action_steps`) the return grows while the decision is carried out: after k steps it stands at
k / Ta of the score of the actions so far, the last one repeated, and after Ta at the whole score.

Such a payment depends on what was done since the decision began, not only on the last observation.
Policies that act step by step are best trained on a reward with `n_action_steps` 1.

Shapes: I environments, L steps of the longest decision, T episode steps, Da action size.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from jaxtyping import Float

from robopref.errors import check_at_least
from robopref.protocols import RewardModel
from robopref.types import STATE, SegmentBatch

ENVIRONMENT_REWARD = "environment_reward"
"""Key in `info` of what the environment itself paid."""


class LearnedReward(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment that pays the learned reward; its own is in `info["environment_reward"]`.

    Observations and actions stay as they are. Actions are clipped to the action space before they
    are scored, so that nothing is to be gained by asking for what no arm does.

    Stable-Baselines3 takes no observation key with a point in it; flatten the observations outside:

        PPO("MlpPolicy", gymnasium.wrappers.FlattenObservation(LearnedReward(env, reward)))

    Args:
        env: Observations are dictionaries by LeRobot key, or a vector, taken as the state.
        reward: What pays.
        decision_steps: Steps that `reward` scores by themselves: its return of an episode is the
            sum over windows of so many steps. By default the `n_action_steps` of its config; if it
            has none, every step is judged with the whole episode so far, which is right for every
            reward and takes the longest.

    Raises:
        ValueError: The spaces are no dictionary or vector, or `decision_steps` is below 1.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        reward: RewardModel,
        *,
        decision_steps: int | None = None,
    ) -> None:
        super().__init__(env)
        _check_spaces(env.observation_space, env.action_space)
        self._returns = RunningReturns(reward, 1, _decision_steps(reward, decision_steps))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        obs, info = self.env.reset(seed=seed, options=options)
        self._returns.start(0, _by_key(obs))
        return obs, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act once, and return what that adds to the learned return of the episode.

        Raises:
            ValueError: The learned reward is not finite.
        """
        obs, own, terminated, truncated, info = self.env.step(action)
        scored = _clipped(action, self.action_space)
        paid = self._returns.add([0], scored[None], [_by_key(obs)])
        return obs, float(paid[0]), terminated, truncated, {**info, ENVIRONMENT_REWARD: own}


class LearnedVectorReward(VectorWrapper):
    """Environments in parallel that pay the learned reward, scored in one batch.

    As `LearnedReward`; `info["environment_reward"]` is an array. The step by which an environment
    resets itself is paid nothing.

    Args:
        env: Environments.
        reward: What pays.
        decision_steps: As for `LearnedReward`.

    Raises:
        ValueError: The spaces are no dictionary or vector, or `decision_steps` is below 1.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        reward: RewardModel,
        *,
        decision_steps: int | None = None,
    ) -> None:
        super().__init__(env)
        _check_spaces(env.single_observation_space, env.single_action_space)
        steps = _decision_steps(reward, decision_steps)
        self._returns = RunningReturns(reward, env.num_envs, steps)
        self._mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._resets = np.zeros(env.num_envs, bool)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start episodes: all, or those of `options["reset_mask"]`."""
        # Gymnasium takes the mask out of the options.
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        obs, info = self.env.reset(seed=seed, options=options)
        self._start(np.flatnonzero(mask), obs)
        self._resets = self._resets & ~mask
        return obs, info

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Act once everywhere, and return what that adds to the learned returns.

        Raises:
            ValueError: The learned reward is not finite.
        """
        obs, own, terminated, truncated, info = self.env.step(actions)
        acted, ended = ~self._resets, terminated | truncated
        paid = np.zeros(self.num_envs)
        scored = _clipped(actions, self.single_action_space)
        moved = np.flatnonzero(acted)
        if len(moved):
            after = [_by_key(obs, i) for i in moved.tolist()]
            paid[moved] = self._returns.add(moved.tolist(), scored[moved], after)
        same_step = self._mode == AutoresetMode.SAME_STEP
        self._start(np.flatnonzero(ended if same_step else ~acted), obs)
        self._resets = ended & (self._mode == AutoresetMode.NEXT_STEP)
        return obs, paid, terminated, truncated, {
            **info, ENVIRONMENT_REWARD: own, f"_{ENVIRONMENT_REWARD}": acted,
        }  # fmt: skip

    def _start(self, indices: np.ndarray, obs: Any) -> None:
        for index in indices.tolist():
            self._returns.start(index, _by_key(obs, index))


class RunningReturns:
    """What each step adds to the learned return of the decision that it belongs to.

    Args:
        reward: Gives the returns.
        num_envs: I.
        decision_steps: Steps of a decision; None for those of the episode.
    """

    def __init__(self, reward: RewardModel, num_envs: int, decision_steps: int | None) -> None:
        self.reward = reward
        self.decision_steps = decision_steps
        self._newest: list[Mapping[str, np.ndarray]] = [{}] * num_envs
        self._steps: list[list[tuple[Mapping[str, np.ndarray], np.ndarray]]]
        self._steps = [[] for _ in range(num_envs)]
        self._paid = np.zeros(num_envs)

    def start(self, index: int, obs: Mapping[str, np.ndarray]) -> None:
        """Begin an episode of the environment at `index` with its first observation."""
        self._newest[index] = obs
        self._steps[index] = []
        self._paid[index] = 0.0

    def add(
        self,
        indices: Sequence[int],
        actions: Float[np.ndarray, "I Da"],
        obs: Sequence[Mapping[str, np.ndarray]],
    ) -> Float[np.ndarray, " I"]:
        """Return what the actions of the environments at `indices` add.

        Args:
            indices: Which environments acted.
            actions: What they did.
            obs: What they observed after it.

        Raises:
            ValueError: The learned reward is not finite.
        """
        chosen = list(indices)
        for index, action, after in zip(chosen, actions, obs, strict=True):
            self._steps[index].append((self._newest[index], action))
            self._newest[index] = after
        returns = self.reward.segment_return(_segments([self._steps[i] for i in chosen]))
        if not np.isfinite(returns).all():
            raise ValueError("The learned reward returned values that are not finite.")
        added: np.ndarray = returns.astype(np.float64) - self._paid[chosen]
        self._paid[chosen] = returns
        for index in chosen:
            if len(self._steps[index]) == self.decision_steps:
                self.start(index, self._newest[index])
        return added


def _segments(
    steps: Sequence[Sequence[tuple[Mapping[str, np.ndarray], np.ndarray]]],
) -> SegmentBatch:
    """Return the steps of each decision as a segment, padded with its last step."""
    length = max(len(decision) for decision in steps)
    padded = [[*decision, *([decision[-1]] * (length - len(decision)))] for decision in steps]
    obs = {
        key: np.array([[before[key] for before, _ in decision] for decision in padded])
        for key in padded[0][0][0]
    }
    action = np.array([[action for _, action in decision] for decision in padded], np.float32)
    lengths = np.array([len(decision) for decision in steps])
    return SegmentBatch(obs, action, np.arange(length) < lengths[:, None])


def _by_key(obs: Any, index: int | None = None) -> dict[str, np.ndarray]:
    """Return a copy of observations by LeRobot key, of one environment or of that at `index`."""
    named = obs if isinstance(obs, Mapping) else {STATE: obs}
    rows = ... if index is None else index
    return {key: np.array(np.asarray(value)[rows]) for key, value in named.items()}


def _clipped(action: Any, space: Any) -> np.ndarray:
    return np.clip(np.asarray(action, np.float32), space.low, space.high)


def _decision_steps(reward: RewardModel, given: int | None) -> int | None:
    """Return `given`, or what the reward's config says."""
    if given is not None:
        check_at_least("decision_steps", given, 1)
        return given
    steps: int | None = getattr(getattr(reward, "config", None), "n_action_steps", None)
    return steps


def _check_spaces(observation: Any, action: Any) -> None:
    """Raise unless observations are a dictionary or a vector, and actions a vector."""
    vector = isinstance(observation, gymnasium.spaces.Box) and len(observation.shape) == 1
    if not vector and not isinstance(observation, gymnasium.spaces.Dict):
        raise ValueError(
            "A learned reward sees observations by LeRobot key, or a vector taken as "
            f"'{STATE}'; this environment gives {observation}. "
            "Wrap it by robopref.envs.make.make_env('gymnasium/<id>') first."
        )
    if not isinstance(action, gymnasium.spaces.Box) or len(action.shape) != 1:
        raise ValueError(
            f"A learned reward scores actions that are vectors; this environment takes {action}. "
            "Wrap it by robopref.envs.make.make_env('gymnasium/<id>') first."
        )
