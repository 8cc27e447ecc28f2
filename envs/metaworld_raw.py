"""The package's own environments, made to start as they are told."""

import copy
import functools
from typing import Any

import numpy as np

from robopref.envs.metaworld_state import MODEL_FIELDS
from robopref.render import import_mujoco


def make_raw(task: str, max_episode_steps: int) -> Any:
    """Return the package's environment for `task`, with the goal visible.

    It has three methods more: `start(np_random)` begins an episode that depends on the generator
    alone, `place_goal()` moves the marks of the goal for a picture, and `sites_with_goal()` says
    where they belong in the model.
    """
    raw = _raw_class(task)()
    raw.max_path_length = max_episode_steps
    return raw


@functools.cache
def _raw_class(task: str) -> type[Any]:
    mujoco = import_mujoco()
    from metaworld.env_dict import ENV_CLS_MAP

    class Raw(ENV_CLS_MAP[task]):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._partially_observable = False
            self.__dict__.pop("sawyer_observation_space", None)  # It was made without the goal.
            self._set_task_called = True
            self.seeded_rand_vec = True
            self._fresh = {name: getattr(self.model, name).copy() for name in MODEL_FIELDS}

        def _initialize_simulation(self) -> tuple[Any, Any]:
            model = copy.copy(_compiled_model(self.fullpath))
            return model, mujoco.MjData(model)

        def start(self, np_random: np.random.Generator) -> np.ndarray:
            """Begin an episode and return its first observation.

            As in the package's benchmarks, the task draws its random vector in one reset, and the
            resets after it use that vector.
            """
            for name, value in self._fresh.items():
                getattr(self.model, name)[:] = value
            self._draw(np_random)
            self.curr_path_length = 0
            mujoco.mj_resetData(self.model, self.data)
            obs: np.ndarray = self.reset_model()
            self._prev_obs = obs[:18].copy()
            obs[18:36] = self._prev_obs
            return obs

        def _draw(self, np_random: np.random.Generator) -> None:
            mujoco.mj_resetData(self.model, self.data)
            self.np_random = np_random
            self._freeze_rand_vec = False
            # Where the hand is does not matter to the draw, and moving it takes most of the time.
            self._reset_hand = functools.partial(super()._reset_hand, 1)
            self.reset_model()
            del self._reset_hand
            self._freeze_rand_vec = True

        def place_goal(self) -> None:
            """Move the sites that mark the goal, as the package does after each step."""
            for name, position in self._target_site_config:
                self.data.site(name).xpos = np.asarray(position)[:3]

        def sites_with_goal(self) -> np.ndarray:
            """Return the model's `site_pos` with the marks of the goal where they belong."""
            placed: np.ndarray = self.model.site_pos.copy()
            for name, position in self._target_site_config:
                site = self.model.site(name)
                body = self.data.body(int(site.bodyid[0]))
                away = np.asarray(position)[:3] - body.xpos
                placed[site.id] = body.xmat.reshape(3, 3).T @ away
            return placed

    return Raw


@functools.lru_cache(maxsize=4)  # A model takes some 20 MB, most of it textures.
def _compiled_model(path: str) -> Any:
    return import_mujoco().MjModel.from_xml_path(path)
