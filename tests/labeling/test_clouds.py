import dataclasses
import json

import numpy as np
import pytest

from robopref.data.store import EpisodeStore
from robopref.envs.make import make_env
from robopref.labeling.clouds import by_height, make_cloud
from robopref.labeling.simulation import Simulators
from robopref.labeling.worker import ClipError
from robopref.preferences.query import ActionCandidate
from robopref.types import STATE, SimState
from tests.labeling.clip_data import ENV, record_real, record_simulated


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    return record_simulated(tmp_path_factory.mktemp("data") / "a", 2)


@pytest.fixture(scope="module")
def simulators():
    found = Simulators()
    yield found
    found.close()


def chunk(values):
    return tuple(tuple(float(x) for x in row) for row in values)


def proposed(episode, step, *chunks):
    return [ActionCandidate(episode.id, step, chunk(actions)) for actions in chunks]


def test_a_candidate_that_was_executed_leads_where_the_episode_went(simulated, simulators):
    episode = simulated.episode(simulated.ids[0])
    executed = episode.action[5:13]
    cloud = make_cloud(simulated, proposed(episode, 5, executed, -executed), simulators)
    first, second = cloud.paths
    assert (first.kind, first.index, second.index) == ("path", 0, 1)
    np.testing.assert_array_equal(np.array(first.points, np.float32), episode.state[5:14, :3])
    assert np.abs(np.array(second.points) - first.points)[0].max() == 0, "both start alike"
    assert np.abs(np.array(second.points) - first.points)[-1].max() > 1e-3


def test_paths_equal_those_of_another_simulator(simulated, simulators):
    episode = simulated.episode(simulated.ids[1])
    actions = np.tile(np.array([1, -0.5, -1, 1], np.float32), (6, 1))
    cloud = make_cloud(simulated, proposed(episode, 2, actions, -actions), simulators)
    env = make_env(ENV)
    env.reset(seed=99)
    env.set_state(SimState(episode.sim_states[2], episode.sim_episode))
    hands = [episode.state[2, :3], *(env.step(action)[0][STATE][:3] for action in actions)]
    env.close()
    np.testing.assert_array_equal(
        np.array(cloud.paths[0].points, np.float32), np.array(hands, np.float32)
    )


def test_a_scene_stands_for_points_where_none_were_recorded(simulated, simulators):
    episode = simulated.episode(simulated.ids[0])
    cloud = make_cloud(
        simulated, proposed(episode, 0, np.zeros((2, 4)), np.ones((2, 4))), simulators
    )
    assert cloud.source == "scene"
    assert cloud.points.dtype == np.float32
    assert cloud.points.shape == cloud.colors.shape
    hand = episode.state[0, :3]
    assert np.linalg.norm(cloud.points - hand, axis=1).min() < 0.021
    low, high = np.array(cloud.bounds)
    for path in cloud.paths:
        assert (np.array(path.points) > low).all()
        assert (np.array(path.points) < high).all()
    assert (cloud.points > low - 1e-6).all()
    assert (cloud.points < high + 1e-6).all()


def test_the_page_gets_numbers_in_a_known_order(simulated, simulators):
    episode = simulated.episode(simulated.ids[0])
    cloud = make_cloud(
        simulated, proposed(episode, 3, np.zeros((2, 4)), np.ones((2, 4))), simulators
    )
    meta = json.loads(json.dumps(cloud.meta(), allow_nan=False))
    content, num = cloud.content(), meta["num_points"]
    points = np.frombuffer(content, "<f4", 3 * num).reshape(num, 3)
    np.testing.assert_array_equal(points, cloud.points)
    colors = np.frombuffer(content, np.uint8, 3 * num, offset=12 * num).reshape(num, 3)
    np.testing.assert_array_equal(colors, cloud.colors)
    assert len(content) == 15 * num
    assert [entry["index"] for entry in meta["candidates"]] == [0, 1]
    assert meta["candidates"][1]["action"] == [[1.0] * 4] * 2
    assert len(meta["candidates"][0]["primitive"]["points"]) == 3
    assert meta["placeable"] is False, "an action is no position here"


