"""`robopref arm`: look at an arm, clear its stop, and stop it."""

import contextlib
import getpass
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from robopref.config import component, resolve
from robopref.errors import HardwareError

if TYPE_CHECKING:
    from robopref.hardware.driver import ArmDriver
    from robopref.hardware.types import ArmSpec, ArmState


@dataclass(frozen=True)
class CheckCommand:
    """Connect to an arm and show what it is and how it is; nothing is changed, nothing moves.

    Example:
        robopref arm check --arm sim
    """

    arm: Any = component("robopref.hardware:ARMS", default="sim")
    """Which driver; its options follow it."""

    def run(self) -> None:
        """Print the arm's joints with their limits, its state, and what is wrong."""
        with _connected(resolve(self, "arm").build()) as arm:
            state = arm.read()
            _print_arm(arm.spec)
            _print_joints(arm.spec, state)
            _print_state(state)
            outside = _outside(arm.spec, state)
        if outside:
            print(f"Note:   {outside}")


@dataclass(frozen=True)
class RecoverCommand:
    """Clear an arm's stop or fault, on the word of a person who looked at it.

    Example:
        robopref arm recover --arm sim --operator ann --reason cleared
    """

    arm: Any = component("robopref.hardware:ARMS", default="sim")
    """Which driver; its options follow it."""
    operator: str | None = None
    """Who takes responsibility; asked for on the terminal where it is left out."""
    reason: str | None = None
    """What was found and done; asked for alike."""

    def run(self) -> None:
        """Show the stop, ask, clear it, and show what became of it."""
        from robopref.hardware.types import ArmMode, OperatorAck

        with _connected(resolve(self, "arm").build()) as arm:
            state = arm.read()
            _print_state(state)
            stopped = (ArmMode.PROTECTIVE_STOP, ArmMode.ESTOP, ArmMode.FAULT)
            if state.mode not in stopped and not state.faults:
                print("There is nothing to clear.")
                return
            user = self.operator or _ask("operator", f"Your name ({getpass.getuser()}): ")
            reason = self.reason or _ask("reason", "What was wrong, and what did you do: ")
            if not reason.strip():
                raise ValueError(
                    "`reason` must say what was found and done, got nothing. The stop stays."
                )
            arm.recover(OperatorAck(user or getpass.getuser(), reason, time.monotonic()))
            after = arm.read()
            _print_state(after)
            if after.mode in stopped:
                raise HardwareError(f"The arm is still in the mode '{after.mode}'; look at it.")


@dataclass(frozen=True)
class StopCommand:
    """Stop an arm: it brakes, and follows nothing any more.

    An arm that another program moves may not let this one in. This is no emergency stop: for that
    there is the button.

    Example:
        robopref arm stop --arm sim
    """

    arm: Any = component("robopref.hardware:ARMS", default="sim")
    """Which driver; its options follow it."""

    def run(self) -> None:
        """Stop it and show its state."""
        from robopref.hardware.types import StopLevel

        try:
            with _connected(resolve(self, "arm").build()) as arm:
                arm.stop(StopLevel.CONTROLLED)
                _wait_until_still(arm)
                _print_state(arm.read())
        except HardwareError as error:
            raise HardwareError(
                f"{error} If the arm moves, press its emergency stop, or end the program that "
                "moves it with Ctrl-C."
            ) from error


@contextlib.contextmanager
def _connected(arm: "ArmDriver") -> "Iterator[ArmDriver]":
    arm.connect()
    try:
        yield arm
    finally:
        arm.disconnect()


def _print_arm(spec: "ArmSpec") -> None:
    print(f"Arm     {spec.name}, {spec.num_joints} joints, {spec.rate_hz:g} commands a second")
    print(f"Model   {spec.model}, tool '{spec.tool}'")
    if spec.native:
        print(f"Keeps   {', '.join(sorted(spec.native))}, by itself")


def _print_joints(spec: "ArmSpec", state: "ArmState") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("joint", "now [rad]", "from", "to", "now [rad/s]", "at most", box=None)
    for name, *numbers in zip(
        spec.joint_names, state.position, spec.position_min_rad, spec.position_max_rad,
        state.velocity, spec.velocity_max_rad_s, strict=True,
    ):  # fmt: skip
        table.add_row(name, *(f"{number:.3f}" for number in numbers))
    Console().print(table)


def _print_state(state: "ArmState") -> None:
    gripper = "" if state.gripper is None else f", gripper {state.gripper:.0%} open"
    print(f"Mode    {state.mode}{gripper}")
    for fault in state.faults:
        print(f"Fault   {fault.code}: {fault.message}")


def _outside(spec: "ArmSpec", state: "ArmState") -> str:
    for name, place, low, high in zip(
        spec.joint_names, state.position, spec.position_min_rad, spec.position_max_rad, strict=True
    ):
        if not low <= place <= high:
            return (
                f"'{name}' is at {place:.3f} rad, outside {low:.3f} to {high:.3f}. Guide the arm "
                "back by hand, as its maker says."
            )
    return ""


def _wait_until_still(arm: "ArmDriver") -> None:
    from robopref.hardware.supervisor import STILL_RAD_S

    deadline = time.monotonic() + STILL_S
    while max(map(abs, arm.read().velocity)) > STILL_RAD_S:
        if time.monotonic() > deadline:
            raise HardwareError(f"The arm still moves {STILL_S:.0f} s after it was told to stop.")
        time.sleep(0.01)


STILL_S = 3.0
"""An arm that was stopped is still after less [s]."""


def _ask(option: str, question: str) -> str:
    if not sys.stdin.isatty():
        raise ValueError(
            f"`{option}` must be given where there is no terminal to ask on: a stop is cleared on "
            "a person's word only."
        )
    return input(question)
