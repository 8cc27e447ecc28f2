"""The hardware layer: arms, cameras, and the supervisor between a policy and an arm."""

if __name__ != "robopref.hardware":
    raise ImportError(
        "Import robopref.hardware, not hardware: two names would make two copies of every class."
    )

from robopref.registry import Registry

ARMS = Registry("arm", "robopref.arms")
CAMERAS = Registry("camera", "robopref.cameras")

ARMS.register("mock", "robopref.hardware.mock:MockArmConfig", "In memory, with faults on request.")
ARMS.register("sim", "robopref.hardware.sim:SimArmConfig", "In MuJoCo, in its own process.")

__all__ = ["ARMS", "CAMERAS"]
