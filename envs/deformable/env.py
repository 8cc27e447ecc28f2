"""Deformable tasks: something limp on a table that is brought into a shape by action primitives.

Source: Chen et al., DeformPAM: Data-Efficient Learning for Long-horizon Deformable Object
Manipulation via Preference-based Action Alignment, 2024, arXiv:2410.11584, whose tasks have no
public simulator. These are written anew.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from jaxtyping import Float, UInt8

from robopref.envs.actions import checked_action
from robopref.envs.deformable.clouds import MIN_POINTS, CloudConfig, make_cloud, see
from robopref.envs.deformable.primitives import (
    HIGHEST_M,
    REACH_M,
    InfeasiblePrimitiveError,
    checked_points,
)
from robopref.envs.deformable.tasks import MATERIALS, TASKS, parse
from robopref.envs.pictures import DrawsStates
from robopref.errors import check_at_least, check_choice, check_name
from robopref.render import FreeCamera, OffscreenRenderer
from robopref.types import NUM_POINTS, POINTS, SimState

_EYE_M = 1.2
"""Height of the camera that sees the cloud [m]."""
EYE = FreeCamera((0.0, 0.0, 0.0), _EYE_M, 90.0, -90.0)
"""Where the cloud is seen from."""
_CAMERAS = {
    "top": EYE,
    "side": FreeCamera((0.0, 0.0, 0.0), 1.0, 90.0, -35.0),
}
_DEPTH_PX = 192
_FARTHEST_M = 2.0


@dataclass(frozen=True)
class DeformableConfig:
    """One deformable task.

    Raises:
        UnknownNameError: There is no such task.
        ValueError: A number is below what makes sense, or there is no such physics.
    """

    task: str = "rope-circle-v0"
    """Name, "<material>-<goal>-v0"."""
    physics: str = "standard"
    """"standard", or "held-out" with another friction, stiffness and density."""
    num_points: int = 512
    """Points of the cloud that is observed."""
    max_episode_steps: int = 0
    """Primitives after which an episode is cut off; 0 for the task's own limit."""
    terminate_on_success: bool = True
    """End the episode when the task is solved."""

    def __post_init__(self) -> None:
        """Check names and numbers."""
        check_name("deformable task", self.task, TASKS, heading="Tasks")
        check_choice("physics", self.physics, MATERIALS[self.task.split("-")[0]].PHYSICS)
        check_at_least("num_points", self.num_points, MIN_POINTS)
        check_at_least("max_episode_steps", self.max_episode_steps, 0)

    def build(self) -> "DeformableEnv":
        """Return the environment."""
        return DeformableEnv(self)


