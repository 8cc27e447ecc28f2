"""The control loop: driver, supervisor and chunks at the arm's rate, in a process of its own.

Loading a policy or a long step of one must not make an arm miss a period; so the loop shares
nothing with the policy's process but rings of records, and goes on when that process is gone: it
holds, then stops.
"""

import contextlib
import gc
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robopref.errors import HardwareError
from robopref.hardware.chunks import ChunkScheduler
from robopref.hardware.driver import ArmDriver
from robopref.hardware.priority import take_priority
from robopref.hardware.records import (
    HEARTBEATS,
    REQUESTS,
    Records,
    Request,
    chunk_of,
    outcome_record,
    state_record,
    text_of,
)
from robopref.hardware.rings import Ring
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.supervisor import Supervisor
from robopref.hardware.types import ArmCommand, CommandKind, OperatorAck, StopLevel
from robopref.hardware.verdicts import Memory, SentCommand

CAPACITY = 4096
"""Records of states and outcomes that are kept: half a minute at 125 Hz."""


@dataclass(frozen=True)
class LoopConfig:
    """The control loop."""

    heartbeat_s: float = 0.05
    """The policy's process says that it lives at least this often [s]."""
    missed_heartbeats: int = 2
    """So many missing ones, and nothing is asked of the arm any more: it holds, then stops."""
    blend_s: float = 0.1
    """How long a new chunk takes over from the one before [s]."""
    rest_s: float = 1.0
    """How long the last position of a chunk is still asked for [s]; then the arm only holds."""


@dataclass(frozen=True)
class RingNames:
    """The rings of one loop, by which its process opens them."""

    states: str
    outcomes: str
    chunks: str
    requests: str
    heartbeats: str


@dataclass
class Timing:
    """How punctual the loop was.

    Args:
        period_s: Time between two steps [s].
        late_s: How late each step began.
        took_s: How long each took.
    """

    period_s: float
    late_s: list[float] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    started_s: float = field(default_factory=time.monotonic)

    def to_dict(self) -> dict[str, float]:
        """Return the report: rate, late steps (by more than half a period), and headroom."""
        if not self.took_s:
            return {"num_steps": 0}
        late, took = np.array(self.late_s), np.array(self.took_s)
        seconds = time.monotonic() - self.started_s
        p50, p99 = np.quantile(took, (0.5, 0.99))
        return {
            "num_steps": len(took),
            "rate_hz": len(took) / seconds,
            "wanted_rate_hz": 1 / self.period_s,
            "late_share": float((late > self.period_s / 2).mean()),
            "worst_late_s": float(late.max()),
            "step_p50_s": float(p50),
            "step_p99_s": float(p99),
            "worst_step_s": float(took.max()),
            "headroom": float(1 - p99 / self.period_s),
        }


