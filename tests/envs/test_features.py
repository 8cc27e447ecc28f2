import numpy as np
import pytest

from robopref.envs.features import GOAL_FEATURES, TASK_FEATURES, task_features
from robopref.envs.make import make_env
from robopref.envs.scene import Scene, read_scene
from robopref.envs.scripted import scripted_policy
from robopref.types import STATE


def moving_scene(goal=(0.0, 0.4, 0.0)):
    """Return a hand that stays over an object while both move 0.2 m along y in ten steps."""
    path = np.stack([np.zeros(11), np.linspace(0, 0.2, 11), np.zeros(11)], axis=1)
    goals = np.tile(np.array(goal), (11, 1))
    return Scene(path + np.array([0, 0, 0.05]), np.full(11, 0.4), path[:, None], goals)


def named(features):
    assert len(features) == len(TASK_FEATURES)
    return dict(zip(TASK_FEATURES, features, strict=True))


def test_features_are_what_their_names_say():
    found = named(task_features(moving_scene(), 5, np.full((5, 4), 0.3)))
    assert found["hand_path"] == pytest.approx(0.1)
    assert found["object_displacement"] == pytest.approx(0.1)
    assert found["object_moved_last"] == pytest.approx(0.2)  # From the episode's start on.
    assert found["hand_to_object_mean"] == pytest.approx(0.05)
    assert found["hand_to_object_change"] == pytest.approx(0.0)
    assert found["opening_mean"] == pytest.approx(0.4)
    assert found["action_spread"] == found["action_jerk"] == 0.0
    assert found["goal_distance_change"] == pytest.approx(-0.1)
    assert found["goal_left_last"] == pytest.approx(0.5)


def test_what_is_left_of_the_way_to_the_object_is_told_as_for_the_goal():
    hand = np.linspace([0.0, 0.0, 0.2], [0.0, 0.0, 0.0], 11)
    rest = np.zeros((11, 3))
    scene = Scene(hand, np.zeros(11), rest[:, None], rest)
    found = named(task_features(scene, 5, np.zeros((5, 4))))  # From half way to the object on.
    assert found["hand_left_mean"] == pytest.approx(0.25)
    assert found["hand_progress"] == pytest.approx(0.75)
    assert found["hand_left_min"] == found["hand_left_last"] == pytest.approx(0.0)
    assert found["hand_share"] == pytest.approx(3 / 6)
    # The object lies in its goal, which is never farther away than it was.
    assert found["goal_progress"] == 1.0
    # A hand that starts at the object is taken to have started 0.02 m away from it.
    back = Scene(hand[::-1], np.zeros(11), rest[:, None], rest)
    assert named(task_features(back, 0, np.zeros((10, 4))))["hand_left_last"] == pytest.approx(10)


def test_a_task_without_a_goal_has_zeros_there():
    found = named(task_features(moving_scene((np.nan,) * 3), 0, np.zeros((10, 2))))
    assert all(found[name] == 0 for name in GOAL_FEATURES)
    assert all(np.isfinite(value) for value in found.values())


@pytest.mark.parametrize(("start", "length"), [(-1, 3), (0, 11), (9, 2), (3, 0)])
def test_a_segment_outside_its_episode_is_refused(start, length):
    with pytest.raises(ValueError) as error:
        task_features(moving_scene(), start, np.zeros((length, 4)))
    assert "does not lie within an episode of 10 steps" in str(error.value)


def test_meta_world_is_read_as_what_happens_there():
    env = make_env("metaworld/drawer-open-v3", max_episode_steps=120)
    expert = scripted_policy(env)
    obs, _ = env.reset(seed=3)
    states, actions = [obs[STATE]], []
    terminated = truncated = False
    while not (terminated or truncated):
        actions.append(expert.act(obs))
        obs, _, terminated, truncated, _ = env.step(actions[-1])
        states.append(obs[STATE])
    env.close()
    assert terminated
    scene = read_scene(env.env_id, np.array(states))
    found = named(task_features(scene, 0, np.array(actions)))
    assert found["object_displacement"] > 0.1
    assert found["hand_to_object_last"] < 0.06 < found["hand_to_object_mean"]
    assert found["goal_left_last"] < 0.3


def test_an_environment_whose_observations_nobody_explains_is_refused():
    with pytest.raises(ValueError) as error:
        read_scene("gymnasium/Pendulum-v1", np.zeros((3, 3)))
    assert "is not known. An adapter says so with a method `read_scene`" in str(error.value)
