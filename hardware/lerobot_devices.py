"""Devices that LeRobot knows by name, its own and those of other packages."""

import contextlib
import importlib
import json
import math
import pkgutil
from collections.abc import Sequence
from typing import Any

from robopref.errors import HardwareError, check_name
from robopref.hardware.courier import Courier
from robopref.registry import import_extra

ANSWER_S, CONNECT_S = 3.0, 15.0
"""How long a call, and connecting, may take [s]."""
GRIPPER_OPEN = 100.0
"""LeRobot's number for an open gripper; closed is 0."""
UNITS = {"degrees": math.degrees(1.0), "radians": 1.0}
"""What a radian is in a device's units."""


def check_settings(settings: str) -> None:
    """Raise if settings are no table.

    Raises:
        ValueError: They are no JSON object.
    """
    try:
        is_table = isinstance(json.loads(settings), dict)
    except ValueError:
        is_table = False
    if not is_table:
        raise ValueError(
            '`settings` must be a JSON object, such as {"port": "/dev/ttyACM0"}, got '
            f"'{settings}'."
        )


def make_device(kind: str, name: str, settings: str) -> Any:
    """Return a device of LeRobot's.

    Args:
        kind: "robot" or "teleoperator".
        name: Its type, as LeRobot's commands want it.
        settings: What its config takes, as JSON.

    Raises:
        HardwareError: The settings do not fit it.
        MissingExtraError: LeRobot is not installed.
        UnknownNameError: LeRobot knows no such device.
    """
    package = f"lerobot.{kind}s"
    devices = import_extra(package, purpose="The LeRobot driver", extra="lerobot")
    for module in pkgutil.iter_modules(devices.__path__, f"{package}."):
        with contextlib.suppress(ImportError):  # Some need a package of their own.
            importlib.import_module(module.name)
    importlib.import_module("lerobot.utils.import_utils").register_third_party_plugins()
    device_config: Any = getattr(devices, f"{kind.title()}Config")
    check_name(f"LeRobot {kind}", name, device_config.get_known_choices())
    try:
        make: Any = getattr(devices, f"make_{kind}_from_config")
        return make(device_config.get_choice_class(name)(**json.loads(settings)))
    except (TypeError, ValueError) as error:
        raise HardwareError(f"`settings` do not fit the {kind} '{name}': {error}") from error


def check_joints(kind: str, name: str, device: Any, joints: Sequence[str]) -> set[str]:
    """Return what a device calls its parts.

    Raises:
        HardwareError: A joint is not among them.
    """
    known = {feature.removesuffix(".pos") for feature in device.action_features}
    missing = [joint for joint in joints if joint not in known]
    if missing:
        raise HardwareError(
            f"The {kind} '{name}' has no joint '{missing[0]}'. It has {sorted(known)}; name them "
            "in `joints`."
        )
    return known


def connect_device(courier: Courier, kind: str, role: str, name: str, device: Any) -> None:
    """Reach a device's motors.

    Args:
        courier: Who asks it.
        kind: As `make_device` takes it.
        role: What it is, for messages.
        name: Its type.
        device: The device.

    Raises:
        HardwareError: They do not answer, or are not calibrated.
    """
    # A calibration asks for keys to be pressed; here nobody would see the question.
    courier.ask(lambda: device.connect(calibrate=False), CONNECT_S, "Connecting")
    if not courier.ask(lambda: device.is_calibrated, ANSWER_S, "Asking for calibration"):
        option = "teleop" if kind == "teleoperator" else kind
        raise HardwareError(
            f"The {role} '{name}' is not calibrated, or not with this `id`. Run: "
            f"lerobot-calibrate --{option}.type={name}"
        )


def disconnect_device(courier: Courier, device: Any) -> None:
    """Let go of a device, whether it answers or not."""
    with contextlib.suppress(HardwareError):
        courier.ask(lambda: device.disconnect(), ANSWER_S, "Disconnecting")
    courier.close()
