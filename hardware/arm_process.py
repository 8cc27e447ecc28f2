"""An arm as the policy's process sees it: states come in, chunks go out, and it may be stopped.

Shapes: J joints.
"""

import contextlib
import multiprocessing
import threading
import time
from types import TracebackType
from typing import Any

import numpy as np

from robopref.errors import HardwareError, SafetyStop, StaleState
from robopref.hardware.chunks import Chunk
from robopref.hardware.loop import (
    CAPACITY,
    NUM_CHUNKS,
    NUM_REQUESTS,
    LoopConfig,
    RingNames,
    run_arm,
)
from robopref.hardware.records import (
    HEARTBEATS,
    REQUESTS,
    Records,
    Request,
    chunk_record,
    phase_of,
    state_of,
    text_of,
)
from robopref.hardware.rings import Ring
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.types import ArmSpec, ArmState, OperatorAck, StopLevel
from robopref.hardware.verdicts import Phase

CONNECT_S = 60.0
"""How long an arm may take until it can be moved [s]; a busy machine takes long to start Python."""
END_S = 10.0
"""How long it may take until it rests [s]."""


class ArmProcess:
    """The control loop in a process of its own, from `start` to `close`.

    Args:
        driver_config: Builds the driver in that process; must be picklable.
        spec: The arm that it builds.
        safety: Limits.
        config: The loop.
    """

    def __init__(
        self, driver_config: Any, spec: ArmSpec, safety: SafetyConfig, config: LoopConfig
    ) -> None:
        self.spec, self.config = spec, config
        records = Records(spec.num_joints)
        self._states = Ring(records.states, CAPACITY)
        self._outcomes = Ring(records.outcomes, CAPACITY)
        self._chunks = Ring(records.chunks, NUM_CHUNKS)
        self._requests = Ring(REQUESTS, NUM_REQUESTS)
        self._heartbeats = Ring(HEARTBEATS, NUM_REQUESTS)
        self._rings = (
            self._states, self._outcomes, self._chunks, self._requests, self._heartbeats
        )  # fmt: skip
        names = RingNames(*(ring.name for ring in self._rings))
        context = multiprocessing.get_context("spawn")
        self._pipe, child = context.Pipe()
        self._child = child
        self._process = context.Process(
            target=run_arm, args=(driver_config, safety, config, names, child), daemon=True
        )
        self._has_ended = threading.Event()
        self._heart = threading.Thread(target=self._keep_beating, daemon=True)
        self._asking = threading.Lock()
        self._is_closed = False
        self.timing: dict[str, float] = {}

    def __enter__(self) -> "ArmProcess":
        """Start, and return it."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the arm and end the process."""
        self.close()

    def start(self) -> None:
        """Connect, arm, and begin the loop; the arm holds until something is asked.

        Raises:
            HardwareError: It cannot be reached or armed.
        """
        self._beat()
        self._heart.start()
        self._process.start()
        self._child.close()
        self._expect("connected", CONNECT_S)
        deadline = time.monotonic() + CONNECT_S
        while self._outcomes.count == 0:
            if self._pipe.poll(0.01):
                self._expect("running", 0.0)
            if time.monotonic() > deadline:
                raise HardwareError(f"'{self.spec.name}' did not begin within {CONNECT_S:.0f} s.")

    def state(self, max_age_s: float = 0.2) -> ArmState:
        """Return the newest state.

        Raises:
            StaleState: It is older than `max_age_s`, or there is none.
        """
        record = self._states.newest()
        age = np.inf if record is None else time.monotonic() - float(record["time_s"])
        if record is None or age > max_age_s:
            raise StaleState(
                f"The newest state of '{self.spec.name}' is {age:.2f} s old. The control loop or "
                "the connection to the arm hangs; the arm holds by itself."
            )
        return state_of(record)

    def states_since(self, count: int) -> tuple[int, list[ArmState]]:
        """Return how many states there were, and those after the first `count`."""
        number, records = self._states.since(count)
        return number, [state_of(record) for record in records]

    def outcome(self) -> np.void:
        """Return what became of the last command; fields of `Records.outcomes`."""
        record = self._outcomes.newest()
        if record is None:
            raise StaleState(f"The control loop of '{self.spec.name}' has not begun.")
        return record

    def outcomes_since(self, count: int) -> tuple[int, list[np.void]]:
        """Return how many outcomes there were, and those after the first `count`."""
        return self._outcomes.since(count)

    def send(self, chunk: Chunk) -> None:
        """Let a chunk take over.

        Raises:
            SafetyStop: The arm was stopped.
            ValueError: The chunk is too long, or for another number of joints.
        """
        if chunk.positions.shape[1] != self.spec.num_joints:
            raise ValueError(
                f"A chunk for '{self.spec.name}' needs {self.spec.num_joints} joints, got "
                f"{chunk.positions.shape[1]}."
            )
        self.check_running()
        self._chunks.write(chunk_record(chunk))

    def check_running(self) -> None:
        """Raise `SafetyStop` if the arm was stopped.

        Raises:
            HardwareError: The control loop is gone.
            SafetyStop: The supervisor stopped the arm; the message says why.
        """
        self.check_alive()
        outcome = self.outcome()
        if phase_of(outcome) is Phase.STOPPED:
            reason, name = text_of(outcome["reason"]), text_of(outcome["filter"])
            raise SafetyStop(
                f"'{self.spec.name}' was stopped ({name}): {reason}. Look at it, then acknowledge."
            )

    def check_alive(self) -> None:
        """Raise `HardwareError` if the control loop is gone.

        Raises:
            HardwareError: It is; the arm's own watchdog holds it.
        """
        if not self._process.is_alive():
            self._expect("running", 0.0)
            raise HardwareError(f"The control loop of '{self.spec.name}' is gone; the arm stopped.")

    def clear(self) -> None:
        """Forget what was sent: the arm holds."""
        self._request(Request.CLEAR)

    def stop(self, reason: str, level: StopLevel = StopLevel.CONTROLLED) -> None:
        """Stop the arm; it stays so until `acknowledge`."""
        self._request(Request.STOP, float(level), reason=reason)

    def acknowledge(self, user: str, reason: str) -> None:
        """Let the arm move again after a stop, on a person's word.

        Raises:
            ValueError: There is no name.
        """
        ack = OperatorAck(user, reason, time.monotonic())
        self._request(Request.ACKNOWLEDGE, user=ack.user, reason=ack.reason)

    def set_speed(self, factor: float) -> None:
        """Use this share of the greatest speeds.

        Raises:
            ValueError: It is not above 0 and at most 1.
        """
        if not 0 < factor <= 1:
            raise ValueError(f"`factor` must be above 0 and at most 1, got {factor}.")
        self._request(Request.SPEED, factor)

    def set_deadman(self, *, held: bool) -> None:
        """Say whether a person holds the key."""
        self._request(Request.DEADMAN, float(held))

    def close(self) -> None:
        """Brake, end the process, and keep its timing; may be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._process.pid is not None:
            self._request(Request.END)
            self._process.join(END_S)
            if self._process.is_alive():
                self._process.terminate()
                self._process.join()
            with contextlib.suppress(EOFError):
                kind, content = self._pipe.recv() if self._pipe.poll(0) else ("", {})
                self.timing = content if kind == "ended" else {}
        self._has_ended.set()
        if self._heart.is_alive():  # It writes to a ring.
            self._heart.join()
        for ring in self._rings:
            ring.close()

    def _request(
        self, kind: Request, value: float = 0.0, *, user: str = "", reason: str = ""
    ) -> None:
        texts = (user.encode()[:64], reason.encode()[:240])
        with self._asking:  # A ring has one writer, and a deadman is told of by another thread.
            self._requests.write((int(kind), value, *texts, time.monotonic()))

    def _expect(self, kind: str, timeout_s: float) -> None:
        """Wait for a word of the process.

        Raises:
            HardwareError: It says something else, or nothing.
        """
        try:
            got = self._pipe.recv() if self._pipe.poll(timeout_s) else ("nothing", "")
        except EOFError:
            got = ("nothing", "")
        if got[0] == kind or (kind == "running" and got[0] == "nothing"):
            return
        if got[0] == "failed":
            raise HardwareError(f"'{self.spec.name}' cannot be used. {got[1]}")
        raise HardwareError(
            f"'{self.spec.name}' did not answer within {timeout_s:.0f} s. Is it switched on, and "
            "its address right?"
        )

    def _beat(self) -> None:
        self._heartbeats.write((time.monotonic(),))

    def _keep_beating(self) -> None:
        while not self._has_ended.wait(self.config.heartbeat_s / 2):
            self._beat()