class ControlLoop:
    """One arm under its supervisor.

    Args:
        driver: The arm, connected.
        safety: Its limits.
        config: The loop.
        rings: The rings by name.
    """

    def __init__(
        self, driver: ArmDriver, safety: SafetyConfig, config: LoopConfig, rings: RingNames
    ) -> None:
        self.driver, self.config = driver, config
        self.supervisor = Supervisor(driver.spec, safety)
        self.period_s = driver.spec.period_s
        self.timing = Timing(self.period_s)
        records = Records(driver.spec.num_joints)
        self._states = Ring(records.states, CAPACITY, rings.states)
        self._outcomes = Ring(records.outcomes, CAPACITY, rings.outcomes)
        self._chunks = Ring(records.chunks, NUM_CHUNKS, rings.chunks)
        self._requests = Ring(REQUESTS, NUM_REQUESTS, rings.requests)
        self._heartbeats = Ring(HEARTBEATS, NUM_REQUESTS, rings.heartbeats)
        self._scheduler = ChunkScheduler(blend_s=config.blend_s, hold_s=config.rest_s)
        self._num_chunks = self._num_requests = 0
        self._is_ending = self._is_told_to_end = False
        self._parent = os.getppid()

    def run(self) -> None:
        """Run until the end is asked for, or the arm rests after the policy's process is gone.

        Raises:
            HardwareError: The arm cannot be armed.
        """
        self.driver.start_servo()
        state = self.driver.read()
        memory = self.supervisor.arm(state, time.monotonic())
        for late_s in self._ticks():
            begun = time.monotonic()
            memory = self._take_requests(memory, begun)
            memory, out = self._step(memory, due_s=begun - late_s)
            took = time.monotonic() - begun
            self.timing.late_s.append(late_s)
            self.timing.took_s.append(took)
            self._outcomes.write(
                outcome_record(
                    out, memory.phase, num_joints=self.driver.spec.num_joints, late_s=late_s,
                    took_s=took,
                )
            )  # fmt: skip
            if self._is_ending and (memory.motion is None or memory.motion.is_at_rest):
                return

    def end(self) -> None:
        """Brake, and return from `run`; may be called from a signal's handler."""
        self._is_told_to_end = True

    def close(self) -> None:
        """Let go of the rings."""
        for ring in (
            self._states, self._outcomes, self._chunks, self._requests, self._heartbeats
        ):  # fmt: skip
            ring.close()

    def _step(self, memory: Memory, due_s: float) -> tuple[Memory, SentCommand]:
        state = self.driver.read()
        now_s = time.monotonic()
        self._states.write(state_record(state))
        # Asked for the moment that the step was due: a late one would have to catch up otherwise.
        memory, out = self.supervisor.step(memory, self._wanted(now_s, due_s), state, now_s)
        if out.sent is not None:
            self.driver.servo(out.sent)
        if out.stop is not None:
            is_braking = memory.motion is not None and not memory.motion.is_at_rest
            # The way to rest was checked; the driver's own stop comes at its end, or at once where
            # that way cannot be gone.
            if out.sent is None or not is_braking:
                self.driver.stop(out.stop)
        return memory, out

    def _wanted(self, now_s: float, due_s: float) -> ArmCommand | None:
        """Return what is asked for; None where nobody is there to ask."""
        self._num_chunks, records = self._chunks.since(self._num_chunks)
        for record in records:
            self._scheduler.add(chunk_of(record), now_s)
        if not self._is_alive(now_s):
            return None
        # Somebody is there and has nothing to say: it stays where it is.
        hold = ArmCommand(CommandKind.HOLD, (), now_s, now_s + self.period_s)
        return self._scheduler.command_at(due_s, now_s - due_s + self.period_s) or hold

    def _is_alive(self, now_s: float) -> bool:
        newest = self._heartbeats.newest()
        allowed = self.config.heartbeat_s * (1 + self.config.missed_heartbeats)
        return newest is not None and now_s - float(newest["time_s"]) <= allowed

    def _take_requests(self, memory: Memory, now_s: float) -> Memory:
        is_alone = os.getppid() != self._parent
        if (is_alone or self._is_told_to_end) and not self._is_ending:
            self._is_ending = True
            reason = "the policy's process is gone" if is_alone else "the process was told to end"
            memory = self.supervisor.request_stop(memory, reason, now_s)
        self._num_requests, records = self._requests.since(self._num_requests)
        for record in records:
            memory = self._take(memory, record, now_s)
        return memory

    def _take(self, memory: Memory, record: np.void, now_s: float) -> Memory:
        kind, value = Request(int(record["kind"])), float(record["value"])
        reason = text_of(record["reason"])
        if kind is Request.STOP:
            return self.supervisor.request_stop(memory, reason, now_s, StopLevel(int(value)))
        if kind is Request.END:
            self._is_ending = True
            return self.supervisor.request_stop(memory, "the end was asked for", now_s)
        if kind is Request.SPEED:
            return self.supervisor.set_speed(memory, value)
        if kind is Request.DEADMAN:
            return self.supervisor.set_deadman(memory, held=bool(value))
        self._scheduler.clear()
        if kind is Request.ACKNOWLEDGE:
            user = text_of(record["user"])
            return self._acknowledge(memory, OperatorAck(user, reason, float(record["time_s"])))
        return memory

    def _acknowledge(self, memory: Memory, ack: OperatorAck) -> Memory:
        """Clear the arm's own stop and start anew; where that fails, the stop stays."""
        if memory.stopped is None or self._is_ending:
            return memory
        try:
            self.driver.recover(ack)
            self.driver.start_servo()
            now_s = time.monotonic()
            return self.supervisor.acknowledge(memory, ack, self.driver.read(), now_s)
        except HardwareError as error:
            return self.supervisor.keep_stopped(memory, str(error))

    def _ticks(self) -> Iterator[float]:
        """Yield once a period, how late it is; periods that were missed are left out."""
        due = time.monotonic()
        while True:
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            late = max(0.0, time.monotonic() - due)
            yield late
            due += self.period_s * (1 + int(late / self.period_s))


NUM_CHUNKS, NUM_REQUESTS = 16, 64
"""Chunks and requests that may wait at once."""


def run_arm(
    driver_config: Any, safety: SafetyConfig, config: LoopConfig, rings: RingNames, pipe: Any
) -> None:
    """Run the loop of an arm; the main function of its process.

    Args:
        driver_config: Builds the driver.
        safety: Limits.
        config: The loop.
        rings: The rings by name.
        pipe: Connection that is told "connected" or why not, and the timing at the end.
    """
    # Ctrl-C goes to all processes of a terminal; the policy's decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    driver = driver_config.build()
    loop = None
    try:
        driver.connect()
        driver.apply_native_limits(safety)
        loop = ControlLoop(driver, safety, config, rings)
        signal.signal(signal.SIGTERM, lambda *_: loop.end())
        pipe.send(("connected", ""))
        # A collection in the middle of a step would make it late.
        gc.collect()
        gc.freeze()
        gc.disable()
        take_priority()
        loop.run()
        pipe.send(("ended", loop.timing.to_dict()))
    except (HardwareError, OSError, ValueError) as error:
        with contextlib.suppress(OSError):
            pipe.send(("failed", f"{type(error).__name__}: {error}"))
    finally:
        driver.stop(StopLevel.CONTROLLED)
        driver.disconnect()
        if loop is not None:
            loop.close()
        pipe.close()
