"""What stands before a connection to a Franka controller, and what its SDK says when it fails."""

import socket
from pathlib import Path
from types import ModuleType

from robopref.errors import HardwareError, MissingExtraError

PORT = 1337
"""Where an arm's controller listens for FCI."""
REACH_S = 2.0
"""An arm that does not answer a connection within this is not there [s]."""
REALTIME_KERNEL = Path("/sys/kernel/realtime")
"""Linux has this file where its kernel keeps time strictly."""
ERRORS = (
    "Exception", "CommandException", "ControlException", "GripperException",
    "IncompatibleVersionException", "InvalidMotionTypeException", "InvalidOperationException",
    "ModelException", "NetworkException", "ProtocolException", "RealtimeException",
)  # fmt: skip
"""What franky raises."""
BY_HAND = (
    "Clear the error in Desk, the arm's web page; after a joint limit, guide the arm back by hand."
)
ADVICE = {
    "CommandException": BY_HAND,
    "IncompatibleVersionException": (
        "The wheel on PyPI is for the newest robot software. Install the wheel for your robot's "
        "server version, see docs/hardware/franka.md."
    ),
    "NetworkException": (
        "Activate FCI in Desk, and make sure that no other program is connected to the arm."
    ),
    "RealtimeException": (
        "Allow this user real-time priority, see docs/hardware/franka.md; then log in again."
    ),
}
"""What to do about an error, by its name."""


def load_franky() -> ModuleType:
    """Return the SDK.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import franky
    except ImportError as error:
        raise MissingExtraError(
            "The Franka driver needs franky-control. Install it with: "
            "pip install 'robopref[franka]'"
        ) from error
    found: ModuleType = franky
    return found


def check_realtime() -> None:
    """Refuse a machine that does not keep time.

    Raises:
        HardwareError: Its kernel is not a real-time one.
    """
    if not REALTIME_KERNEL.is_file() or REALTIME_KERNEL.read_text().strip() != "1":
        raise HardwareError(
            "This machine's kernel is not a real-time one (PREEMPT_RT), and a Franka arm stops "
            "when packets are late. Install one, see docs/hardware/franka.md; for franky-sim, set "
            "`realtime` to False."
        )


def check_reachable(host: str) -> None:
    """Refuse an address where nothing listens; the SDK itself would wait for a minute.

    Raises:
        HardwareError: Nothing answers, or FCI is off; the message says what to do.
    """
    try:
        socket.create_connection((host, PORT), REACH_S).close()
    except ConnectionRefusedError as error:
        raise HardwareError(
            f"{host} is there, but does not take FCI connections. Unlock the joints and activate "
            "FCI in Desk, the arm's web page, and try again."
        ) from error
    except OSError as error:
        raise HardwareError(
            f"No arm answers at {host} ({error}). Is it switched on, this machine plugged into the "
            "controller's LAN port (not the arm's), and the address right?"
        ) from error
