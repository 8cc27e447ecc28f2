"""robomimic's tasks, through robomimic's own environment around robosuite.

Sources: Mandlekar et al., What Matters in Learning from Offline Human Demonstrations for Robot
Manipulation, 2021, arXiv:2108.03298; Zhu et al., robosuite, 2020, arXiv:2009.12293; the packages
robomimic 0.3.0 and robosuite 1.5.2.
"""

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from jaxtyping import Float, UInt8

from robopref.data.robomimic_format import ENV_NAMES, SimulatorFile
from robopref.envs import robomimic_package as package
from robopref.envs.actions import checked_action
from robopref.envs.pictures import DrawsStates
from robopref.envs.robomimic_experts import JOBS, PickUpExpert
from robopref.envs.robomimic_scene import OBJECT, read_scene
from robopref.envs.robomimic_state import StateLayout, forward
from robopref.envs.robomimic_tasks import TASKS, has_shaped_reward, num_arms, state_keys
from robopref.envs.scene import Scene
from robopref.envs.scripted import Expert
from robopref.errors import check_at_least, check_name
from robopref.render import OffscreenRenderer
from robopref.types import STATE, SimState

_ROBOT = "Panda"


@dataclass(frozen=True)
class RobomimicConfig:
    """One task of robomimic, or another of the robosuite beneath it.

    Raises:
        UnknownNameError: There is no such task.
        ValueError: `max_episode_steps` is below 1.
    """

    task: str = "lift"
    """Name of the task, such as lift, can or square."""
    max_episode_steps: int = 400
    """Steps after which an episode is cut off; 400 is what robomimic evaluates lift with."""
    terminate_on_success: bool = True
    """End the episode when the task counts as solved."""
    shaped_reward: bool = True
    """Reward the way to success too, where robosuite can; robomimic's files reward success only."""

    def __post_init__(self) -> None:
        """Check the name and the limit."""
        check_name("robomimic task", self.task, TASKS, heading="Tasks")
        check_at_least("max_episode_steps", self.max_episode_steps, 1)

    def build(self) -> "RobomimicEnv":
        """Return the environment."""
        return RobomimicEnv(self)

    def read_scene(self, state: Float[np.ndarray, "S Do"]) -> Scene:
        """Return the scene of each observation.

        The goal of lift is above the cube, at the height that counts as lifted.

        Raises:
            ValueError: Nobody says what this task's observations mean, or their size is another.
        """
        return read_scene(self.task, state)

    def find_expert(self) -> tuple[Expert, slice] | None:
        """Return the expert for lift, can or square; None for other tasks."""
        return (PickUpExpert(self.task), OBJECT) if self.task in JOBS else None

    def sibling_tasks(self) -> tuple[str, ...]:
        """Return the other tasks that have an expert."""
        return tuple(task for task in JOBS if task != self.task)


