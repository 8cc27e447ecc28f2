"""Tasks carried out by an arm under its supervisor, as environments like any other.

`arm/<task>` is a task of Meta-World whose Sawyer is moved through the hardware layer: the policy's
steps become joint commands, the supervisor passes them, and the controller of a simulated arm in a
process of its own carries them out in real time. Observations, reward and success stay the
package's own, so that a policy, a data set and an evaluation work as they are.

Shapes: J joints.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from robopref.config import to_dict
from robopref.envs.metaworld import MetaWorldConfig, MetaWorldEnv
from robopref.envs.render import import_mujoco
from robopref.errors import HardwareError, check_above, check_between
from robopref.hardware.arm_process import ArmProcess
from robopref.hardware.kinematics import Kinematics, joint_ids
from robopref.hardware.loop import LoopConfig
from robopref.hardware.records import phase_of
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.sim import SimArmConfig
from robopref.hardware.sim_link import SimLink, SimProcess
from robopref.hardware.sim_scene import SimGripper, SimScene
from robopref.hardware.supervisor import STILL_RAD_S
from robopref.hardware.tool_motion import ToolMotion
from robopref.hardware.verdicts import Phase
from robopref.hardware.workspace import Box, HalfSpace, Workspace
from robopref.types import SimState

REACH_M = 0.01
"""The farthest that the tool's target moves in a step of a policy [m]."""
STALL_S = 0.5
"""A machine that is shared may not run for so long, and nothing is at stake in a simulation [s]."""
TABLE = Workspace(
    Box((-1.0, -0.6, -0.1), (1.0, 1.3, 1.5)), (HalfSpace((0.0, 0.0, 1.0), 0.0),), radius_m=0.04
)
"""Where the Sawyer's links may be: over its table."""


@dataclass(frozen=True)
class ArmTaskConfig(MetaWorldConfig):
    """A task of Meta-World on a simulated arm under the supervisor.

    Raises:
        UnknownNameError: There is no such task.
        ValueError: A number is out of its range.
    """

    tool_speed_m_s: float = 0.25
    """Greatest speed of the tool [m/s]; it decides how long a step takes."""
    speed_factor: float = 1.0
    """Share of the greatest speeds that is used."""

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        check_above("tool_speed_m_s", self.tool_speed_m_s, 0)
        check_between("speed_factor", self.speed_factor, 0.01, 1)

    def build(self) -> "ArmTaskEnv":
        """Return the environment; the arm starts with its first episode."""
        return ArmTaskEnv(self)

    @property
    def step_s(self) -> float:
        """How long a step takes [s]: the tool never has to be faster than it may."""
        return math.sqrt(3) * REACH_M / (self.tool_speed_m_s * self.speed_factor)


class ArmTaskEnv(MetaWorldEnv):
    """A task of Meta-World, done by an arm in real time.

    ## Description
    As `metaworld/<task>`, but what moves the hand is an arm: a target of the hand becomes joint
    positions, which pass the supervisor and go to a controller in another process. Steps take real
    time, as long as the speed limit makes them, and no two runs are equal to the last digit.

    ## Action Space
    As in `MetaWorldEnv`; along a diagonal, the hand's target moves by 1.7 cm a step.

    ## Observation Space
    As in `MetaWorldEnv`, from where the arm and the objects are.

    ## Rewards
    As in `MetaWorldEnv`.

    ## Starting State
    As in `MetaWorldEnv`: the same seed places objects, goal and hand alike.

    ## Episode End
    As in `MetaWorldEnv`; also truncated when the supervisor stops the arm, with `info["stopped"]`
    saying why.

    ## Arguments
    See `ArmTaskConfig`.

    ## Version History
    New in 0.1.
    """

    is_real_time = True

    def __init__(self, config: ArmTaskConfig) -> None:
        super().__init__(config)
        self.arm_config = config
        self.env_id = f"arm/{config.task}"
        self.fps = 1.0 / config.step_s
        self._rig: _Rig | None = None
        self._raw.do_simulation = self._move

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Put the scene in place and let the arm begin; the same seed gives the same start."""
        # Where the hand starts is found by the package's own simulation.
        del self._raw.do_simulation
        obs, info = super().reset(seed=seed, options=options)
        self._raw.do_simulation = self._move
        self._begin()
        return obs, info

    def set_state(self, state: SimState) -> dict[str, np.ndarray]:
        """Put scene and arm where `state` has them, and let the arm begin there."""
        obs = super().set_state(state)
        self._begin()
        return obs

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Act once, in real time."""
        obs, reward, terminated, truncated, info = super().step(action)
        assert self._rig is not None
        stopped = self._rig.why_stopped()
        if stopped:
            info["stopped"] = stopped
        return obs, reward, terminated, truncated or bool(stopped), info

    def close(self) -> None:
        """Stop the arm, end its processes and free the renderer."""
        if self._rig is not None:
            self._rig.close()
            self._rig = None
        super().close()

    def _begin(self) -> None:
        self._rig = self._rig or _Rig(self._raw, self.arm_config)
        self._rig.begin(self._raw)

    def _move(self, ctrl: Any, n_frames: int) -> None:
        """Take the place of the package's simulation of one step."""
        del n_frames
        assert self._rig is not None
        self._rig.go(self._raw.data.mocap_pos[0].copy(), opening=(1.0 - float(ctrl[0])) / 2)
        self._rig.show(self._raw)


