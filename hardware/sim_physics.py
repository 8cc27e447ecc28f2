"""A simulated arm with the controller that a real one has: it follows, watches itself, and stops.

It knows nothing of the supervisor. Commands become a smooth set point; without new ones it brakes
to a hold; a hard contact or a joint that does not get where it should is a protective stop, which
only a person's word ends.

Shapes: J joints of the arm.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Float

from robopref.errors import HardwareError, check_above
from robopref.hardware.kinematics import joint_ids, moving_bodies
from robopref.hardware.sim_scene import SimScene
from robopref.hardware.types import ArmMode, ArmSpec, ArmState, Fault, Joints, StopLevel

ROTOR_KG_M2 = 0.1
"""Inertia of a motor as its joint feels it, through a gear of about 100 [kg m^2]."""

PLACING = ("body_pos", "body_quat", "site_pos")
"""Fields of a model that say where things without joints are."""


@dataclass(frozen=True)
class SimController:
    """How the arm's controller behaves."""

    bandwidth_hz: float = 8.0
    """How fast an error of position goes away [Hz]."""
    watchdog_periods: float = 2.0
    """Without a command for so many periods, it brakes to a hold."""
    error_rad: float = 0.25
    """A joint further than this from where it should be is a protective stop [rad]."""
    contact_n: float = 150.0
    """A link pressed harder than this is a protective stop [N]; the tool may press."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("bandwidth_hz", "watchdog_periods", "error_rad", "contact_n"):
            check_above(name, getattr(self, name), 0)


class SimulatedArm:
    """Physics of an arm and its scene, one step at a time.

    Args:
        spec: The arm.
        scene: What is around it.
        config: Its controller.

    Raises:
        FileNotFoundError: There is no model file.
        HardwareError: The model cannot be read, or is not of this arm.
    """

    def __init__(self, spec: ArmSpec, scene: SimScene, config: SimController) -> None:
        self.spec, self.scene, self.config = spec, scene, config
        self.model = scene.load(spec)
        self.data = mujoco.MjData(self.model)
        joints = joint_ids(self.model, spec)
        self._places, self._dofs = self.model.jnt_qposadr[joints], self.model.jnt_dofadr[joints]
        # A scene may hold joints tighter than the arm's maker does.
        limits = zip(spec.position_min_rad, spec.position_max_rad, strict=True)
        self.model.jnt_range[joints] = list(limits)
        # Beyond the last joint is the tool, which is there to press on things.
        tool = moving_bodies(self.model, joints[-1:])
        self._links = np.setdiff1d(moving_bodies(self.model, joints), tool)
        # Models leave it out; without it, dry friction outweighs what corrects a light wrist.
        rotors = np.maximum(self.model.dof_armature[self._dofs], ROTOR_KG_M2)
        self.model.dof_armature[self._dofs] = rotors
        self._gripper = self._check_gripper()
        self._gain = (2 * np.pi * config.bandwidth_hz) ** 2
        self._damping = 2 * (2 * np.pi * config.bandwidth_hz)
        self._inertia = np.zeros(self.model.nv)
        self._torque_max = np.array(spec.effort_max_nm or (np.inf,) * spec.num_joints)
        self.mode = ArmMode.READY
        self.faults: tuple[Fault, ...] = ()
        self.num_resets = 0
        self.reset()

    def reset(
        self,
        position: Float[np.ndarray, " Q"] | None = None,
        fields: Mapping[str, Float[np.ndarray, "..."]] | None = None,
    ) -> None:
        """Put everything where it starts, or where it is told.

        Args:
            position: Positions of all joints of the model (its `qpos`).
            fields: Fields of the model that place fixed bodies; of `PLACING`.

        Raises:
            HardwareError: The arm follows commands, or something is of another model.
        """
        if self.mode is ArmMode.SERVO:
            raise HardwareError("The scene cannot be put back while the arm follows commands.")
        start = np.array(self.scene.position) if position is None else position
        if len(start) not in (0, self.model.nq):
            raise HardwareError(f"The model has {self.model.nq} positions, got {len(start)}.")
        for name, values in (fields or {}).items():
            if name not in PLACING or np.shape(values) != getattr(self.model, name).shape:
                raise HardwareError(f"'{name}' of the scene cannot be set so.")
            getattr(self.model, name)[:] = values
        self.num_resets += 1
        mujoco.mj_resetData(self.model, self.data)
        if self.scene.without_equalities or self.scene.model is None:
            self.data.eq_active[:] = 0
        if len(start):
            self.data.qpos[:] = start
        else:
            self.data.qpos[self._places] = self.spec.rest_rad
        mujoco.mj_forward(self.model, self.data)
        self._aim = _SetPoint(self.position)
        self._set_gripper(1.0)

    @property
    def position(self) -> Float[np.ndarray, " J"]:
        """Joint positions [rad]."""
        found: np.ndarray = self.data.qpos[self._places].copy()
        return found

    @property
    def velocity(self) -> Float[np.ndarray, " J"]:
        """Joint velocities [rad/s]."""
        found: np.ndarray = self.data.qvel[self._dofs].copy()
        return found

    def state(self, now_s: float) -> ArmState:
        """Return what the controller reports."""
        effort = self.data.qfrc_applied[self._dofs]
        return ArmState(
            now_s, tuple(self.position.tolist()), tuple(self.velocity.tolist()), self.mode,
            effort=tuple(effort.tolist()) if self.spec.effort_max_nm else (),
            gripper=self._measure_gripper(), faults=self.faults,
        )  # fmt: skip

    def start_servo(self) -> None:
        """Follow commands from now on.

        Raises:
            HardwareError: It is in a stop.
        """
        if self.mode in (ArmMode.PROTECTIVE_STOP, ArmMode.ESTOP):
            raise HardwareError(
                f"The controller is in the mode '{self.mode}': "
                f"{'; '.join(fault.message for fault in self.faults) or 'it was stopped at once'}. "
                "Look at the arm, then acknowledge it: robopref arm recover."
            )
        self._aim = _SetPoint(self.position)
        self.mode = ArmMode.SERVO

    def command(self, position: Joints, velocity: Joints, gripper: float | None) -> None:
        """Go to `position` within the next period, and be at `velocity` there."""
        if self.mode is ArmMode.SERVO:
            self._aim.head_for(np.array(position), np.array(velocity), self.spec.period_s)
            if gripper is not None:
                self._set_gripper(gripper)

    def stop(self, level: StopLevel) -> None:
        """Decelerate; leave the mode of following unless it is only a hold."""
        if level is StopLevel.IMMEDIATE and self.mode is not ArmMode.PROTECTIVE_STOP:
            self._clamp_brakes(ArmMode.ESTOP, ())
        elif self.mode is ArmMode.SERVO:
            self._aim.brake()
            if level is StopLevel.CONTROLLED:
                self.mode = ArmMode.READY
        elif self.mode is ArmMode.FREEDRIVE:
            self.freedrive(on=False)

    def recover(self) -> None:
        """Leave a stop, on a person's word."""
        self.mode, self.faults = ArmMode.READY, ()
        self._aim = _SetPoint(self.position)

    def freedrive(self, *, on: bool) -> None:
        """Let the arm be pushed, or hold it where it is.

        Raises:
            HardwareError: It follows commands, or is in a stop.
        """
        if on and self.mode is not ArmMode.READY:
            raise HardwareError(f"The arm cannot be pushed in the mode '{self.mode}'.")
        if on or self.mode is ArmMode.FREEDRIVE:
            self.mode = ArmMode.FREEDRIVE if on else ArmMode.READY
            self._aim = _SetPoint(self.position)

    def step(self) -> None:
        """Advance by one step of the model's physics."""
        dt = self.model.opt.timestep
        watchdog_s = self.config.watchdog_periods * self.spec.period_s
        self._aim.advance(dt, watchdog_s, np.array(self.spec.acceleration_max_rad_s2))
        self._drive()
        mujoco.mj_step(self.model, self.data)
        if self.mode is ArmMode.SERVO:
            self._watch()

    def _drive(self) -> None:
        """Apply the torques that follow the set point, by inverse dynamics."""
        data, dofs = self.data, self._dofs
        free = data.qfrc_bias[dofs] - data.qfrc_passive[dofs]
        if self.mode is ArmMode.FREEDRIVE:
            data.qfrc_applied[dofs] = free
            return
        aim = self._aim
        wanted = np.zeros(self.model.nv)
        wanted[dofs] = (
            aim.acceleration
            + self._gain * (aim.position - data.qpos[self._places])
            + self._damping * (aim.velocity - data.qvel[dofs])
        )
        mujoco.mj_mulM(self.model, data, self._inertia, wanted)
        torque = self._inertia[dofs] + free
        data.qfrc_applied[dofs] = np.clip(torque, -self._torque_max, self._torque_max)

    def _watch(self) -> None:
        """Stop by itself where something is wrong."""
        error = np.abs(self._aim.position - self.data.qpos[self._places])
        force = self._greatest_contact_n()
        if error.max() > self.config.error_rad:
            joint = self.spec.joint_names[int(error.argmax())]
            fault = Fault("tracking", f"'{joint}' is {error.max():.2f} rad from where it should be")
        elif force > self.config.contact_n:
            fault = Fault("collision", f"a link is pressed with {force:.0f} N")
        else:
            return
        self._clamp_brakes(ArmMode.PROTECTIVE_STOP, (fault,))

    def _clamp_brakes(self, mode: ArmMode, faults: tuple[Fault, ...]) -> None:
        self.mode, self.faults = mode, faults
        self._aim = _SetPoint(self.position)

    def _greatest_contact_n(self) -> float:
        data, greatest = self.data, 0.0
        if not data.ncon:
            return greatest
        bodies = self.model.geom_bodyid[data.contact.geom]
        touches = np.isin(bodies, self._links).any(axis=1)
        force = np.zeros(6)
        for number in np.flatnonzero(touches):
            mujoco.mj_contactForce(self.model, data, number, force)
            greatest = max(greatest, float(np.linalg.norm(force[:3])))
        return greatest

    def _check_gripper(self) -> int | None:
        gripper = self.scene.gripper
        if gripper is None:
            return None
        if len(gripper.closed) != self.model.nu or len(gripper.open) != self.model.nu:
            raise HardwareError(
                f"The scene has {self.model.nu} actuators, its gripper names {len(gripper.closed)}."
            )
        joint = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_JOINT, gripper.joint)
        if joint < 0:
            raise HardwareError(f"The scene has no joint '{gripper.joint}' for the gripper.")
        return int(self.model.jnt_qposadr[joint])

    def _set_gripper(self, opening: float) -> None:
        gripper = self.scene.gripper
        if gripper is not None:
            closed, wide = np.array(gripper.closed), np.array(gripper.open)
            self.data.ctrl[:] = closed + float(np.clip(opening, 0, 1)) * (wide - closed)

    def _measure_gripper(self) -> float | None:
        gripper = self.scene.gripper
        if gripper is None or self._gripper is None:
            return None
        way = gripper.open_at - gripper.closed_at
        share = (float(self.data.qpos[self._gripper]) - gripper.closed_at) / way
        return float(np.clip(share, 0, 1))


