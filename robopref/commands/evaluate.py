"""`robopref evaluate`: how often a policy succeeds and shows a behaviour."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robopref.config import component, resolve


@dataclass(frozen=True)
class EvaluateCommand:
    """Measure success, preferred and joint rate of a policy on test starts.

    Example:
        robopref evaluate --policy runs/demo/aligned --num-episodes 20
    """

    policy: Path
    """Run of the policy."""
    reward: Path | None = None
    """Run of a reward, by which the policy's proposals are chosen."""
    env: str = "metaworld/button-press-topdown-v3"
    """Environment, as "<adapter>/<task>"."""
    behaviour: Any = component("robopref.envs:BEHAVIOURS", default="detour-right")
    """Behaviour that counts as preferred."""
    num_episodes: int = 50
    """Test episodes."""
    max_episode_steps: int | None = 200
    """Time limit; None for the environment's own."""
    seed: int = 0
    """Decides the starts."""
    num_workers: int = 2
    """Processes that record."""

    def run(self) -> None:
        """Record test episodes in memory, and print the rates."""
        from robopref.align.actors import policy_spec
        from robopref.align.collect import Plan, Workers
        from robopref.align.evaluate import evaluate_episodes
        from robopref.commands.present import print_evaluations

        plan = Plan(
            env=self.env, actor=policy_spec(self.policy, self.reward), seed=self.seed,
            start_set="test", num_episodes=self.num_episodes,
            max_episode_steps=self.max_episode_steps,
        )  # fmt: skip
        with Workers(self.num_workers) as workers:
            episodes = [e for group in workers.record(plan.groups()) for e in group]
        name = "policy" if self.reward is None else "selected"
        print_evaluations({name: evaluate_episodes(episodes, resolve(self, "behaviour"))})
        print(f"Next:   robopref collect --policy {self.policy} --env {self.env} --out runs/more")
