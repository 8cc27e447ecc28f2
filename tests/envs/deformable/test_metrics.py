"""Tests of the metrics on clouds made by hand, and of the goals."""

import numpy as np
import pytest

from robopref.envs.deformable import goals, metrics


def turned(points, degrees):
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ turn.T


@pytest.mark.parametrize("degrees", [0, 90, -20, 190])
def test_a_goal_that_is_moved_and_turned_is_reached(degrees):
    goal = goals.filled("T")
    there = turned(goal, degrees) + np.array([0.1, -0.2])
    assert metrics.intersection_over_union(there, goal) > 0.9
    assert metrics.chamfer_distance(there, goal) < 1e-9
    assert metrics.earth_movers_distance(there, goal) < 1e-9


def test_shapes_that_differ_are_told_apart():
    goal = goals.filled("T")
    overlaps = [metrics.intersection_over_union(goals.filled(name), goal) for name in ("L", "line")]
    assert max(overlaps) < 0.8
    assert metrics.chamfer_distance(goals.filled("line"), goal) > 0.005


def test_distances_are_those_of_a_known_shift():
    """Two points that move apart by 2 cm each, of which no turn makes up for."""
    goal = np.array([[-0.1, 0.0], [0.1, 0.0]])
    wider = np.array([[-0.12, 0.0], [0.12, 0.0]])
    assert metrics.earth_movers_distance(wider, goal) == pytest.approx(0.02)
    assert metrics.chamfer_distance(wider, goal) == pytest.approx(0.04)


def test_half_a_cloth_covers_half():
    flat = np.stack(np.meshgrid(np.linspace(0, 1, 60), np.linspace(0, 1, 60)), -1).reshape(-1, 2)
    assert metrics.coverage(flat, flat) == 1.0
    assert metrics.coverage(flat[flat[:, 0] < 0.5], flat) == pytest.approx(0.5, abs=0.06)


def test_a_shape_without_points_is_refused():
    with pytest.raises(ValueError) as error:
        metrics.intersection_over_union(np.zeros((0, 2)), goals.filled("T"))
    assert str(error.value) == (
        "A shape is made of one or more points that are finite, got 0 points."
    )


def test_performance_needs_a_way_to_go():
    with pytest.raises(ValueError) as error:
        metrics.normalized_performance(0.5, 1.0, 1.0)
    assert str(error.value) == "The start must be worse than the best, got 1.0 for both."


@pytest.mark.parametrize("shape", [goals.circle, goals.square, goals.s_shape])
def test_a_rope_is_as_long_as_its_goal(shape):
    points = shape(1.2, 64)
    edges = np.linalg.norm(points - np.roll(points, -1, axis=0), axis=1)
    # An edge that cuts one of four right corners is at most 0.6 of an edge shorter than the line.
    assert 1.2 - 4 * 0.6 * 1.2 / 64 <= edges.sum() <= 1.2 + 1e-9
    assert edges.max() < 1.2 / 64 * 1.02


def test_bars_have_the_area_they_should():
    for name, corners in goals.OUTLINES.items():
        assert goals.is_inside(goals.filled(name), goals.outline(name)).all()
        assert len(goals.filled(name)) == len(goals.filled("T")), (name, corners)


def test_no_rope_goal_but_a_corner_bends_more_sharply_than_friction_holds():
    for shape in (goals.circle, goals.s_shape):
        ring = shape(1.2, 64)
        edges = np.roll(ring, -1, axis=0) - ring
        angles = np.unwrap(np.arctan2(edges[:, 1], edges[:, 0]), period=2 * np.pi)
        bends = (np.diff(np.append(angles, angles[0])) + np.pi) % (2 * np.pi) - np.pi
        assert abs(bends.sum()) == pytest.approx(2 * np.pi)  # Once around: it crosses nowhere.
        assert np.abs(bends).max() < 1.2 / 64 / 0.033


def test_an_edge_crosses_a_triangle_only_where_it_passes_through():
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    triangles, edge = np.array([[0, 1, 2]]), np.array([[3, 4]])

    def crossings(start: list[float], end: list[float]) -> int:
        return metrics.num_crossings(np.array([*corners, start, end]), edge, triangles)

    assert crossings([0.2, 0.2, -1], [0.3, 0.3, 1]) == 1
    assert crossings([0.2, 0.2, 0.1], [0.3, 0.3, 1]) == 0  # Above it.
    assert crossings([0.8, 0.8, -1], [0.8, 0.8, 1]) == 0  # Beside it.
    assert crossings([0.1, 0.1, 0], [0.3, 0.3, 0]) == 0  # In its plane.
    assert metrics.num_crossings(corners, np.array([[0, 1], [1, 2]]), triangles) == 0
