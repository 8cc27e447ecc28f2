"""A gamepad, by the events of Linux's input layer; the arm moves only while a shoulder is held.

Which code is which control is fixed by the kernel for all gamepads [1]. Codes of the buttons north
and west are left alone: drivers disagree about them.

References:
    [1] Linux Gamepad Specification, Documentation/input/gamepad.rst.
"""

import fcntl
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from robopref.errors import HardwareError, check_between
from robopref.hardware.teleop import FileDevice, Word, beyond, turned

EVENT = struct.Struct("llHHi")
"""`struct input_event`: two numbers of its time, type, code, value."""
EV_SYN, EV_KEY, EV_ABS = 0, 1, 3
SYN_REPORT, SYN_DROPPED = 0, 3
ABS_X, ABS_Y, ABS_RY, ABS_HAT0X, ABS_HAT0Y = 0x00, 0x01, 0x04, 0x10, 0x11
STICKS = (ABS_X, ABS_Y, ABS_RY)
BTN_SOUTH, BTN_EAST, BTN_TL, BTN_TR, BTN_SELECT, BTN_START = (
    0x130, 0x131, 0x136, 0x137, 0x13A, 0x13B
)  # fmt: skip
BTN_DPAD_UP, BTN_DPAD_DOWN, BTN_DPAD_LEFT, BTN_DPAD_RIGHT = 0x220, 0x221, 0x222, 0x223
ABS_INFO = struct.Struct("6i")
"""`struct input_absinfo`: value, lowest, highest, fuzz, flat, resolution."""
WORDS = {
    BTN_EAST: Word.STOP, BTN_START: Word.GO, BTN_SELECT: Word.TAKE, BTN_DPAD_UP: Word.SUCCESS,
    BTN_DPAD_DOWN: Word.FAILURE, BTN_DPAD_RIGHT: Word.FASTER, BTN_DPAD_LEFT: Word.SLOWER,
}  # fmt: skip
HATS = {
    (ABS_HAT0Y, -1): Word.SUCCESS, (ABS_HAT0Y, 1): Word.FAILURE,
    (ABS_HAT0X, 1): Word.FASTER, (ABS_HAT0X, -1): Word.SLOWER,
}  # fmt: skip
"""Most pads report their cross as an axis."""
GRIPS = {BTN_SOUTH: 1.0, BTN_TL: -1.0}
INPUTS = Path("/sys/class/input")


@dataclass(frozen=True)
class GamepadConfig:
    """A gamepad.

    Raises:
        ValueError: A number is out of its range.
    """

    file: str = ""
    """Its file, such as /dev/input/event7; empty finds the first."""
    rest_zone: float = 0.15
    """Share of a stick's way around its middle that counts as rest."""
    turned_rad: float = 0.0
    """How far your right is turned from x of the arm's base, counterclockwise [rad]."""

    def __post_init__(self) -> None:
        """Check the range."""
        check_between("rest_zone", self.rest_zone, 0, 0.9)

    def build(self) -> "Gamepad":
        """Return the device."""
        return Gamepad(self)


class Gamepad(FileDevice):
    """Reads a gamepad.

    Args:
        config: Which, and how it stands to the arm.
    """

    has_deadman = True
    shown = (
        "hold the right shoulder to move · left stick along x and y · right stick up and down · "
        "south closes, left shoulder opens · EAST STOPS · start goes on · select takes over · "
        "cross: up success, down failure, right faster, left slower"
    )

    def __init__(self, config: GamepadConfig) -> None:
        super().__init__("gamepad", 64 * EVENT.size)
        self.config = config
        self._ranges: dict[int, tuple[int, int]] = {}
        self._sticks: dict[int, float] = {}
        self._grip = 0.0
        self._is_held = self._is_lost = False
        self._left = b""

    @property
    def is_held(self) -> bool:
        """Whether the right shoulder is held."""
        return self._is_held

    def find(self) -> Path:
        """Return its file: the one that was given, or the first with a gamepad's buttons.

        Raises:
            HardwareError: There is none.
        """
        if self.config.file:
            return Path(self.config.file)
        for folder in sorted(INPUTS.glob("event*"), key=lambda path: int(path.name[5:])):
            if _has_key(folder / "device/capabilities/key", BTN_SOUTH):
                return Path("/dev/input") / folder.name
        raise HardwareError(
            "There is no gamepad. Plug one in or pair it, press a button, and look for it in "
            "/proc/bus/input/devices; or name its file, such as /dev/input/event7."
        )

    def opened(self, descriptor: int) -> None:
        """Ask how far its sticks go."""
        for code in STICKS:
            # EVIOCGABS(code): read a `struct input_absinfo`.
            request = 2 << 30 | ABS_INFO.size << 16 | ord("E") << 8 | 0x40 + code
            answer = fcntl.ioctl(descriptor, request, bytes(ABS_INFO.size))
            self._ranges[code] = ABS_INFO.unpack(answer)[1:3]

    def begin(self, grip: float, reach_m: float) -> None:
        """Let the gripper stay as it is; sticks count from where they are."""
        del reach_m
        with self._lock:
            self._grip = grip

    def action(self) -> Float32[np.ndarray, " 4"]:
        """Return the action that the sticks ask for while the shoulder is held."""
        with self._lock:
            # Down is positive for the kernel.
            x, y, z = (self._sticks.get(code, 0.0) for code in STICKS)
            motion = turned(np.array([x, -y, -z]), self.config.turned_rad) * self._is_held
            return np.array([*np.clip(motion, -1, 1), self._grip], np.float32)

    def forget(self) -> None:
        """Let all go."""
        self._sticks.clear()
        self._is_held = self._is_lost = False
        self._left = b""

    def take(self, read: bytes) -> None:
        """Take events."""
        self._left += read
        whole = len(self._left) // EVENT.size * EVENT.size
        events, self._left = self._left[:whole], self._left[whole:]
        for _, _, kind, code, value in EVENT.iter_unpack(events):
            if (kind, code) == (EV_SYN, SYN_DROPPED):
                # The kernel lost events, and the rest of this report counts for nothing. What was
                # let go is not known, so all is.
                left, self._left = self._left, b""
                self.forget()
                self._left, self._is_lost = left, True
            elif (kind, code) == (EV_SYN, SYN_REPORT):
                self._is_lost = False
            elif not self._is_lost:
                self._take_event(kind, code, value)

    def _take_event(self, kind: int, code: int, value: int) -> None:
        if kind == EV_ABS and code in self._ranges:
            low, high = self._ranges[code]
            deflection = (2 * value - low - high) / max(high - low, 1)
            self._sticks[code] = beyond(deflection, self.config.rest_zone)
        elif kind == EV_ABS and (code, value) in HATS:
            self.say(HATS[code, value])
        elif kind == EV_KEY and code == BTN_TR:
            self._is_held = value != 0
        elif kind == EV_KEY and value == 1 and code in WORDS:
            self.say(WORDS[code])
        elif kind == EV_KEY and value == 1 and code in GRIPS and self._is_held:
            self._grip = GRIPS[code]


def _has_key(path: Path, code: int) -> bool:
    """Return whether a device has a key: sysfs has one bit each, words of a long, highest first."""
    try:
        words = [int(word, 16) for word in path.read_text().split()]
    except (OSError, ValueError):
        return False
    word, bit = divmod(code, 8 * struct.calcsize("l"))
    return word < len(words) and bool(words[-1 - word] >> bit & 1)
