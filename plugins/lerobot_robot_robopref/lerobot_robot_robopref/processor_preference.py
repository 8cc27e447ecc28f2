"""What LeRobot does before and after the reward: rewards of robopref normalise by themselves."""

from typing import Any

from lerobot.processor import (
    AddBatchDimensionProcessorStep,
    DeviceProcessorStep,
    PolicyProcessorPipeline,
)
from lerobot.processor.converters import (
    policy_action_to_transition,
    transition_to_policy_action,
)

from lerobot_robot_robopref.configuration_preference import PreferenceConfig


def make_robopref_pre_post_processors(
    config: PreferenceConfig, dataset_stats: Any = None
) -> tuple[PolicyProcessorPipeline, PolicyProcessorPipeline]:
    """Return the pipelines; LeRobot finds this function by its name."""
    del dataset_stats
    before = PolicyProcessorPipeline(
        steps=[AddBatchDimensionProcessorStep(), DeviceProcessorStep(device=config.device)],
        name="reward_preprocessor",
    )
    after = PolicyProcessorPipeline(
        steps=[DeviceProcessorStep(device="cpu")],
        name="reward_postprocessor",
        to_transition=policy_action_to_transition,
        to_output=transition_to_policy_action,
    )
    return before, after
