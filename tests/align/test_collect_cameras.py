"""Tests of recording what cameras see, of planar tasks and of Meta-World."""

from typing import Any

import numpy as np
import pytest

from robopref.align.actors import ScriptedSpec
from robopref.align.collect import Plan, Workers, collect, open_or_create
from robopref.commands.collect import CollectCommand
from robopref.data.segment import Segment
from robopref.envs.behaviours import FastConfig
from robopref.envs.make import make_env
from robopref.envs.planar.behaviours import KeepOutConfig, TogetherConfig
from robopref.types import IMAGES

CASES = [
    ("planar/avoid-short-v0", KeepOutConfig(), "top"),
    ("metaworld/reach-v3", FastConfig(), "front"),
]


@pytest.mark.parametrize(("env", "behaviour", "camera"), CASES)
def test_recorded_pictures_are_those_of_the_states(env, behaviour, camera, tmp_path):
    plan = Plan(env, ScriptedSpec(behaviour), 0, "pool", 2, max_episode_steps=12, cameras=(camera,))
    store = open_or_create(tmp_path / "data", env)
    with Workers(0) as workers:
        collect(plan, store, workers)
    assert len(store) == 2
    shown: Any = make_env(env)
    for episode in store:
        assert episode.sim_states is not None
        recorded = store.frames(Segment(episode.id, 0, len(episode)), IMAGES + camera)
        drawn = shown.render_states(
            episode.sim_states[:-1], episode.sim_episode, width=112, height=112, camera=camera
        )
        assert recorded.shape == drawn.shape == (12, 112, 112, 3)
        error = np.abs(recorded.astype(int) - drawn).mean(axis=(1, 2, 3))
        assert error.max() < 4  # H.264 keeps half of the colours' resolution.
        shifted = np.abs(recorded[:-1].astype(int) - drawn[1:]).mean(axis=(1, 2, 3))
        assert error[:-1].mean() < shifted.mean()
    shown.close()


def test_cameras_change_nothing_else(tmp_path):
    episodes = []
    for cameras in ((), ("top",)):
        plan = Plan(
            "planar/group-long-v0", ScriptedSpec(TogetherConfig()), 3, "pool", 2,
            max_episode_steps=20, cameras=cameras, image_px=32,
        )  # fmt: skip
        store = open_or_create(tmp_path / f"{len(cameras)}", plan.env)
        with Workers(0) as workers:
            collect(plan, store, workers)
        episodes.append(list(store))
    for blind, seeing in zip(*episodes, strict=True):
        np.testing.assert_array_equal(blind.action, seeing.action)
        np.testing.assert_array_equal(blind.sim_states, seeing.sim_states)


def test_a_command_with_cameras_records_them_and_goes_on(tmp_path):
    out = tmp_path / "data"
    for num in (1, 2):
        CollectCommand(
            out, env="planar/group-short-v0", behaviour=TogetherConfig(), num_episodes=num,
            max_episode_steps=10, num_workers=0, cameras=("top",), image_px=32,
        ).run()  # fmt: skip
    store = open_or_create(out, "planar/group-short-v0")
    assert len(store) == 2
    assert store.features[IMAGES + "top"].shape == (32, 32, 3)


def test_a_camera_that_is_not_there_leaves_nothing_behind(tmp_path):
    command = CollectCommand(
        tmp_path / "data", env="planar/group-short-v0", behaviour=TogetherConfig(), cameras=("a",)
    )
    with pytest.raises(ValueError) as error:
        command.run()
    assert str(error.value) == "`cameras` must be one of ['top'], got 'a'."
    assert not (tmp_path / "data").exists()


def test_data_without_cameras_keeps_the_identity_it_had_before_there_were_any(tmp_path):
    command = CollectCommand(tmp_path, env="planar/group-short-v0")
    assert "camera" not in command._namespace()
    seeing = CollectCommand(tmp_path, env="planar/group-short-v0", cameras=("top",))
    assert "top" in seeing._namespace()


@pytest.mark.parametrize("image_px", [0, 113])
def test_odd_pictures_are_refused(image_px, tmp_path):
    with pytest.raises(ValueError) as error:
        CollectCommand(tmp_path, cameras=("top",), image_px=image_px)
    assert str(error.value) == f"`image_px` must be even and at least 2, got {image_px}."


def test_recipes_record_no_pictures(tmp_path):
    with pytest.raises(ValueError) as error:
        CollectCommand(tmp_path, recipe="ipl", cameras=("top",))
    assert str(error.value) == "Give one of `recipe` and `cameras`: recipes record states alone."
