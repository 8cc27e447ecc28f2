"""Exact states of a robosuite environment, as flat arrays.

The state of a step begins with the numbers that a robomimic file calls `states`, time, positions
and velocities, so that robomimic's own tools read our states: they look no further. What robomimic
leaves out, and what a step depends on as well, follows: the rest of MuJoCo's
`mjSTATE_INTEGRATION`, and the fingers' target, which robosuite keeps in the gripper. A reset draws
the poses of fixed bodies and the posture that the arm's controller returns to.

Shapes: Ds size of the state of a step, De size of what a reset fixes, Dr size of robomimic's state.
"""

from typing import Any

import numpy as np

from robopref.envs.robomimic_package import mujoco_data, mujoco_model
from robopref.render import import_mujoco
from robopref.types import SimState

MODEL_FIELDS = ("body_pos", "body_quat")
"""Fields of the model that a reset edits (tests/envs/test_robomimic.py compares whole models)."""


class StateLayout:
    """Where each number of a state stands in the flat arrays, for one model.

    Args:
        raw: robosuite's environment, after a reset.
    """

    def __init__(self, raw: Any) -> None:
        self._mujoco = import_mujoco()
        self._spec = self._mujoco.mjtState.mjSTATE_INTEGRATION
        self._num_physics = self._mujoco.mj_stateSize(mujoco_model(raw), self._spec)
        self.robomimic_size = 1 + raw.sim.model.nq + raw.sim.model.nv
        state = self.pack(raw, 0)
        self.step_size, self.episode_size = len(state.step), len(state.episode)

    def check(self, env_id: str, states: np.ndarray, episode: np.ndarray) -> None:
        """Refuse states that are neither ours nor robomimic's.

        Raises:
            ValueError: Their sizes are others.
        """
        sizes, ours = (states.shape[-1], len(episode)), (self.step_size, self.episode_size)
        robomimics = (self.robomimic_size, 0)
        if sizes not in (ours, robomimics):
            raise ValueError(
                f"A simulator state of {env_id} must have sizes {ours} (step, episode), got "
                f"{sizes}. States can be set in environments of the same task only, and those of "
                f"a robomimic file with sizes {robomimics}."
            )

    def pack(self, raw: Any, num_steps: int) -> SimState:
        """Return the state of `raw` after `num_steps` steps."""
        physics = np.empty(self._num_physics)
        self._mujoco.mj_getState(mujoco_model(raw), mujoco_data(raw), physics, self._spec)
        fingers = [_fingers(gripper) for gripper in _grippers(raw)]
        fields = [getattr(raw.sim.model, name).ravel() for name in MODEL_FIELDS]
        postures = [controller.initial_joint for controller in _arm_controllers(raw)]
        return SimState(
            np.concatenate([physics, *fingers, [num_steps]]).astype(np.float64),
            np.concatenate([*fields, *postures]).astype(np.float64),
        )

    def unpack_episode(self, raw: Any, episode: np.ndarray) -> None:
        """Put what a reset fixes into `raw`."""
        start = 0
        for name in MODEL_FIELDS:
            field = getattr(raw.sim.model, name)
            field[:] = episode[start : start + field.size].reshape(field.shape)
            start += field.size
        for controller in _arm_controllers(raw):
            stop = start + len(controller.initial_joint)
            controller.initial_joint = episode[start:stop].copy()
            start = stop

    def unpack_step(self, raw: Any, step: np.ndarray) -> int:
        """Put the state of a step into `raw`; return the number of steps before it."""
        model, data = mujoco_model(raw), mujoco_data(raw)
        self._mujoco.mj_setState(model, data, step[: self._num_physics], self._spec)
        _arrive(raw)
        start = self._num_physics
        for gripper in _grippers(raw):
            stop = start + len(_fingers(gripper))
            gripper.current_action = step[start:stop].copy()
            start = stop
        return int(step[start])

    def unpack_robomimic(self, raw: Any, state: np.ndarray) -> None:
        """Put a row of a robomimic file's `states` into `raw`: everything else is at rest."""
        raw.sim.reset()
        raw.sim.set_state_from_flattened(state)
        _arrive(raw)
        for gripper in _grippers(raw):
            gripper.current_action = np.zeros_like(gripper.current_action)
        for controller in _arm_controllers(raw):
            controller.initial_joint = raw.sim.data.qpos[controller.qpos_index].copy()


def forward(raw: Any) -> None:
    """Compute what follows from positions and velocities, and leave the next step as it was.

    A forward pass writes the solver's warm start, which the next step begins with.
    """
    data = mujoco_data(raw)
    warm_start = data.qacc_warmstart.copy()
    import_mujoco().mj_forward(mujoco_model(raw), data)
    data.qacc_warmstart[:] = warm_start


def _arrive(raw: Any) -> None:
    """Compute what follows from the state that was set, at once and in the controllers' next turn.

    A controller that has not acted since its reset would go on from where the hand was then.
    """
    forward(raw)
    for robot in raw.robots:
        for controller in robot.part_controllers.values():
            controller.new_update = True


def _grippers(raw: Any) -> list[Any]:
    return [robot.gripper[arm] for robot in raw.robots for arm in robot.arms]


def _fingers(gripper: Any) -> np.ndarray:
    """Return the target of each finger; right after a reset the gripper keeps one for all."""
    return np.broadcast_to(gripper.current_action, (len(gripper.actuators),))


def _arm_controllers(raw: Any) -> list[Any]:
    return [robot.part_controllers[arm] for robot in raw.robots for arm in robot.arms]
