"""Recipes: data sets of mixed quality for learning from preferences, in shares of equal size.

A recipe is a config with `shares()` and `stop_after_success`, registered in
`robopref.align.RECIPES`. What a share's
episodes are does not depend on how many there are, nor on the other shares.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from robopref.align import RECIPES
from robopref.align.checks import check_has_expert
from robopref.align.collect import Plan, Workers, collect
from robopref.align.recipe_actors import Share, ShareSpec
from robopref.config import to_dict
from robopref.data.store import EpisodeStore
from robopref.errors import check_at_least
from robopref.seeding import derive_seed


@dataclass(frozen=True)
class IPLRecipeConfig:
    """The data of IPL's Meta-World experiments: a quarter each of four kinds of actions.

    The expert of the task; the expert, who looks at an episode with another goal; experts of other
    tasks, who look at an episode of theirs; random actions. In the paper 100 episodes of each, cut
    into segments of 25 steps, which `robopref query` does here.

    References:
        Hejna and Sadigh, Inverse Preference Learning: Preference-based RL without a Reward
        Function, 2023, arXiv:2305.15363; its script create_metaworld_offline_dataset.py.
    """

    noise: float = 1.0
    """Standard deviation of the experts' noise, in units of the action, before clipping."""
    stop_after_success: int = 25
    """Successful steps after which an episode is cut off."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _check(self.noise, self.stop_after_success)

    def shares(self) -> tuple[Share, ...]:
        """Return the kinds of episodes."""
        return (
            Share("expert", "own", self.noise),
            Share("random-goal", "other-goal", self.noise),
            Share("other-task", "other-task", self.noise),
            Share("random", "nothing"),
        )


@dataclass(frozen=True)
class MixedRecipeConfig:
    """An equal part each of the expert with several amounts of noise, and of random actions."""

    noises: tuple[float, ...] = (0.1, 0.5, 1.0)
    """Standard deviations of the expert's noise, in units of the action, before clipping."""
    stop_after_success: int = 25
    """Successful steps after which an episode is cut off."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for noise in self.noises:
            _check(noise, self.stop_after_success)

    def shares(self) -> tuple[Share, ...]:
        """Return the kinds of episodes."""
        experts = (Share(f"noise-{noise:g}", "own", noise) for noise in self.noises)
        return (*experts, Share("random", "nothing"))


@dataclass(frozen=True)
class RecipePlan:
    """Which recipe to follow, and where.

    Raises:
        ValueError: There is no scripted expert for the environment, or a number is out of range.
    """

    env: str
    """Environment that has a scripted expert, as "metaworld/<task>"."""
    recipe: Any = field(default_factory=IPLRecipeConfig)
    """Config of the recipe."""
    num_episodes: int = 400
    """Episodes of all shares together."""
    seed: int = 0
    """Decides the starts and everything else random."""
    max_episode_steps: int | None = None
    """Time limit; None for the environment's own."""

    def __post_init__(self) -> None:
        """Check the environment and ranges."""
        check_at_least("num_episodes", self.num_episodes, 1)
        recipe = RECIPES.name_of(type(self.recipe))
        check_has_expert(
            self.env,
            f"The recipe '{recipe}' needs one: any task of Meta-World has it, such as "
            "'metaworld/button-press-v3', and so have robomimic's lift, can and square.",
        )

    def plans(self) -> list[Plan]:
        """Return the plan of each share that has episodes; their numbers differ by one at most."""
        name = RECIPES.name_of(type(self.recipe))
        settings = {"env": self.env, "limit": self.max_episode_steps, **to_dict(self.recipe)}
        shares = self.recipe.shares()
        plans = []
        for place, share in enumerate(shares):
            num = len(range(place, self.num_episodes, len(shares)))
            # A seed of its own: the same start would say which episodes belong together.
            seed = derive_seed(self.seed, "recipe", name, share.name)
            if num:
                plan = Plan(
                    env=self.env, actor=ShareSpec(share, seed, self.max_episode_steps), seed=seed,
                    start_set="pool", num_episodes=num, max_episode_steps=self.max_episode_steps,
                    metadata={"recipe": name, "share": share.name},
                    namespace=json.dumps(settings, sort_keys=True),
                    stop_after_success=self.recipe.stop_after_success,
                )  # fmt: skip
                plans.append(plan)
        return plans


def collect_recipe(plan: RecipePlan, store: EpisodeStore, workers: Workers) -> None:
    """Record the episodes of a recipe that `store` does not have yet.

    Raises:
        KeyboardInterrupt: Ctrl-C; finished episodes are stored, and the same call goes on.
    """
    for share in plan.plans():
        collect(share, store, workers, description=f"record {share.metadata['share']}")


def count_shares(store: EpisodeStore) -> dict[str, tuple[int, int]]:
    """Return for each share of a recipe's data set its episodes, and how many were solved."""
    episodes = Counter(row.metadata["share"] for row in store.rows if "share" in row.metadata)
    solved = Counter(row.metadata.get("share") for row in store.rows if row.succeeded)
    return {share: (num, solved[share]) for share, num in episodes.items()}


def _check(noise: float, stop_after_success: int) -> None:
    check_at_least("noise", noise, 0)
    check_at_least("stop_after_success", stop_after_success, 1)
