"""Tests of the T-shirt: its cloth, and how it is flung and dragged."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from robopref.envs.deformable.fling import (
    BACK_M,
    FORWARD_M,
    SWING_M_S,
    TIGHTEN_M,
    drag,
    fling,
    is_within_reach,
)
from robopref.envs.deformable.tshirt import CELL_M, RADIUS_M, TShirt, shirt_mesh
from robopref.envs.make import make_env
from robopref.types import POINTS

PAIR = np.array([[-0.1, 0.05, 0.01], [0.12, -0.02, 0.03]])


@pytest.fixture(scope="module")
def shirt() -> TShirt:
    return TShirt("flat", "standard")


@pytest.fixture
def stretch(shirt: TShirt) -> Iterator[list[float]]:
    """Yield a list that fills with the 95th percentile of the edges' stretch as time goes on."""
    seen: list[float] = []
    shirt.sim.watch = lambda: seen.append(float(np.percentile(shirt.sim.stretch, 95)))
    yield seen
    shirt.sim.watch = None


def lay(shirt: TShirt, vertices: np.ndarray) -> None:
    """Put the vertices somewhere, at rest."""
    first = np.concatenate([shirt.goal, np.full((len(shirt.goal), 1), RADIUS_M)], axis=1)
    shirt.sim.restore((vertices - first).ravel())


def folded(shirt: TShirt, at_m: float = -0.07) -> np.ndarray:
    """Return the shirt with what is left of `at_m` folded over."""
    x, y = shirt.goal.T
    height = np.where(x < at_m - CELL_M / 2, 3.2 * RADIUS_M, RADIUS_M)
    return np.stack([at_m + np.abs(x - at_m), y, height], axis=1)


def test_the_mesh_is_a_t_shirt_without_grain_or_slivers():
    flat, triangles = shirt_mesh()
    a, b, c = (flat[triangles[:, i]] for i in range(3))
    areas = np.abs(np.linalg.det(np.stack([b - a, c - a], axis=-1))) / 2
    np.testing.assert_allclose(areas, CELL_M**2 / 2, rtol=1e-9)  # Sleeves are sheared only.
    assert set(triangles.ravel()) == set(range(len(flat)))
    assert 200 <= len(flat) <= 300
    mirrored = flat * np.array([-1, 1])
    away = np.linalg.norm(mirrored[:, None] - flat[None], axis=-1).min(axis=1)
    assert away.max() < 1e-9


def test_coverage_of_flat_folded_and_turned_shirts(shirt):
    lay(shirt, np.append(shirt.goal, np.full((len(shirt.goal), 1), RADIUS_M), axis=1))
    assert shirt.measure() == 1
    lay(shirt, folded(shirt, 0.0))
    assert shirt.measure() == pytest.approx(0.5, abs=0.03)
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    turned = np.append(shirt.goal @ turn.T, np.full((len(shirt.goal), 1), RADIUS_M), axis=1)
    lay(shirt, turned)
    assert shirt.measure() == pytest.approx(1, abs=0.05)


def test_the_pair_of_a_fling_has_no_order():
    one = fling(PAIR, width_m=0.3, length_m=0.4)
    other = fling(PAIR[::-1].copy(), width_m=0.3, length_m=0.4)
    np.testing.assert_allclose(one.times_s, other.times_s)
    np.testing.assert_allclose(one.places_m, other.places_m[:, ::-1], atol=1e-12)


def test_a_fling_stretches_swings_lays_and_tightens():
    path = fling(PAIR, width_m=0.3, length_m=0.4)
    np.testing.assert_array_equal(path.places_m[0], PAIR)
    apart = np.linalg.norm(np.diff(path.places_m[-1], axis=0))
    assert apart == pytest.approx(0.3)
    middles = path.places_m.mean(axis=1)[:, :2]
    forward = np.linalg.norm(middles[-4] - middles[-5]) - BACK_M
    assert forward == pytest.approx(FORWARD_M)
    back = np.linalg.norm(middles[-1] - middles[-4])
    assert back == pytest.approx(0.4 + TIGHTEN_M)
    times = np.linspace(0, path.times_s[-1], 5000)
    speeds = np.linalg.norm(np.diff(path.at(times), axis=0), axis=-1) / (times[1] - times[0])
    assert 0.9 * SWING_M_S < speeds.max() <= SWING_M_S + 1e-6
    assert path.holds[:-1].all()
    assert not path.holds[-1].any()
    assert is_within_reach(path)
    assert not is_within_reach(fling(PAIR, width_m=1.2, length_m=0.4))


