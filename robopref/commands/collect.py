"""`robopref collect`: record episodes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robopref.config import component, resolve, to_dict
from robopref.errors import check_at_least, check_between


@dataclass(frozen=True)
class CollectCommand:
    """Record episodes of a scripted behaviour, or of a policy, as a LeRobot v3 data set.

    Killed or interrupted, the same command records what is missing.

    Example:
        robopref collect --env metaworld/reach-v3 --behaviour fast --num-episodes 4 --out runs/reach
    """

    out: Path
    """Folder of the data set."""
    env: str = "metaworld/button-press-topdown-v3"
    """Environment, as "<adapter>/<task>"."""
    policy: Path | None = None
    """Run of a policy; without it, scripted experts act."""
    reward: Path | None = None
    """Run of a reward, by which the policy's proposals are chosen."""
    behaviour: Any = component("robopref.envs:BEHAVIOURS", default="detour-right")
    """Behaviour whose two styles the scripted experts show."""
    preferred_share: float = 0.5
    """Share of scripted episodes in the preferred style."""
    num_episodes: int = 50
    """Episodes to record."""
    max_episode_steps: int | None = None
    """Time limit; None for the environment's own."""
    seed: int = 0
    """Decides the starts and everything else random."""
    num_workers: int = 2
    """Processes that record."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("num_episodes", self.num_episodes, 1)
        check_between("preferred_share", self.preferred_share, 0, 1)
        if self.reward is not None and self.policy is None:
            raise ValueError(
                f"`reward` (={self.reward}) chooses among the proposals of a policy, and there is "
                "none: scripted experts propose nothing. Give one with --policy."
            )

    def run(self) -> None:
        """Record what the data set does not have yet."""
        from robopref.align.actors import ScriptedSpec, policy_spec
        from robopref.align.checks import check_can_demonstrate, check_env
        from robopref.align.collect import Plan, Workers, collect, open_or_create
        from robopref.align.run import Run

        check_env(self.env, self.max_episode_steps)
        if self.policy is None:
            behaviour = resolve(self, "behaviour")
            check_can_demonstrate(self.env, behaviour, "Let a policy act with --policy.")
            actor: Any = ScriptedSpec(behaviour, self.preferred_share, 0.1, self.seed)
        else:
            actor = policy_spec(self.policy, self.reward)
        plan = Plan(
            env=self.env, actor=actor, seed=self.seed, start_set="pool",
            num_episodes=self.num_episodes, max_episode_steps=self.max_episode_steps,
            metadata={"name": "collect"}, namespace=self._namespace(),
        )  # fmt: skip
        store = open_or_create(self.out, self.env)
        # What is recorded already came from these settings, or the call is refused.
        Run(self.out, self, may_change=("num_episodes",))
        with Workers(self.num_workers) as workers:
            collect(plan, store, workers)
        successes = sum(episode.succeeded for episode in store)
        print(f"{len(store)} episodes in {self.out}, {successes} successful.")
        print(f"Next:   robopref data info --data {self.out}")

    def _namespace(self) -> str:
        """Return what decides the episodes beside seed and number, so that data sets can merge."""
        settings = to_dict(self)
        for name in ("out", "num_episodes", "num_workers", "seed"):
            del settings[name]
        return json.dumps(settings, sort_keys=True)