def test_objects_that_a_candidate_moves_have_paths_too(tmp_path, simulators):
    env = make_env("metaworld/push-v3")
    obs, _ = env.reset(seed=1)
    store = record_simulated(tmp_path / "data", 1, num_steps=2)
    start = env.get_state()
    puck = obs[STATE][4:7]
    actions = []
    for target in (puck - np.array([0, 0.1, 0]), puck + np.array([0, 0.1, 0])):
        for _ in range(40):
            error = np.append((target - obs[STATE][:3]) * 10, 0).clip(-1, 1).astype(np.float32)
            obs, *_ = env.step(error)
            actions.append(error)
    env.close()
    episode = store.episode(store.ids[0])
    states = np.repeat(start.step[None], 3, axis=0)
    observations = np.repeat(env_obs(start)[None], 3, axis=0)
    pushing = dataclasses.replace(
        episode, id="00000000-0000-4000-8000-00000000abcd", env="metaworld/push-v3",
        sim_states=states, sim_episode=start.episode, obs={STATE: observations},
    )  # fmt: skip
    other = EpisodeStore.create(tmp_path / "push", fps=80)
    other.add(pushing)
    still = np.zeros((2, 4), np.float32)
    cloud = make_cloud(other, proposed(pushing, 0, actions, still), simulators)
    assert list(cloud.paths[0].objects) == ["object 1"]
    moved = np.array(cloud.paths[0].objects["object 1"])
    assert len(moved) == 81
    assert np.linalg.norm(moved[-1] - moved[0]) > 0.01
    assert cloud.paths[1].objects == {}


def env_obs(start):
    env = make_env("metaworld/push-v3")
    env.reset(seed=5)
    obs = env.set_state(start)[STATE]
    env.close()
    return obs


def test_recorded_points_are_shown_with_the_positions_in_a_primitive(tmp_path, simulators):
    store = record_real(tmp_path / "data")
    episode = store.episode(store.ids[0])
    fling = [[0.5, 0.1, 0.2, -0.5, 0.1, 0.2]]
    cloud = make_cloud(store, proposed(episode, 7, fling, [[0.0] * 6]), simulators)
    assert cloud.source == "recorded"
    np.testing.assert_array_equal(cloud.points, episode.obs["observation.points"][7])
    assert cloud.paths[0].points == [[0.5, 0.1, 0.2], [-0.5, 0.1, 0.2]]
    assert cloud.paths[0].kind == "primitive"
    assert cloud.meta()["placeable"] is True
    assert len(np.unique(cloud.colors, axis=0)) > 20, "higher is another colour"


def test_recorded_colours_are_kept(tmp_path, simulators):
    whole = record_real(tmp_path / "data").episode("00000000-0000-4000-8000-100000000000")
    colors = np.random.default_rng(0).integers(0, 256, (25, 200, 3)).astype(np.uint8)
    store = EpisodeStore.create(tmp_path / "colored", fps=10)
    obs = {k: v for k, v in whole.obs.items() if "images" not in k}
    store.add(dataclasses.replace(whole, obs={**obs, "observation.colors": colors}))
    cloud = make_cloud(store, proposed(whole, 3, [[0.0] * 6], [[0.1] * 6]), simulators)
    np.testing.assert_array_equal(cloud.colors, colors[3])


def test_what_cannot_be_shown_is_named(tmp_path, simulators):
    store = record_real(tmp_path / "data")
    episode = store.episode(store.ids[0])
    with pytest.raises(ClipError) as error:
        make_cloud(store, proposed(episode, 0, [[90.0] * 6], [[0.1] * 6]), simulators)
    assert str(error.value) == (
        f"Candidates for episode {episode.id} cannot be shown: there is no simulator to play them "
        "in, and the 6 numbers of an action are not positions near the point cloud."
    )
    bare = EpisodeStore.create(tmp_path / "bare", fps=10)
    bare.add(dataclasses.replace(episode, obs={STATE: episode.state}))
    with pytest.raises(ClipError) as error:
        make_cloud(bare, proposed(episode, 0, [[0.0] * 6], [[0.1] * 6]), simulators)
    assert str(error.value) == (
        f"Candidates for episode {episode.id} cannot be shown: it has no point cloud (a float32 "
        "column of shape (P, 3)), and 'real/arm' does not say where hand and objects are."
    )


def test_colours_by_height_are_dark_on_any_cloud():
    flat = by_height(np.zeros((4, 3), np.float32))
    assert len(np.unique(flat, axis=0)) == 1
    slope = by_height(np.array([[0, 0, 0], [0, 0, 1]], np.float32))
    assert slope[0, 2] > slope[0, 0]
    assert slope[1, 0] > slope[1, 2]
