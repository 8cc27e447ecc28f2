"""UFACTORY's grippers, by the SDK, over a connection of their own.

A call to a gripper goes on through the arm's serial line and takes tens of milliseconds; over the
arm's own connection every one of them would be a gap in the stream of positions.
"""

from collections.abc import Callable
from typing import Any

from robopref.errors import HardwareError

SPEED_RPM = 3000
"""How fast the first gripper's motor turns [1/min]; it takes 1000 to 5000."""
FORCE_G2 = 50
"""How hard the second grips, 1 to 100."""
SPEED_G2_MM_S = 100
"""How fast it moves, 15 to 225 [mm/s]."""
WIDEST = {"g1": 850.0, "g2": 84.0}
"""Position when open: pulses of the first, and millimetres of the second; 0 is closed."""


class XArmHand:
    """Speaks to a gripper of UFACTORY's.

    Args:
        api: An `xarm.wrapper.XArmAPI`, connected, for the gripper alone.
        kind: "g1" for the xArm Gripper, "g2" for the xArm Gripper G2.

    Raises:
        HardwareError: There is none, or it has an error.
    """

    def __init__(self, api: Any, kind: str) -> None:
        self._api, self._kind = api, kind
        code, error = api.get_gripper_err_code()
        if code:
            raise HardwareError(
                f"No gripper answers on the arm (code {code}). Is its cable in the tool's plug? "
                "Without one, leave `gripper` out."
            )
        if error:
            raise HardwareError(
                f"The gripper has the error {error}, which its manual explains. Look at it, and "
                "clear it on the control box's web page."
            )
        self._do(lambda: api.set_gripper_enable(True), "enabling it")
        if kind == "g1":
            self._do(lambda: api.set_gripper_mode(0), "choosing its mode")
            self._do(lambda: api.set_gripper_speed(SPEED_RPM), "choosing its speed")

    def opening(self) -> float:
        """Return how far it is open."""
        api = self._api
        if self._kind == "g1":
            code, place = api.get_gripper_position()
        else:
            code, place = api.get_gripper_g2_position()
        if code or place is None:
            raise HardwareError(f"The gripper does not say where it is (code {code}).")
        return float(place) / WIDEST[self._kind]

    def is_free(self) -> bool:
        """Return that a new opening takes the place of the last at any time."""
        return True

    def go_to(self, opening: float) -> None:
        """Begin to open or close."""
        api, place = self._api, round(opening * WIDEST[self._kind])
        # The SDK would wait until the arm stands still, where its mode is not the one of servoing.
        if self._kind == "g1":
            self._do(
                lambda: api.set_gripper_position(place, wait=False, wait_motion=False), "moving it"
            )
        else:
            self._do(
                lambda: api.set_gripper_g2_position(
                    place, SPEED_G2_MM_S, FORCE_G2, wait=False, wait_motion=False
                ),
                "moving it",
            )

    def close(self) -> None:
        """Close its connection; the fingers stay at the last place that they were sent."""
        api = self._api
        api.disconnect()

    def _do(self, call: Callable[[], Any], doing: str) -> None:
        code = call()
        if code:
            raise HardwareError(f"The gripper does not answer to {doing} (code {code}).")
