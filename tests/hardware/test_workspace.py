import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robopref.hardware.workspace import Box, Cylinder, HalfSpace, Workspace

SPACE = Workspace(
    Box((-1.0, -1.0, -0.2), (1.0, 1.0, 1.4)),
    (HalfSpace((0.0, 0.0, 2.0), 0.1), HalfSpace((1.0, 1.0, 0.0), -1.0)),
    (Cylinder((-0.5, 0.0, 0.0), 0.1, 0.5), Box((0.3, 0.3, 0.0), (0.6, 0.6, 0.3))),
    radius_m=0.05,
)


def distance_to_box(box, point):
    """Below 0 inside; by the nearest point of it, and by its faces."""
    low, high = np.array(box.low_m), np.array(box.high_m)
    outside = np.linalg.norm(point - np.clip(point, low, high))
    return outside if outside > 0 else -min((point - low).min(), (high - point).min())


def distance_to_cylinder(cylinder, point):
    offset = point - np.array(cylinder.centre_m)
    around = np.hypot(*offset[:2]) - cylinder.radius_m
    along = max(-offset[2], offset[2] - cylinder.height_m)
    if around <= 0 and along <= 0:
        return max(around, along)
    return np.hypot(max(around, 0), max(along, 0))


@given(st.integers(0, 2**32 - 1))
def test_margins_are_distances_less_the_radius(seed):
    points = np.random.default_rng(seed).uniform(-1.6, 1.6, (3, 4, 3))
    margins = SPACE.margins_m(points)
    assert margins.shape == (3, 5)
    for placed, found in zip(points, margins, strict=True):
        wanted = [
            min(-distance_to_box(SPACE.stay_in, p) for p in placed),
            min(p[2] - 0.1 for p in placed),
            min((p[0] + p[1]) / np.sqrt(2) + 1.0 for p in placed),
            min(distance_to_cylinder(SPACE.keep_out[0], p) for p in placed),
            min(distance_to_box(SPACE.keep_out[1], p) for p in placed),
        ]
        np.testing.assert_allclose(found, np.array(wanted) - 0.05, atol=1e-12)


def test_a_box_alone_is_a_workspace():
    space = Workspace(Box((-1.0, -1.0, 0.0), (1.0, 1.0, 1.0)), radius_m=0.0)
    np.testing.assert_allclose(space.margins_m(np.array([[[0.0, 0.0, 0.25]]])), [[0.25]])


def test_shapes_without_a_size_are_refused():
    with pytest.raises(ValueError, match="must be below `high_m`"):
        Box((0.0, 0.0, 0.0), (1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="`normal` must not be zero"):
        HalfSpace((0.0, 0.0, 0.0), 0.0)
    with pytest.raises(ValueError, match="must be above 0"):
        Cylinder((0.0, 0.0, 0.0), 0.0, 1.0)
