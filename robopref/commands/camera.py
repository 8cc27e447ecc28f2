"""`robopref camera`: find cameras, look through them, and know where they are."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robopref.commands.following import command
from robopref.config import component, resolve
from robopref.errors import check_above, check_choice
from robopref.hardware.calibration import ON
from robopref.hardware.hand_eye import Board

if TYPE_CHECKING:
    from robopref.hardware.driver import CameraInfo, Frame

FOLDER = Path("runs/cameras")
"""Where mounts and calibrations are kept, unless told otherwise."""


@dataclass(frozen=True)
class ListCommand:
    """List the kinds of cameras, and what is attached of each.

    Example:
        robopref camera list
    """

    def run(self) -> None:
        """Print a line for each kind and each camera."""
        from robopref.errors import HardwareError, MissingExtraError
        from robopref.hardware import CAMERAS

        for name in CAMERAS.names():
            print(f"{name:<10}  {CAMERAS.summary(name)}")
            try:
                found = CAMERAS.config_class(name).find_cameras()
            except (HardwareError, MissingExtraError) as error:
                print(f"            {error}")
                continue
            for each in found:
                rest = [f"{key} {value}" for key, value in each.items() if key != "id"]
                print(f"            {each['id']}: {', '.join(rest)}")
        print(f"Next:   {command('camera show', '--camera', 'synthetic')}")


@dataclass(frozen=True)
class ShowCommand:
    """Look through a camera: its size, its rate, how old its pictures are, and one of them.

    Example:
        robopref camera show --camera synthetic --out runs/cameras/front
        robopref camera show --camera opencv --camera.device /dev/video0 --out runs/cameras/usb
    """

    camera: Any = component("robopref.hardware:CAMERAS", default="synthetic")
    """Which camera."""
    seconds: float = 2.0
    """How long it is looked at [s]."""
    out: Path = FOLDER / "show"
    """Where a picture is written, as <out>.png; with depth and a calibration also the points in the
    robot's base, as <out>.ply."""
    name: str = "front"
    """The camera's name, under which its mount and its calibration are kept."""
    folder: Path = FOLDER
    """Folder with mounts and calibrations."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_above("seconds", self.seconds, 0)

    def run(self) -> None:
        """Look, print what was seen, and write a picture."""
        from PIL import Image

        with resolve(self, "camera").build() as camera:
            info = camera.info()
            frames = _look(camera, self.seconds)
        times = [frame.time_s for frame in frames]
        rate = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0
        print(f"Camera     {info.serial}: {info.width} x {info.height} pixels")
        print(f"Rate       {rate:.1f} a second of {info.fps:g}")
        print(f"Lens       {_describe_lens(info)}")
        self.out.parent.mkdir(parents=True, exist_ok=True)
        picture = self.out.with_suffix(".png")
        Image.fromarray(frames[-1].colour).save(picture)
        print(f"Picture    {picture}")
        if frames[-1].depth_m is not None:
            self._show_depth(frames[-1], info)
        print(f"Next:   {command('camera mount', '--name', self.name)}")

    def _show_depth(self, frame: "Frame", info: "CameraInfo") -> None:
        from robopref.hardware.calibration import load_calibration, load_mount
        from robopref.hardware.point_cloud import CloudConfig, make_cloud

        assert frame.depth_m is not None
        seen = frame.depth_m[frame.depth_m > 0]
        share = seen.size / frame.depth_m.size
        far = f", {seen.min():.2f} to {seen.max():.2f} m" if seen.size else ""
        print(f"Depth      {100 * share:.0f} % of the pixels{far}")
        mount = load_mount(self.folder, self.name)
        if mount is None or mount.on != "base":
            print("Points     none: they need a calibration of a camera that is on the base")
            return
        found = load_calibration(self.folder, self.name, info)
        cloud = make_cloud(frame, found.intrinsics, found.camera_pose(), CloudConfig())
        path = self.out.with_suffix(".ply")
        cloud.save(path)
        print(f"Points     {len(cloud.points_m)} in {path}")


@dataclass(frozen=True)
class MountCommand:
    """Say that a camera was mounted now: what was calibrated before does not hold any more.

    Example:
        robopref camera mount --name wrist --on tool
    """

    name: str = "front"
    """The camera's name."""
    on: str = "base"
    """What it is fixed to: base or tool."""
    folder: Path = FOLDER
    """Folder with mounts and calibrations."""

    def __post_init__(self) -> None:
        """Check the place."""
        check_choice("on", self.on, ON)

    def run(self) -> None:
        """Keep it."""
        from robopref.hardware.calibration import Mount, now, save_mount

        save_mount(self.folder, Mount(self.name, self.on, now()))
        print(f"Camera '{self.name}' is on the {self.on} since now.")
        print(f"Next:   {command('camera calibrate', '--name', self.name)}")


