"""A Franka controller in a process of its own: franky-sim, which speaks FCI, and can be disturbed.

franky-sim never makes an error by itself; what a real controller does on contact, on the user stop
and on recovery is added here, on the same protocol. Lines on the input: reflex, user-stop,
released, guiding, stubborn (no automatic recovery), thaw, freeze.
"""

import sys
import threading
import time

from franky_sim import franka_robot_protocol as protocol
from franky_sim import simulation_server
from franky_sim.franka_robot_server import FrankaRobotServer
from franky_sim.mujoco_simulator import MujocoSimulator

REFLEX_PLACE = 7
"""Where `cartesian_reflex` is among the 41 errors of the protocol."""


class Controller(FrankaRobotServer):  # type: ignore[misc]  # Not in this environment.
    """The controller of franky-sim, with the modes that a disturbance leads to."""

    mode: protocol.RobotMode | None = None
    is_stubborn = False
    order = ""

    def process_commands(self):
        order, self.order = self.order, ""
        if order:
            self._follow(order)
        super().process_commands()

    def _follow(self, order):
        self.mode = {
            "reflex": protocol.RobotMode.kReflex, "user-stop": protocol.RobotMode.kUserStopped,
            "guiding": protocol.RobotMode.kGuiding,
        }.get(order)  # fmt: skip
        self.is_stubborn = order == "stubborn"
        if order == "stubborn":
            self.mode = protocol.RobotMode.kReflex
        if self.mode is not None and self.current_motion_id:
            number = self.current_motion_id
            self.stop_motion(send_preemption_signal=False)
            protocol.BaseCommand.send_response(
                self._tcp_socket, protocol.RobotCommand.kMove, number,
                protocol.MoveStatus.kReflexAborted,
            )  # fmt: skip
            self.reset_current_motion_id()

    @property
    def robot_state(self):
        state = super().robot_state
        if self.mode is None:
            return state
        is_reflex = self.mode is protocol.RobotMode.kReflex
        errors = tuple(is_reflex and place == REFLEX_PLACE for place in range(41))
        return state.replace(robot_mode=self.mode, errors=errors, current_errors=errors)


def recover(self, server):
    if server.is_stubborn:
        self.reply(protocol.AutomaticErrorRecoveryStatus.kManualErrorRecoveryRequiredRejected)
        return
    if server.mode is protocol.RobotMode.kReflex:
        server.mode = None
    self.reply(protocol.AutomaticErrorRecoveryStatus.kSuccess)


def main():
    protocol.AutomaticErrorRecoveryCommand.handle = recover
    simulation_server.FrankaRobotServer = Controller
    with MujocoSimulator() as sim:
        # With its own damping of the wrist, which is light, the arm trembles where it holds.
        robot = sim.add_robot(kv=(450.0, 450.0, 350.0, 350.0, 50.0, 50.0, 20.0))
        with simulation_server.SimulationServer(sim) as server:
            print(robot.hostname, flush=True)  # noqa: T201
            frozen = threading.Event()
            threading.Thread(target=listen, args=(server, frozen), daemon=True).start()
            server.running = True
            due = time.monotonic()
            while server.running:
                if frozen.is_set():
                    time.sleep(0.01)
                    due = time.monotonic()
                    continue
                server.run_once(realtime=False)
                # Its own pace adds up what each step is late by.
                due = max(due + 0.001, time.monotonic() - 0.02)
                time.sleep(max(0.0, due - time.monotonic()))


def listen(server, frozen):
    for line in sys.stdin:
        order = line.strip()
        if order == "freeze":
            frozen.set()
        elif order == "thaw":
            frozen.clear()
        else:
            server.robot_servers[0].order = order
    server.running = False


if __name__ == "__main__":
    main()
