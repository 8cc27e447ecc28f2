"""The hardware layer: arms, cameras, what a person steers by, and the supervisor before an arm."""

if __name__ != "robopref.hardware":
    raise ImportError(
        "Import robopref.hardware, not hardware: two names would make two copies of every class."
    )

from robopref.registry import Registry

ARMS = Registry("arm", "robopref.arms")
CAMERAS = Registry("camera", "robopref.cameras")
TELEOPERATORS = Registry("teleoperation device", "robopref.teleoperators")

ARMS.register("flexiv", "robopref.hardware.flexiv:FlexivArmConfig", "Flexiv, by its RDK.")
ARMS.register(
    "lerobot", "robopref.hardware.lerobot:LeRobotArmConfig", "Any robot of LeRobot, as SO-101."
)
ARMS.register(
    "franka", "robopref.hardware.franka:FrankaArmConfig", "Franka FR3 and Panda, by franky-control."
)
ARMS.register("mock", "robopref.hardware.mock:MockArmConfig", "In memory, with faults on request.")
ARMS.register("sim", "robopref.hardware.sim:SimArmConfig", "In MuJoCo, in its own process.")
ARMS.register("ros2", "robopref.hardware.ros2:Ros2ArmConfig", "Any arm of ROS 2, by rosbridge.")
ARMS.register("ur", "robopref.hardware.ur:URArmConfig", "Universal Robots, by ur_rtde.")
ARMS.register("xarm", "robopref.hardware.xarm:XArmConfig", "UFACTORY xArm, by its SDK.")

for _name, _target, _summary in (
    ("synthetic", "synthetic_camera:SyntheticCameraConfig", "Draws a simulated arm."),
    ("file", "file_camera:FileCameraConfig", "Shows a recorded video."),
    ("opencv", "opencv_camera:OpenCVCameraConfig", "USB cameras and network streams, by OpenCV."),
    ("realsense", "realsense_camera:RealSenseCameraConfig", "Intel RealSense, with depth."),
    ("orbbec", "orbbec_camera:OrbbecCameraConfig", "Orbbec Gemini, Femto, Astra 2, with depth."),
):
    CAMERAS.register(_name, f"robopref.hardware.{_target}", _summary)

for _name, _target, _summary in (
    ("keyboard", "keyboard:KeyboardConfig", "The keys of the terminal."),
    ("gamepad", "gamepad:GamepadConfig", "A gamepad; the arm moves while its shoulder is held."),
    ("spacemouse", "spacemouse:SpaceMouseConfig", "A SpaceMouse of 3Dconnexion."),
    ("leader", "leader:LeaderConfig", "A leader arm of LeRobot's, such as SO-101's."),
):
    TELEOPERATORS.register(_name, f"robopref.hardware.{_target}", _summary)

__all__ = ["ARMS", "CAMERAS", "TELEOPERATORS"]