@dataclass(frozen=True)
class CalibrateCommand:
    """Find where a camera is, on the tool or beside the robot, from views of a ChArUco board.

    The board lies still before a camera on the tool, and is held by the tool before one beside the
    robot. Push the arm from view to view: g takes a view, s is enough, q gives up. A dozen views
    with the tool tilted in several directions give a tenth of a pixel.

    Example:
        robopref camera calibrate --name wrist --print-board runs/cameras/board.png
        robopref camera calibrate --name wrist --camera realsense --arm sim
    """

    name: str = "front"
    """The camera's name, as told to 'robopref camera mount'."""
    camera: Any = component("robopref.hardware:CAMERAS", default="synthetic")
    """Which camera."""
    arm: Any = component("robopref.hardware:ARMS", default="sim")
    """Which arm."""
    board: Board = field(default_factory=Board)
    """The board; measure its squares."""
    print_board: Path | None = None
    """Write the board as a picture to print, and do no more."""
    operator: str = ""
    """Who moves the arm; by default, the user's name."""
    folder: Path = FOLDER
    """Folder with mounts and calibrations."""

    def run(self) -> None:
        """Take views, solve, and keep the result."""
        if self.print_board is not None:
            self._print(self.print_board)
            return
        import getpass

        from robopref.deploy.operator import TerminalOperator

        with TerminalOperator(self.operator or getpass.getuser()) as operator:
            self.run_with(operator)

    def run_with(self, operator: Any) -> None:
        """Let an operator take the views.

        Raises:
            HardwareError: Nobody said where the camera is, or the views do not agree.
        """
        from robopref.deploy.calibrating import calibrate, collect_views
        from robopref.errors import HardwareError
        from robopref.hardware.calibration import load_mount, save_calibration

        mount = load_mount(self.folder, self.name)
        if mount is None:
            raise HardwareError(
                f"Nobody said where camera '{self.name}' is. Say it first: "
                f"robopref camera mount --name {self.name} --on tool --folder {self.folder}"
            )
        arm = resolve(self, "arm").build()
        with resolve(self, "camera").build() as camera:
            arm.connect()
            try:
                views = collect_views(camera, arm, self.board, operator)
            finally:
                arm.disconnect()
            found = calibrate(self.board, views, camera.info(), mount)
        path = save_calibration(self.folder, found)
        operator.tell(
            f"Calibrated from {found.num_views} views to {found.reprojection_px:.2f} pixels; the "
            f"board seems to move by {1e3 * found.spread_m:.1f} mm. Kept in {path}."
        )

    def _print(self, path: Path) -> None:
        from PIL import Image

        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.board.draw()).save(path)
        width, height = (n * self.board.square_m for n in (self.board.columns, self.board.rows))
        print(
            f"Print {path} at {1e3 * width:g} x {1e3 * height:g} mm, and glue it on a flat plate."
        )
        print(f"Next:   {command('camera calibrate', '--name', self.name)}")


def _look(camera: Any, seconds: float) -> "list[Frame]":
    import time

    frames, end_s = [camera.read()], time.monotonic() + seconds
    while time.monotonic() < end_s:
        frames.append(camera.read())
    return frames


def _describe_lens(info: "CameraInfo") -> str:
    lens = info.intrinsics
    if lens is None:
        return "unknown; calibrate it"
    focal, centre = lens.focal_px, lens.centre_px
    return f"focal {focal[0]:.1f}, {focal[1]:.1f}, centre {centre[0]:.1f}, {centre[1]:.1f} pixels"
