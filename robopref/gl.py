"""Which values of MUJOCO_GL mujoco takes; apart from render.py, since looking costs no import."""

import os
import platform

from robopref.errors import did_you_mean

_LIBRARIES = {"Linux": ["egl", "glfw", "glx", "osmesa"], "Darwin": ["cgl", "glfw"]}
_SWITCHES = {
    "", "enable", "enabled", "on", "true", "1", "disable", "disabled", "off", "false", "0",
}  # fmt: skip
"""Taken beside the libraries, and seldom used: mujoco then chooses itself, or draws nothing."""


def check_mujoco_gl() -> None:
    """Raise `ValueError` unless mujoco can be imported with the value that MUJOCO_GL has.

    Raises:
        ValueError: It is none that mujoco takes on this system.
    """
    value = os.environ.get("MUJOCO_GL", "")
    libraries = _LIBRARIES.get(platform.system(), ["glfw", "wgl"])
    if value.strip().lower() not in {*libraries, *_SWITCHES}:
        raise ValueError(
            f"MUJOCO_GL must be one of {libraries} or not set, got '{value}'."
            f"{did_you_mean(value, libraries)} Without it robopref chooses: unset MUJOCO_GL."
        )
