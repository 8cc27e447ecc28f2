"""Tests of cameras as observations."""

from typing import cast

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from robopref.envs.make import make_env
from robopref.protocols import Environment
from robopref.types import IMAGES, STATE

TOP = IMAGES + "top"
CASES = [("planar/avoid-gripper-v0", ("top",)), ("metaworld/reach-v3", ("front", "top"))]


@pytest.mark.parametrize(("spec", "cameras"), CASES)
@pytest.mark.filterwarnings("ignore:.*Box observation space:UserWarning")
def test_gymnasium_accepts_it(spec, cameras):
    env = make_env(spec, cameras=cameras, image_px=48)
    assert isinstance(env, Environment)
    check_env(cast(gymnasium.Env, env), skip_render_check=True)
    assert set(env.observation_space.spaces) == {STATE, *(IMAGES + camera for camera in cameras)}
    env.close()


@pytest.mark.parametrize(("spec", "cameras"), CASES)
def test_what_is_seen_is_the_state(spec, cameras, rng):
    """After a reset, a step, and on coming back to a state in another environment."""
    plain, env, other = (
        make_env(spec, **options) for options in ({}, *2 * [{"cameras": cameras, "image_px": 48}])
    )
    plain.reset(seed=4)
    obs, _ = env.reset(seed=4)
    other.reset(seed=5)
    for _ in range(4):
        state = env.get_state()
        np.testing.assert_array_equal(state.step, plain.get_state().step)
        again = other.set_state(state)
        for camera in cameras:
            seen = plain.render_states(
                state.step[None], state.episode, width=48, height=48, camera=camera
            )[0]
            np.testing.assert_array_equal(obs[IMAGES + camera], seen)
            np.testing.assert_array_equal(again[IMAGES + camera], seen)
        action = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        plain.step(action)
        obs, *_ = env.step(action)
    for each in (plain, env, other):
        each.close()


def test_motion_is_seen():
    env = make_env("planar/group-short-v0", cameras=["top"], image_px=64)
    obs, _ = env.reset(seed=0)
    after, *_ = env.step(np.array([0.0, 1.0, 0.0], np.float32))
    assert obs[TOP].shape == (64, 64, 3)
    assert obs[TOP].dtype == np.uint8
    assert np.count_nonzero(obs[TOP] != after[TOP]) > 20


@pytest.mark.parametrize(("options", "message"), [
    ({"cameras": ["topp"]}, "`cameras` must be one of ['top'], got 'topp'. Did you mean 'top'?"),
    ({"cameras": ["top", "top"]}, "`cameras` must name each camera once, got ['top', 'top']."),
    ({"cameras": ["top"], "image_px": 0}, "`image_px` must be at least 1, got 0."),
])  # fmt: skip
def test_what_cannot_be_seen_is_refused(options, message):
    with pytest.raises(ValueError) as error:
        make_env("planar/avoid-short-v0", **options)
    assert str(error.value) == message
