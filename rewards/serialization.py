"""Rewards on disk and on the Hugging Face hub; the files are those of `robopref.pretrained`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from robopref.errors import check_at_least
from robopref.pretrained import PretrainedModel
from robopref.registry import Registry
from robopref.rewards import REWARDS

if TYPE_CHECKING:
    from robopref.rewards.members import MembersReward

_MODEL_CARD = """---
{{ card_data }}
---

A reward learned from preferences with robopref.

```python
from robopref.rewards.serialization import load_reward

reward = load_reward("path/to/this/folder")
```
"""


@dataclass(frozen=True)
class RewardSizes:
    """What a reward is built for."""

    obs_dim: int
    """Do."""
    action_dim: int
    """Da."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("obs_dim", self.obs_dim, 1)
        check_at_least("action_dim", self.action_dim, 1)


class PretrainedReward(PretrainedModel, model_card_template=_MODEL_CARD):  # type: ignore[call-arg]
    """A reward that keeps its config, its `obs_dim` and its `action_dim`."""

    registry: ClassVar[Registry] = REWARDS
    sizes_class: ClassVar[type[Any]] = RewardSizes
    obs_dim: int
    action_dim: int


def load_reward(source: str | Path, **hub: Any) -> "MembersReward":
    """Load any reward that `save_pretrained` wrote, ready to be used.

    Args:
        source: A folder; or, as a string, "owner/name" on the hub.
        hub: Options of `huggingface_hub.hf_hub_download`, such as `revision`.

    Raises:
        FileNotFoundError: There is neither such a folder nor such a repository.
        CheckpointError: It is damaged or incomplete, or of a type that is not registered.
    """
    reward: MembersReward = PretrainedReward.from_pretrained(source, **hub)
    return reward
