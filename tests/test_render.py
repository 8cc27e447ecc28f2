"""Tests for render.py: what the pictures show, and what happens without OpenGL."""

import os
import subprocess
import sys

import numpy as np
import pytest

from robopref.envs.make import make_env
from robopref.envs.metaworld import CAMERAS


@pytest.fixture(scope="module")
def env():
    env = make_env("metaworld/reach-v3")
    yield env
    env.close()


def moved_pixels(env, start, direction):
    """Return where pixels change, (rows, columns), when the hand moves in `direction`."""
    env.reset(seed=0)
    env.set_state(start)
    for _ in range(12):
        env.step(np.array([*direction, 0.0]))
    states = np.stack([start.step, env.get_state().step])
    before, after = env.render_states(states, start.episode, width=96, height=72).astype(int)
    return np.argwhere(np.abs(after - before).sum(axis=2) > 30).mean(axis=0)


def test_the_default_picture_is_upright_and_shows_right_as_minus_x(env):
    env.reset(seed=0)
    start = env.get_state()
    down, up = (moved_pixels(env, start, (0, 0, z))[0] for z in (-1, 1))
    assert up < down  # The first row is the highest.
    left, right = (moved_pixels(env, start, (x, 0, 0))[1] for x in (1, -1))
    assert left < right


def test_every_camera_and_size(env):
    env.reset(seed=0)
    state = env.get_state()
    assert {*CAMERAS, "free", "corner", "topview"} <= set(env.cameras)
    for camera in env.cameras:
        (picture,) = env.render_states(
            state.step[None], state.episode, width=40, height=30, camera=camera
        )
        assert picture.shape == (30, 40, 3)
        assert picture.std() > 2
    (large,) = env.render_states(state.step[None], state.episode, width=900, height=700)
    assert large.shape == (700, 900, 3)


def test_a_picture_is_the_same_each_time_and_after_another_size(env):
    env.reset(seed=0)
    state = env.get_state()
    draw = lambda size: env.render_states(  # noqa: E731
        state.step[None], state.episode, width=size, height=size
    )
    first = draw(48)
    draw(64)
    np.testing.assert_array_equal(draw(48), first)
    env.close()
    np.testing.assert_array_equal(draw(48), first)


def test_unknown_camera_and_size(env):
    env.reset(seed=0)
    state = env.get_state()
    with pytest.raises(ValueError) as error:
        env.render_states(state.step[None], state.episode, camera="frnt")
    assert str(error.value) == (
        f"`camera` must be one of {env.cameras}, got 'frnt'. Did you mean 'front'?"
    )
    with pytest.raises(ValueError) as error:
        env.render_states(state.step[None], state.episode, width=0)
    assert str(error.value) == "`width` must be at least 1, got 0."


SCRIPT = """
import numpy as np
from robopref.envs.make import make_env
env = make_env("metaworld/reach-v3")
env.reset(seed=0)
env.step(np.zeros(4))
print("stepped")
print(env.render().shape)
"""


def run(**variables):
    environment = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "DISPLAY")}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_program_that_never_closes_exits_without_noise_and_needs_no_variable():
    done = run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "stepped\n(240, 320, 3)\n", "")


def test_without_opengl_everything_but_pictures_works():
    # No driver that EGL could load, as on a machine without Mesa.
    done = run(__EGL_VENDOR_LIBRARY_FILENAMES="/nothing", MUJOCO_GL="egl")
    assert done.returncode == 1
    assert done.stdout == "stepped\n"
    message = done.stderr.splitlines()[-1]
    assert message.startswith(
        "robopref.errors.MissingExtraError: Pictures need an OpenGL library that works without a "
        "screen (egl: "
    )
    assert message.endswith(
        "). Install one with: apt-get install libegl1 libgl1-mesa-dri; or apt-get install "
        "libosmesa6 and set MUJOCO_GL=osmesa."
    )


DRAW_THEN_BUILD = """
from robopref.envs.make import make_env
env = make_env("metaworld/reach-v3")
env.reset(seed=0)
state = env.get_state()
env.render_states(state.step[None], state.episode, width=32, height=32)
import torch._dynamo
try:
    import triton
except ImportError:
    pass
env.close()
"""


@pytest.mark.slow
def test_torch_can_bring_its_compiler_after_a_picture():
    """Two LLVMs in one process, that of OpenGL in software and triton's, once ended it."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DRAW_THEN_BUILD], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
