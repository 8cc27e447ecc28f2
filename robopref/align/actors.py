"""Actors: what drives a group of episodes in lockstep, described so that a worker can build it.

A spec is plain data and crosses to worker processes; it builds the actor there. All episodes of a
group start together, so chunk boundaries coincide and one batched pass serves the whole group.

Shapes: B episodes of the group, To observation steps, N candidates, Tp chunk, Da action size.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from robopref.config import component, load_yaml, save_yaml
from robopref.locations import as_url
from robopref.protocols import Environment
from robopref.seeding import make_generator, make_rng
from robopref.types import Obs

STEERING = "steering.yaml"


@runtime_checkable
class Actor(Protocol):
    """Acts in B episodes at once."""

    def begin(self, seeds: Sequence[int]) -> None:
        """Start B episodes with these start seeds."""
        ...

    def act(self, obs: Sequence[Obs]) -> np.ndarray:
        """Return actions (B, Da) for the newest observations."""
        ...


@runtime_checkable
class Describing(Protocol):
    """An actor that does not act alike in all episodes of a group."""

    def describe(self) -> Sequence[Mapping[str, Any]]:
        """Return what is known of who acts in each episode, as plain values for its metadata."""
        ...


@runtime_checkable
class Stopping(Protocol):
    """An actor that sees for itself when there is nothing left to do."""

    def has_stopped(self, obs: Sequence[Obs]) -> Sequence[bool]:
        """Return which episodes end here; asked before each action, for the newest observations."""
        ...


@runtime_checkable
class ActorSpec(Protocol):
    """Plain description of an actor."""

    def build(self, envs: Sequence[Environment]) -> Actor:
        """Build the actor for these environments, one an episode."""
        ...


@dataclass(frozen=True)
class ScriptedSpec:
    """A scripted expert, showing the styles of a behaviour.

    Args:
        behaviour: Config of the behaviour; one without styles gets the expert's own way.
        preferred_share: Share of episodes in the preferred style; the others show the other one.
        noise: Standard deviation of the noise on its motions, in units of the action.
        seed: Decides which episode shows which style.
    """

    behaviour: Any
    preferred_share: float = 0.5
    noise: float = 0.0
    seed: int = 0

    def build(self, envs: Sequence[Environment]) -> Actor:
        """Build the actor."""
        return _ScriptedActor(self, list(envs))


class _ScriptedActor:
    def __init__(self, spec: ScriptedSpec, envs: list[Environment]) -> None:
        self.spec = spec
        self.envs = envs
        self._policies: list[Any] = []

    def begin(self, seeds: Sequence[int]) -> None:
        from robopref.envs.scripted import scripted_policy

        self._policies = []
        for env, seed, shown in zip(self.envs, seeds, self._shown(seeds), strict=True):
            # Built anew for each episode: a style keeps what it drew for its episode.
            preferred, other = _styles(self.spec.behaviour)
            rng = make_rng(self.spec.seed, "style", seed)
            style = preferred if shown else other
            self._policies.append(scripted_policy(env, style, rng, noise=self.spec.noise))
            self._policies[-1].reset(rng)

    def _shown(self, seeds: Sequence[int]) -> np.ndarray:
        """Return which episodes show the preferred style: the share of the group, rounded.

        What is left over is drawn, so that the share holds on average for groups of any size.
        """
        rng = make_rng(self.spec.seed, "styles", *seeds)
        num = int(self.spec.preferred_share * len(seeds) + rng.random())
        shown: np.ndarray = rng.permutation(len(seeds)) < num
        return shown

    def act(self, obs: Sequence[Obs]) -> np.ndarray:
        actions = [policy.act(one) for policy, one in zip(self._policies, obs, strict=True)]
        return np.asarray(actions, np.float32)


def _styles(behaviour: Any) -> tuple[Any, Any]:
    """Return a style that shows the behaviour and one that does not; None is no style at all."""
    if not hasattr(behaviour, "styles"):
        return None, None
    styles: tuple[Any, Any] = behaviour.styles()
    return styles


@dataclass(frozen=True)
class PersonSpec:
    """A person at the controls, by whom all that is done is done."""

    def build(self, envs: Sequence[Environment]) -> Actor:
        """Return what stays where it is until a person steers."""
        return StillActor(int(np.prod(envs[0].action_space.shape)))


class StillActor:
    """Stays where it is.

    Args:
        action_dim: Da.
    """

    def __init__(self, action_dim: int) -> None:
        self.action_dim = action_dim

    def begin(self, seeds: Sequence[int]) -> None:
        """Do nothing."""

    def act(self, obs: Sequence[Obs]) -> np.ndarray:
        """Return actions (B, Da) that are zero."""
        return np.zeros((len(obs), self.action_dim), np.float32)

    def act_chunk(self, obs: Sequence[Obs]) -> np.ndarray:
        """Return chunks (B, 1, Da) that are zero."""
        return self.act(obs)[:, None]


@dataclass(frozen=True)
class PolicySpec:
    """A saved policy, alone or steered by a score each time it acts.

    Args:
        policy: Directory of the policy.
        reward: Directory of what scores: a reward, or a critic of one.
        selection: How the score steers, such as best-of-N; None for the policy alone.
        tuned: Directory of a policy tuned from `policy`, whose likelihood over it scores.
    """

    policy: Path
    reward: Path | None = None
    selection: Any = field(default=None)
    tuned: Path | None = None

    @property
    def obs_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of what the policy observes, by key."""
        from robopref.policies.serialization import read_obs_shapes

        return read_obs_shapes(self.policy)

    def load(self, device: Any = "cpu", *, task: str = "") -> Any:
        """Load the policy, and what steers it, onto a device.

        Args:
            device: Where they compute.
            task: What is to be done, in words, for a policy that is told.
        """
        from robopref.policies.serialization import load_policy

        policy: Any = load_policy(self.policy).to(device)
        if hasattr(policy, "task"):
            policy.task = task
        if self.selection is None:
            return policy
        return self.selection.build(policy, self._scorer(policy, device))

    def build(self, envs: Sequence[Environment]) -> Actor:
        """Load the policy and build the actor."""
        return PolicyActor(self.load(task=envs[0].task_description))

    def _scorer(self, policy: Any, device: Any) -> Any:
        from robopref.policies.serialization import load_policy
        from robopref.rewards.critic import load_scorer
        from robopref.scorers import CombinedScorer, ImplicitScorer

        scorers: list[Any] = []
        if self.reward is not None:
            scorers.append(load_scorer(self.reward).to(device))
        if self.tuned is not None:
            scorers.append(ImplicitScorer(load_policy(self.tuned).to(device), policy))
        return scorers[0] if len(scorers) == 1 else CombinedScorer(scorers)


