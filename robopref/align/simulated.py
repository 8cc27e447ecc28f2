"""The way "simulate" from a reward to a choice among candidates: try each, judge what came of it.

Each candidate is executed in a copy of the environment from the state that the episode has come to,
and the policy goes on from there to the end; the reward judges the whole episode, what was and what
would be. Nothing is foretold, so that it is the upper bound of what choosing by this reward can
reach. It takes a simulator, and as many episodes at every decision as there are candidates.

Shapes: N candidates, Tp chunk, Da action size, Ds simulator state, Do what the reward sees.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robopref.align.actors import Actor, PolicyActor
from robopref.align.shown import Shown
from robopref.data.episode import batch_segments
from robopref.errors import check_at_least
from robopref.protocols import Environment
from robopref.types import STATE, Obs, SimState


@dataclass(frozen=True)
class SimulatedSpec:
    """A saved policy that tries N of its own proposals in the simulator before each decision.

    Args:
        policy: Directory of the policy.
        reward: Directory of the reward that judges.
        config: The run's settings: its environment, time limit, what the reward sees, and whether
            what fails is worse than all that succeeds (`use_success`).
        num_candidates: Proposals at each decision.

    Raises:
        ValueError: `num_candidates` is below 1.
    """

    policy: Path
    reward: Path
    config: Any
    num_candidates: int = 8

    def __post_init__(self) -> None:
        """Check the range."""
        check_at_least("num_candidates", self.num_candidates, 1)

    @property
    def obs_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of what the policy observes, by key."""
        from robopref.policies.serialization import read_obs_shapes

        return read_obs_shapes(self.policy)

    def build(self, envs: Sequence[Environment]) -> Actor:
        """Load both and build the actor.

        Raises:
            ValueError: An environment has no states to come back to.
        """
        from robopref.policies.serialization import load_policy
        from robopref.rewards.serialization import load_reward

        if not all(getattr(env, "has_states", True) for env in envs):
            raise ValueError(
                f"Candidates are tried from a state to come back to, and '{envs[0].env_id}' has "
                "none. Choose by a critic of the reward."
            )
        return _SimulatedActor(self, load_policy(self.policy), load_reward(self.reward), list(envs))


@dataclass(eq=False)
class _Way:
    """What one episode has gone through, as far as the reward looks at it."""

    seen: list[np.ndarray] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)

    def followed_by(
        self, seen: Sequence[np.ndarray], actions: Sequence[np.ndarray]
    ) -> tuple[Obs, np.ndarray]:
        """Return it and what would come next, as a segment (L, Do), (L, Da)."""
        return {STATE: np.stack([*self.seen, *seen])}, np.stack([*self.actions, *actions])


class _SimulatedActor(PolicyActor):
    def __init__(self, spec: SimulatedSpec, policy: Any, reward: Any, envs: list[Any]) -> None:
        super().__init__(policy)
        self._reward = reward
        self._num = spec.num_candidates
        self._use_success = spec.config.use_success and spec.config.knows_success
        # It keeps no features: what is only imagined is never seen again.
        self._shown = Shown(spec.config, Path())
        self._envs = envs
        self._trial = _Trial(spec, policy, envs[0])
        self._ways: list[_Way] = []

    def begin(self, seeds: Sequence[int]) -> None:
        super().begin(seeds)
        self._ways = [_Way() for _ in seeds]
        self._states: list[SimState | None] = [None] * len(seeds)
        self._goes_on = [True] * len(seeds)

    def act(self, obs: Sequence[Obs]) -> np.ndarray:
        self._look_around()
        is_due = self._step % self._every == 0
        action = super().act(obs)
        for place, way in enumerate(self._ways):
            if is_due and self._goes_on[place]:
                way.seen += self._see([self._state_of(place)], [obs[place]])
                way.actions.append(action[place])
        return action

    def _look_around(self) -> None:
        """Note where the episodes are; in one that is over nothing has changed since."""
        for place, env in enumerate(self._envs):
            before, now = self._states[place], env.get_state()
            self._goes_on[place] = before is None or not np.array_equal(before.step, now.step)
            self._states[place] = now

    def _state_of(self, place: int) -> SimState:
        state = self._states[place]
        assert state is not None
        return state

    @property
    def _every(self) -> int:
        return self._shown.every if self._shown.cameras else 1

    def _see(self, states: Sequence[SimState], obs: Sequence[Obs]) -> list[np.ndarray]:
        """Return what the reward sees of each state of one episode, (Do,) each."""
        if not self._shown.cameras:
            return [one[STATE] for one in obs]
        if not states:
            return []
        steps = np.stack([state.step for state in states])
        return list(self._shown.look(steps, states[0].episode))

    def _predict(self) -> np.ndarray:
        chunks = [self._choose(place) for place in range(len(self._envs))]
        nothing = np.zeros_like(next(chunk for chunk in chunks if chunk is not None))
        return np.stack([nothing if chunk is None else chunk for chunk in chunks])

    def _choose(self, place: int) -> np.ndarray | None:
        """Return the proposal of one episode whose outcome the reward likes most, (Tp, Da)."""
        if not self._goes_on[place]:
            return None
        history = {key: value[place : place + 1] for key, value in self._history.items()}
        tried = self._trial.run(self._state_of(place), history, self._num, self._generator)
        # Pictures are due at the same steps as if the episode had gone on by itself.
        due = slice(-self._step % self._every, None, self._every)
        seen = iter(
            self._see(
                [state for one in tried.states for state in one[due]],
                [obs for one in tried.obs for obs in one[due]],
            )
        )
        outcomes = [
            self._ways[place].followed_by([next(seen) for _ in actions[due]], actions[due])
            for actions in tried.actions
        ]
        worth = self._reward.segment_return(batch_segments(outcomes))
        if self._use_success and any(tried.succeeded):
            worth = np.where(tried.succeeded, worth, -np.inf)
        chosen: np.ndarray = tried.chunks[int(np.argmax(worth))]
        return chosen


