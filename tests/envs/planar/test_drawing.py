"""Tests of the pictures of planar tasks."""

from typing import Any

import numpy as np
import pytest

from robopref.envs.make import make_env


@pytest.fixture
def shown():
    env: Any = make_env("planar/avoid-short-v0")
    env.reset(seed=0)
    return env


def picture(env, state, size=112):
    return env.render_states(state.step[None], state.episode, width=size, height=size)[0].astype(
        int
    )


def moved(state, row, place):
    """Return the state with a body (from behind: -1, -2 the blocks) elsewhere."""
    bodies = state.step[1:].reshape(-1, 6).copy()
    bodies[row, : len(place)] = place
    return type(state)(np.concatenate([state.step[:1], bodies.ravel()]), state.episode)


def centre_of(difference):
    """Return the centre of what differs, in metres, for a square picture."""
    weight = np.abs(difference).sum(axis=2)
    rows, columns = np.indices(weight.shape)
    side = len(weight)
    to_m = 2.3 / side
    x = ((columns + 0.5) * weight).sum() / weight.sum() * to_m - 1.15
    y = 1.15 - ((rows + 0.5) * weight).sum() / weight.sum() * to_m
    return x, y


@pytest.mark.parametrize("place", [(-0.6, -0.7), (0.8, -0.9), (0.5, 0.9)])
def test_a_block_is_seen_where_it_is(shown, place):
    away = moved(shown.get_state(), -2, (5.0, 5.0))
    there = moved(shown.get_state(), -2, place)
    seen = centre_of(picture(shown, there) - picture(shown, away))
    np.testing.assert_allclose(seen, place, atol=0.03)  # Its shadow counts a little.


def test_edges_are_smooth(shown):
    """A small turn changes some pixels a little: without smoothing, few and at once."""
    state = shown.get_state()
    first, turned = (picture(shown, moved(state, 0, (0.0, -0.5, angle))) for angle in (0.30, 0.33))
    change = np.abs(first - turned).max(axis=2)
    assert np.count_nonzero((change > 4) & (change < 60)) > 20


def test_sizes_show_the_same(shown):
    from PIL import Image

    state = shown.get_state()
    small, large = picture(shown, state, 56), picture(shown, state, 448)
    shrunk = np.asarray(Image.fromarray(large.astype(np.uint8)).reduce(8)).astype(int)
    assert np.abs(small - shrunk).mean() < 4


def test_a_wide_picture_shows_the_table_in_its_middle(shown):
    state = shown.get_state()
    wide = shown.render_states(state.step[None], state.episode, width=160, height=112)[0]
    np.testing.assert_array_equal(wide[:, :20], np.broadcast_to(wide[0, 0], (112, 20, 3)))
    assert np.abs(wide[:, 24:136].astype(int) - picture(shown, state)).mean() < 0.5


def test_the_region_is_seen_in_avoid_alone(shown):
    pink = picture(shown, shown.get_state())
    assert _reddish(pink) > 200
    env: Any = make_env("planar/group-short-v0")
    env.reset(seed=0)
    assert _reddish(picture(env, env.get_state())) == 0


def test_every_hand_looks_different():
    pictures = []
    for hand in ("short", "medium", "long", "gripper"):
        env: Any = make_env(f"planar/group-{hand}-v0")
        env.reset(seed=0)
        pictures.append(picture(env, env.get_state()))
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert np.count_nonzero((one != other).any(axis=2)) > 30


def _reddish(pixels):
    red, green, blue = np.moveaxis(pixels, 2, 0)
    return np.count_nonzero((red > 220) & (red - green > 25) & (np.abs(green - blue) < 25))
