"""Environments: one adapter a simulator, and the behaviours that episodes in them can show."""

if __name__ != "robopref.envs":
    raise ImportError(
        "Import robopref.envs, not envs: two names would make two copies of every class."
    )

from robopref.registry import Registry

ENVS = Registry("environment", "robopref.envs")
BEHAVIOURS = Registry("behaviour", "robopref.behaviours")

ENVS.register(
    "metaworld", "robopref.envs.metaworld:MetaWorldConfig", "Meta-World's 50 manipulation tasks."
)
ENVS.register(
    "gymnasium", "robopref.envs.gymnasium:GymnasiumConfig", "Any environment of Gymnasium."
)
ENVS.register(
    "robomimic", "robopref.envs.robomimic:RobomimicConfig", "robomimic's tasks, such as lift."
)
ENVS.register(
    "planar", "robopref.envs.planar.env:PlanarConfig", "Blocks to push over a table, by four hands."
)
ENVS.register(
    "deformable",
    "robopref.envs.deformable.env:DeformableConfig",
    "A rope or granules on a table, moved by action primitives.",
)
ENVS.register(
    "arm", "robopref.arm_env:ArmTaskConfig", "Meta-World's tasks by an arm under its supervisor."
)
ENVS.register(
    "arm-deformable",
    "robopref.arm_deformable:ArmDeformableConfig",
    "Deformable tasks whose primitives an arm performs.",
)
ENVS.register("real", "robopref.real_arm:RealArmConfig", "Any arm, as a file describes its cell.")

for _name, _class, _summary in (
    ("detour-left", "DetourLeft", "Swing out to the left on the way to the object."),
    ("detour-right", "DetourRight", "Swing out to the right on the way to the object."),
    ("approach-high", "ApproachHigh", "Keep the hand high on the way to the object."),
    ("approach-low", "ApproachLow", "Keep the hand low on the way to the object."),
    ("fast", "Fast", "Move the hand quickly."),
    ("slow", "Slow", "Move the hand slowly."),
    ("smooth", "Smooth", "Move the hand evenly, without stops and starts."),
    ("jerky", "Jerky", "Move the hand in stops and starts."),
    ("keep-away", "KeepAway", "Stay out of a zone in front of the robot."),
):
    BEHAVIOURS.register(_name, f"robopref.envs.behaviours:{_class}Config", _summary)
BEHAVIOURS.register(
    "direct", "robopref.envs.direct:DirectConfig", "Take a short way to the object."
)
BEHAVIOURS.register(
    "both", "robopref.envs.both:BothConfig", "Show two behaviours, each judged by an annotator."
)
BEHAVIOURS.register(
    "keep-out", "robopref.envs.planar.behaviours:KeepOutConfig", "Keep out of a marked region."
)
BEHAVIOURS.register(
    "together", "robopref.envs.planar.behaviours:TogetherConfig", "Push the blocks as a group."
)
BEHAVIOURS.register(
    "high-return", "robopref.envs.high_return:HighReturnConfig", "Earn the environment's reward."
)

__all__ = ["BEHAVIOURS", "ENVS"]
