"""robomimic and robosuite, imported so that they work together, and quietly.

robomimic 0.3.0 is older than robosuite 1.5.2, and both are made for scripts of their own:

- `robomimic.envs.env_robosuite` imports `mujoco_py`, which robosuite gave up long ago, for the name
  of one exception class. A module of that name is present during the import and gone after it.
- `EnvRobosuite` reads a table of observation keys that somebody has to fill first.
- robosuite 1.5 takes the controllers of all body parts; robomimic's data sets name the arm's only.
- robosuite reports on stderr at import and for each environment, and sets MUJOCO_GL for the
  process; robomimic prints.
"""

import contextlib
import copy
import functools
import importlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from robopref.data.robomimic_format import SimulatorFile
from robopref.errors import MissingExtraError
from robopref.render import import_mujoco

FPS = 20
"""Steps a second [Hz], as in robomimic's data sets."""
OSC_POSE: dict[str, Any] = {
    "type": "OSC_POSE",
    "input_max": 1,
    "input_min": -1,
    "output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5],
    "output_min": [-0.05, -0.05, -0.05, -0.5, -0.5, -0.5],
    "kp": 150,
    "damping_ratio": 1,
    "impedance_mode": "fixed",
    "kp_limits": [0, 300],
    "damping_ratio_limits": [0, 10],
    "position_limits": None,
    "orientation_limits": None,
    "uncouple_pos_ori": True,
    "input_type": "delta",
    "input_ref_frame": "world",
    "interpolation": None,
    "ramp_ratio": 0.2,
}
"""The arm's controller in robomimic's data sets, in the words of robosuite 1.5."""
_ARM = "right"  # What robosuite calls the arm of a robot that has one.
_NOT_FOR_FILES = ("hard_reset", "renderer", "seed")
"""What is asked of robosuite here and is no part of the task."""


def make_package_env(env_name: str, **options: Any) -> Any:
    """Return robomimic's environment around robosuite's `env_name`.

    The model is loaded once and not anew at each reset, which would take 0.7 s, 400 times as long.

    Args:
        env_name: robosuite's name, such as "Lift".
        **options: As in the `env_kwargs` of a robomimic file; `controller_configs` may be the
            arm's alone.

    Raises:
        MissingExtraError: The extra is not installed.
    """
    env_class = env_robosuite()
    options = {**options, "controller_configs": whole_controller(options["controller_configs"])}
    with _quiet():
        return env_class(env_name, hard_reset=False, renderer="mujoco", seed=0, **options)


def whole_controller(config: Any) -> Any:
    """Return a controller of all body parts for robosuite 1.5, made from the arm's alone.

    A config that is whole already, or one for each of several arms, stays what it is.
    """
    env_robosuite()
    from robosuite.controllers.composite.composite_controller_factory import (
        refactor_composite_controller_config,
    )

    with _quiet():
        return refactor_composite_controller_config(copy.deepcopy(config), "Panda", [_ARM])


def prepare_observations(raw: Any) -> None:
    """Put poses seen from the hand behind those in the world, as robomimic's files have them.

    robosuite 1.5 has them the other way round where an object's observations are its own, as in can
    and square. It also looks at everything in each of the 25 simulator steps of an action, which
    takes a tenth of the time; here it looks when it is asked.
    """
    named, update = raw._observables, raw._update_observables  # noqa: SLF001 - there is no other way
    for name in [name for name in named if name.endswith(("_eef_pos", "_eef_quat"))]:
        if "_to_" in name:
            named.move_to_end(name)
    raw._update_observables = lambda force=False: update(force=True) if force else None  # noqa: SLF001


def observe(env: Any) -> dict[str, np.ndarray]:
    """Return robomimic's observations of the state as it is, by its own keys."""
    # Poses seen from the hand are computed from those of the round before.
    env.env._update_observables(force=True)  # noqa: SLF001 - there is no other way
    observations: dict[str, np.ndarray] = env.get_observation()
    return observations


