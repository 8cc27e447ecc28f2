"""Hand-eye calibration: where a camera is on the tool, or beside the robot, from views of a board.

A ChArUco board lies still while a camera on the tool looks at it from several sides (eye in hand),
or it is held by the tool before a camera that stands still (eye to hand). A first answer comes from
the motions alone [1]; then both poses that do not change are fitted to all corners at once.

References:
    [1] Park and Martin, Robot sensor calibration: solving AX = XB on the Euclidean group, IEEE
        Transactions on Robotics and Automation 10(5), 1994.

Shapes: N corners that one picture shows, V views.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from robopref.errors import HardwareError, check_above, check_at_least, check_choice
from robopref.hardware.calibration import ON
from robopref.hardware.driver import Intrinsics
from robopref.registry import import_extra

FEWEST_VIEWS = 5
"""Three determine the answer; the others show whether it is right."""
FEWEST_CORNERS = 6
"""A view with fewer corners says little of where the board is."""
CORNER_PX = 3
"""Around a corner so many pixels are looked at; markers are further away."""
TURN_RAD = 0.1
"""Between the views the tool has to turn by so much, about more than one axis [rad]."""


@dataclass(frozen=True)
class Board:
    """A ChArUco board: a chessboard with markers in its white squares."""

    columns: int = 7
    """Squares in a row."""
    rows: int = 5
    """Rows of squares."""
    square_m: float = 0.04
    """Side of a square [m]; measure it on the print."""
    marker_m: float = 0.03
    """Side of a marker [m]."""
    dictionary: str = "DICT_5X5_100"
    """OpenCV's name for the set of markers."""

    def __post_init__(self) -> None:
        """Check the sizes."""
        check_at_least("columns", self.columns, 3)
        check_at_least("rows", self.rows, 3)
        check_above("marker_m", self.marker_m, 0)
        if not self.square_m > self.marker_m:
            raise ValueError(
                f"`square_m` (={self.square_m}) must be more than `marker_m` (={self.marker_m})."
            )

    def draw(self, square_px: int = 100) -> UInt8[np.ndarray, "H W"]:
        """Return the board as a picture to print, without a margin."""
        size = (self.columns * square_px, self.rows * square_px)
        picture: np.ndarray = self.pattern().generateImage(size)
        return picture

    def pattern(self) -> Any:
        """Return OpenCV's form of it."""
        aruco = _cv2().aruco
        number = getattr(aruco, self.dictionary, None)
        if number is None:
            raise ValueError(f"OpenCV has no `dictionary` '{self.dictionary}' of markers.")
        markers = aruco.getPredefinedDictionary(number)
        size = (self.columns, self.rows)
        return aruco.CharucoBoard(size, self.square_m, self.marker_m, markers)

    def corners_m(self, ids: Int[np.ndarray, " N"]) -> Float[np.ndarray, "N 3"]:
        """Return where corners are on the board [m]."""
        found: np.ndarray = np.array(self.pattern().getChessboardCorners(), float)[ids]
        return found


@dataclass(frozen=True, eq=False)
class View:
    """One picture of the board, and where the tool was.

    Args:
        T_base_tool: Pose of the tool in the robot's base, (4, 4) [m].
        ids: Corners of the board that are seen, (N,).
        corners_px: Where they are in the picture, (N, 2).
    """

    T_base_tool: Float[np.ndarray, "4 4"]
    ids: Int[np.ndarray, " N"]
    corners_px: Float[np.ndarray, "N 2"]


@dataclass(frozen=True, eq=False)
class HandEye:
    """What a calibration found.

    Args:
        T_on_camera: Pose of the camera in the frame of what it is fixed to, (4, 4) [m].
        reprojection_px: Distance of corners from where they should be, root mean square [pixels].
        spread_m: How far the board seems to move between views, root mean square [m].
    """

    T_on_camera: Float[np.ndarray, "4 4"]
    reprojection_px: float
    spread_m: float


def find_board(
    board: Board, colour: UInt8[np.ndarray, "H W 3"], T_base_tool: Float[np.ndarray, "4 4"]
) -> View | None:
    """Return the view of the board in a picture; None where too little of it is seen."""
    cv2 = _cv2()
    grey = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
    corners, ids, _, _ = cv2.aruco.CharucoDetector(board.pattern()).detectBoard(grey)
    if ids is None or len(ids) < FEWEST_CORNERS:
        return None
    # The detector of OpenCV 4.11 puts corners half a pixel off, which would turn the camera.
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    corners = cv2.cornerSubPix(grey, corners, (CORNER_PX, CORNER_PX), (-1, -1), stop)
    return View(T_base_tool, ids.reshape(-1).astype(int), corners.reshape(-1, 2).astype(float))


def fit_intrinsics(board: Board, views: Sequence[View], width: int, height: int) -> Intrinsics:
    """Return how a camera sees, where it does not say so itself.

    Raises:
        HardwareError: There are too few views.
    """
    _check_number(views)
    objects = [board.corners_m(view.ids).astype(np.float32) for view in views]
    pictures = [view.corners_px.astype(np.float32) for view in views]
    _, matrix, distortion, _, _ = _cv2().calibrateCamera(
        objects, pictures, (width, height), None, None
    )
    return Intrinsics(
        width, height, (float(matrix[0, 0]), float(matrix[1, 1])),
        (float(matrix[0, 2]), float(matrix[1, 2])), tuple(distortion.reshape(-1).tolist()),
    )  # fmt: skip


