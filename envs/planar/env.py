"""Planar tasks in the manner of X-MAGICAL: blocks to push to a goal, with one of four hands.

Source: Zakka et al., XIRL: Cross-embodiment Inverse Reinforcement Learning, 2021, arXiv:2106.03911,
whose package X-MAGICAL has a task of sweeping; Tian et al., What Matters to You? Towards Visual
Representation Alignment for Robot Learning, 2023, arXiv:2310.07932, who describe tasks of avoiding
and grouping, which were not published. These are written anew.
"""

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from jaxtyping import Float, UInt8

from robopref.envs.actions import checked_action
from robopref.envs.pictures import DrawsStates
from robopref.envs.planar.drawing import Zone, draw
from robopref.envs.planar.physics import FPS, advance
from robopref.envs.planar.styles import expert
from robopref.envs.planar.tasks import (
    BLOCKS,
    GOAL_Y_M,
    HAND,
    NUM_BLOCKS,
    OPENING,
    TASKS,
    block_places,
    goal_distance,
    is_solved,
    parse,
    state_bounds,
)
from robopref.envs.scene import Scene, check_size
from robopref.envs.scripted import Expert
from robopref.errors import check_at_least, check_choice, check_name
from robopref.types import STATE, SimState


@dataclass(frozen=True)
class PlanarConfig:
    """One planar task with one hand.

    Raises:
        UnknownNameError: There is no such task.
        ValueError: `max_episode_steps` is below 1.
    """

    task: str = "avoid-medium-v0"
    """Name, "<avoid or group>-<short, medium, long or gripper>-v0"."""
    max_episode_steps: int = 200
    """Steps after which an episode is cut off."""
    terminate_on_success: bool = True
    """End the episode when both blocks are in the goal."""

    def __post_init__(self) -> None:
        """Check the name and the limit."""
        check_name("planar task", self.task, TASKS, heading="Tasks")
        check_at_least("max_episode_steps", self.max_episode_steps, 1)

    def build(self) -> "PlanarEnv":
        """Return the environment."""
        return PlanarEnv(self)

    def read_scene(self, state: Float[np.ndarray, "S Do"]) -> Scene:
        """Return the scene of each observation; the table's height is 0.

        Raises:
            ValueError: An observation has another size.
        """
        check_size(self.task, state, parse(self.task).state_size)
        state = state.astype(np.float64)
        blocks = _with_height(block_places(state))
        goal = blocks[:, 0].copy()
        goal[:, 1] = goal[:, 1].clip(min=GOAL_Y_M)
        return Scene(_with_height(state[:, HAND]), state[:, OPENING], blocks, goal)

    def find_expert(self) -> tuple[Expert, slice]:
        """Return the expert that does the task as preferred."""
        return expert(parse(self.task).kind), BLOCKS[0]

    def sibling_tasks(self) -> tuple[str, ...]:
        """Return the other task with the same hand."""
        hand = parse(self.task).hand
        return tuple(task for task in TASKS if task != self.task and parse(task).hand == hand)


