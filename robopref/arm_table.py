"""The table of a task of Meta-World, with its arm, behind a controller in a process of its own."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from robopref.arm_rig import wait_until
from robopref.config import to_dict
from robopref.hardware.kinematics import joint_ids
from robopref.hardware.sim import SimArmConfig
from robopref.hardware.sim_link import SimLink, SimProcess, parse_address
from robopref.hardware.sim_scene import SimGripper, SimScene
from robopref.hardware.supervisor import STILL_RAD_S
from robopref.hardware.types import ArmMode
from robopref.render import import_mujoco

STILL_LOOKS = 5
"""So often in a tenth of a second the arm has to be found at rest."""


def scene_of(raw: Any) -> SimScene:
    """Return the scene of a task of Meta-World, given the package's environment."""
    gripper = SimGripper((1.0, -1.0), (-1.0, 1.0), "r_close", closed_at=0.04, open_at=0.0)
    return SimScene(
        Path(raw.fullpath), tuple(raw.data.qpos.tolist()), gripper, without_equalities=True
    )


class ArmTable:
    """The simulated arm and its table, behind a controller in a process of its own.

    Args:
        raw: The package's environment, whose model it has.
        address: Of a controller that runs; empty starts one.
    """

    def __init__(self, raw: Any, address: str = "") -> None:
        config = SimArmConfig("sawyer", scene=scene_of(raw))
        self._process = None if address else SimProcess(to_dict(config))
        at = parse_address(address) if self._process is None else self._process.address
        self._link = SimLink(at)
        self.driver_config = replace(config, address="{}:{}".format(*at))
        spec = self.driver_config.build().spec
        self._dofs = raw.model.jnt_dofadr[joint_ids(raw.model, spec)]

    def place(self, raw: Any) -> None:
        """Put everything where `raw` has it; nobody may move the arm meanwhile.

        Raises:
            HardwareError: Somebody does, or it does not come to rest.
        """
        wait_until(lambda: self._link.ask("scene")["mode"] != ArmMode.SERVO, _restless)
        self._link.ask(
            "reset", qpos=raw.data.qpos.tolist(),
            fields={
                "body_pos": raw.model.body_pos.tolist(), "body_quat": raw.model.body_quat.tolist(),
                "site_pos": raw.sites_with_goal().tolist(),
            },
        )  # fmt: skip
        wait_until(self._is_still, _restless)

    def show(self, raw: Any) -> None:
        """Let `raw` show where everything is."""
        scene = self._link.ask("scene")
        raw.data.qpos[:] = scene["qpos"]
        raw.data.qvel[:] = scene["qvel"]
        import_mujoco().mj_forward(raw.model, raw.data)

    def close(self) -> None:
        """End the controller."""
        self._link.close()
        if self._process is not None:
            self._process.close()

    def _is_still(self) -> bool:
        """Return whether it rests for a while: put in place, it begins at rest and may then sag."""
        for _ in range(STILL_LOOKS):
            qvel = np.array(self._link.ask("scene")["qvel"])[self._dofs]
            if np.abs(qvel).max() >= STILL_RAD_S / 2:
                return False
            time.sleep(0.02)
        return True


def _restless() -> str:
    return "The simulated arm does not come to rest."