class _Rig:
    """The processes behind an environment: a controller, and the loop that moves its arm.

    Args:
        raw: The package's environment, whose model both use.
        config: Speeds.
    """

    def __init__(self, raw: Any, config: ArmTaskConfig) -> None:
        scene = SimScene(
            Path(raw.fullpath), tuple(raw.data.qpos.tolist()),
            SimGripper((1.0, -1.0), (-1.0, 1.0), "r_close", closed_at=0.04, open_at=0.0),
            without_equalities=True,
        )  # fmt: skip
        driver = SimArmConfig("sawyer", scene=scene)
        self._process = SimProcess(to_dict(driver))
        address = "{}:{}".format(*self._process.address)
        self._link = SimLink(self._process.address)
        self._driver = SimArmConfig("sawyer", address=address, scene=scene)
        self._safety = SafetyConfig(
            TABLE, config.speed_factor, tool_speed_m_s=config.tool_speed_m_s,
            state_age_s=STALL_S, watchdog_s=STALL_S,
            off=frozenset({"budget"}),
        )  # fmt: skip
        self._step_s = config.step_s
        # Loaded before the arm is armed: it holds when its process is busy for long.
        self._kinematics = Kinematics(self._driver.build().spec)
        self._dofs = raw.model.jnt_dofadr[joint_ids(raw.model, self._kinematics.spec)]
        self._arm: ArmProcess | None = None
        self._motion: ToolMotion | None = None

    def begin(self, raw: Any) -> None:
        """Put the scene where `raw` has it, and arm the arm."""
        if self._arm is not None:
            self._arm.stop("the episode is over")
            self._wait_for_mode("ready")
        self._place(raw)
        self._wait(self._is_still, "did not come to rest")
        if self._arm is None:
            loop = LoopConfig(blend_s=min(0.1, self._step_s))
            self._arm = ArmProcess(self._driver, self._kinematics.spec, self._safety, loop)
            self._arm.start()
            self._motion = ToolMotion(self._arm, self._kinematics, self._step_s)
        else:
            self._arm.acknowledge("robopref", "the scene was put back")
            self._wait_until_running()
        assert self._motion is not None
        self._motion.begin()

    def go(self, target_m: Float[np.ndarray, " 3"], opening: float) -> None:
        """Move the hand's target, and wait until the step is over."""
        assert self._motion is not None
        if self.why_stopped():
            return
        self._motion.go(target_m, opening)
        self._motion.wait()

    def show(self, raw: Any) -> None:
        """Let `raw` show where everything is."""
        scene = self._link.ask("scene")
        raw.data.qpos[:] = scene["qpos"]
        raw.data.qvel[:] = scene["qvel"]
        raw.data.time += self._step_s
        import_mujoco().mj_forward(raw.model, raw.data)

    def why_stopped(self) -> str:
        """Return why the arm was stopped; empty while it runs."""
        assert self._arm is not None
        outcome = self._arm.outcome()
        if phase_of(outcome) is not Phase.STOPPED:
            return ""
        return bytes(outcome["reason"]).decode("utf-8", "replace")

    def close(self) -> None:
        """End both processes."""
        if self._arm is not None:
            self._arm.close()
        self._link.close()
        self._process.close()

    def _place(self, raw: Any) -> None:
        self._link.ask(
            "reset", qpos=raw.data.qpos.tolist(),
            fields={name: getattr(raw.model, name).tolist() for name in ("body_pos", "body_quat")},
        )  # fmt: skip

    def _is_still(self) -> bool:
        qvel = np.array(self._link.ask("scene")["qvel"])[self._dofs]
        return bool(np.abs(qvel).max() < STILL_RAD_S / 2)

    def _wait_for_mode(self, mode: str) -> None:
        self._wait(lambda: self._link.ask("scene")["mode"] == mode, f"did not become '{mode}'")

    def _wait_until_running(self) -> None:
        self._wait(lambda: not self.why_stopped(), "did not start again")

    def _wait(self, is_done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 5.0
        while not is_done():
            if time.monotonic() > deadline:
                reason = "" if self._arm is None else self.why_stopped()
                raise HardwareError(f"The arm {what}{': ' if reason else ''}{reason}.")
            time.sleep(0.005)
