"""Recording one group of episodes in lockstep, in this process."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from robopref.align.actors import Describing, Stopping
from robopref.data.episode import Episode
from robopref.data.schema import is_extra
from robopref.protocols import Environment
from robopref.types import Obs
from robopref.workers import at_end_of_work

NO_PROGRESS = "no progress"
"""In the metadata of an episode that its actor ended, as "stopped"."""

if TYPE_CHECKING:
    from robopref.align.collect import Group, Plan


def record_group(group: "Group") -> list[Episode]:
    """Record one group in this process."""
    plan = group.plan
    if len(group.ids) > 1 and getattr(_envs(plan, 1)[0], "is_real_time", False):
        # Lockstep would let each wait for the others while its arm moves on.
        alone = [
            replace(group, ids=(episode_id,), seeds=(seed,))
            for episode_id, seed in zip(group.ids, group.seeds, strict=True)
        ]
        return [episode for one in alone for episode in record_group(one)]
    envs = _envs(plan, len(group.ids))
    actor = plan.actor.build(envs)
    stop = plan.stop_after_success
    tracks = [Track(env, seed, stop) for env, seed in zip(envs, group.seeds, strict=True)]
    actor.begin(group.seeds)
    while True:
        if isinstance(actor, Stopping):
            for track, stopped in zip(
                tracks, actor.has_stopped([track.obs[-1] for track in tracks]), strict=True
            ):
                track.end_if(stopped)
        if all(track.done for track in tracks):
            break
        actions = actor.act([track.obs[-1] for track in tracks])
        for track, action in zip(tracks, actions, strict=True):
            if not track.done:
                track.step(action)
    known = actor.describe() if isinstance(actor, Describing) else [{}] * len(tracks)
    return [
        track.episode(plan, episode_id, facts)
        for track, episode_id, facts in zip(tracks, group.ids, known, strict=True)
    ]


class Track:
    """What one environment of a group has gone through."""

    def __init__(self, env: Environment, seed: int, stop_after_success: int | None) -> None:
        self.env = env
        self.seed = seed
        self.stop_after_success = stop_after_success
        first, _ = env.reset(seed=seed)
        self.obs: list[Obs] = [first]
        # A real scene has no states to come back to.
        self.states: list[np.ndarray] | None = None
        self.sim_episode: np.ndarray | None = None
        if getattr(env, "has_states", True):
            state = env.get_state()
            self.states, self.sim_episode = [state.step], state.episode
        self.actions: list[np.ndarray] = []
        self.rewards: list[float] = []
        self.successes: list[bool] = []
        self.extras: dict[str, list[np.ndarray]] = {}
        self.facts: dict[str, Any] = dict(getattr(env, "recorded", {}))
        self.terminated = self.truncated = False

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self.terminated or self.truncated

    def step(self, action: np.ndarray) -> None:
        """Act once and keep what came of it."""
        space = self.env.action_space
        action = np.clip(action, space.low, space.high).astype(np.float32)
        obs, reward, self.terminated, self.truncated, info = self.env.step(action)
        self.obs.append(obs)
        if self.states is not None:
            self.states.append(self.env.get_state().step)
        self.actions.append(action)
        self.rewards.append(float(reward))
        self.successes.append(bool(info.get("success", False)))
        for key, value in info.items():
            if is_extra(key):
                self.extras.setdefault(key, []).append(value)
        if "stopped" in info:
            self.facts["stopped"] = info["stopped"]
        if sum(self.successes) == self.stop_after_success:
            self.truncated = True

    def end_if(self, stopped: bool) -> None:
        """End the episode where its actor has stopped; an episode has one action at least."""
        if stopped and self.actions and not self.done:
            self.truncated = True
            self.facts["stopped"] = NO_PROGRESS

    def episode(self, plan: "Plan", episode_id: str, facts: Mapping[str, Any]) -> Episode:
        """Return what was recorded, with what else is known of it."""
        env: Any = self.env
        return Episode(
            id=episode_id,
            obs={key: np.stack([one[key] for one in self.obs]) for key in self.obs[0]},
            action=np.stack(self.actions),
            reward=np.array(self.rewards, np.float32),
            success=np.array(self.successes),
            terminated=self.terminated,
            truncated=self.truncated,
            env=plan.env,
            task=env.task_description,
            seed=self.seed,
            fps=env.fps,
            sim_states=None if self.states is None else np.stack(self.states),
            sim_episode=self.sim_episode,
            metadata={
                **plan.metadata,
                **facts,
                **self.facts,
                "start_set": plan.start_set,
            },
            # There is no action after the last one: what was sent stays.
            extras={key: np.stack([*rows, rows[-1]]) for key, rows in self.extras.items()},
        )


_ENVS: dict[tuple[Any, ...], list[Environment]] = {}


def _envs(plan: "Plan", num: int) -> list[Environment]:
    """Return `num` environments of this process, made once and kept."""
    from robopref.envs.make import make_env

    options = dict(plan.env_options)
    if plan.max_episode_steps is not None:
        options["max_episode_steps"] = plan.max_episode_steps
    if plan.stop_after_success is not None:
        options["terminate_on_success"] = False
    cameras = plan.recorded_cameras()
    if cameras:
        options |= {"cameras": tuple(cameras), "image_px": next(iter(cameras.values()))}
    kept = _ENVS.setdefault((plan.env, *options.items()), [])
    while len(kept) < num:
        kept.append(make_env(plan.env, **options))
    return kept[:num]


@at_end_of_work
def close_envs() -> None:
    """Close the environments of this process."""
    for envs in _ENVS.values():
        for env in envs:
            env.close()
    _ENVS.clear()
