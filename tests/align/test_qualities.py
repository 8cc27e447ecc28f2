"""Tests of recording planar episodes of every quality."""

from collections import Counter

import numpy as np
import pytest

from robopref.align.collect import Plan, Workers, collect, open_or_create
from robopref.align.qualities import QualitySpec
from robopref.envs.planar.styles import QUALITIES

ENV = "planar/avoid-medium-v0"


def record(folder, spec, num=12, env=ENV, **options):
    store = open_or_create(folder, env)
    with Workers(0) as workers:
        collect(Plan(env, spec, 0, "pool", num, group_size=6, **options), store, workers)
    return list(store)


def test_each_quality_has_its_share_and_is_recorded(tmp_path):
    episodes = record(tmp_path / "a", QualitySpec(), max_episode_steps=15)
    assert Counter(e.metadata["quality"] for e in episodes) == dict.fromkeys(QUALITIES, 2)
    again = record(tmp_path / "b", QualitySpec(), max_episode_steps=15)
    for one, other in zip(episodes, again, strict=True):
        assert one.metadata == other.metadata
        np.testing.assert_array_equal(one.action, other.action)
    others = record(tmp_path / "c", QualitySpec(seed=1), max_episode_steps=15)
    assert any(
        not np.array_equal(one.action, other.action)
        for one, other in zip(episodes, others, strict=True)
    )


def test_experts_solve_what_the_others_do_not(tmp_path):
    spec = QualitySpec(("expert", "partial"))
    episodes = record(tmp_path / "a", spec, num=4, env="planar/group-long-v0")
    assert [e.succeeded for e in episodes] == [e.metadata["quality"] == "expert" for e in episodes]


def test_other_environments_are_refused(tmp_path):
    with pytest.raises(ValueError) as error:
        record(tmp_path / "a", QualitySpec(), env="metaworld/reach-v3")
    assert str(error.value) == (
        "Experts of every quality act in planar tasks, such as 'planar/avoid-short-v0', and not "
        "in 'metaworld/reach-v3'."
    )


@pytest.mark.parametrize(("qualities", "message"), [
    ((), "`qualities` must name at least one quality, got none."),
    (("expret",), f"`qualities` must be one of {sorted(QUALITIES)}, got 'expret'. "
                  "Did you mean 'expert'?"),
])  # fmt: skip
def test_unknown_qualities_are_refused(qualities, message):
    with pytest.raises(ValueError) as error:
        QualitySpec(qualities)
    assert str(error.value) == message
