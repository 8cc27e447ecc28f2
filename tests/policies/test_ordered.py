"""Tests for finetune/ordered.py: which unlabelled episodes are compared with which."""

from dataclasses import replace

import numpy as np
import pytest

from robopref.policies.finetune.data import FinetuneData
from robopref.policies.finetune.group_sources import GroupsConfig
from robopref.policies.finetune.ordered import ordered_by_reward, start_distances
from robopref.types import STATE


@pytest.fixture
def pool(toy_episodes):
    """Return episodes of which each two begin alike; returns are their numbers."""
    episodes = []
    for number, episode in enumerate(toy_episodes[:20]):
        state = episode.obs[STATE].copy()
        state[0] = (number // 2, -(number // 2), 7.0)
        episodes.append(replace(episode, obs={STATE: state}))
    returns = np.arange(20.0)[None] * np.array([[0.9], [1.1]])
    return FinetuneData(pool=episodes, returns=returns)


def compared(config, data, size=2):
    """Return the numbers of the episodes that are compared, (G, K), and how certain they are."""
    judgements, certainty = ordered_by_reward(config, data, size, np.random.default_rng(0))
    places = {episode.id: number for number, episode in enumerate(data.pool)}
    return np.array([[places[s.episode_id] for s in j.segments] for j in judgements]), certainty


def test_alike_starts_are_compared_with_each_other(pool):
    alike, certainty = compared(GroupsConfig("reward", starts="alike", num_groups=50), pool)
    assert (alike // 2 == alike[:, :1] // 2).all()
    assert (alike[:, 0] != alike[:, 1]).all()
    assert len(set(alike[:, 0] // 2)) == 10
    # Members differ by a tenth of the gap, which is 1 for all of these.
    np.testing.assert_allclose(certainty, 10.0, rtol=1e-3)
    any_, _ = compared(GroupsConfig("reward", num_groups=50), pool)
    assert (any_[:, 0] // 2 == any_[:, 1] // 2).mean() < 0.3


def test_the_best_and_the_worst_of_several_make_a_pair(pool):
    config = GroupsConfig("reward", num_episodes=6, num_groups=60)
    places, _ = compared(config, pool)
    gaps = places[:, 0] - places[:, 1]
    assert gaps.min() >= 5  # Of six different numbers.
    random = compared(GroupsConfig("reward", num_groups=60), pool)[0]
    assert gaps.mean() > 1.5 * np.abs(np.diff(random, axis=1)).mean()
    three, _ = compared(config, pool, size=3)
    assert (np.diff(three, axis=1) < 0).all()


def test_distances_of_starts_are_in_deviations_and_constants_do_not_count(pool):
    apart = start_distances(pool.pool)
    assert (np.diag(apart) == 0).all()
    np.testing.assert_allclose(apart, apart.T)
    assert apart[0, 1] == 0
    scaled = [
        replace(e, obs={STATE: e.obs[STATE] * np.array([1000, 0.01, 1], np.float32)})
        for e in pool.pool
    ]
    np.testing.assert_allclose(start_distances(scaled), apart, rtol=1e-4)


def test_several_of_each_start_are_recorded_for_them():
    assert GroupsConfig("reward").episodes_per_start == 1
    assert GroupsConfig("reward", num_episodes=8).episodes_per_start == 1
    assert GroupsConfig("reward", starts="alike").episodes_per_start == 2
    assert GroupsConfig("reward", num_episodes=4, starts="alike").episodes_per_start == 4


def test_what_compares_no_episodes_is_refused(pool):
    with pytest.raises(ValueError) as error:
        GroupsConfig("candidates", starts="alike")
    assert str(error.value) == (
        "`num_episodes` and `starts` say which unlabelled episodes the reward compares; with "
        "`source` 'candidates' it compares none. Take `source` reward, or leave them as they are "
        "by default."
    )
    with pytest.raises(ValueError) as error:
        compared(GroupsConfig("reward", num_episodes=2), pool, size=3)
    assert str(error.value) == (
        "`groups.num_episodes` must be at least 3, the episodes of a group, got 2."
    )
    with pytest.raises(ValueError) as error:
        compared(GroupsConfig("reward", num_episodes=40), pool)
    assert str(error.value) == (
        "Ordering unlabelled episodes by the reward needs 40 of them and their learned returns, "
        "got 20 episodes and their returns."
    )
    blind = FinetuneData(
        pool=[replace(e, obs={"observation.force": e.obs[STATE]}) for e in pool.pool],
        returns=pool.returns,
    )
    with pytest.raises(ValueError) as error:
        compared(GroupsConfig("reward", starts="alike"), blind)
    assert str(error.value) == (
        "`groups.starts` alike compares the first states of episodes, and they hold none. Take "
        "`groups.starts` any."
    )
