"""Whether an arm could follow a way of its tool, asked before it begins.

What the supervisor would have to stop or hold is better not proposed: of several ways, those that
cannot be gone are dropped before the best is chosen.

Shapes: K places of the tool, J joints.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from robopref.hardware.clearance import Clearance
from robopref.hardware.inverse import InverseKinematics
from robopref.hardware.kinematics import Kinematics
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.types import ArmSpec, Joints


@dataclass(frozen=True)
class Way:
    """A way of the tool as the joints would go it.

    Args:
        positions: Joint positions at each place [rad], (K, J); up to where it cannot go on.
        refusal: Why it cannot be gone; empty where it can.
        joint_speed: Greatest joint speed, as a share of its limit now.
        margin_m: Least margin to the workspace's bounds [m]; infinite without one.
    """

    positions: Float[np.ndarray, "K J"]
    refusal: str
    joint_speed: float
    margin_m: float


class Forecast:
    """Looks ahead along ways of an arm's tool.

    Args:
        spec: The arm.
        config: The limits beside its own.
        kinematics: Where its links are.
    """

    def __init__(self, spec: ArmSpec, config: SafetyConfig, kinematics: Kinematics) -> None:
        self.spec, self.config, self._kinematics = spec, config, kinematics
        self._clearance = Clearance(config, kinematics)
        self._inverse = InverseKinematics(spec, kinematics, config.joint_margin_rad)

    def follow(
        self,
        start: Joints,
        rotation: Float[np.ndarray, "*rows 4"],
        targets_m: Float[np.ndarray, "K 3"],
        period_s: float,
    ) -> Way:
        """Return how the joints would go through places of the tool.

        Args:
            start: Where the joints are [rad].
            rotation: How the tool is turned, as a quaternion wxyz: all the way, or at each place.
            targets_m: Where the tool goes [m].
            period_s: Time between two of them [s].
        """
        positions = [start]
        refusal = ""
        turned = np.broadcast_to(rotation, (len(targets_m), 4))
        for place, target in enumerate(targets_m):
            reached = self._inverse.solve(target, turned[place], positions[-1])
            if not reached.is_there:
                refusal = f"place {place} of the way cannot be reached"
                break
            positions.append(reached.position)
        way = np.array(positions)
        speed = self._joint_speed(way, period_s)
        margin = self._margin_m(way)
        if not refusal and speed > 1:
            refusal = f"a joint would need {speed:.2f} times its speed"
        if not refusal and margin < 0:
            refusal = f"a link would be {-1e3 * margin:.0f} mm outside the workspace"
        if not refusal and self._meets_itself(way):
            refusal = "links would meet each other"
        return Way(way, refusal, speed, margin)

    def _joint_speed(self, way: Float[np.ndarray, "K J"], period_s: float) -> float:
        limits = np.array(self.spec.velocity_max_rad_s) * self.config.speed_factor
        share = np.abs(np.diff(way, axis=0)) / period_s / limits
        return float(share.max()) if share.size else 0.0

    def _meets_itself(self, way: Float[np.ndarray, "K J"]) -> bool:
        itself = self._clearance.itself
        return itself is not None and bool(itself.lacks_m(way).any())

    def _margin_m(self, way: Float[np.ndarray, "K J"]) -> float:
        if self.config.workspace is None or not self.config.has("workspace"):
            return np.inf
        points = self._kinematics.place(way).points_m
        return float(self.config.workspace.margins_m(points).min())
