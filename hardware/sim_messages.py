"""What passes between a simulated arm's controller and whoever talks to it: datagrams.

Commands and states are records of fixed size, as most controllers have them; what is asked once, a
start, a stop, the scene, is JSON with a number that its answer repeats. Nothing is trusted: what
has another size or is no JSON is dropped.

Shapes: J joints.
"""

import json
from enum import IntEnum
from typing import Any

import numpy as np

from robopref.hardware.records import Records, state_of, state_record
from robopref.hardware.types import ArmState, Joints

MAX_BYTES = 60_000
"""Longest datagram."""
Address = tuple[str, int]


class Kind(IntEnum):
    """First byte of a datagram."""

    COMMAND = 1
    STATE = 2
    REQUEST = 3
    ANSWER = 4


def command_bytes(position: Joints, velocity: Joints, gripper: float | None) -> bytes:
    """Return a command as a datagram."""
    num = len(position)
    record = np.zeros((), _commands(num))
    record["position"], record["velocity"] = position, velocity or (0.0,) * num
    record["gripper"] = np.nan if gripper is None else gripper
    return bytes([Kind.COMMAND]) + record.tobytes()


def command_of(data: bytes, num_joints: int) -> tuple[Joints, Joints, float | None] | None:
    """Return position, velocity and gripper of a command; None where it is not one."""
    fields = _commands(num_joints)
    if len(data) != 1 + fields.itemsize:
        return None
    record = np.frombuffer(data, fields, offset=1)[0]
    position, velocity = record["position"], record["velocity"]
    if not (np.isfinite(position).all() and np.isfinite(velocity).all()):
        return None
    gripper = float(record["gripper"])
    return (
        tuple(position.tolist()), tuple(velocity.tolist()), None if np.isnan(gripper) else gripper
    )  # fmt: skip


def state_bytes(state: ArmState) -> bytes:
    """Return a state as a datagram."""
    record = np.array(state_record(state), Records(len(state.position)).states)
    return bytes([Kind.STATE]) + record.tobytes()


def state_from(data: bytes, num_joints: int) -> ArmState | None:
    """Return a state; None where the datagram is not one."""
    fields = Records(num_joints).states
    if len(data) != 1 + fields.itemsize:
        return None
    return state_of(np.frombuffer(data, fields, offset=1)[0])


def json_bytes(kind: Kind, content: dict[str, Any]) -> bytes:
    """Return a request or an answer as a datagram."""
    return bytes([kind]) + json.dumps(content).encode()


def json_of(data: bytes) -> dict[str, Any] | None:
    """Return what a request or an answer says; None where it says nothing."""
    try:
        content = json.loads(data[1:])
    except ValueError:
        return None
    return content if isinstance(content, dict) and isinstance(content.get("id"), int) else None


def _commands(num_joints: int) -> np.dtype[Any]:
    joints = (num_joints,)
    return np.dtype(
        [("position", np.float64, joints), ("velocity", np.float64, joints),
         ("gripper", np.float64)]
    )  # fmt: skip
