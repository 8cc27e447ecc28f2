"""A camera on a simulated arm, calibrated as a person would; and the commands around it."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2", reason="the extra 'camera' is not installed")
pytest.importorskip("robosuite", reason="the extra 'robomimic' is not installed")

import open3d
from PIL import Image

from robopref.cli import main
from robopref.commands.camera import CalibrateCommand
from robopref.config import load_yaml, to_dict
from robopref.deploy.calibrating import tool_pose
from robopref.deploy.operator import Word
from robopref.errors import HardwareError
from robopref.hardware.arms import MODELS
from robopref.hardware.calibration import (
    Calibration,
    Mount,
    now,
    save_calibration,
    save_mount,
)
from robopref.hardware.hand_eye import Board
from robopref.hardware.keyboard import Keyboard
from robopref.hardware.kinematics import Kinematics
from robopref.hardware.sim import SimArmConfig
from robopref.hardware.sim_link import SimLink, SimProcess
from robopref.hardware.sim_scene import SimScene
from robopref.hardware.synthetic_camera import SyntheticCameraConfig
from robopref.render import import_mujoco

mujoco: Any = import_mujoco()
BOARD = Board()
SIZE: dict[str, Any] = {"width": 480, "height": 360}
SPEC = MODELS["xarm7"]()
EYE_M, TILT = (0.06, 0.0, 0.02), (0.0, 1.0, 0.05, 0.0)
"""Where the camera is on the tool: it looks along the tool's z, a little tilted."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """The arm over a board on the floor, with a camera on its tool."""
    folder = tmp_path_factory.mktemp("scene")
    Image.fromarray(BOARD.draw(120)).convert("RGB").save(folder / "board.png")
    spec = mujoco.MjSpec.from_file(str(SPEC.model))
    spec.meshdir = str(SPEC.model.parent / spec.meshdir)
    for actuator in list(spec.actuators):
        actuator.delete()
    spec.visual.headlight.ambient = (0.9, 0.9, 0.9)
    spec.visual.headlight.diffuse = (0.1, 0.1, 0.1)
    for geom in spec.geoms:
        geom.rgba[3] *= geom.group != 0
    spec.body(SPEC.tool).add_camera(name="wrist", fovy=50, pos=EYE_M, quat=TILT)
    spec.add_texture(
        name="board", type=mujoco.mjtTexture.mjTEXTURE_2D, file=str(folder / "board.png")
    )
    material = spec.add_material(name="board", texuniform=False)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "board"
    x, y, _ = tool_pose(Kinematics(SPEC), SPEC.rest_rad)[:3, 3]
    size = (BOARD.columns * BOARD.square_m / 2, BOARD.rows * BOARD.square_m / 2, 1)
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_PLANE, size=size, pos=(x, y, 0.002), material="board"
    )
    spec.compile()
    path = folder / "scene.xml"
    path.write_text(spec.to_xml())
    return path


class Pusher:
    """An operator who pushes the arm before each view."""

    name = "ann"
    device = Keyboard()

    def __init__(self, address, poses):
        self._link, self._poses = SimLink(address), list(poses)
        self.heard = []

    def words(self):
        return []

    def urgent(self):
        return None

    def show(self, status):
        self.seen = status

    def tell(self, text):
        self.heard.append(text)

    def wait_for(self, wanted):
        if not self._poses:
            return Word.SUCCESS
        # Gravity is compensated while it can be pushed: it stays where it is put.
        self._link.ask("reset", qpos=list(self._poses.pop(0)))
        return Word.GO


def pose_of(thing):
    """Return where a body or a camera of a scene is."""
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = thing.xmat.reshape(3, 3), thing.xpos
    return found


# OpenGL's cameras have y up and look along -z.
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


def poses(num):
    rng = np.random.default_rng(1)
    spread = np.array([0.1, 0.1, 0.1, 0.1, 0.3, 0.25, 0.4])
    for _ in range(num):
        yield tuple(np.array(SPEC.rest_rad) + rng.uniform(-1, 1, 7) * spread)


def test_a_camera_on_an_arm_is_found_and_kept(scene, tmp_path):
    arm = SimArmConfig(scene=SimScene(scene))
    with SimProcess(to_dict(arm)) as process:
        address = "{}:{}".format(*process.address)
        arm = SimArmConfig(address=address, scene=SimScene(scene))
        camera = SyntheticCameraConfig(
            scene=scene, address=address, viewpoint="wrist", fps=60.0, **SIZE
        )
        command = CalibrateCommand("wrist", camera, arm, BOARD, folder=tmp_path)
        operator = Pusher(process.address, poses(14))
        with pytest.raises(HardwareError, match="Say it first: robopref camera mount"):
            command.run_with(operator)
        assert (
            main(["camera", "mount", "--name", "wrist", "--on", "tool", "--folder", str(tmp_path)])
            == 0
        )
        command.run_with(operator)
        with pytest.raises(HardwareError, match="at least 5 views of the board, got 2"):
            command.run_with(Pusher(process.address, poses(2)))
    found = load_yaml(Calibration, tmp_path / "wrist.calibration.yaml")
    assert found.num_views >= 8
    assert found.reprojection_px < 0.5
    model = mujoco.MjModel.from_xml_path(str(scene))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    T_world_tool = pose_of(data.body(SPEC.tool))
    T_tool_eye = np.linalg.inv(T_world_tool) @ pose_of(data.camera("wrist")) @ FLIP
    away = np.linalg.inv(T_tool_eye) @ np.array(found.pose)
    assert np.linalg.norm(away[:3, 3]) < 2e-3
    assert np.abs(away[:3, :3] - np.eye(3)).max() < 4e-3


def test_a_camera_is_shown_with_its_points(tmp_path, capsys):
    out, folder = tmp_path / "seen", tmp_path / "cameras"
    config = SyntheticCameraConfig(depth=True)
    model = SimScene().load(SPEC)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    pose = tuple(tuple(row) for row in (pose_of(data.camera("front")) @ FLIP).tolist())
    with config.build() as camera:
        info = camera.info()
    assert info.intrinsics is not None
    mount = Mount("front", "base", now())
    for is_calibrated in (False, True):
        if is_calibrated:
            save_mount(folder, mount)
            save_calibration(
                folder, Calibration(info.serial, mount, now(), info.intrinsics, pose, 9, 0.1, 0.0)
            )
        options = ["--out", str(out), "--folder", str(folder), "--seconds", "0.2"]
        assert main(["camera", "show", "--camera.depth", *options]) == 0
        shown = capsys.readouterr().out
        assert "Camera     synthetic-xarm7-front: 320 x 240 pixels" in shown
        assert ("Points     none: they need" in shown) != is_calibrated
    with Image.open(out.with_suffix(".png")) as picture:
        assert picture.size == (320, 240)
    points = np.asarray(open3d.io.read_point_cloud(out.with_suffix(".ply")).points)
    # Most of what it sees is the floor, which is where the robot stands.
    assert np.median(np.abs(points[:, 2])) < 2e-3
    assert points[:, 2].max() > 0.2


def test_a_board_is_printed_to_scale(tmp_path, capsys):
    path = tmp_path / "board.png"
    assert main(["camera", "calibrate", "--print-board", str(path)]) == 0
    assert f"Print {path} at 280 x 200 mm" in capsys.readouterr().out
    with Image.open(path) as picture:
        assert picture.size == (700, 500)


def test_what_is_there_is_listed(capsys):
    assert main(["camera", "list"]) == 0
    shown = capsys.readouterr().out
    assert "synthetic   Draws a simulated arm." in shown
    assert "realsense   Intel RealSense, with depth." in shown
