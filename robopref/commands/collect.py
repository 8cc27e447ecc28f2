"""`robopref collect`: record episodes."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robopref.commands.following import command
from robopref.config import component, resolve, to_dict
from robopref.errors import check_at_least, check_between
from robopref.ray_workers import RayConfig

if TYPE_CHECKING:
    from robopref.data.store import EpisodeStore
    from robopref.workers import Workers

    Record = Callable[[EpisodeStore, Workers], None]


@dataclass(frozen=True)
class CollectCommand:
    """Record episodes of a scripted behaviour, a policy or a recipe, as a LeRobot v3 data set.

    Killed or interrupted, the same command records what is missing.

    Example:
        robopref collect --env metaworld/reach-v3 --num-episodes 20 --out runs/reach
        robopref collect --env metaworld/door-close-v3 --recipe ipl --num-episodes 4 --out runs/door
        robopref collect --env planar/avoid-long-v0 --behaviour keep-out --cameras top --out runs/a
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
    """Behaviour whose two styles the scripted experts show; with one that has none, such as
    high-return, they act as they are."""
    recipe: str | None = None
    """Recipe for data of mixed quality, in the place of a behaviour: "ipl" or "mixed"."""
    name: str | None = None
    """Who acts, kept with each episode, by which policies are told apart when they are compared;
    None for the folder of the policy's run and the reward's, or the behaviour of the experts."""
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
    cluster: RayConfig = field(default_factory=RayConfig)
    """Where they work."""
    cameras: tuple[str, ...] = ()
    """Cameras whose pictures are recorded beside the state, such as top or front."""
    image_px: int = 112
    """Width and height of their pictures, an even number."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("num_episodes", self.num_episodes, 1)
        check_between("preferred_share", self.preferred_share, 0, 1)
        check_image_px(self.image_px)
        if self.reward is not None and self.policy is None:
            raise ValueError(
                f"`reward` (={self.reward}) chooses among the proposals of a policy, and there is "
                "none: scripted experts propose nothing. Give one with --policy."
            )
        if self.recipe is not None and self.policy is not None:
            raise ValueError("Give one of `recipe` and `policy`: a recipe says who acts.")
        if self.recipe is not None and self.cameras:
            raise ValueError("Give one of `recipe` and `cameras`: recipes record states alone.")
        if self.recipe is not None and self.name is not None:
            raise ValueError("Give one of `recipe` and `name`: a recipe names who acts by itself.")
        check_policy_name(self.name)

    def run(self) -> None:
        """Record what the data set does not have yet."""
        from robopref.align.checks import check_env
        from robopref.align.collect import open_or_create
        from robopref.align.run import Run

        check_env(self.env, self.max_episode_steps, self.cameras)
        record = self._plan() if self.recipe is None else self._plan_recipe(self.recipe)
        store = open_or_create(self.out, self.env)
        # What is recorded already came from these settings, or the call is refused.
        Run(self.out, self, may_change=("num_episodes",))
        with self.cluster.build(self.num_workers) as workers:
            record(store, workers)
        successes = sum(episode.succeeded for episode in store)
        print(f"{len(store)} episodes in {self.out}, {successes} successful.")
        if self.recipe is not None:
            self._print_shares(store)
        print(f"Next:   {command('data info', '--data', self.out)}")

    def _plan(self) -> "Record":
        from robopref.align.actors import ScriptedSpec, policy_spec
        from robopref.align.checks import check_has_expert
        from robopref.align.collect import Plan, collect
        from robopref.envs import BEHAVIOURS

        if self.policy is None:
            behaviour = resolve(self, "behaviour")
            check_has_expert(self.env, "Let a policy act with --policy.")
            behaviour.check_env(self.env)
            name = f"expert:{BEHAVIOURS.name_of(type(behaviour))}"
            actor: Any = ScriptedSpec(behaviour, self.preferred_share, 0.1, self.seed)
        else:
            name = name_policy(self.policy, self.reward)
            actor = policy_spec(self.policy, self.reward)
        plan = Plan(
            env=self.env, actor=actor, seed=self.seed, start_set="pool",
            num_episodes=self.num_episodes, max_episode_steps=self.max_episode_steps,
            metadata={"name": "collect", "policy": self.name or name},
            namespace=self._namespace(),
            cameras=self.cameras, image_px=self.image_px,
        )  # fmt: skip
        return partial(collect, plan)

    def _plan_recipe(self, name: str) -> "Record":
        from robopref.align import RECIPES
        from robopref.align.recipes import RecipePlan, collect_recipe

        recipe = RECIPES.config_class(name)()
        return partial(
            collect_recipe,
            RecipePlan(self.env, recipe, self.num_episodes, self.seed, self.max_episode_steps),
        )

    def _print_shares(self, store: "EpisodeStore") -> None:
        from robopref.align.recipes import count_shares

        for share, (num, solved) in count_shares(store).items():
            print(f"  {share:<12}  {num} episodes, {solved} successful")

    def _namespace(self) -> str:
        """Return what decides the episodes beside seed and number, so that data sets can merge."""
        settings = to_dict(self)
        for name in ("out", "recipe", "num_episodes", "num_workers", "cluster", "seed"):
            del settings[name]
        if not self.cameras:  # What was recorded before there were any keeps its identity.
            del settings["cameras"], settings["image_px"]
        if self.name is None:  # Likewise.
            del settings["name"]
        return json.dumps(settings, sort_keys=True)


def check_image_px(image_px: int) -> None:
    """Refuse a size of pictures that a video cannot have.

    Raises:
        ValueError: It is odd, or below 2.
    """
    if image_px < 2 or image_px % 2:
        raise ValueError(f"`image_px` must be even and at least 2, got {image_px}.")


def check_policy_name(name: str | None) -> None:
    """Refuse a name that cannot name who acts; None is no name.

    Raises:
        ValueError: It is empty, too long, or cannot be printed.
    """
    from robopref.preferences.names import check_name_text

    if name is not None:
        check_name_text("name", name)


def name_policy(policy: Path, reward: Path | None) -> str:
    """Return who acts where a policy does, and a reward, if any, chooses among its proposals.

    Example:
        >>> name_policy(Path("runs/press"), Path("runs/gentle/reward"))
        'press + gentle'
    """
    parts = {"policy": policy} if reward is None else {"policy": policy, "reward": reward}
    folders = {kind: folder.resolve() for kind, folder in parts.items()}
    # The saved model itself stands in a folder of the run that is named after its kind.
    return " + ".join(
        folder.parent.name if folder.name == kind else folder.name
        for kind, folder in folders.items()
    )
