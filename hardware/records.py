"""States, chunks, requests and outcomes as fixed-size records, for the rings between processes.

Shapes: J joints, Tp actions of a chunk.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from robopref.hardware.chunks import Chunk
from robopref.hardware.types import ArmCommand, ArmMode, ArmState, Fault, Joints, StopLevel
from robopref.hardware.verdicts import Decision, Phase, SentCommand

MAX_ACTIONS = 64
"""Longest chunk that is passed on."""
MAX_TEXT = 240
"""Bytes of a text that are passed on."""
MODES, PHASES = tuple(ArmMode), tuple(Phase)


class Request(IntEnum):
    """What is asked of the control loop beside chunks."""

    STOP = 1
    ACKNOWLEDGE = 2
    SPEED = 3
    DEADMAN = 4
    END = 5
    CLEAR = 6


REQUESTS = np.dtype(
    [("kind", np.int32), ("value", np.float64), ("user", "S64"), ("reason", f"S{MAX_TEXT}"),
     ("time_s", np.float64)]
)  # fmt: skip
HEARTBEATS = np.dtype([("time_s", np.float64)])


@dataclass(frozen=True)
class Records:
    """The fields of what passes for an arm of J joints."""

    num_joints: int

    @property
    def states(self) -> np.dtype[Any]:
        """Fields of an arm's state."""
        joints = (self.num_joints,)
        return np.dtype(
            [("time_s", np.float64), ("position", np.float64, joints),
             ("velocity", np.float64, joints), ("effort", np.float64, joints),
             ("mode", np.int32), ("gripper", np.float64), ("fault", f"S{MAX_TEXT}")]
        )  # fmt: skip

    @property
    def chunks(self) -> np.dtype[Any]:
        """Fields of a chunk of actions."""
        return np.dtype(
            [("number", np.int64), ("start_s", np.float64), ("period_s", np.float64),
             ("num", np.int32), ("positions", np.float64, (MAX_ACTIONS, self.num_joints)),
             ("gripper", np.float64, (MAX_ACTIONS,)), ("source", "S64")]
        )  # fmt: skip

    @property
    def outcomes(self) -> np.dtype[Any]:
        """Fields of what became of one period's command."""
        joints = (self.num_joints,)
        return np.dtype(
            [("time_s", np.float64), ("late_s", np.float64), ("took_s", np.float64),
             ("asked", np.float64, joints), ("sent", np.float64, joints),
             ("gripper", np.float64), ("chunk", np.int64), ("step", np.int32),
             ("phase", np.int32), ("stop", np.int32), ("decision", "S16"), ("filter", "S32"),
             ("reason", f"S{MAX_TEXT}")]
        )  # fmt: skip


def state_record(state: ArmState) -> tuple[Any, ...]:
    """Return a state as a record."""
    nan = (np.nan,) * len(state.position)
    fault = "; ".join(f"{f.code}: {f.message}" for f in state.faults)
    return (
        state.time_s, state.position, state.velocity, state.effort or nan,
        MODES.index(state.mode), np.nan if state.gripper is None else state.gripper,
        _text(fault),
    )  # fmt: skip


def state_of(record: np.void) -> ArmState:
    """Return the state that a record holds."""
    fault = text_of(record["fault"])
    gripper = float(record["gripper"])
    effort = _joints(record["effort"])
    return ArmState(
        float(record["time_s"]), _joints(record["position"]), _joints(record["velocity"]),
        MODES[int(record["mode"])], effort if not np.isnan(effort).all() else (),
        None if np.isnan(gripper) else gripper, (Fault("controller", fault),) if fault else (),
    )  # fmt: skip


def chunk_record(chunk: Chunk) -> tuple[Any, ...]:
    """Return a chunk as a record.

    Raises:
        ValueError: It has too many actions.
    """
    num, joints = chunk.positions.shape
    if num > MAX_ACTIONS:
        raise ValueError(f"A chunk may have at most {MAX_ACTIONS} actions, got {num}.")
    positions = np.full((MAX_ACTIONS, joints), np.nan)
    gripper = np.full(MAX_ACTIONS, np.nan)
    positions[:num] = chunk.positions
    if chunk.gripper is not None:
        gripper[:num] = chunk.gripper
    return (
        chunk.number,
        chunk.start_s,
        chunk.period_s,
        num,
        positions,
        gripper,
        _text(chunk.source),
    )


def chunk_of(record: np.void) -> Chunk:
    """Return the chunk that a record holds."""
    num = int(record["num"])
    gripper = record["gripper"][:num].copy()
    return Chunk(
        int(record["number"]), float(record["start_s"]), float(record["period_s"]),
        record["positions"][:num].copy(), None if np.isnan(gripper).any() else gripper,
        text_of(record["source"]),
    )  # fmt: skip


def outcome_record(
    out: SentCommand, phase: Phase, *, num_joints: int, late_s: float, took_s: float
) -> tuple[Any, ...]:
    """Return what became of a command as a record; the strongest verdict goes with it."""
    strongest = max(out.verdicts, key=lambda v: _STRENGTH[v.decision], default=None)
    asked = out.asked
    return (
        out.time_s, late_s, took_s, _value(asked, num_joints), _value(out.sent, num_joints),
        np.nan if out.sent is None or out.sent.gripper is None else out.sent.gripper,
        -1 if asked is None else asked.chunk, -1 if asked is None else asked.step,
        PHASES.index(phase), -1 if out.stop is None else int(out.stop),
        _text(strongest.decision if strongest else ""),
        _text(strongest.filter if strongest else ""), _text(strongest.reason if strongest else ""),
    )  # fmt: skip


def text_of(field: Any) -> str:
    """Return the text that a field of a record holds; one may be cut in the middle of a letter."""
    return bytes(field).decode("utf-8", "replace")


def phase_of(record: np.void) -> Phase:
    """Return the supervisor's phase in an outcome."""
    return PHASES[int(record["phase"])]


def stop_of(record: np.void) -> StopLevel | None:
    """Return how the arm is being stopped in an outcome; None while it runs."""
    level = int(record["stop"])
    return None if level < 0 else StopLevel(level)


_STRENGTH = {Decision.CLAMP: 0, Decision.HOLD: 1, Decision.STOP: 2}


def _value(command: ArmCommand | None, num_joints: int) -> Joints:
    if command is None or len(command.value) != num_joints:
        return (float("nan"),) * num_joints
    return command.value


def _joints(values: np.ndarray) -> Joints:
    return tuple(values.tolist())


def _text(text: str) -> bytes:
    return text.encode()[:MAX_TEXT]