def solve_hand_eye(board: Board, views: Sequence[View], intrinsics: Intrinsics, on: str) -> HandEye:
    """Return where a camera is on what it is fixed to.

    Args:
        board: The board.
        views: Views with the tool turned about at least two axes.
        intrinsics: How the camera sees.
        on: "tool" for a camera on the tool, "base" for one beside the robot and a board on the
            tool.

    Raises:
        HardwareError: There are too few views, or the tool was not turned enough.
    """
    from scipy.optimize import least_squares

    check_choice("on", on, ON)
    _check_number(views)
    _check_turns(views)
    # Poses of what carries the camera, in the frame in which the board stands still.
    carriers = [v.T_base_tool if on == "tool" else np.linalg.inv(v.T_base_tool) for v in views]
    boards = [_board_pose(board, view, intrinsics) for view in views]
    guess = _from_motions(carriers, boards)

    def errors(x: np.ndarray) -> np.ndarray:
        T_camera_on, T_still_board = np.linalg.inv(_pose(x[:6])), _pose(x[6:])
        away: np.ndarray = np.concatenate([
            _project(board, view, T_camera_on @ np.linalg.inv(T) @ T_still_board, intrinsics)
            for view, T in zip(views, carriers, strict=True)
        ])  # fmt: skip
        return away.ravel()

    start = np.concatenate([_vector(guess), _vector(carriers[0] @ guess @ boards[0])])
    # A corner that was mistaken for another one counts no more than it has to.
    fitted = least_squares(errors, start, loss="soft_l1")
    T_on_camera = _pose(fitted.x[:6])
    still = np.array([T @ T_on_camera @ B for T, B in zip(carriers, boards, strict=True)])
    return HandEye(T_on_camera, _rms(errors(fitted.x).reshape(-1, 2)), _rms(_centred(still)))


def _from_motions(
    carriers: Sequence[np.ndarray], boards: Sequence[np.ndarray]
) -> Float[np.ndarray, "4 4"]:
    """Return the pose of the camera on its carrier, from how both moved between the views."""
    cv2 = _cv2()
    turn, place = cv2.calibrateHandEye(
        [T[:3, :3] for T in carriers], [T[:3, 3] for T in carriers],
        [T[:3, :3] for T in boards], [T[:3, 3] for T in boards], method=cv2.CALIB_HAND_EYE_PARK,
    )  # fmt: skip
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, place.reshape(3)
    return pose


def _centred(poses: Float[np.ndarray, "V 4 4"]) -> Float[np.ndarray, "V 3"]:
    places: np.ndarray = poses[:, :3, 3] - poses[:, :3, 3].mean(axis=0)
    return places


def _rms(vectors: np.ndarray) -> float:
    return float(np.sqrt((vectors**2).sum(axis=1).mean()))


def _check_number(views: Sequence[View]) -> None:
    if len(views) < FEWEST_VIEWS:
        raise HardwareError(
            f"A calibration needs at least {FEWEST_VIEWS} views of the board, got {len(views)}."
        )


def _check_turns(views: Sequence[View]) -> None:
    """Raise unless the tool turned about two axes: else the camera's place is undetermined."""
    first = views[0].T_base_tool[:3, :3]
    turns = np.array([_cv2().Rodrigues(first.T @ v.T_base_tool[:3, :3])[0].ravel() for v in views])
    sizes = np.linalg.svd(turns - turns.mean(axis=0), compute_uv=False) / np.sqrt(len(views))
    if sizes[1] < TURN_RAD:
        raise HardwareError(
            f"Between the views the tool turned by {sizes[0]:.2f} rad about one axis and "
            f"{sizes[1]:.2f} rad about a second one; it takes {TURN_RAD} rad at least about both. "
            "Tilt the tool in several directions."
        )


def _board_pose(board: Board, view: View, intrinsics: Intrinsics) -> Float[np.ndarray, "4 4"]:
    _, turn, place = _cv2().solvePnP(
        board.corners_m(view.ids), view.corners_px, intrinsics.matrix, _distortion(intrinsics)
    )
    return _pose(np.concatenate([turn.ravel(), place.ravel()]))


def _project(
    board: Board, view: View, T_camera_board: np.ndarray, intrinsics: Intrinsics
) -> Float[np.ndarray, "N 2"]:
    """Return how far corners are from where they are seen [pixels]."""
    x = _vector(T_camera_board)
    places, _ = _cv2().projectPoints(
        board.corners_m(view.ids), x[:3], x[3:], intrinsics.matrix, _distortion(intrinsics)
    )
    away: np.ndarray = places.reshape(-1, 2) - view.corners_px
    return away


def _distortion(intrinsics: Intrinsics) -> np.ndarray | None:
    return np.array(intrinsics.distortion) if intrinsics.distortion else None


def _pose(x: np.ndarray) -> Float[np.ndarray, "4 4"]:
    """Return the pose of a rotation vector [rad] and a place [m]."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = _cv2().Rodrigues(x[:3])[0], x[3:]
    return pose


def _vector(pose: np.ndarray) -> Float[np.ndarray, " 6"]:
    return np.concatenate([_cv2().Rodrigues(pose[:3, :3])[0].ravel(), pose[:3, 3]])


def _cv2() -> Any:
    return import_extra("cv2", purpose="Calibrating a camera", extra="camera")
