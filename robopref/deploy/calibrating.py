"""Calibrating a camera with a person who moves the arm, or the board, from view to view."""

import time
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from robopref.deploy.operator import Operator, Word
from robopref.errors import HardwareError
from robopref.hardware.calibration import Calibration, Mount, now
from robopref.hardware.driver import ArmDriver, CameraDriver, CameraInfo
from robopref.hardware.hand_eye import Board, View, find_board, fit_intrinsics, solve_hand_eye
from robopref.hardware.kinematics import Kinematics
from robopref.render import import_mujoco

REST_RAD_S = 0.02
"""An arm slower than this rests [rad/s]."""
MOST_PX, MOST_M = 1.5, 0.01
"""A calibration that misses corners, or moves the board, by more than this is worth nothing."""


def collect_views(
    camera: CameraDriver, arm: ArmDriver, board: Board, operator: Operator
) -> list[View]:
    """Return the views that an operator takes, until they say that it is enough.

    The arm is let go of where it can be pushed; else it has to be moved by its own means.

    Raises:
        HardwareError: The operator gave up, or arm or camera failed.
    """
    kinematics, views = Kinematics(arm.spec), list[View]()
    is_free = _let_go(arm, operator)
    operator.tell("Tilt the tool in several directions. g takes a view, s is enough, q gives up.")
    try:
        while True:
            word = operator.wait_for(frozenset({Word.GO, Word.SUCCESS, Word.QUIT}))
            if word is Word.QUIT:
                raise HardwareError("The calibration was given up; nothing has changed.")
            if word is Word.SUCCESS:
                return views
            view = _take(camera, arm, kinematics, board, operator)
            if view is not None:
                views.append(view)
                operator.tell(f"  view {len(views)}: {len(view.ids)} corners")
    finally:
        if is_free:
            arm.freedrive(on=False)


def calibrate(board: Board, views: Sequence[View], info: CameraInfo, mount: Mount) -> Calibration:
    """Return what the views say of a camera.

    Raises:
        HardwareError: There are too few, or they do not agree.
    """
    lens = info.intrinsics or fit_intrinsics(board, views, info.width, info.height)
    found = solve_hand_eye(board, views, lens, mount.on)
    if found.reprojection_px > MOST_PX or found.spread_m > MOST_M:
        raise HardwareError(
            f"The views do not agree: corners are {found.reprojection_px:.2f} pixels and the board "
            f"{1e3 * found.spread_m:.1f} mm from where they should be. Measure the squares of the "
            "board, fix camera and board, and see that the arm's model is right."
        )
    rows = [tuple(map(float, row)) for row in found.T_on_camera]
    pose = tuple((x, y, z, w) for x, y, z, w in rows)
    return Calibration(
        info.serial, mount, now(), lens, pose, len(views), found.reprojection_px, found.spread_m
    )


def tool_pose(kinematics: Kinematics, position: Sequence[float]) -> Float[np.ndarray, "4 4"]:
    """Return where the tool is in the frame of the arm's model [m]."""
    placed = kinematics.place([position])
    turn, pose = np.empty(9), np.eye(4)
    import_mujoco().mju_quat2Mat(turn, placed.rotation[0])
    pose[:3, :3], pose[:3, 3] = turn.reshape(3, 3), placed.tool_m[0]
    return pose


def _take(
    camera: CameraDriver, arm: ArmDriver, kinematics: Kinematics, board: Board, operator: Operator
) -> View | None:
    """Return a view of an arm that rests; None where it moves or the board is not seen."""
    before = arm.read()
    asked_s = time.monotonic()
    frame = camera.read()
    while frame.time_s < asked_s:
        frame = camera.read()
    after = arm.read()
    moved = np.abs(np.subtract(after.position, before.position)).max()
    if moved > REST_RAD_S * (after.time_s - before.time_s) + 1e-3:
        operator.tell("  the arm moves; hold it still")
        return None
    view = find_board(board, frame.colour, tool_pose(kinematics, after.position))
    if view is None:
        operator.tell("  too little of the board is seen")
    return view


def _let_go(arm: ArmDriver, operator: Operator) -> bool:
    try:
        arm.freedrive(on=True)
    except HardwareError as error:
        operator.tell(f"  {error} Move it by its own means.")
        return False
    return True
