"""Where a camera is, found from views of a board that are drawn; and whether that still holds."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2", reason="the extra 'camera' is not installed")

import cv2

from robopref.errors import HardwareError
from robopref.hardware.calibration import (
    Calibration,
    Mount,
    load_calibration,
    save_calibration,
    save_mount,
)
from robopref.hardware.driver import CameraInfo, Intrinsics
from robopref.hardware.hand_eye import Board, find_board, fit_intrinsics, solve_hand_eye
from robopref.render import OffscreenRenderer, import_mujoco

mujoco: Any = import_mujoco()

BOARD = Board()
WIDTH, HEIGHT, FOVY_DEG = 640, 480, 45.0
FOCAL = HEIGHT / 2 / math.tan(math.radians(FOVY_DEG / 2))
LENS = Intrinsics(WIDTH, HEIGHT, (FOCAL, FOCAL), ((WIDTH - 1) / 2, (HEIGHT - 1) / 2))
# OpenGL's cameras have y up and look along -z.
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


def pose(place, turn):
    """Return a pose from a place [m] and a rotation vector [rad]."""
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = cv2.Rodrigues(np.array(turn, float))[0], place
    return found


def place_body(body, T):
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(T[:3, :3]).ravel())
    body.pos, body.quat = T[:3, 3], quat


class Scene:
    """A tool that can be put anywhere, a camera and a board, one of the two on the tool."""

    def __init__(self, on, T_on_camera, T_other_board):
        spec = mujoco.MjSpec()
        spec.visual.headlight.ambient = (0.9, 0.9, 0.9)
        spec.visual.headlight.diffuse = (0.1, 0.1, 0.1)
        spec.visual.headlight.specular = (0.0, 0.0, 0.0)
        tool = spec.worldbody.add_body(name="tool", mocap=True)
        holders = (tool, spec.worldbody) if on == "tool" else (spec.worldbody, tool)
        camera = holders[0].add_body()
        place_body(camera, T_on_camera @ FLIP)
        camera.add_camera(name="eye", fovy=FOVY_DEG)
        self._add_board(spec, holders[1], T_other_board)
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self.renderer = OffscreenRenderer(self.model)

    def _add_board(self, spec, holder, T):
        picture = np.repeat(BOARD.draw(120)[..., None], 3, axis=2)
        size = (BOARD.columns * BOARD.square_m, BOARD.rows * BOARD.square_m)
        texture = spec.add_texture(
            name="board", type=mujoco.mjtTexture.mjTEXTURE_2D, width=picture.shape[1],
            height=picture.shape[0], nchannel=3,
        )  # fmt: skip
        texture.data = picture.tobytes()
        material = spec.add_material(name="board", texuniform=False)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "board"
        body = holder.add_body()
        # OpenCV counts from a corner of the board, with y down and z away from who looks.
        middle = pose((size[0] / 2, size[1] / 2, 0.0), (np.pi, 0, 0))
        place_body(body, T @ middle)
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_PLANE, size=(size[0] / 2, size[1] / 2, 1), material="board"
        )

    def look(self, T_base_tool):
        """Return the view from here."""
        self.data.mocap_pos[0] = T_base_tool[:3, 3]
        mujoco.mju_mat2Quat(
            self.data.mocap_quat[0], np.ascontiguousarray(T_base_tool[:3, :3]).ravel()
        )
        mujoco.mj_forward(self.model, self.data)
        colour = self.renderer.render(self.data, width=WIDTH, height=HEIGHT, camera="eye")
        return find_board(BOARD, colour, T_base_tool)


def tools(on, T_on_camera, T_other_board, num, rng):
    """Return poses of the tool from which the camera looks at the board from several sides."""
    for _ in range(num):
        off = pose(rng.uniform(-0.04, 0.04, 3), rng.uniform(-0.35, 0.35, 3))
        # The board half a metre before the camera, seen from its front.
        T_camera_board = pose((-0.14, -0.1, 0.5), (0, 0, 0)) @ off
        if on == "tool":
            yield T_other_board @ np.linalg.inv(T_on_camera @ T_camera_board)
        else:
            yield T_on_camera @ T_camera_board @ np.linalg.inv(T_other_board)


CASES = {
    "tool": (pose((0.05, -0.03, 0.08), (0.1, -0.2, 0.7)), pose((0.5, 0.1, 0.02), (np.pi, 0, 0.4))),
    "base": (pose((1.0, -0.5, 0.6), (-1.9, 0.4, 0.3)), pose((0.02, 0.05, 0.1), (0.2, 0.1, -0.5))),
}


@pytest.fixture(scope="module", params=CASES)
def seen(request):
    """What a camera is on, where it is there, and what it sees."""
    on, (T_on_camera, T_other_board) = request.param, CASES[request.param]
    scene, rng = Scene(on, T_on_camera, T_other_board), np.random.default_rng(0)
    views = [scene.look(T) for T in tools(on, T_on_camera, T_other_board, 12, rng)]
    scene.renderer.close()
    return on, T_on_camera, [view for view in views if view is not None]


def test_a_camera_is_found_where_it_is(seen):
    on, T_on_camera, views = seen
    assert len(views) >= 10
    found = solve_hand_eye(BOARD, views, LENS, on)
    away = np.linalg.inv(T_on_camera) @ found.T_on_camera
    assert np.linalg.norm(away[:3, 3]) < 3e-4
    assert np.linalg.norm(cv2.Rodrigues(away[:3, :3])[0]) < 5e-4
    assert found.reprojection_px < 0.2
    assert found.spread_m < 1e-3


def test_corners_are_found_where_they_are():
    """The detector of OpenCV 4.11 is half a pixel off."""
    drawn = np.pad(BOARD.draw(60), 40, constant_values=255)
    view = find_board(BOARD, np.repeat(drawn[..., None], 3, axis=2), np.eye(4))
    assert view is not None
    drawn_px = 40 + 60 * BOARD.corners_m(view.ids)[:, :2] / BOARD.square_m - 0.5
    np.testing.assert_allclose(view.corners_px, drawn_px, atol=0.01)


def test_a_camera_that_says_nothing_of_its_lens_is_measured(seen):
    on, _, views = seen
    lens = fit_intrinsics(BOARD, views, WIDTH, HEIGHT)
    np.testing.assert_allclose(lens.focal_px, FOCAL, rtol=0.02)
    assert solve_hand_eye(BOARD, views, lens, on).reprojection_px < 0.5


def test_views_that_say_too_little_are_refused(seen):
    on, _, views = seen
    with pytest.raises(HardwareError, match="at least 5 views of the board, got 4"):
        solve_hand_eye(BOARD, views[:4], LENS, on)
    moved = [replace(view, T_base_tool=views[0].T_base_tool) for view in views]
    with pytest.raises(HardwareError, match=r"turned by 0\.00 rad about one axis and 0\.00 rad"):
        solve_hand_eye(BOARD, moved, LENS, on)
    assert find_board(BOARD, np.full((480, 640, 3), 200, np.uint8), np.eye(4)) is None


NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
MOUNT = Mount("wrist", "tool", NOON.isoformat())
INFO = CameraInfo("1234", WIDTH, HEIGHT, 30.0, LENS)


def make_calibration(**changes):
    rows = tuple(tuple(row) for row in pose((0.1, 0, 0), (0, 0, 0.5)).tolist())
    date = (NOON + timedelta(hours=1)).isoformat()
    return replace(Calibration("1234", MOUNT, date, LENS, rows, 12, 0.2, 1e-3), **changes)


def test_a_calibration_comes_back_and_says_where_the_camera_is(tmp_path):
    save_mount(tmp_path, MOUNT)
    save_calibration(tmp_path, make_calibration())
    found = load_calibration(tmp_path, "wrist", INFO)
    assert found == make_calibration()
    T_base_tool = pose((0.3, 0.2, 0.1), (0, 1, 0))
    expected = T_base_tool @ pose((0.1, 0, 0), (0, 0, 0.5))
    np.testing.assert_allclose(found.camera_pose(T_base_tool), expected)
    with pytest.raises(ValueError, match="`T_base_tool` must say where that was"):
        found.camera_pose()


@pytest.mark.parametrize(
    ("mount", "changes", "message"),
    [
        (replace(MOUNT, since=(NOON + timedelta(hours=2)).isoformat()), {},
         "it was made at 2026-11-26T13.*, and the camera was mounted anew at 2026-11-26T14"),
        (MOUNT, {"camera_serial": "99"}, "it is of the camera 99, and this one is 1234"),
        (replace(MOUNT, on="base"), {}, "'wrist' on the tool, and the camera is on 'wrist' on the"),
        (None, {}, "nobody said where the camera is mounted"),
        (MOUNT, {"intrinsics": replace(LENS, width=320)}, "it is of pictures of .320, 480. pixels"),
    ],
)  # fmt: skip
def test_a_calibration_that_does_not_hold_is_refused(mount, changes, message, tmp_path):
    if mount is not None:
        save_mount(tmp_path, mount)
    save_calibration(tmp_path, make_calibration(**changes))
    with pytest.raises(HardwareError, match=message) as error:
        load_calibration(tmp_path, "wrist", INFO)
    assert "robopref camera calibrate --name wrist" in str(error.value)


def test_a_calibration_that_is_missing_or_spoilt_is_refused(tmp_path):
    with pytest.raises(HardwareError, match="has no calibration at"):
        load_calibration(tmp_path, "wrist", INFO)
    path = save_calibration(tmp_path, make_calibration())
    path.write_text(path.read_text().replace("date:", "dat:"))
    with pytest.raises(HardwareError, match="cannot be used"):
        load_calibration(tmp_path, "wrist", INFO)
    doubled = tuple(tuple(row) for row in np.diag([2.0, 2.0, 2.0, 1.0]).tolist())
    with pytest.raises(ValueError, match="must hold a rotation"):
        make_calibration(pose=doubled)
    with pytest.raises(ValueError, match="date and time with its zone"):
        Mount("wrist", "tool", "yesterday")
