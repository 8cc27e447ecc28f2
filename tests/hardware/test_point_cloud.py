"""Points of a drawn scene, whose places are known."""

from typing import Any

import numpy as np
import pytest

from robopref.hardware.driver import Frame, Intrinsics
from robopref.hardware.point_cloud import CloudConfig, make_cloud, resample
from robopref.hardware.synthetic_camera import view_pose
from robopref.render import FreeCamera, OffscreenRenderer, import_mujoco

mujoco: Any = import_mujoco()

WIDTH, HEIGHT = 160, 120
FOCAL = float(HEIGHT / 2 / np.tan(np.radians(22.5)))
LENS = Intrinsics(WIDTH, HEIGHT, (FOCAL, FOCAL), ((WIDTH - 1) / 2, (HEIGHT - 1) / 2))
VIEW = FreeCamera((0.0, 0.0, 0.1), 1.2, 60.0, -50.0)
BOX_M = np.array((0.1, 0.15, 0.2))
SCENE = f"""
<mujoco><worldbody>
  <light pos="0 0 3"/><geom type="plane" size="2 2 .1" rgba=".2 .2 .8 1"/>
  <geom type="box" size="{" ".join(map(str, BOX_M / 2))}" pos="0 0 {BOX_M[2] / 2}" rgba="1 0 0 1"/>
</worldbody></mujoco>
"""


@pytest.fixture(scope="module")
def frame():
    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    renderer = OffscreenRenderer(model, {"view": VIEW})
    colour, depth = renderer.render_depth(data, width=WIDTH, height=HEIGHT, camera="view")
    renderer.close()
    return Frame(0.0, colour, depth)


def test_points_are_where_things_are(frame):
    config = CloudConfig(low_m=(-0.5, -0.5, 0.005), high_m=(0.5, 0.5, 0.5), voxel_m=0.0)
    cloud = make_cloud(frame, LENS, view_pose(VIEW), config)
    half = BOX_M / 2
    inside = np.abs(cloud.points_m - (0, 0, half[2])) - half
    # Every point lies on a face of the box, to a tenth of a pixel's size.
    assert len(cloud.points_m) > 300
    assert np.abs(inside.max(axis=1)).max() < 2e-3
    assert (cloud.colours[:, 0] > 2 * cloud.colours[:, 2].astype(int)).all()


def test_the_box_and_the_cubes_bound_what_is_kept(frame):
    low, high = (-0.2, -0.3, -0.01), (0.2, 0.3, 0.3)
    counts = []
    for voxel_m in (0.0, 0.01, 0.02):
        config = CloudConfig(low_m=low, high_m=high, voxel_m=voxel_m, neighbours=0)
        points = make_cloud(frame, LENS, view_pose(VIEW), config).points_m
        counts.append(len(points))
        assert (points >= np.array(low) - 1e-6).all()
        assert (points <= np.array(high) + 1e-6).all()
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < counts[0] / 3


def test_a_point_that_stands_apart_is_left_out(frame):
    depth = frame.depth_m.copy()
    depth[60, 80] = 0.5
    spoilt = Frame(0.0, frame.colour, depth)
    nearest = []
    for neighbours in (0, 20):
        config = CloudConfig(voxel_m=0.0, neighbours=neighbours)
        points = make_cloud(spoilt, LENS, view_pose(VIEW), config).points_m
        eye = view_pose(VIEW)[:3, 3]
        nearest.append(np.linalg.norm(points - eye, axis=1).min())
    assert nearest[0] == pytest.approx(0.5, abs=0.01)
    assert nearest[1] > 0.8


def test_a_bent_lens_is_made_straight(frame):
    """A picture of a camera with distortion gives the points of one without."""
    cv2 = pytest.importorskip("cv2", reason="the extra 'camera' is not installed")
    bent = Intrinsics(WIDTH, HEIGHT, LENS.focal_px, LENS.centre_px, (-0.3, 0.1, 0.0, 0.0, 0.0))
    pixels = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), -1).astype(np.float32)
    seen = cv2.undistortPoints(
        pixels.reshape(-1, 1, 2), bent.matrix, np.array(bent.distortion), P=bent.matrix
    ).reshape(HEIGHT, WIDTH, 2)
    distorted = cv2.remap(frame.depth_m, seen, None, cv2.INTER_NEAREST)
    config = CloudConfig(low_m=(-1, -1, -0.5), high_m=(1, 1, 0.5), voxel_m=0.0, neighbours=0)
    spoilt = Frame(0.0, frame.colour, distorted)
    heights = []
    for lens in (bent, LENS):
        points = make_cloud(spoilt, lens, view_pose(VIEW), config).points_m
        floor = points[np.abs(points[:, :2]).max(axis=1) > 0.2]
        heights.append(np.abs(floor[:, 2]).mean())
    assert 3 * heights[0] < heights[1]


def test_a_fixed_number_of_points_is_taken_or_repeated(rng):
    points = rng.uniform(size=(50, 3)).astype(np.float32)
    few, count = resample(points, 10, rng)
    assert few.shape == (10, 3)
    assert count == 50
    many, count = resample(points, 80, rng)
    assert many.shape == (80, 3)
    assert {tuple(p) for p in many.tolist()} == {tuple(p) for p in points.tolist()}
    with pytest.raises(ValueError, match="no points to take"):
        resample(points[:0], 10, rng)


def test_what_gives_no_points_is_refused(frame, tmp_path):
    with pytest.raises(ValueError, match="this camera measures none"):
        make_cloud(Frame(0.0, frame.colour), LENS, np.eye(4), CloudConfig())
    small = Intrinsics(10, 10, (5.0, 5.0), (4.5, 4.5))
    with pytest.raises(ValueError, match=r"has \(120, 160\) pixels and `intrinsics` \(10, 10\)"):
        make_cloud(frame, small, np.eye(4), CloudConfig())
    with pytest.raises(ValueError, match=r"must be below `high_m`"):
        CloudConfig(low_m=(2.0, 0.0, 0.0))
    cloud = make_cloud(frame, LENS, view_pose(VIEW), CloudConfig())
    cloud.save(tmp_path / "cloud.ply")
    assert (tmp_path / "cloud.ply").read_bytes().startswith(b"ply")
