"""Settings of a reward of robopref's as a reward model of LeRobot's."""

from dataclasses import dataclass

from lerobot.configs.rewards import RewardModelConfig


@RewardModelConfig.register_subclass("robopref")
@dataclass
class PreferenceConfig(RewardModelConfig):
    """A reward that was learned from preferences; its training is robopref's."""

    model: str = "{}"
    """The `config.json` of robopref's reward, as text."""
