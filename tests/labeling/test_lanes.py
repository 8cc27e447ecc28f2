import dataclasses

import numpy as np
import pytest

from robopref.data.episode import batch_segments
from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.labeling.clips import shown_steps
from robopref.labeling.lanes import measure_lanes
from robopref.rewards.mlp import MLPRewardConfig
from robopref.types import STATE
from tests.labeling.clip_data import record_real, record_simulated


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    store = record_simulated(tmp_path_factory.mktemp("data") / "a", 1)
    return store.episode(store.ids[0])


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    store = record_real(tmp_path_factory.mktemp("data") / "b")
    return store.episode(store.ids[0])


def test_a_simulated_episode_has_gripper_and_speed(simulated):
    gripper, speed = measure_lanes(simulated, Segment(simulated.id, 4, 10), np.arange(11))
    state = simulated.obs[STATE].astype(float)
    assert (gripper.name, gripper.unit, gripper.hidden) == ("gripper opening", "", False)
    np.testing.assert_allclose(gripper.values, state[4:15, 3])
    moved = np.linalg.norm(state[5:16, :3] - state[4:15, :3], axis=1)
    assert (speed.name, speed.unit) == ("speed", "m/s")
    np.testing.assert_allclose(speed.values, moved * simulated.fps, rtol=1e-6)


def test_lanes_follow_the_pictures_that_are_shown(simulated):
    segment = Segment(simulated.id, 0, len(simulated))
    every = measure_lanes(simulated, segment, np.arange(25))
    some = measure_lanes(simulated, segment, shown_steps(25, 7))
    for all_values, few in zip(every, some, strict=True):
        assert few.values == tuple(all_values.values[k] for k in (0, 7, 14, 21, 24))
    speed = every[1].values
    assert speed[24] == speed[23], "nothing moves after the last action"


def test_a_real_episode_has_what_its_sensors_told(real):
    steps = np.arange(8)
    lanes = {lane.name: lane for lane in measure_lanes(real, Segment(real.id, 2, 8), steps)}
    assert {name: lane.unit for name, lane in lanes.items()} == {
        "speed": "m/s", "effort": "N m", "gripper": "", "wrench": "N",
    }  # fmt: skip
    wrench = real.obs["observation.wrench"][2:10, :3].astype(float)
    np.testing.assert_allclose(lanes["wrench"].values, np.linalg.norm(wrench, axis=1))
    effort = real.obs["observation.effort"][2:10].astype(float)
    np.testing.assert_allclose(lanes["effort"].values, np.linalg.norm(effort, axis=1))
    hand = real.obs["observation.ee_pose"][2:11, :3]
    expected = np.linalg.norm(np.diff(hand, axis=0), axis=1) * real.fps
    np.testing.assert_allclose(lanes["speed"].values, expected, rtol=1e-6)


def test_an_episode_that_tells_nothing_has_no_lanes(real):
    bare = dataclasses.replace(real, obs={STATE: real.obs[STATE]})
    assert measure_lanes(bare, Segment(real.id, 0, 5), np.arange(5)) == []


def test_the_learned_reward_is_hidden_and_is_what_the_model_says(simulated):
    reward = MLPRewardConfig(num_members=2).build(39, 4)
    segment = Segment(simulated.id, 3, 6)
    *_, lane = measure_lanes(simulated, segment, np.arange(7), reward=reward)
    assert (lane.name, lane.hidden) == ("learned reward", True)
    expected = reward.rewards(batch_segments([segment.cut(simulated)]))[0]
    np.testing.assert_array_equal(lane.values, [*expected, expected[-1]])


def test_a_segment_beyond_its_episode_is_refused(simulated):
    with pytest.raises(DataError, match="does not fit episode"):
        measure_lanes(simulated, Segment(simulated.id, 20, 8), np.arange(8))