class PlanarEnv(DrawsStates, gymnasium.Env[Any, Any]):
    """A table seen from above, two blocks, a goal on its far side, and a hand that pushes.

    ## Description
    The hand is a stick, "short" (0.28 m), "medium" (0.46 m) or "long" (0.56 m), or a "gripper" with
    two fingers that close. In "avoid" there is a marked region between the blocks and the goal. The
    task does not ask to keep out of it, nor, in "group", to push the blocks together: these are
    preferences, measured by the behaviours `keep-out` and `together`.

    Every action is simulated from the positions and velocities of the bodies alone, so that states
    are exact.

    ## Action Space
    `Box(-1, 1, (3,), float32)`, `(4,)` for the gripper; larger actions are clipped.

    | index | action | unit |
    | --- | --- | --- |
    | 0-1 | velocity of the hand along x (right) and y (away) | 0.8 m/s |
    | 2 | turn of the hand, counter-clockwise | 2.5 rad/s |
    | 3 | close (+1) or open (-1) the fingers; gripper only | share of their way |

    ## Observation Space
    `Dict` with one entry, `observation.state`: `Box((14,), float32)`, `(18,)` in "avoid".

    | index | observation | unit |
    | --- | --- | --- |
    | 0-1 | hand, x y; the table reaches from -1.1 to 1.1 | m |
    | 2-3 | cosine and sine of the direction it points to | - |
    | 4 | opening of the fingers; 1 is open, and always 1 for a stick | share |
    | 5 | width of the hand | m |
    | 6-7 | first block, x y | m |
    | 8-9 | cosine and sine of four times its angle | - |
    | 10-13 | second block, the same | |
    | 14-15 | middle of the region to keep out of, x y; "avoid" only | m |
    | 16-17 | its half sides along x and y; "avoid" only | m |

    ## Rewards
    Minus the mean distance of the blocks from the goal [m], so at most 0. `info["success"]`: the
    middle of both blocks is in the goal.

    ## Starting State
    Decided by the seed: the blocks left and right of the middle, the hand in front of them, the
    region more to the left or to the right.

    ## Episode End
    Terminated when the task is solved (unless `terminate_on_success=False`), truncated after
    `max_episode_steps`.

    ## Arguments
    See `PlanarConfig`. `fps` is 10 [Hz]: 10 simulator steps of 10 ms an action.

    ## Version History
    v0, in the task's name: the first one.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium's form
    cameras: list[str] = ["top"]  # noqa: RUF012 - as the protocol has it
    default_camera = "top"
    fps = FPS

    def __init__(self, config: PlanarConfig) -> None:
        self.config = config
        self.env_id = f"planar/{config.task}"
        self.task_description = TASKS[config.task]
        self.render_mode = "rgb_array"
        self._task = parse(config.task)
        self._low, self._high = state_bounds(self._task)
        space = spaces.Box(self._low, self._high, dtype=np.float32)
        self.observation_space = spaces.Dict({STATE: space})
        self.action_space = spaces.Box(-1.0, 1.0, (self._task.hand.action_size,), np.float32)
        self._num_bodies = self._task.hand.num_bodies + NUM_BLOCKS
        self._bodies: np.ndarray | None = None
        self._zone = np.zeros(4)
        self._num_steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; the same seed gives the same one."""
        super().reset(seed=seed)
        self._bodies, self._zone = self._task.draw(self.np_random)
        self._num_steps = 0
        return self._obs(), {"success": False}

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Act once.

        Raises:
            ValueError: The action has the wrong shape or is not finite.
            RuntimeError: The environment was not reset, or is past its time limit.
        """
        action = checked_action(action, self.action_space.shape or ()).clip(-1.0, 1.0)
        if self._bodies is None or self._num_steps >= self.config.max_episode_steps:
            raise RuntimeError("No episode is running. Call reset() first.")
        self._bodies = advance(self._task.hand, self._bodies, action)
        self._num_steps += 1
        obs = self._obs()
        success = bool(is_solved(obs[STATE][None])[0])
        reward = -float(goal_distance(obs[STATE][None]).mean())
        terminated = success and self.config.terminate_on_success
        truncated = self._num_steps >= self.config.max_episode_steps
        return obs, reward, terminated, truncated, {"success": success}

    def get_state(self) -> SimState:
        """Return everything needed to come back here, bit for bit.

        Raises:
            RuntimeError: The environment was not reset.
        """
        if self._bodies is None:
            raise RuntimeError("No episode is running. Call reset() first.")
        return SimState(np.array([self._num_steps, *self._bodies.ravel()]), self._zone.copy())

    def set_state(self, state: SimState) -> dict[str, np.ndarray]:
        """Go to `state`, which any environment of this task may have made; return its obs.

        Raises:
            ValueError: The state is one of another task.
        """
        self._check_sizes(state.step[None], state.episode)
        self._num_steps = int(state.step[0])
        self._bodies = state.step[1:].reshape(-1, 6).copy()
        self._zone = state.episode.copy()
        return self._obs()

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
        check_choice("camera", camera, self.cameras)
        check_at_least("width", width, 1)
        check_at_least("height", height, 1)
        x, y, half_x, half_y = episode.tolist()
        zone: Zone = (x, y, half_x, half_y)
        pictures = np.empty((len(states), height, width, 3), np.uint8)
        for picture, state in zip(pictures, states, strict=True):
            bodies = state[1:].reshape(-1, 6)
            picture[:] = draw(self._task.hand, bodies, zone, GOAL_Y_M, (width, height))
        return pictures

    def close(self) -> None:
        """There is nothing to free."""

    def _obs(self) -> dict[str, np.ndarray]:
        assert self._bodies is not None
        state = self._task.observe(self._bodies, self._zone)
        return {STATE: state.clip(self._low, self._high)}

    def _check_sizes(self, states: np.ndarray, episode: np.ndarray) -> None:
        sizes, expected = (states.shape[-1], len(episode)), (1 + 6 * self._num_bodies, 4)
        if sizes != expected:
            raise ValueError(
                f"A simulator state of {self.env_id} must have sizes {expected} (step, episode), "
                f"got {sizes}. States can be set in environments of the same task only."
            )


def _with_height(places: np.ndarray) -> np.ndarray:
    """Return places on the table with a third coordinate, 0."""
    return np.concatenate([places, np.zeros((*places.shape[:-1], 1))], axis=-1)