@dataclass(frozen=True)
class Steering:
    """What a run's folder says about how its policy is steered; saved beside it as YAML."""

    method: Any = component("robopref.policies.finetune:FINETUNE")
    """A method that works at run time."""


def save_steered(spec: PolicySpec, directory: Path) -> None:
    """Copy a policy and all that steers it into a run's folder, which then needs nothing else."""
    parts = {"policy": spec.policy, "reward": spec.reward, "tuned": spec.tuned}
    for name, source in parts.items():
        if source is not None:
            shutil.copytree(source, directory / name, dirs_exist_ok=True)
    if spec.selection is not None:
        save_yaml(Steering(spec.selection), directory / STEERING)


def policy_spec(policy: Path, reward: Path | None = None) -> PolicySpec:
    """Return the spec of a policy's run, steered as the run says.

    Args:
        policy: Run directory of a policy, or the saved policy itself.
        reward: Run directory of a reward, or the saved reward itself, by which the policy chooses
            then with the default selection.

    Raises:
        FileNotFoundError: There is no policy or no reward in that place.
        ValueError: The reward cannot choose, or judges other observations or actions than the
            policy's, or the policy is steered already.
    """
    from robopref.align.checks import check_can_choose, check_same_sizes
    from robopref.policies.selection import BestOfNConfig
    from robopref.policies.serialization import load_policy
    from robopref.rewards.serialization import load_reward

    saved = find_saved(policy, "policy")
    steered = (policy / STEERING).is_file()
    if reward is None:
        if not steered:
            return PolicySpec(saved)
        tuned = policy / "tuned"
        method = load_yaml(Steering, policy / STEERING).method
        own = policy / "reward" if method.uses_reward else None
        return PolicySpec(saved, own, method, tuned if method.tuned_by is not None else None)
    if steered:
        raise ValueError(
            f"The policy in '{policy}' is steered by a score of its own, as {STEERING} there says. "
            f"Leave --reward out, or give '{saved}' for the policy alone."
        )
    spec = PolicySpec(saved, find_saved(reward, "reward"), BestOfNConfig())
    loaded = load_reward(find_saved(reward, "reward"))
    check_can_choose(loaded)
    check_same_sizes(loaded, load_policy(saved))
    return spec


def find_saved(directory: Path, kind: str) -> Path:
    """Return where a policy or reward is: in `directory`, or in that folder of a run.

    Args:
        directory: Run directory, or the saved model itself; or hf://owner/name for a policy on the
            hub, which is downloaded.
        kind: "policy" or "reward".

    Raises:
        FileNotFoundError: Neither holds one.
    """
    url = as_url(directory)
    if kind == "policy" and url is not None and url.startswith("hf://"):
        from robopref.policies.serialization import fetch_policy

        return fetch_policy(url.removeprefix("hf://"))
    for place in (directory, directory / kind):
        if (place / "config.json").is_file():
            return place
    raise FileNotFoundError(
        f"No {kind} in '{directory}': neither it nor '{directory / kind}' holds a config.json."
    )


class PolicyActor:
    """Drives a `Policy` of the protocols: keeps observations, executes chunks."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy
        self._step = 0
        self._history: dict[str, np.ndarray] = {}
        self._chunk = np.zeros((0, 0, 0), np.float32)
        self._generator = make_generator(0)

    def begin(self, seeds: Sequence[int]) -> None:
        """Forget everything; one generator serves the group, so a group repeats exactly."""
        self._step = 0
        self._history = {}
        self._generator = make_generator(0, "act", *seeds)

    def act(self, obs: Sequence[Obs]) -> np.ndarray:
        """Return the next action of each chunk, sampling new chunks when they are used up."""
        self._remember(obs)
        place = self._step % self.policy.n_action_steps
        if place == 0:
            self._chunk = self._predict()
        self._step += 1
        action: np.ndarray = self._chunk[:, place]
        return action

    def act_chunk(self, obs: Sequence[Obs]) -> np.ndarray:
        """Return the chunks (B, Tp, Da) that `act` would begin with, without acting."""
        self._remember(obs)
        chunk = self._predict()
        self._history = {}
        return chunk

    def _remember(self, obs: Sequence[Obs]) -> None:
        for key in obs[0]:
            newest = np.stack([one[key] for one in obs])[:, None]
            if key not in self._history:
                self._history[key] = np.repeat(newest, self.policy.n_obs_steps, axis=1)
            else:
                self._history[key] = np.concatenate([self._history[key][:, 1:], newest], axis=1)

    def _predict(self) -> np.ndarray:
        import torch

        with torch.inference_mode():
            obs = {key: torch.from_numpy(value) for key, value in self._history.items()}
            chunk: np.ndarray = self.policy.predict_action_chunk(obs, self._generator).numpy()
        return chunk