@dataclass(eq=False)
class _Tried:
    """What came of each candidate: the states and observations before each action, and these."""

    chunks: np.ndarray
    states: list[list[SimState]]
    obs: list[list[Obs]]
    actions: list[list[np.ndarray]]
    succeeded: list[bool]


class _Trial:
    """Copies of an environment in which candidates are tried, made once."""

    def __init__(self, spec: SimulatedSpec, policy: Any, env: Any) -> None:
        self._spec = spec
        self._policy = policy
        self._space = env.action_space
        self._copies: list[Any] = []

    def run(
        self, state: SimState, history: dict[str, np.ndarray], num: int, generator: Any
    ) -> _Tried:
        """Execute `num` proposals from `state`, and then the policy's own way to the end."""
        import torch

        with torch.inference_mode():
            obs = {key: torch.from_numpy(value) for key, value in history.items()}
            chunks = self._policy.sample(obs, num, generator)[0].numpy()
        actor = _After(self._policy, history, chunks, generator)
        every = range(num)
        found = _Tried(
            chunks, [[] for _ in every], [[] for _ in every], [[] for _ in every], [False] * num
        )
        copies = self._made(num)
        now = [copy.set_state(state) for copy in copies]
        left = list(every)
        while left:
            actions = actor.act(now).clip(self._space.low, self._space.high).astype(np.float32)
            for i in tuple(left):
                found.states[i].append(copies[i].get_state())
                found.obs[i].append(now[i])
                found.actions[i].append(actions[i])
                now[i], _, terminated, truncated, info = copies[i].step(actions[i])
                found.succeeded[i] |= bool(info.get("success", False))
                if terminated or truncated:
                    left.remove(i)
        return found

    def _made(self, num: int) -> list[Any]:
        from robopref.envs.make import make_env

        config = self._spec.config
        limit = config.max_episode_steps
        options = {} if limit is None else {"max_episode_steps": limit}
        while len(self._copies) < num:
            copy: Any = make_env(config.env, **options)
            copy.reset(seed=0)
            self._copies.append(copy)
        return self._copies


class _After(PolicyActor):
    """Executes one given chunk in each copy, and goes on as the policy does."""

    def __init__(
        self, policy: Any, history: dict[str, np.ndarray], chunks: np.ndarray, generator: Any
    ) -> None:
        super().__init__(policy)
        self._first: np.ndarray | None = chunks
        self._history = {k: np.repeat(v, len(chunks), axis=0) for k, v in history.items()}
        # The newest observation of the history is the one that `act` is about to be given.
        self._history = {k: np.roll(v, 1, axis=1) for k, v in self._history.items()}
        self._generator = generator

    def _predict(self) -> np.ndarray:
        if self._first is None:
            return super()._predict()
        chunks, self._first = self._first, None
        return chunks
