"""Who acts in a share of a recipe: an expert with noise, who may look at another episode.

An expert who looks at another episode than the one that is recorded acts in both: its actions make
sense there, and here they are a skilled movement to the wrong place.

Shapes: B episodes of a group, Do observation size, Da action size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robopref.align.actors import Actor
from robopref.errors import check_choice
from robopref.protocols import Environment
from robopref.seeding import make_rng
from robopref.types import Obs

SIGHTS = ("own", "other-goal", "other-task", "nothing")


@dataclass(frozen=True)
class Share:
    """One kind of episodes of a recipe.

    Args:
        name: Name of the share, kept with its episodes.
        sees: What the expert looks at: the episode itself ("own"), one of the same task with
            another start and goal, one of another task; or "nothing", for random actions.
        noise: Standard deviation of the Gaussian noise on the expert's actions, in their units.
    """

    name: str
    sees: str
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Check the name of the sight."""
        check_choice("sees", self.sees, SIGHTS)


@dataclass(frozen=True)
class ShareSpec:
    """Acts as a share says.

    Args:
        share: What to do.
        seed: Decides, with the start seed of an episode, everything random in it.
        max_episode_steps: Time limit of the recorded episodes; None for the environment's own.
    """

    share: Share
    seed: int = 0
    max_episode_steps: int | None = None

    def build(self, envs: Sequence[Environment]) -> Actor:
        """Build the actor."""
        return _ShareActor(self, list(envs))


class _ShareActor:
    def __init__(self, spec: ShareSpec, envs: list[Environment]) -> None:
        self.spec = spec
        self.envs = envs
        self._experts: list[_Expert] = []

    def begin(self, seeds: Sequence[int]) -> None:
        pairs = zip(self.envs, seeds, strict=True)
        self._experts = [_Expert(self.spec, env, seed) for env, seed in pairs]

    def act(self, obs: Sequence[Obs]) -> np.ndarray:
        actions = [expert.act(one) for expert, one in zip(self._experts, obs, strict=True)]
        return np.stack(actions)

    def describe(self) -> Sequence[Mapping[str, Any]]:
        return [expert.facts for expert in self._experts]


class _Expert:
    """Acts in one episode; what it does depends on the episode's seed and not on its group."""

    def __init__(self, spec: ShareSpec, env: Environment, seed: int) -> None:
        from robopref.envs.scripted import RandomPolicy, scripted_policy

        rng = make_rng(spec.seed, "share", seed)
        self._other: Any = None
        self._seen: Obs | None = None
        self.facts: dict[str, Any] = {}
        if spec.share.sees == "nothing":
            self._policy: Any = RandomPolicy(env.action_space)
        else:
            if spec.share.sees != "own":
                seed = self._look_away(spec, env, rng)
            seen = self._other or env
            self.facts = {"expert": seen.env_id, "expert_seed": seed, "noise": spec.share.noise}
            self._policy = scripted_policy(seen, _NoisyStyle(spec.share.noise))
        self._policy.reset(rng)

    def _look_away(self, spec: ShareSpec, env: Environment, rng: np.random.Generator) -> int:
        """Begin the other episode, and return its seed."""
        from robopref.envs.make import make_env
        from robopref.envs.scripted import sibling_envs

        env_id = env.env_id
        if spec.share.sees == "other-task":
            siblings = sibling_envs(env_id)
            env_id = siblings[rng.integers(len(siblings))]
        limit = spec.max_episode_steps
        options: dict[str, Any] = {} if limit is None else {"max_episode_steps": limit}
        self._other = make_env(env_id, terminate_on_success=False, **options)
        seed = int(rng.integers(2**31))
        self._seen, _ = self._other.reset(seed=seed)
        return seed

    def act(self, obs: Obs) -> np.ndarray:
        """Return an action for the recorded episode, which is done in the other one as well."""
        action: np.ndarray = self._policy.act(obs if self._seen is None else self._seen)
        if self._other is not None:
            self._seen, *_ = self._other.step(action)
        return action


@dataclass
class _NoisyStyle:
    """Adds noise to all of an action before it is clipped, as IPL's recipe does.

    An expert far from where it wants to be asks for much more than 1, so that noise hardly turns
    it; noise after clipping would.
    """

    noise: float
    name: str = "noisy"

    def begin(self, state: np.ndarray, target: slice, rng: np.random.Generator) -> None:
        self._rng = rng

    def bend(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        noisy: np.ndarray = action + self.noise * self._rng.standard_normal(action.shape)
        return noisy
