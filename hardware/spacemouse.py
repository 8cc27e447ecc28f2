"""A SpaceMouse of 3Dconnexion, by the reports that it sends to the kernel's raw HID file.

A report is a number of its kind and then its content: 1 is how far the cap is pushed along x, y and
z, each as 16 bits, little-endian, up to 350 (some models send how it is turned in the same report);
2 is how it is turned; 3 has a bit for each button. x goes to the right, y towards the person and z
down. Only what it is pushed counts: the tool keeps its rotation.
"""

import struct
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from robopref.errors import HardwareError, check_between
from robopref.hardware.teleop import FileDevice, beyond, turned

PUSHED, BUTTONS = 1, 3
FARTHEST = 350.0
"""What it reports when it is pushed as far as it goes."""
SIGNS = (1.0, -1.0, -1.0)
"""From its axes to right, away and up."""
SILENT_S = 0.3
"""A cap that is pushed reports 60 times a second; one that is silent for so long was let go, or
its link is lost [s]."""
GRIPS = {0: -1.0, 1: 1.0}
MAKERS = {0x256F: range(0x10000), 0x046D: range(0xC603, 0xC62C)}
"""3Dconnexion, and what it sold as a part of Logitech: maker and products."""
HIDRAW = Path("/sys/class/hidraw")


@dataclass(frozen=True)
class SpaceMouseConfig:
    """A SpaceMouse, with or without a cable.

    Raises:
        ValueError: A number is out of its range.
    """

    file: str = ""
    """Its file, such as /dev/hidraw3; empty finds the first."""
    rest_zone: float = 0.1
    """Share of the cap's way around its middle that counts as rest."""
    turned_rad: float = 0.0
    """How far your right is turned from x of the arm's base, counterclockwise [rad]."""

    def __post_init__(self) -> None:
        """Check the range."""
        check_between("rest_zone", self.rest_zone, 0, 0.9)

    def build(self) -> "SpaceMouse":
        """Return the device."""
        return SpaceMouse(self)


class SpaceMouse(FileDevice):
    """Reads a SpaceMouse.

    It has no deadman's button: the cap itself comes back to its middle when it is let go.

    Args:
        config: Which, and how it stands to the arm.
    """

    shown = "push the cap: along x, y and z · left button opens, right button closes"

    def __init__(self, config: SpaceMouseConfig) -> None:
        super().__init__("SpaceMouse", 64)
        self.config = config
        self._pushed = np.zeros(3)
        self._pushed_s = 0.0
        self._buttons = 0
        self._grip = 0.0

    @property
    def is_held(self) -> bool:
        """Whether it is there."""
        return not self._trouble

    def find(self) -> Path:
        """Return its file: the one that was given, or the first of its makers.

        Raises:
            HardwareError: There is none.
        """
        if self.config.file:
            return Path(self.config.file)
        for folder in sorted(HIDRAW.glob("hidraw*"), key=lambda path: int(path.name[6:])):
            maker, product = _identity(folder / "device/uevent")
            if product in MAKERS.get(maker, ()):
                return Path("/dev") / folder.name
        raise HardwareError(
            "There is no SpaceMouse. Plug it or its receiver in; or name its file, such as "
            "/dev/hidraw3."
        )

    def begin(self, grip: float, reach_m: float) -> None:
        """Let the gripper stay as it is; the cap counts from where it is."""
        del reach_m
        with self._lock:
            self._grip = grip

    def action(self) -> Float32[np.ndarray, " 4"]:
        """Return the action that the cap asks for."""
        with self._lock:
            is_new = time.monotonic() - self._pushed_s < SILENT_S
            motion = turned(self._pushed, self.config.turned_rad) * is_new
            return np.array([*np.clip(motion, -1, 1), self._grip], np.float32)

    def forget(self) -> None:
        """Let all go."""
        self._pushed = np.zeros(3)
        self._buttons = 0

    def take(self, read: bytes) -> None:
        """Take a report; other kinds, such as that of the battery, say nothing here."""
        if read[0] == PUSHED and len(read) >= 7:
            raw = struct.unpack_from("<3h", read, 1)
            self._pushed = np.array(
                [
                    beyond(sign * value / FARTHEST, self.config.rest_zone)
                    for sign, value in zip(SIGNS, raw, strict=True)
                ]
            )
            self._pushed_s = time.monotonic()
        elif read[0] == BUTTONS and len(read) >= 2:
            pressed = read[1] & ~self._buttons
            self._buttons = read[1]
            for bit, grip in GRIPS.items():
                if pressed >> bit & 1:
                    self._grip = grip


def _identity(path: Path) -> tuple[int, int]:
    """Return maker and product of a HID device: a line as HID_ID=0003:0000256F:0000C635."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0, 0
    found = [line.partition("=")[2].split(":") for line in lines if line.startswith("HID_ID=")]
    return (int(found[0][1], 16), int(found[0][2], 16)) if found else (0, 0)
