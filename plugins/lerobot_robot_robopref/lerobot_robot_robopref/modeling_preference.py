"""A reward that robopref learned from preferences, as a reward model of LeRobot's.

Shapes: B batch, L steps, Do observation size, Da action size.
"""

import json
from pathlib import Path

import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.rewards.pretrained import PreTrainedRewardModel
from torch import Tensor

from lerobot_robot_robopref.configuration_preference import PreferenceConfig
from robopref.pretrained import CONFIG_FILE, build_model
from robopref.rewards.serialization import PretrainedReward, load_reward
from robopref.types import ACTION, STATE, SegmentBatch


class PreferenceRewardModel(PreTrainedRewardModel):
    """Says how good the newest step is.

    Args:
        config: What `from_robopref` made of robopref's own.

    Raises:
        CheckpointError: `config.model` is not the config of a reward of robopref's.
    """

    config_class = PreferenceConfig
    name = "robopref"

    def __init__(self, config: PreferenceConfig, **ignored: object) -> None:
        super().__init__(config)
        self.reward = build_model(PretrainedReward, json.loads(config.model), "config.model").eval()

    @classmethod
    def from_robopref(cls, directory: str | Path, device: str = "cpu") -> "PreferenceRewardModel":
        """Return a reward that robopref saved.

        Args:
            directory: Folder of the reward, such as runs/reward/reward.
            device: Where it computes.

        Raises:
            FileNotFoundError: There is no reward.
            CheckpointError: It is damaged, or not a reward.
        """
        reward = load_reward(Path(directory))
        features = {
            STATE: PolicyFeature(FeatureType.STATE, (reward.obs_dim,)),
            ACTION: PolicyFeature(FeatureType.ACTION, (reward.action_dim,)),
        }
        text = (Path(directory) / CONFIG_FILE).read_text()
        model = cls(PreferenceConfig(input_features=features, device=device, model=text))
        model.reward.load_state_dict(reward.state_dict())
        return model.to(device)

    @torch.no_grad()
    def compute_reward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the reward of the newest step, (B,).

        Args:
            batch: "observation.state" and "action", (B, Do) and (B, Da); or of the last L steps,
                (B, L, Do) and (B, L, Da), for a reward that sees those before.
        """
        action = batch[ACTION]
        keys = [key for key in batch if key.startswith("observation.")]
        arrays = {
            key: (value if action.ndim == 3 else value[:, None]).detach().cpu().numpy()
            for key, value in batch.items()
            if key in (*keys, ACTION) and isinstance(value, Tensor)
        }
        acted = arrays.pop(ACTION).astype("float32")
        mask = torch.ones(acted.shape[:2], dtype=torch.bool).numpy()
        rewards = self.reward.rewards(SegmentBatch(arrays, acted, mask))
        return torch.from_numpy(rewards[:, -1].copy()).to(action.device, torch.float32)