class _SetPoint:
    """Where the controller wants the joints: a smooth way through the commands.

    Args:
        position: Where it rests at first, (J,).
    """

    def __init__(self, position: Float[np.ndarray, " J"]) -> None:
        self.position = position
        self.velocity, self.acceleration = np.zeros_like(position), np.zeros_like(position)
        self._from = self._to = (position, self.velocity)
        self._period_s, self._since_s = 0.0, np.inf

    def head_for(
        self, position: Float[np.ndarray, " J"], velocity: Float[np.ndarray, " J"], period_s: float
    ) -> None:
        """Be there after one period, by a cubic."""
        self._from = (self.position, self.velocity)
        self._to = (position, velocity)
        self._period_s, self._since_s = period_s, 0.0

    def brake(self) -> None:
        """Follow nothing any more."""
        self._since_s = np.inf

    def advance(
        self, dt_s: float, watchdog_s: float, deceleration: Float[np.ndarray, " J"]
    ) -> None:
        """Move on by `dt_s`: along the cubic, then as it goes, then braking."""
        self._since_s += dt_s
        if self._since_s <= self._period_s + 1e-9:
            self._follow(self._since_s / self._period_s)
            return
        if self._since_s <= watchdog_s + self._period_s:
            # The next command is late: it goes on as it was.
            self.acceleration = np.zeros_like(self.position)
        else:
            most = np.minimum(deceleration, np.abs(self.velocity) / dt_s)
            self.acceleration = -np.sign(self.velocity) * most
        self.position = self.position + dt_s * (self.velocity + 0.5 * dt_s * self.acceleration)
        self.velocity = self.velocity + dt_s * self.acceleration

    def _follow(self, x: float) -> None:
        (p0, v0), (p1, v1), period = self._from, self._to, self._period_s
        way, begin, end = p1 - p0, v0 * period, v1 * period
        a, b = begin + end - 2 * way, 3 * way - 2 * begin - end
        self.position = p0 + x * (begin + x * (b + x * a))
        self.velocity = (begin + x * (2 * b + 3 * a * x)) / period
        self.acceleration = (2 * b + 6 * a * x) / period**2
