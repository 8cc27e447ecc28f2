"""The loop: demonstrations, episodes, queries, rewards, alignment, evaluation, report."""

from robopref.registry import Registry

RECIPES = Registry("recipe", "robopref.recipes")
RECIPES.register(
    "ipl",
    "robopref.align.recipes:IPLRecipeConfig",
    "Experts, experts at other goals, experts of other tasks, random actions.",
)
RECIPES.register(
    "mixed",
    "robopref.align.recipes:MixedRecipeConfig",
    "Experts with little, more and much noise, random actions.",
)

__all__ = ["RECIPES"]
