"""What a Franka controller says of itself, in our words."""

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from robopref.errors import HardwareError
from robopref.hardware.types import ArmMode, ArmSpec, Fault

MODES = {
    "Idle": ArmMode.READY,
    "Move": ArmMode.SERVO,
    "Guiding": ArmMode.FREEDRIVE,
    "Reflex": ArmMode.PROTECTIVE_STOP,
    "UserStopped": ArmMode.ESTOP,
    "AutomaticErrorRecovery": ArmMode.IDLE,
    "Other": ArmMode.IDLE,
}
"""`franky.RobotMode` by name."""
WHAT_TO_DO = {
    ArmMode.PROTECTIVE_STOP: "Look at the arm, then acknowledge it: robopref arm recover.",
    ArmMode.ESTOP: "Release the user stop (the button in hand, or the emergency stop).",
    ArmMode.FREEDRIVE: "Somebody guides it by hand; let go of the two buttons at its wrist.",
    ArmMode.IDLE: "Unlock its joints and activate FCI in Desk, and wait until its light is green.",
}
"""What leads out of a mode in which it cannot be moved."""
TOLERANCE_RAD = 0.1
"""A controller describes its arm by mechanical limits, which lie outside those that its software
keeps; one that allows less than ours by more than this is another arm: FR3's joint 6 begins 0.46
rad after Panda's [rad]."""


def faults_of(errors: Any) -> tuple[Fault, ...]:
    """Return the faults that are set in a `franky.Errors`."""
    names = [name for name in dir(type(errors)) if not name.startswith("_")]
    return tuple(
        Fault(name, name.replace("_", " ")) for name in names if getattr(errors, name) is True
    )


def first_line(error: Exception) -> str:
    """Return what an error of the SDK says; the lines after it are a log of packets."""
    return str(error).strip().split("\n")[0].removeprefix("libfranka: ").removesuffix(" []")


def refuse_mode(mode: ArmMode, faults: Sequence[Fault]) -> str:
    """Return why an arm in this mode cannot be moved, and what to do."""
    why = f": {'; '.join(fault.message for fault in faults)}" if faults else ""
    advice = WHAT_TO_DO.get(mode, "Look at the arm's web page, Desk.")
    return f"The arm's controller is in the mode '{mode}'{why}. {advice}"


def check_is_arm(robot: Any, spec: ArmSpec, host: str) -> None:
    """Refuse an arm that is not the one that was configured.

    Raises:
        HardwareError: It has another number of joints, or other ranges.
    """
    # Wheels for the software of the Panda do not tell the arm's description.
    urdf = getattr(robot, "model_urdf", None)
    if urdf is None:
        return
    root = ElementTree.fromstring(urdf)
    joints = [joint for joint in root.iter("joint") if joint.get("type") == "revolute"]
    name = root.get("name", "?")
    if len(joints) != spec.num_joints:
        raise HardwareError(
            f"The arm at {host} has {len(joints)} joints ('{name}'), '{spec.name}' has "
            f"{spec.num_joints}. Give the right `model`."
        )
    limits = zip(joints, spec.position_min_rad, spec.position_max_rad, strict=True)
    for joint, low, high in limits:
        limit = joint.find("limit")
        found = (float(limit.get("lower", 0)), float(limit.get("upper", 0))) if (
            limit is not None
        ) else (low, high)  # fmt: skip
        if max(found[0] - low, high - found[1]) > TOLERANCE_RAD:
            raise HardwareError(
                f"The arm at {host} is '{name}', whose '{joint.get('name')}' turns from "
                f"{found[0]:.2f} to {found[1]:.2f} rad, not from {low:.2f} to {high:.2f} as that "
                f"of '{spec.name}'. Give the right `model`."
            )
