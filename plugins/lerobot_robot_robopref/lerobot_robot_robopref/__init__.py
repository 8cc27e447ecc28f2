"""What robopref gives LeRobot: arms behind a safety supervisor, and rewards learned from answers.

LeRobot imports this by its name; the types `robopref` of robots and of reward models are then known
to its commands.
"""

from lerobot_robot_robopref.config_supervised_arm import SupervisedArmConfig
from lerobot_robot_robopref.configuration_preference import PreferenceConfig
from lerobot_robot_robopref.supervised_arm import SupervisedArm

__all__ = ["PreferenceConfig", "SupervisedArm", "SupervisedArmConfig"]
