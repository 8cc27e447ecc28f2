"""Primitives by a simulated arm: the material follows the way that the arm's tool was measured."""

import os
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("ruckig", reason="the extra 'arm' is not installed")
pytest.importorskip("robosuite", reason="the extra 'robomimic' is not installed")

from robopref.arm_deformable import ArmDeformableConfig, ArmDeformableEnv
from robopref.arm_primitives import MeasuredPath, TablePlace
from robopref.cli import main
from robopref.envs.deformable.clouds import CloudConfig
from robopref.envs.deformable.env import EYE, DeformableConfig
from robopref.envs.deformable.primitives import InfeasiblePrimitiveError, make_path
from robopref.errors import DataError
from robopref.hardware.driver import CameraInfo
from robopref.table_eye import TableCamera, TableSource, check_depth, cloud_of
from robopref.types import NUM_POINTS, POINTS

ROPE = ArmDeformableConfig("rope-circle-v0", tool_speed_m_s=0.5)


@pytest.fixture(scope="module")
def env():
    env = ArmDeformableEnv(ROPE)
    yield env
    env.close()


@pytest.fixture(scope="module")
def plain():
    env = DeformableConfig("rope-circle-v0").build()
    yield env
    env.close()


@pytest.fixture
def no_terminal(monkeypatch):
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        yield


def test_a_measured_path_is_straight_from_one_place_to_the_next():
    places = np.array([[0.0, 0, 0], [1.0, 0, 0], [1.0, 2.0, 0]])[:, None]
    path = MeasuredPath(np.array([0.0, 1.0, 3.0]), places, np.ones((3, 1), bool))
    expected = np.array([[0.25, 0, 0], [1, 1, 0]])
    np.testing.assert_allclose(path.at(np.array([0.25, 2.0]))[:, 0], expected)


def test_a_table_has_its_pose_and_its_lengths_are_checked():
    pose = TablePlace((0.5, 0.1, 0.02), np.pi / 2).pose
    np.testing.assert_allclose(pose @ np.array([0.3, 0, 0, 1]), [0.5, 0.4, 0.02, 1], atol=1e-12)
    with pytest.raises(ValueError, match="`above_m` must be above 0"):
        TablePlace(above_m=0.0)


def test_a_fling_takes_two_arms():
    with pytest.raises(ValueError, match="`task` 'tshirt-flat-v0' takes two arms that fling"):
        ArmDeformableConfig("tshirt-flat-v0")


def test_the_cloud_of_a_depth_camera_is_the_one_that_policies_learn_from(plain):
    obs, _ = plain.reset(seed=3)
    camera = TableCamera(EYE)
    source = TableSource(plain.task.sim.model, camera)
    info = source.open()
    source.show(plain.task.sim.positions)
    frame = source._draw()
    source.close()
    clouds = CloudConfig()
    cloud = cloud_of(
        frame, check_depth(info, "top"), camera.pose, clouds, np.random.default_rng(0)
    )  # fmt: skip
    assert cloud[POINTS].shape == obs[POINTS].shape
    assert cloud[NUM_POINTS][0] == pytest.approx(obs[NUM_POINTS][0], rel=0.1)
    apart = np.linalg.norm(cloud[POINTS][:, None] - obs[POINTS][None], axis=-1)
    # Cubes of 6 mm begin elsewhere, and distances are noisy by 1 mm.
    assert np.quantile(apart.min(axis=1), 0.95) < 0.008
    assert np.quantile(apart.min(axis=0), 0.95) < 0.008
    nothing = replace(frame, colour=np.full_like(frame.colour, 128))
    with pytest.raises(DataError, match="Is the material in the camera's view"):
        cloud_of(
            nothing, check_depth(info, "top"), camera.pose, clouds, np.random.default_rng(0)
        )  # fmt: skip


