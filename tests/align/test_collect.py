"""Tests for align/collect.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robopref.align.actors import ScriptedSpec
from robopref.align.collect import (
    START_SETS,
    Plan,
    Workers,
    collect,
    open_or_create,
    record,
    record_group,
    start_seed,
)
from robopref.envs.behaviours import DetourRightConfig
from robopref.errors import RoboprefError

ENV = "metaworld/reach-v3"


def plan(num_episodes=3, group_size=2, **options):
    return Plan(
        env=ENV,
        actor=ScriptedSpec(DetourRightConfig(), 0.5, 0.1, seed=3),
        seed=3,
        start_set="pool",
        num_episodes=num_episodes,
        group_size=group_size,
        max_episode_steps=12,
        **options,
    )


def assert_equal_episodes(first, second):
    assert first.id == second.id
    assert first.seed == second.seed
    for name in ("state", "action", "reward", "success", "sim_states", "sim_episode"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@given(st.integers(0, 2**40), st.integers(0, 10_000), st.integers(0, 10_000))
def test_sets_of_starts_never_share_a_seed(seed, i, j):
    pool, test = start_seed(seed, "pool", i), start_seed(seed, "test", j)
    assert pool != test
    assert 0 <= pool < 2**31
    assert {start_seed(seed, name, i) % len(START_SETS) for name in START_SETS} == set(range(5))


def test_groups_hold_every_episode_once():
    groups = plan(num_episodes=7, group_size=3).groups()
    assert [len(group.ids) for group in groups] == [3, 3, 1]
    assert len({episode for group in groups for episode in group.ids}) == 7


def test_a_group_recorded_twice_is_the_same():
    group = plan().groups()[0]
    for first, second in zip(record_group(group), record_group(group), strict=True):
        assert_equal_episodes(first, second)


def test_workers_record_what_this_process_records(tmp_path):
    stores = []
    for num_workers in (0, 1):
        store = open_or_create(tmp_path / str(num_workers), ENV)
        with Workers(num_workers) as workers:
            collect(plan(), store, workers)
        stores.append(store)
    here, there = stores
    assert here.ids == there.ids
    for episode in here:
        assert_equal_episodes(episode, there.episode(episode.id))


def test_a_collection_goes_on_where_it_was(tmp_path):
    whole, parts = (open_or_create(tmp_path / name, ENV) for name in ("whole", "parts"))
    # A collection killed inside its first group leaves one of that group's two episodes.
    parts.add(record_group(plan().groups()[0])[0])
    with Workers(0) as workers:
        collect(plan(), whole, workers)
        collect(plan(), parts, workers)
    assert sorted(parts.ids) == sorted(whole.ids)
    for episode in whole:
        assert_equal_episodes(episode, parts.episode(episode.id))


def test_several_episodes_begin_alike_and_go_on_by_themselves():
    several = plan(num_episodes=5, group_size=4, per_start=2)
    seeds = [seed for group in several.groups() for seed in group.seeds]
    assert seeds[0] == seeds[1] != seeds[2] == seeds[3] != seeds[4]
    assert len({name for group in several.groups() for name in group.ids}) == 5
    alone = [seed for group in plan(num_episodes=3).groups() for seed in group.seeds]
    assert seeds[::2] == alone
    with pytest.raises(ValueError) as error:
        plan(group_size=4, per_start=5)
    assert str(error.value) == "`per_start` (=5) must not exceed `group_size` (=4)."


def test_num_episodes_must_be_positive():
    with pytest.raises(ValueError) as error:
        plan(num_episodes=0)
    assert str(error.value) == "`num_episodes` must be at least 1, got 0."


def test_what_a_worker_refuses_is_an_error_of_robopref():
    bad = Plan(ENV, ScriptedSpec(DetourRightConfig()), 0, "pool", 2, max_episode_steps=0)
    with Workers(1) as workers, pytest.raises(RoboprefError) as error:
        list(record(bad.groups(), workers))
    assert "`max_episode_steps`" in str(error.value)
