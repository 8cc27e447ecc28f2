"""Tests for align/recipes.py and align/recipe_actors.py."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robopref import cli
from robopref.align import RECIPES
from robopref.align.collect import Workers, open_or_create, record_group
from robopref.align.recipe_actors import SIGHTS, Share
from robopref.align.recipes import (
    IPLRecipeConfig,
    MixedRecipeConfig,
    RecipePlan,
    collect_recipe,
    count_shares,
)
from robopref.config import from_dict, to_dict
from robopref.data.store import EpisodeStore
from robopref.envs.make import make_env
from robopref.envs.scripted import scripted_policy
from robopref.errors import UnknownNameError

ENV = "metaworld/door-close-v3"
STEPS = 30


def episodes_of(plan, share):
    """Record the episodes of one share."""
    (chosen,) = [each for each in plan.plans() if each.metadata["share"] == share]
    return [episode for group in chosen.groups() for episode in record_group(group)]


def recorded(folder, num_episodes, num_workers=0, store=None):
    store = store or open_or_create(folder, ENV)
    plan = RecipePlan(ENV, num_episodes=num_episodes, seed=3, max_episode_steps=STEPS)
    with Workers(num_workers) as workers:
        collect_recipe(plan, store, workers)
    return store


def contents(store):
    return {row.episode_id: (row.content_hash, dict(row.metadata)) for row in store.rows}


@pytest.mark.parametrize("name", RECIPES.names())
def test_a_recipe_is_a_config_with_shares(name):
    recipe = RECIPES.config_class(name)()
    shares = recipe.shares()
    assert RECIPES.summary(name)
    assert from_dict(type(recipe), to_dict(recipe)) == recipe
    assert len({share.name for share in shares}) == len(shares) > 1
    assert {share.sees for share in shares} <= set(SIGHTS)
    assert recipe.stop_after_success >= 1


@given(st.integers(1, 1000), st.sampled_from(RECIPES.names()))
def test_shares_are_equal_at_any_number(num_episodes, name):
    recipe = RECIPES.config_class(name)()
    plans = RecipePlan(ENV, recipe, num_episodes).plans()
    sizes = [plan.num_episodes for plan in plans]
    assert sum(sizes) == num_episodes
    assert len(sizes) == min(num_episodes, len(recipe.shares()))
    assert max(sizes) - min(sizes) <= 1


def test_no_two_episodes_share_identity_or_start():
    plans = [
        plan
        for env in (ENV, "metaworld/reach-v3")
        for recipe in (IPLRecipeConfig(), IPLRecipeConfig(noise=0.5), MixedRecipeConfig())
        for plan in RecipePlan(env, recipe, 40).plans()
    ]
    groups = [group for plan in plans for group in plan.groups()]
    ids = [episode_id for group in groups for episode_id in group.ids]
    assert len(set(ids)) == len(ids) == 240
    one = [seed for plan in plans[:4] for group in plan.groups() for seed in group.seeds]
    assert len(set(one)) == len(one) == 40


def test_ipl_says_of_each_episode_who_acted(tmp_path):
    store = recorded(tmp_path / "data", 8)
    assert count_shares(store).keys() == {"expert", "random-goal", "other-task", "random"}
    assert {num for num, _ in count_shares(store).values()} == {2}
    by_share: dict[str, list[tuple[int, Any]]] = {}
    for row in store.rows:
        assert row.metadata["recipe"] == "ipl"
        by_share.setdefault(row.metadata["share"], []).append((row.seed, row.metadata))
    assert all(m["expert"] == ENV and m["expert_seed"] == seed for seed, m in by_share["expert"])
    assert all(
        m["expert"] == ENV and m["expert_seed"] != seed for seed, m in by_share["random-goal"]
    )
    assert all(m["expert"] != ENV for _, m in by_share["other-task"])
    assert all("expert" not in m for _, m in by_share["random"])
    assert {m["noise"] for share in by_share.values() for _, m in share if "noise" in m} == {1.0}


@pytest.mark.slow
def test_a_recipe_goes_on_and_grows_to_what_it_would_have_been(tmp_path):
    whole = recorded(tmp_path / "whole", 6)
    parts = recorded(tmp_path / "parts", 3)
    assert len(parts) == 3
    assert contents(recorded(tmp_path / "parts", 6, num_workers=1, store=parts)) == contents(whole)


@pytest.mark.parametrize("env", [ENV, "planar/avoid-gripper-v0"])
@pytest.mark.parametrize("share", ["random-goal", "other-task"])
def test_an_expert_who_looks_away_does_its_own_task(env, share):
    """Its actions, done again in the episode that it saw, are those of the expert there."""
    plan = RecipePlan(env, IPLRecipeConfig(noise=0.0), 8, seed=1, max_episode_steps=STEPS)
    for episode in episodes_of(plan, share):
        assert (episode.metadata["expert"] == env) == (share == "random-goal")
        seen = make_env(
            episode.metadata["expert"], terminate_on_success=False, max_episode_steps=STEPS
        )
        obs, _ = seen.reset(seed=episode.metadata["expert_seed"])
        expert = scripted_policy(seen)
        for action in episode.action:
            np.testing.assert_array_equal(expert.act(obs), action)
            obs, *_ = seen.step(action)


def test_noise_is_added_to_every_entry_before_clipping():
    def actions(noise):
        plan = RecipePlan(ENV, IPLRecipeConfig(noise), 4, seed=1, max_episode_steps=STEPS)
        return np.concatenate([e.action for e in episodes_of(plan, "expert")])

    quiet, loud = actions(0.0), actions(1.0)
    # The expert asks for far more than 1 along the way: hardly any noise turns such an entry.
    wanted = quiet[0] == 1.0
    assert wanted.any()
    assert loud[0][wanted].tolist() == quiet[0][wanted].tolist()
    assert len(np.unique(loud[:, 3])) > 5  # the gripper's entry is noisy too


def test_an_episode_is_cut_off_after_so_many_successful_steps():
    plan = RecipePlan(
        ENV, MixedRecipeConfig((0.1,), stop_after_success=7), 4, max_episode_steps=200
    )
    solved = episodes_of(plan, "noise-0.1")
    for episode in solved:
        assert episode.success.sum() == 7
        assert episode.success[-1]
        # Nothing of the task has ended there.
        assert (episode.terminated, episode.truncated) == (False, True)
    for episode in episodes_of(plan, "random"):
        assert len(episode) == 200 or episode.success.sum() == 7


def test_the_command(tmp_path, capsys):
    def robopref(*arguments):
        code = cli.main(["collect", *map(str, arguments)])
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    out = tmp_path / "data"
    options = ("--env", ENV, "--max-episode-steps", "20", "--num-workers", "0", "--out", out)
    code, shown = robopref(*options, "--recipe", "ipl", "--num-episodes", "5")
    assert code == 0
    assert "  expert        2 episodes, 0 successful\n" in shown
    assert "  random        1 episodes, 0 successful\n" in shown
    assert len(EpisodeStore.open(out)) == 5
    code, shown = robopref(*options, "--recipe", "mixed", "--num-episodes", "5")
    assert (code, "--recipe was 'ipl', now 'mixed'" in shown) == (2, True)
    code, shown = robopref(*options[:-1], tmp_path / "x", "--recipe", "ipll")
    assert (code, "No recipe named 'ipll'. Did you mean 'ipl'?" in shown) == (2, True)
    code, shown = robopref(
        "--env", "gymnasium/Pendulum-v1", "--recipe", "ipl", "--out", tmp_path / "x"
    )
    assert (code, shown) == (
        2,
        "Error: There is no scripted expert for 'gymnasium/Pendulum-v1'. The recipe 'ipl' needs "
        "one: any task of Meta-World has it, such as 'metaworld/button-press-v3', and so have "
        "robomimic's lift, can and square.\n",
    )
    code, shown = robopref(*options, "--recipe", "ipl", "--policy", tmp_path)
    assert (code, shown) == (
        2, "Error: Give one of --recipe and --policy: a recipe says who acts.\n",
    )  # fmt: skip
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_a_recipe_for_another_robot(tmp_path):
    pytest.importorskip("robomimic", reason="the extra 'robomimic' is not installed")
    env = "robomimic/lift"
    store = open_or_create(tmp_path / "lift", env)
    plan = RecipePlan(env, IPLRecipeConfig(noise=0.1), 4, max_episode_steps=60)
    with Workers(0) as workers:
        collect_recipe(plan, store, workers)
    experts = {row.metadata["share"]: row.metadata.get("expert") for row in store.rows}
    assert experts.pop("other-task") in ("robomimic/can", "robomimic/square")
    assert experts == {"expert": env, "random-goal": env, "random": None}
    assert count_shares(store)["expert"] == (1, 1)


def test_values_out_of_range():
    with pytest.raises(ValueError) as error:
        IPLRecipeConfig(stop_after_success=0)
    assert str(error.value) == "`stop_after_success` must be at least 1, got 0."
    with pytest.raises(ValueError) as error:
        MixedRecipeConfig((0.1, -1.0))
    assert str(error.value) == "`noise` must be at least 0, got -1.0."
    with pytest.raises(ValueError) as error:
        Share("x", "othertask")
    assert str(error.value).endswith("got 'othertask'. Did you mean 'other-task'?")
    with pytest.raises(UnknownNameError):
        RECIPES.config_class("none")