class RobomimicEnv(DrawsStates, gymnasium.Env[Any, Any]):
    """A Panda arm with a gripper, or two, at one of robomimic's tasks.

    ## Description
    robomimic's `EnvRobosuite` with what preference learning needs: the same seed gives the same
    episode, a state taken here and set in another environment of the task continues bit for bit,
    and states become pictures of any size. The model is loaded once: where robosuite draws the size
    of an object for each model, as that of the cube, every episode has the same.

    ## Action Space
    `Box(-1, 1, (7,), float32)`, or (14,) for two arms; larger actions are clipped. robomimic's own
    controller (OSC_POSE) and rate.

    | index | action | unit |
    | --- | --- | --- |
    | 0-2 | set the hand's target off its place, along x (away from the robot), y, z (up) | 0.05 m |
    | 3-5 | turn the hand's target about x, y, z, as a rotation vector | 0.5 rad |
    | 6 | close (+1) or open (-1) the gripper | - |

    ## Observation Space
    `Dict` with one entry, `observation.state`, float32, from what robomimic trains on. Two arms
    have 0-8 twice, first robot0's and then robot1's.

    | index | observation | unit |
    | --- | --- | --- |
    | 0-2 | hand, x y z (`robot0_eef_pos`) | m |
    | 3-6 | hand, quaternion x y z w (`robot0_eef_quat`) | - |
    | 7-8 | fingers (`robot0_gripper_qpos`), 0.04 and -0.04 when open | m |
    | 9- | `object`: each object's x y z, quaternion x y z w, and what the hand sees of it | m, - |

    Objects come in the order of robomimic's files, which robosuite 1.5 has changed. Observations
    are those of the state after the step, as in files made with robomimic's `dataset_states_to_obs`
    (robosuite's own come from the beginning of the step).

    ## Rewards
    robosuite's, shaped or not, of the state after the step. `info["success"]` is its criterion.

    ## Starting State
    robosuite's, drawn with the seed given to `reset`.

    ## Episode End
    Terminated when the task is solved (unless `terminate_on_success=False`), truncated after
    `max_episode_steps`.

    ## Arguments
    See `RobomimicConfig`. `fps` is 20 [Hz]: 25 simulator steps of 2 ms an action.

    ## Version History
    The adapter has had no breaking change.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - Gymnasium's form
    default_camera = "agentview"
    fps = float(package.FPS)

    def __init__(self, config: RobomimicConfig) -> None:
        self.config = config
        self.env_id = f"robomimic/{config.task}"
        self.task_description = TASKS[config.task]
        self.render_mode = "rgb_array"
        arms = num_arms(config.task)
        self._package = package.make_package_env(
            ENV_NAMES[config.task],
            robots=[_ROBOT] * arms,
            controller_configs=package.OSC_POSE,
            control_freq=package.FPS,
            reward_shaping=config.shaped_reward and has_shaped_reward(config.task),
        )
        package.prepare_observations(self._package.env)
        self._keys = state_keys(arms)
        self._num_steps: int | None = None
        self._use_simulator()
        state = self._observe()[STATE]
        self.observation_space = spaces.Dict(
            {STATE: spaces.Box(-np.inf, np.inf, state.shape, np.float32)}
        )
        self.action_space = spaces.Box(-1.0, 1.0, (self._package.action_dimension,), np.float32)

    @property
    def cameras(self) -> list[str]:
        """Names of the cameras that `render_states` knows."""
        return self._renderer.cameras

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; the same seed gives the same one, whatever happened before."""
        super().reset(seed=seed)
        drawn = np.random.default_rng(int(self.np_random.integers(2**63)))
        # In place, since robosuite's samplers hold the generator itself.
        self._package.env.rng.bit_generator.state = drawn.bit_generator.state
        self._package.reset()
        self._num_steps = 0
        return self._observe(), {"success": False}

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Act once.

        Raises:
            ValueError: The action has the wrong shape or is not finite.
            RuntimeError: The environment was not reset, or is past its time limit.
        """
        action = checked_action(action, self.action_space.shape or ()).clip(-1.0, 1.0)
        if self._num_steps is None or self._num_steps >= self.config.max_episode_steps:
            raise RuntimeError("No episode is running. Call reset() first.")
        self._package.step(action.astype(np.float64))
        self._num_steps += 1
        obs = self._observe()
        success = bool(self._package.is_success()["task"])
        terminated = success and self.config.terminate_on_success
        truncated = self._num_steps >= self.config.max_episode_steps
        reward = float(self._package.env.reward(action))
        return obs, reward, terminated, truncated, {"success": success}

    def get_state(self) -> SimState:
        """Return everything needed to come back here, bit for bit.

        Raises:
            RuntimeError: The environment was not reset.
        """
        if self._num_steps is None:
            raise RuntimeError("No episode is running. Call reset() first.")
        return self._layout.pack(self._package.env, self._num_steps)

    def set_state(self, state: SimState) -> dict[str, np.ndarray]:
        """Go to `state`, which any environment of this task may have made; return its obs.

        A row of a robomimic file's `states`, with nothing for the episode, is a state too: it
        starts anew from the positions and velocities there.

        Raises:
            ValueError: The state is one of another task.
        """
        self._layout.check(self.env_id, state.step[None], state.episode)
        if len(state.episode):
            self._layout.unpack_episode(self._package.env, state.episode)
        self._num_steps = self._go_to(state.step)
        return self._observe()

    def use_model(self, model_file: str) -> None:
        """Take the model of a robomimic demonstration, `model_file`, in place of the task's own.

        Sizes of objects may differ between demonstrations. States of the task's own model can be
        set as before.

        Raises:
            ValueError: It cannot be loaded, or is of another task; the model stays what it was.
        """
        package.load_model(self._package, model_file)
        self._renderer.close()
        self._num_steps = None
        self._use_simulator()

    def file_attributes(self) -> SimulatorFile:
        """Return what a robomimic file has to say about this environment.

        Raises:
            ValueError: A reset edits the model, of which a file would have to hold one an episode.
        """
        seen = self._observations()
        return package.simulator_file(self._package, [(key, len(seen[key])) for key in self._keys])

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
            MissingExtraError: No OpenGL library works here.
        """
        self._layout.check(self.env_id, states, episode)
        pictures = np.empty((len(states), height, width, 3), np.uint8)
        with self._undisturbed(is_running=self._num_steps is not None):
            if len(episode):
                self._layout.unpack_episode(self._package.env, episode)
            for picture, state in zip(pictures, states, strict=True):
                self._go_to(state)
                picture[:] = self._renderer.render(
                    package.mujoco_data(self._package.env),
                    width=width, height=height, camera=camera,
                )  # fmt: skip
        return pictures

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()

    def _use_simulator(self) -> None:
        """Read what depends on the model that is loaded."""
        raw = self._package.env
        self._layout = StateLayout(raw)
        self._renderer = OffscreenRenderer(package.model_for_pictures(raw))

    def _go_to(self, step: np.ndarray) -> int:
        if len(step) == self._layout.step_size:
            return self._layout.unpack_step(self._package.env, step)
        self._layout.unpack_robomimic(self._package.env, step)
        return 0

    def _observations(self) -> dict[str, np.ndarray]:
        forward(self._package.env)
        return package.observe(self._package)

    def _observe(self) -> dict[str, np.ndarray]:
        observations = self._observations()
        return {STATE: np.concatenate([observations[k] for k in self._keys]).astype(np.float32)}
