"""The controller of a simulated arm as a process of its own, as a real controller is.

It keeps real time whatever its clients do. One of them may command the arm at a time; anybody may
ask for the scene. When the one that commands is silent the arm brakes to a hold, and after a while
it stops following.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from robopref.config import from_dict
from robopref.errors import HardwareError
from robopref.hardware.sim import SimArmConfig
from robopref.hardware.sim_messages import (
    MAX_BYTES,
    Address,
    Kind,
    command_of,
    json_bytes,
    json_of,
    state_bytes,
)
from robopref.hardware.sim_physics import PLACING, SimulatedArm
from robopref.hardware.types import ArmMode, StopLevel

SILENT_S = 1.0
"""A client that is silent for so long has gone [s]."""
CATCH_UP_S = 0.1
"""Time that is made up for after the process did not run; more is left out [s]."""
TICK_S = 0.002
"""How often it looks for datagrams and says its state [s]."""


class SimServer:
    """A simulated arm at an address of this machine.

    Args:
        arm: The arm.
        port: Its UDP port; 0 takes a free one.
    """

    def __init__(self, arm: SimulatedArm, port: int = 0) -> None:
        self.arm = arm
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        self._socket.setblocking(False)
        self._owner: Address | None = None
        self._heard_s = 0.0
        self._is_ending = False
        self._doings: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "servo": self._servo, "stop": self._stop, "recover": self._recover,
            "freedrive": self._freedrive, "scene": self._scene, "reset": self._reset,
        }  # fmt: skip

    @property
    def address(self) -> Address:
        """Where it is reached."""
        host, port = self._socket.getsockname()
        return host, port

    def run(self) -> None:
        """Keep real time until `end`, and until the arm rests."""
        dt = self.arm.model.opt.timestep
        simulated_s = time.monotonic()
        while not (self._is_ending and np.abs(self.arm.velocity).max() < REST_RAD_S):
            now = time.monotonic()
            simulated_s = max(simulated_s, now - CATCH_UP_S)
            while simulated_s < now:
                self.arm.step()
                simulated_s += dt
            self._read(now)
            self._look_after_owner(now)
            time.sleep(max(0.0, TICK_S - (time.monotonic() - now)))
        self._socket.close()

    def end(self) -> None:
        """Brake, and return from `run`; may be called from any thread."""
        self.arm.stop(StopLevel.CONTROLLED)
        self._is_ending = True

    def _look_after_owner(self, now_s: float) -> None:
        if self._owner is None:
            return
        with contextlib.suppress(OSError):
            self._socket.sendto(state_bytes(self.arm.state(now_s)), self._owner)
        if self.arm.mode is ArmMode.SERVO and now_s - self._heard_s > SILENT_S:
            self.arm.stop(StopLevel.CONTROLLED)

    def _read(self, now_s: float) -> None:
        """Take all datagrams that wait."""
        while True:
            try:
                data, sender = self._socket.recvfrom(MAX_BYTES)
            except (BlockingIOError, ConnectionError):
                return
            self._take(data, sender, now_s)

    def _take(self, data: bytes, sender: Address, now_s: float) -> None:
        kind = data[0] if data else 0
        if kind == Kind.COMMAND and sender == self._owner:
            command = command_of(data, self.arm.spec.num_joints)
            if command is not None:
                self._heard_s = now_s
                self.arm.command(*command)
        elif kind == Kind.REQUEST:
            asked = json_of(data)
            if asked is not None:
                answer = {"id": asked["id"], **self._answer(asked, sender, now_s)}
                self._socket.sendto(json_bytes(Kind.ANSWER, answer), sender)

    def _answer(self, asked: dict[str, Any], sender: Address, now_s: float) -> dict[str, Any]:
        do = asked.get("do")
        try:
            if do == "hello":
                return self._hello(sender, now_s)
            if do == "bye":
                return self._bye(sender)
            if do not in self._doings:
                return {"error": f"Nothing is known of '{do}'."}
            if do not in FOR_ALL and sender != self._owner:
                return {"error": "Somebody else has the arm."}
            self._heard_s = now_s if sender == self._owner else self._heard_s
            return self._doings[do](asked)
        except (HardwareError, ValueError, TypeError, KeyError, AttributeError) as error:
            return {"error": str(error)}

    def _hello(self, sender: Address, now_s: float) -> dict[str, Any]:
        is_used = self.arm.mode is ArmMode.SERVO and now_s - self._heard_s < SILENT_S
        if is_used and sender != self._owner:
            return {"error": "Somebody else moves the arm."}
        self._owner, self._heard_s = sender, now_s
        return {"name": self.arm.spec.name, "joints": self.arm.spec.joint_names}

    def _bye(self, sender: Address) -> dict[str, Any]:
        if sender == self._owner:
            self.arm.stop(StopLevel.CONTROLLED)
            self._owner = None
        return {}

    def _servo(self, asked: dict[str, Any]) -> dict[str, Any]:
        del asked
        self.arm.start_servo()
        return {}

    def _stop(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.arm.stop(StopLevel(int(asked["level"])))
        return {}

    def _recover(self, asked: dict[str, Any]) -> dict[str, Any]:
        if not str(asked["user"]).strip():
            raise ValueError("A stop is cleared on a person's word; their name is missing.")
        self.arm.recover()
        return {}

    def _freedrive(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.arm.freedrive(on=bool(asked["on"]))
        return {}

    def _scene(self, asked: dict[str, Any]) -> dict[str, Any]:
        data, model = self.arm.data, self.arm.model
        # What is fixed changes with a reset only, and is told to who asks for it.
        names = PLACING if asked.get("fixed") else ()
        return {
            "time_s": time.monotonic(), "simulated_s": data.time, "mode": self.arm.mode,
            "qpos": data.qpos.tolist(), "qvel": data.qvel.tolist(),
            "resets": self.arm.num_resets,
            "fields": {name: getattr(model, name).tolist() for name in names},
        }  # fmt: skip

    def _reset(self, asked: dict[str, Any]) -> dict[str, Any]:
        position, fields = asked.get("qpos"), asked.get("fields") or {}
        self.arm.reset(
            None if position is None else np.array(position, float),
            {str(name): np.array(values, float) for name, values in fields.items()},
        )
        return {}


FOR_ALL = frozenset({"scene", "stop", "reset"})
"""What anybody may do: look, stop, and put the scene in place while the arm follows nobody."""
REST_RAD_S = 0.01
"""An arm slower than this rests [rad/s]."""


def main() -> None:
    """Run the controller that the first line of the input describes, until the input ends."""
    config = from_dict(SimArmConfig, json.loads(sys.stdin.readline()))
    try:
        server = SimServer(SimulatedArm(config.build().spec, config.scene, config.controller))
    except (HardwareError, FileNotFoundError) as error:
        print(json.dumps({"error": str(error)}), flush=True)  # noqa: T201
        return
    print(json.dumps({"port": server.address[1]}), flush=True)  # noqa: T201
    # A real controller has a computer of its own.
    with contextlib.suppress(PermissionError):
        os.nice(-10)
    threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
    server.run()


def _end_with_input(server: SimServer) -> None:
    # The input ends with whoever started this, whatever ended them.
    sys.stdin.read()
    server.end()


if __name__ == "__main__":
    main()
