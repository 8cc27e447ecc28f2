"""An arm in MuJoCo, reached over the network like a real one.

Its controller is a process of its own that keeps real time, follows commands, brakes to a hold
without them, and makes protective stops. `address` reaches one that runs already; without it, the
driver starts one and ends it.
"""

import contextlib
import time
from dataclasses import dataclass, field, replace

from robopref.config import to_dict
from robopref.errors import HardwareError, NotConnected, check_choice
from robopref.hardware.arms import MODELS
from robopref.hardware.driver import check_servo
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.sim_link import ANSWER_S, SimLink, SimProcess, parse_address
from robopref.hardware.sim_messages import command_bytes, state_from
from robopref.hardware.sim_physics import SimController
from robopref.hardware.sim_scene import SimScene
from robopref.hardware.types import ArmCommand, ArmMode, ArmState, OperatorAck, StopLevel

OLD_S = 0.008
"""A state older than this is not of now: the controller says it four times as often [s]."""


@dataclass(frozen=True)
class SimArmConfig:
    """An arm in MuJoCo, in a controller process of its own."""

    model: str = "xarm7"
    """ur5e, xarm7, panda, fr3 or sawyer."""
    address: str = ""
    """HOST:PORT of a controller that runs; empty starts one."""
    scene: SimScene = field(default_factory=SimScene)
    """What is around the arm."""
    controller: SimController = field(default_factory=SimController)
    """How its controller behaves."""

    def __post_init__(self) -> None:
        """Check names."""
        check_choice("model", self.model, MODELS)
        if self.address:
            parse_address(self.address)

    def build(self) -> "SimArm":
        """Return the driver."""
        return SimArm(self)


class SimArm:
    """Talks to the controller.

    Args:
        config: Which arm, and where.
    """

    def __init__(self, config: SimArmConfig) -> None:
        self.config = config
        spec = MODELS[config.model]()
        self.spec = spec if config.scene.model is None else replace(spec, model=config.scene.model)
        self._started: SimProcess | None = None
        self._link: SimLink | None = None
        self._state: ArmState | None = None

    def connect(self) -> None:
        """Reach the controller, starting it if there is none.

        Raises:
            HardwareError: It does not answer, or has another arm.
        """
        if self._link is not None:
            return
        if not self.config.address:
            self._started = SimProcess(to_dict(self.config))
        address = self._started.address if self._started else parse_address(self.config.address)
        link = SimLink(address)
        try:
            found = link.ask("hello")
            if tuple(found["joints"]) != self.spec.joint_names:
                raise HardwareError(
                    f"The controller at {address[0]}:{address[1]} has the arm '{found['name']}', "
                    f"not '{self.spec.name}'."
                )
            self._link = link
            self._wait_for_state()
        except HardwareError:
            self._link = None
            link.close()
            self._end_process()
            raise

    def disconnect(self) -> None:
        """Let go of the arm, which stops."""
        link, self._link = self._link, None
        if link is not None:
            with contextlib.suppress(HardwareError):
                link.ask("bye")
            link.close()
        self._end_process()

    def read(self) -> ArmState:
        """Return the newest state that came."""
        self._take_states()
        if self._state is not None and time.monotonic() - self._state.time_s > OLD_S:
            # A queue that was full kept its oldest states; the next one that comes is of now.
            time.sleep(OLD_S / 2)
            self._take_states()
        if self._state is None:
            raise NotConnected("No state of the arm came yet; call connect() first.")
        return self._state

    def start_servo(self) -> None:
        """Make the arm follow commands.

        Raises:
            HardwareError: The controller refuses.
        """
        self._connected().ask("servo")
        deadline = time.monotonic() + ANSWER_S
        while self.read().mode is not ArmMode.SERVO and time.monotonic() < deadline:
            time.sleep(0.001)

    def servo(self, command: ArmCommand) -> None:
        """Send the joint positions of the next period."""
        position = tuple(check_servo(command, self.spec.num_joints))
        self._connected().send(command_bytes(position, command.velocity, command.gripper))

    def stop(self, level: StopLevel) -> None:
        """Stop the arm; does not wait, and without a connection the arm brakes by itself."""
        if self._link is not None:
            self._link.tell("stop", level=int(level))

    def apply_native_limits(self, config: SafetyConfig) -> frozenset[str]:
        """Say what the controller keeps by itself: it has a watchdog, and feels contact."""
        del config
        return frozenset({"watchdog", "contact"})

    def recover(self, ack: OperatorAck) -> None:
        """Clear a stop of the controller.

        Raises:
            HardwareError: It refuses.
        """
        self._connected().ask("recover", user=ack.user)

    def freedrive(self, *, on: bool) -> None:
        """Let the arm be pushed, or hold it.

        Raises:
            HardwareError: It follows commands, or is in a stop.
        """
        self._connected().ask("freedrive", on=on)

    def _take_states(self) -> None:
        for data in self._connected().incoming():
            self._state = state_from(data, self.spec.num_joints) or self._state

    def _connected(self) -> SimLink:
        if self._link is None:
            raise NotConnected("The arm is not connected. Call connect() first.")
        return self._link

    def _wait_for_state(self) -> None:
        deadline = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline:
            with contextlib.suppress(NotConnected):
                self.read()
                return
            time.sleep(0.001)
        raise HardwareError("The controller answers, but says nothing of its state.")

    def _end_process(self) -> None:
        if self._started is not None:
            self._started.close()
            self._started = None