def test_a_drag_stays_low_and_moves_one_tool():
    path = drag(PAIR)
    assert path.places_m[:, 0, 2].max() < 0.02
    np.testing.assert_array_equal(path.places_m[:, 1], path.places_m[:1, 1].repeat(4, axis=0))
    assert not path.holds[:, 1].any()


def test_friction_holds_a_folded_shirt(shirt):
    before = folded(shirt)
    lay(shirt, before)
    shirt.sim.settle()
    # What was pressed together in the crease lets go; the layers stay on one another.
    assert np.abs(shirt.sim.vertices - before)[:, :2].max() < CELL_M
    assert shirt.num_crossings() == 0
    covered, at_rest = shirt.measure(), shirt.sim.vertices
    shirt.sim.settle()
    assert np.abs(shirt.sim.vertices - at_rest).max() < RADIUS_M
    assert shirt.measure() == pytest.approx(covered, abs=0.02)


@pytest.mark.slow
def test_a_fling_does_not_stretch_the_shirt(shirt, stretch):
    lay(shirt, folded(shirt))
    tips = [shirt.goal[:, 0].argmin(), shirt.goal[:, 0].argmax()]
    performed = shirt.perform(shirt.sim.vertices[tips])
    assert performed.primitive == "fling"
    assert max(stretch) <= 1.06
    assert np.isfinite(shirt.sim.vertices).all()
    assert shirt.sim.vertices[:, 2].min() > 0  # Less than a radius deep.


def test_where_a_fling_is_not_feasible_the_shirt_is_dragged(shirt, stretch):
    lay(shirt, folded(shirt))
    performed = shirt.perform(np.array([[0.14, -0.2, 0], [0.14, -0.17, 0]]))
    assert (performed.primitive, performed.touched) == ("drag", True)
    assert max(stretch) <= 1.06


@pytest.mark.parametrize(
    ("is_first", "height_m", "primitive"), [(True, 0.0, "drag"), (False, 0.025, "pick-and-place")]
)
def test_a_point_beside_the_shirt_is_where_the_other_is_brought(
    shirt, stretch, is_first, height_m, primitive
):
    lay(shirt, folded(shirt))
    corner = int(np.argmax(shirt.sim.vertices[:, :2] @ [1.0, -1.0]))
    before, beside = shirt.sim.vertices[corner], np.array([0.25, -0.3, height_m])
    performed = shirt.perform(np.stack([before, beside] if is_first else [beside, before]))
    assert (performed.primitive, performed.touched) == (primitive, True)
    away = np.linalg.norm((shirt.sim.vertices[corner] - beside)[:2])
    assert away < 0.02
    assert max(stretch) <= 1.06


def test_points_beside_the_shirt_move_nothing(shirt):
    lay(shirt, folded(shirt))
    before = shirt.sim.positions
    performed = shirt.perform(np.array([[-0.3, -0.3, 0], [-0.3, 0.3, 0]]))
    assert not performed.touched
    np.testing.assert_array_equal(shirt.sim.positions, before)


@pytest.mark.slow
def test_a_step_is_the_same_in_a_fresh_environment():
    env: Any = make_env("deformable/tshirt-flat-v0")
    env.reset(seed=2)
    state = env.get_state()
    action = env.propose(np.random.default_rng(0), 1)[0]
    obs, reward, *_, info = env.step(action)
    assert info["primitive"] == "fling"
    fresh: Any = make_env(env.env_id)
    fresh.set_state(state)
    again, reward_again, *_ = fresh.step(action)
    np.testing.assert_array_equal(fresh.get_state().step, env.get_state().step)
    np.testing.assert_array_equal(obs[POINTS], again[POINTS])
    assert reward == reward_again
    env.close()
    fresh.close()


@pytest.mark.slow
def test_random_primitives_neither_stretch_nor_sink_the_shirt(shirt, rng, stretch):
    # 6 and not more: each takes four seconds.
    shirt.start(rng)
    for _ in range(6):
        pair = shirt.sim.vertices[rng.choice(len(shirt.goal), 2, replace=False)]
        shirt.perform(pair)
        assert np.isfinite(shirt.sim.vertices).all()
        assert shirt.sim.vertices[:, 2].min() > 0
        # A corner pokes through another layer now and then: 0 to 5 edges were seen to.
        assert shirt.num_crossings() <= 0.02 * len(shirt.sim.stretch)
    assert max(stretch) <= 1.06


@pytest.mark.slow
def test_flings_raise_the_coverage_on_average(shirt):
    gains = []
    for seed in (0, 1, 3):
        rng = np.random.default_rng(seed)
        shirt.start(rng)
        before = shirt.measure()
        shirt.perform(shirt.propose(rng, 1)[0])
        gains.append(shirt.measure() - before)
    assert np.mean(gains) > 0.1