def test_a_camera_that_measures_no_depth_sees_no_cloud():
    with pytest.raises(DataError, match="'front' does not"):
        check_depth(CameraInfo("1", 4, 4, 30.0), "front")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_comes_of_a_primitive_is_what_comes_of_it_without_an_arm(env, plain):
    obs, info = env.reset(seed=3)
    assert env.observation_space.contains(obs)
    plain.reset(seed=3)
    assert info["quality"] == 0.0
    np.testing.assert_array_equal(env.task.sim.positions, plain.task.sim.positions)
    action = plain.propose(np.random.default_rng(0), 1)[0]
    before = env.task.sim.vertices
    obs, reward, *_, info = env.step(action)
    *_, expected = plain.step(action)
    assert (info["problem"], "stopped" in info) == ("", False)
    assert info["grasped"]
    moved = np.linalg.norm(plain.task.sim.vertices - before, axis=1).max()
    apart = np.linalg.norm(env.task.sim.vertices - plain.task.sim.vertices, axis=1)
    assert moved > 0.03
    assert apart.mean() < 0.15 * moved
    assert info["quality"] == pytest.approx(expected["quality"], abs=0.1)
    assert reward == pytest.approx(info["quality"], abs=1e-6)
    assert info["safety.step_s"][0] > 2.0
    # The arm stands out of the way again.
    np.testing.assert_allclose(info["safety.measured"], env.arm_spec.rest_rad, atol=0.02)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_an_arm_cannot_do_is_not_begun_and_a_stop_ends_the_episode(env):
    env.reset(seed=3)
    way = env.look_ahead(np.array([[0.4, 0.4, 0.0, 0.39, -0.4, 0.0]], np.float32))
    assert "cannot be reached" in way.refusal
    before = env.task.sim.positions
    *_, truncated, info = env.step(np.array([0.4, 0.4, 0, 0.4, -0.4, 0], np.float32))
    assert "outside" in info["problem"] or "perform" in info["problem"] or not info["grasped"]
    np.testing.assert_array_equal(env.task.sim.positions, before)
    assert not truncated
    two = make_path(np.zeros((2, 2, 3)), np.ones((2, 2), bool))
    with pytest.raises(InfeasiblePrimitiveError, match="takes two arms"):
        env.task.sim.carry(two, 0.0)
    num = 0

    def stop():
        nonlocal num
        num += 1
        if num == 40:
            env.stop("a key was pressed")

    env.attend = stop
    try:
        action = env.propose(np.random.default_rng(0), 1)[0]
        *_, truncated, info = env.step(action)
    finally:
        env.attend = lambda: None
    assert truncated
    assert info["stopped"] == "a key was pressed"
    assert env.reset(seed=4)[1]["quality"] == 0.0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("no_terminal")
def test_a_policy_of_primitives_is_deployed_and_recorded(tmp_path, capsys):
    from robopref.data.store import EpisodeStore
    from robopref.policies.primitive_diffusion import PrimitiveDiffusionConfig
    from robopref.seeding import make_generator

    shapes = {POINTS: (512, 3), NUM_POINTS: (1,)}
    policy = PrimitiveDiffusionConfig().build(shapes, 6, make_generator(0))
    policy.save_pretrained(tmp_path / "policy")
    out = tmp_path / "deployed"
    command = ["deploy", "--env", "arm-deformable/rope-circle-v0", "--policy",
               str(tmp_path / "policy"), "--num-episodes", "1", "--max-episode-steps", "1",
               "--speed", "1", "--yes", "--out", str(out)]  # fmt: skip
    assert main(command) == 0, capsys.readouterr().err
    shown = capsys.readouterr().out
    assert "Camera     top: 224 x 224 pixels" in shown
    store = EpisodeStore.open(out)
    (name,) = store.ids
    episode = store.episode(name)
    assert episode.obs[POINTS].shape == (2, 512, 3)
    assert episode.sim_states is not None
    assert len(episode.metadata["decisions"]) == 1
    assert episode.metadata["arm"] == "ur5e"
    assert episode.extras["safety.sent"].shape == (2, 6)