class DeformableEnv(DrawsStates, gymnasium.Env[Any, Any]):
    """Something limp on a table, seen as a point cloud and moved by action primitives.

    ## Description
    A step is a whole primitive of two points, and ends when all is at rest again.

    | material | what it is | primitive | points |
    | --- | --- | --- | --- |
    | rope | closed, of 1.2 m | pick and place | where it is picked, where it is placed |
    | granular | 80 almonds | sweep of a plate of 0.10 m | where the sweep begins and ends |
    | tshirt | cloth of 202 vertices | fling by two tools | where they take hold, in any order |
    | | | drag | one on it, and one beside it where to, below 2 cm; or no fling is feasible |
    | | | pick and place | one on it, and one beside it where to, higher |

    Between primitives everything is at rest: positions alone are the state, and states are exact.
    The cloud is that of a depth camera above the table, with noise that the state decides.

    ## Action Space
    `Box((6,), float32)`.

    | index | action | unit |
    | --- | --- | --- |
    | 0-2 | first point, x y z; x and y from -0.4 to 0.4, z = 0 on the table | m |
    | 3-5 | second point, x y z | m |

    Heights are clipped. Points beyond the table or less than 1 cm apart do nothing.

    ## Observation Space
    `Dict`.

    | key | observation | unit |
    | --- | --- | --- |
    | observation.points | cloud, `Box((512, 3), float32)` | m |
    | observation.num_points | points before they were thinned out or repeated, `Box((1,))` | - |

    ## Rewards
    Gain of the quality, which is 1 for the goal: for a rope the share of the start's distance that
    is gone (`earth_movers_m`), for granules the overlap with the goal (`intersection_over_union`),
    for a T-shirt what it covers of its flat area (`coverage`). `info["success"]`: it is at least
    0.85, for granules 0.75. `info` also has `quality`, what it is made of, `primitive`, `grasped`,
    `seconds` of simulation and `problem`.

    ## Starting State
    Decided by the seed: a rope or a T-shirt crumpled at random, or granules strewn over a disc.

    ## Episode End
    Terminated when the task is solved (unless `terminate_on_success=False`), truncated after
    `max_episode_steps`, by default 20 for a rope, 15 for granules and 10 for a T-shirt.

    ## Arguments
    See `DeformableConfig`. `fps` is 0.5 [Hz], about what a primitive takes.

    ## Version History
    v0, in the task's name: the first one.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012 - Gymnasium's form
    cameras: list[str] = list(_CAMERAS)  # noqa: RUF012 - as the protocol has it
    default_camera = "top"
    fps = 0.5

    def __init__(self, config: DeformableConfig) -> None:
        self.config = config
        self.env_id = f"deformable/{config.task}"
        self.render_mode = "rgb_array"
        material, goal = parse(config.task)
        self.task = MATERIALS[material](goal, config.physics)
        self.task_description = self.task.GOALS[goal]
        self.max_episode_steps = config.max_episode_steps or self.task.max_episode_steps
        self._clouds = CloudConfig(num_points=config.num_points)
        self._renderer = OffscreenRenderer(self.task.sim.model, _CAMERAS)
        far = np.full((config.num_points, 3), _FARTHEST_M, np.float32)
        self.observation_space = spaces.Dict(
            {
                POINTS: spaces.Box(-far, far, dtype=np.float32),
                NUM_POINTS: spaces.Box(0.0, float(_DEPTH_PX**2), (1,), np.float32),
            }
        )
        self._high = np.array(2 * [REACH_M, REACH_M, HIGHEST_M], np.float32)
        self._low = np.array(2 * [-REACH_M, -REACH_M, 0.0], np.float32)
        self.action_space = spaces.Box(self._low, self._high, dtype=np.float32)
        self._num_steps = 0
        self._at_first: float | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; the same seed gives the same one."""
        super().reset(seed=seed)
        self.task.start(self.np_random)
        self._at_first = self.task.measure()
        self._num_steps = 0
        return self._obs(), self._info()

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Perform one primitive.

        Raises:
            ValueError: The action has the wrong shape or is not finite.
            RuntimeError: The environment was not reset, or is past its time limit.
            UnstableSimulationError: The physics went wrong. All is as before the step.
        """
        before = self.quality() if self._at_first is not None else 0.0
        info = self.perform(action)
        reward = info["quality"] - before
        terminated = bool(info["success"]) and self.config.terminate_on_success
        return self._obs(), reward, terminated, self.is_over, info

    def perform(self, action: np.ndarray) -> dict[str, Any]:
        """Perform one primitive as `step` does, without looking; return info."""
        points = checked_action(action, (6,)).astype(np.float64).reshape(2, 3)
        if self._at_first is None or self.is_over:
            raise RuntimeError("No episode is running. Call reset() first.")
        points[:, 2] = points[:, 2].clip(0.0, HIGHEST_M)
        done: dict[str, Any] = {"primitive": self.task.primitive, "grasped": False}
        done |= {"seconds": 0.0, "problem": ""}
        try:
            performed = self.task.perform(checked_points(points))
            done |= {"primitive": performed.primitive, "grasped": performed.touched}
            done["seconds"] = performed.seconds
        except InfeasiblePrimitiveError as error:
            done["problem"] = str(error)
        self._num_steps += 1
        return self._info() | done

    @property
    def is_over(self) -> bool:
        """Whether no further primitive may be performed in this episode."""
        return self._num_steps >= self.max_episode_steps

    def quality(self, state: SimState | None = None) -> float:
        """Return how good a state is, or this one; the running episode is not disturbed."""
        if state is None:
            assert self._at_first is not None
            return float(self.task.quality(self.task.measure(), self._at_first))
        self._check_sizes(state.step[None], state.episode)
        with self._undisturbed(is_running=True):
            self.task.sim.restore(state.step[1:])
            return float(self.task.quality(self.task.measure(), float(state.episode[0])))

    def propose(self, rng: np.random.Generator, num: int) -> Float[np.ndarray, "K 6"]:
        """Return actions that a geometric rule thinks good for this state, at most `num`."""
        actions: np.ndarray = self.task.propose(rng, num).reshape(-1, 6).astype(np.float32)
        return actions.clip(self._low, self._high)

    def get_state(self) -> SimState:
        """Return everything needed to come back here, bit for bit.

        Raises:
            RuntimeError: The environment was not reset.
        """
        if self._at_first is None:
            raise RuntimeError("No episode is running. Call reset() first.")
        step = np.concatenate([[self._num_steps], self.task.sim.positions])
        return SimState(step, np.array([self._at_first]))

    def set_state(self, state: SimState) -> dict[str, np.ndarray]:
        """Go to `state`, which any environment of this task may have made; return its obs.

        Raises:
            ValueError: The state is one of another task.
        """
        self.put(state)
        return self._obs()

    def put(self, state: SimState) -> None:
        """Go to `state` as `set_state` does, without looking."""
        self._check_sizes(state.step[None], state.episode)
        self._num_steps = int(state.step[0])
        self._at_first = float(state.episode[0])
        self.task.sim.restore(state.step[1:])

    def _come_back(self, state: SimState) -> None:
        self.put(state)

    def render_states(
        self,
        states: Float[np.ndarray, "T Ds"],
        episode: Float[np.ndarray, " De"],
        *,
        width: int = 320,
        height: int = 240,
        camera: str = default_camera,
    ) -> UInt8[np.ndarray, "T {height} {width} 3"]:
        """Return pictures of simulator states; the running episode is not disturbed.

        Raises:
            ValueError: The states are of another task, or there is no such size or camera.
        """
        self._check_sizes(states, episode)
        pictures = np.empty((len(states), height, width, 3), np.uint8)
        with self._undisturbed(is_running=self._at_first is not None):
            for picture, state in zip(pictures, states, strict=True):
                self.task.sim.restore(state[1:])
                picture[:] = self._renderer.render(
                    self.task.sim.data, width=width, height=height, camera=camera
                )
        return pictures

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()

    def _info(self) -> dict[str, Any]:
        assert self._at_first is not None
        measured = self.task.measure()
        quality = float(self.task.quality(measured, self._at_first))
        success = quality >= self.task.solved_at
        return {"success": success, "quality": quality, self.task.measured_as: measured}

    def _obs(self) -> dict[str, np.ndarray]:
        sim = self.task.sim
        picture, depth = self._renderer.render_depth(
            sim.data, width=_DEPTH_PX, height=_DEPTH_PX, camera="top"
        )
        # The state decides the noise: whoever comes back to it sees the same.
        rng = np.random.default_rng(zlib.crc32(sim.positions.tobytes()))
        half = _EYE_M * np.tan(np.radians(float(sim.model.vis.global_.fovy) / 2))
        seen = see(picture, depth, self._clouds, rng, height_m=_EYE_M, half_m=float(half))
        cloud, num = make_cloud(seen, self._clouds, rng)
        return {POINTS: cloud, NUM_POINTS: np.array([num], np.float32)}

    def _check_sizes(self, states: np.ndarray, episode: np.ndarray) -> None:
        sizes, expected = (states.shape[-1], len(episode)), (1 + self.task.sim.model.nq, 1)
        if sizes != expected:
            raise ValueError(
                f"A simulator state of {self.env_id} must have sizes {expected} (step, episode), "
                f"got {sizes}. States can be set in environments of the same task only."
            )