def load_model(env: Any, model_file: str) -> None:
    """Make `env` go on with another model of its task, as MuJoCo's XML.

    Raises:
        ValueError: It cannot be loaded, or is of another task; `env` keeps the model that it has.
    """
    model = env.env.sim.model
    try:
        xml = env.env.edit_model_xml(model_file)  # Finds the meshes where robosuite is here.
        loaded = import_mujoco().MjModel.from_xml_string(xml)
    except (ValueError, SyntaxError, AttributeError) as error:
        raise ValueError(f"`model_file` is no model that MuJoCo can load: {error}") from error
    if (loaded.nq, loaded.nv, loaded.nu) != (model.nq, model.nv, model.nu):
        raise ValueError(
            f"`model_file` must be of the task {env.name}, which has {model.nq} positions and "
            f"{model.nu} actuators, got {loaded.nq} and {loaded.nu}."
        )
    with _quiet():
        env.reset_to({"model": model_file})


def simulator_file(env: Any, state_keys: list[tuple[str, int]]) -> SimulatorFile:
    """Return what a robomimic file says about `env`, from which robomimic makes it again.

    The model is the XML from which it was compiled, which compiles to the very same model. What
    MuJoCo writes of a model, and robomimic takes, has six digits of each number.

    Args:
        env: robomimic's environment, with the model that it began with.
        state_keys: The observations that make up the state, and their sizes.

    Raises:
        ValueError: A reset edits the model, of which a file would have to hold one an episode.
    """
    if env.name == "Door":
        raise ValueError(
            "Episodes of 'robomimic/door' cannot be written as a robomimic file: a reset moves the "
            "door in the model itself, and the file would show it where it was not."
        )
    args = env.serialize()
    kwargs = {k: v for k, v in args["env_kwargs"].items() if k not in _NOT_FOR_FILES}
    xml = env.env.edit_model_xml(env.env.model.get_xml())
    return SimulatorFile({**args, "env_kwargs": kwargs}, xml, state_keys)


def model_for_pictures(raw: Any) -> Any:
    """Return the simulator's model, with the shapes for collisions made invisible in it."""
    model = mujoco_model(raw)
    model.geom_rgba[model.geom_group == 0, 3] = 0.0
    return model


def mujoco_model(raw: Any) -> Any:
    """Return MuJoCo's own model, which robosuite wraps."""
    return raw.sim.model._model  # noqa: SLF001 - the wrapper gives it no other name


def mujoco_data(raw: Any) -> Any:
    """Return MuJoCo's own data, which robosuite wraps."""
    return raw.sim.data._data  # noqa: SLF001 - the wrapper gives it no other name


@functools.cache
def env_robosuite() -> Any:
    """Import and return robomimic's class `EnvRobosuite`.

    Raises:
        MissingExtraError: The extra is not installed.
    """
    import_mujoco()  # Says what is wrong where MUJOCO_GL names a library that is missing.
    logging.getLogger("robosuite_logs").addFilter(lambda record: record.levelno >= logging.ERROR)
    with _quiet(), _mujoco_py(), _mujoco_gl_kept():
        try:
            module = importlib.import_module("robomimic.envs.env_robosuite")
            obs_utils = importlib.import_module("robomimic.utils.obs_utils")
        except ImportError as error:
            raise MissingExtraError(
                f"robomimic's tasks need robomimic and robosuite ({error}). Install them with: "
                "pip install 'robopref[robomimic]'."
            ) from error
        if obs_utils.OBS_KEYS_TO_MODALITIES is None:  # Whoever filled it may need it as it is.
            obs_utils.initialize_obs_utils_with_obs_specs([{"obs": {"low_dim": [], "rgb": []}}])
    return module.EnvRobosuite


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the packages print and warn of from the user, who can do nothing about it."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _mujoco_py() -> Iterator[None]:
    """Let `import mujoco_py` succeed, with the one name that robomimic looks for."""
    if "mujoco_py" in sys.modules:
        yield
        return
    module: Any = ModuleType("mujoco_py")
    builder: Any = ModuleType("mujoco_py.builder")
    # What the simulator raises by now where mujoco_py raised MujocoException.
    builder.MujocoException = import_mujoco().FatalError
    module.builder = builder
    sys.modules["mujoco_py"] = module
    try:
        yield
    finally:
        del sys.modules["mujoco_py"]


@contextlib.contextmanager
def _mujoco_gl_kept() -> Iterator[None]:
    """Undo that robosuite chooses the OpenGL library of the whole process."""
    before = os.environ.get("MUJOCO_GL")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("MUJOCO_GL", None)
        else:
            os.environ["MUJOCO_GL"] = before
