"""`robopref evaluate`: how often a policy succeeds, and shows a behaviour if one is preferred."""

import json
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from robopref.commands import following
from robopref.commands.collect import check_policy_name, name_policy
from robopref.commands.following import command
from robopref.config import component, resolve, to_dict
from robopref.ray_workers import RayConfig


@dataclass(frozen=True)
class EvaluateCommand:
    """Measure how often a policy succeeds on test starts, and how often as is preferred.

    Prints success, preferred and joint rate; where no behaviour is preferred, success and return.

    Example:
        robopref evaluate --policy runs/demo/aligned --num-episodes 20 --out runs/evaluation
    """

    policy: Path
    """Run of the policy."""
    reward: Path | None = None
    """Run of a reward, by which the policy's proposals are chosen."""
    env: str = "metaworld/button-press-topdown-v3"
    """Environment, as "<adapter>/<task>"."""
    behaviour: Any = component("robopref.envs:BEHAVIOURS", or_none=True)
    """Behaviour that counts as preferred; by default the one that the policy's run was about, if
    it was about one."""
    num_episodes: int = 50
    """Test episodes."""
    max_episode_steps: int | None = 200
    """Time limit; None for the environment's own."""
    seed: int = 0
    """Decides the starts."""
    knows_success: bool = True
    """The environment says when its task is solved."""
    name: str | None = None
    """Who acts, kept with each episode, by which policies are told apart when they are compared;
    None for the folder of the policy's run, and the reward's. Episodes of evaluations with equal
    --seed go into one data set only if they are named."""
    num_workers: int = 2
    """Processes that record."""
    cluster: RayConfig = field(default_factory=RayConfig)
    """Where they work."""
    out: Path | None = None
    """Folder that keeps the test episodes and `evaluation.json`; without it nothing is kept.
    Interrupted, the same command records what is missing."""

    def __post_init__(self) -> None:
        """Check the name."""
        check_policy_name(self.name)

    def run(self) -> None:
        """Record test episodes and print the rates."""
        if self.out is not None:
            self._evaluate(self.out)
        else:
            with tempfile.TemporaryDirectory() as folder:
                self._evaluate(Path(folder))
        actor = ["--policy", self.policy]
        actor += [] if self.reward is None else ["--reward", self.reward]
        out = following.free_folder(Path("runs/more"))
        print(f"Next:   {command('collect', *actor, '--env', self.env, '--out', out)}")

    def _evaluate(self, folder: Path) -> None:
        from robopref.align.actors import policy_spec
        from robopref.align.checks import check_env
        from robopref.align.collect import Plan, collect, open_or_create
        from robopref.align.evaluate import evaluate_episodes
        from robopref.align.run import Run, save_figures
        from robopref.commands.present import print_evaluations

        check_env(self.env, self.max_episode_steps)
        behaviour = self._preferred()
        plan = Plan(
            env=self.env, actor=policy_spec(self.policy, self.reward), seed=self.seed,
            start_set="test", num_episodes=self.num_episodes,
            max_episode_steps=self.max_episode_steps,
            metadata={
                "name": "evaluate", "policy": self.name or name_policy(self.policy, self.reward),
            },
            namespace=self._namespace(),
        )  # fmt: skip
        store = open_or_create(folder, self.env)
        # What is recorded already came from these settings, or the call is refused.
        Run(folder, replace(self, behaviour=behaviour), may_change=("num_episodes",))
        with self.cluster.build(self.num_workers) as workers:
            collect(plan, store, workers)
        episodes = [store.episode(one) for group in plan.groups() for one in group.ids]
        rates = evaluate_episodes(episodes, behaviour, knows_success=self.knows_success)
        save_figures(rates.to_dict(), folder / "evaluation.json")
        unnamed = "policy" if self.reward is None else "selected"
        print_evaluations({self.name or unnamed: rates})

    def _preferred(self) -> Any:
        """Return the behaviour that counts as preferred; None where nobody chose one."""
        from robopref.align.evaluate import behaviour_of_run

        chosen = resolve(self, "behaviour")
        behaviour = behaviour_of_run(self.policy) if chosen is None else chosen
        try:
            if behaviour is not None:
                behaviour.check_env(self.env)
        except ValueError as error:
            if chosen is not None:
                raise
            print(f"What the policy's run was about is not judged here. {error}")
            return None
        return behaviour

    def _namespace(self) -> str:
        """Return what decides the episodes of a named policy beside seed and number."""
        if self.name is None:  # What was recorded before there were names keeps its identity.
            return ""
        settings = to_dict(self)
        named = ("policy", "reward", "env", "max_episode_steps", "name")
        return json.dumps({key: settings[key] for key in named}, sort_keys=True)
