"""The cameras of an arm's environment: opened together, looked at each step, and known when blind.

A camera keeps its own time. What a step sees is each camera's newest picture, and one that is too
old means that nobody sees what the arm does.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from types import TracebackType

import numpy as np

from robopref.errors import HardwareError, check_above
from robopref.hardware.driver import CameraDriver, CameraInfo, Frame
from robopref.types import IMAGES

NEW_S = 5.0
"""A picture of what was just put in place comes within this time [s]."""


class ArmCameras:
    """Cameras by name; use with `with`, or `open` and `close`.

    Args:
        drivers: The cameras.
        max_age_s: A newest picture that is older means that the camera does not see [s].
    """

    def __init__(self, drivers: Mapping[str, CameraDriver], max_age_s: float) -> None:
        check_above("max_age_s", max_age_s, 0)
        self.drivers, self.max_age_s = dict(drivers), max_age_s
        self._last: dict[str, Frame] = {}

    def __enter__(self) -> "ArmCameras":
        """Open them, and return this."""
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close them."""
        self.close()

    def open(self) -> Mapping[str, CameraInfo]:
        """Open all cameras that are closed; return what is known of each.

        Raises:
            HardwareError: One cannot be opened, or shows nothing; all are closed then.
        """
        try:
            for driver in self.drivers.values():
                driver.connect()
        except BaseException:
            self.close()
            raise
        return {name: driver.info() for name, driver in self.drivers.items()}

    def wait_for_new(self, since_s: float) -> None:
        """Wait until every camera shows what was at `since_s` or later [s].

        Raises:
            HardwareError: One does not.
        """
        for name, driver in self.drivers.items():
            try:
                frame = driver.async_read(1e3 * NEW_S)
                while frame.time_s < since_s and time.monotonic() < since_s + NEW_S:
                    frame = driver.async_read(1e3 * NEW_S)
            except TimeoutError as error:
                raise HardwareError(str(error)) from error
            self._last[name] = frame

    def look(self) -> str:
        """Take each camera's newest picture; return why one does not see, empty if all do."""
        blind = ""
        for name, driver in self.drivers.items():
            try:
                self._last[name] = driver.read_latest(1e3 * self.max_age_s)
            except (TimeoutError, HardwareError) as error:
                blind = blind or str(error)
        return blind

    def watch(self, stop: Callable[[str], None]) -> dict[str, np.ndarray]:
        """Look, and stop an arm that nobody sees; return how old the pictures are, as a column."""
        blind = self.look()
        if blind:
            stop(blind)
        return {"safety.camera_age_s": np.array([self.age_s], np.float32)}

    def pictures(self) -> dict[str, np.ndarray]:
        """Return what was seen last, by the keys of observations, each (H, W, 3)."""
        return {IMAGES + name: frame.colour for name, frame in self._last.items()}

    def frame(self, name: str) -> Frame:
        """Return what a camera saw last, with its depth.

        Raises:
            HardwareError: Nobody has looked yet.
        """
        if name not in self._last:
            raise HardwareError(f"Nobody has looked through the camera '{name}' yet.")
        return self._last[name]

    @property
    def age_s(self) -> float:
        """How old the oldest of these pictures is [s]."""
        return time.monotonic() - min(frame.time_s for frame in self._last.values())

    def close(self) -> None:
        """Close them; may be called twice."""
        for driver in self.drivers.values():
            with contextlib.suppress(HardwareError):
                driver.disconnect()
