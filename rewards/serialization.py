"""Rewards on disk and on the hub: safetensors and a config, the normaliser inside, no pickle."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from robopref.checkpoint import load_weights
from robopref.config import from_dict, to_dict, write_bytes_atomically, write_text_atomically
from robopref.errors import CheckpointError
from robopref.rewards import REWARDS

if TYPE_CHECKING:
    from robopref.rewards.ensemble import EnsembleReward

R = TypeVar("R", bound="PretrainedReward")

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
_MODEL_CARD = """---
{{ card_data }}
---

A reward learned from preferences with robopref.

```python
from robopref.rewards.serialization import load_reward

reward = load_reward("path/to/this/folder")
```
"""


class PretrainedReward(  # type: ignore[call-arg]
    nn.Module,
    PyTorchModelHubMixin,  # type: ignore[misc]
    library_name="robopref",
    tags=["robotics", "preference-learning"],
    model_card_template=_MODEL_CARD,
):
    """Gives a reward `save_pretrained`, `from_pretrained` and `push_to_hub`.

    The folder holds `model.safetensors` and a `config.json` with the registered name, the sizes
    and the options, from which `load_reward` builds the reward again.
    """

    config: Any
    obs_dim: int
    action_dim: int

    def save_pretrained(self, save_directory: str | Path, **hub: Any) -> str | None:
        """Write the reward into a folder, which is made if it is missing.

        Args:
            save_directory: The folder.
            **hub: Options of `PyTorchModelHubMixin.save_pretrained`, such as `push_to_hub=True`.
        """
        return super().save_pretrained(save_directory, **hub)  # type: ignore[no-any-return]

    def push_to_hub(self, repo_id: str, **hub: Any) -> str:
        """Upload the reward to the Hugging Face hub, and return the commit's address.

        Args:
            repo_id: "owner/name" of the repository, which is made if it is missing.
            **hub: Options of `PyTorchModelHubMixin.push_to_hub`, such as `private=True`.
        """
        return super().push_to_hub(repo_id, **hub)  # type: ignore[no-any-return]

    def _save_pretrained(self, save_directory: Path) -> None:
        tensors = {name: value.cpu().contiguous() for name, value in self.state_dict().items()}
        write_bytes_atomically(save_directory / WEIGHTS_FILE, save(tensors, {"format": "pt"}))
        values = {
            "type": REWARDS.name_of(type(self.config)),
            "obs_dim": self.obs_dim,
            "action_dim": self.action_dim,
            "options": to_dict(self.config),
        }
        write_text_atomically(save_directory / CONFIG_FILE, json.dumps(values, indent=2) + "\n")

    @classmethod
    def from_pretrained(cls: type[R], pretrained_model_name_or_path: str | Path, **hub: Any) -> R:
        """Load what `save_pretrained` wrote, from a folder or from the hub.

        Args:
            pretrained_model_name_or_path: Folder, or "owner/name" on the hub.
            **hub: Options of `huggingface_hub.hf_hub_download`, such as `revision`.

        Raises:
            FileNotFoundError: There is no such folder or repository.
            CheckpointError: It is damaged, or a reward of another class.
        """
        reward = load_reward(pretrained_model_name_or_path, **hub)
        if not isinstance(reward, cls):
            raise CheckpointError(
                f"'{pretrained_model_name_or_path}' holds a {type(reward).__name__}, expected a "
                f"{cls.__name__}. Load it with load_reward, which takes any reward."
            )
        return reward


def load_reward(source: str | Path, **hub: Any) -> "EnsembleReward":
    """Load any reward that `save_pretrained` wrote, whatever its kind.

    Args:
        source: A folder, or the name of a repository on the hub.
        **hub: Options of `huggingface_hub.hf_hub_download`, such as `revision`.

    Raises:
        FileNotFoundError: There is no such folder or repository.
        CheckpointError: A file is damaged, or does not go with the other.
        UnknownNameError: The reward is of a kind that is not registered.
    """
    config_path, weights_path = (_locate(source, name, hub) for name in (CONFIG_FILE, WEIGHTS_FILE))
    try:
        values = json.loads(config_path.read_text())
        name, options = values["type"], values["options"]
        obs_dim, action_dim = int(values["obs_dim"]), int(values["action_dim"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"'{config_path}' is not the config of a reward: it needs 'type', 'obs_dim', "
            f"'action_dim' and 'options' ({type(error).__name__}: {error})."
        ) from error
    config = from_dict(REWARDS.config_class(name), options)
    reward: EnsembleReward = config.build(obs_dim, action_dim)
    try:
        weights = load_file(weights_path)
    except SafetensorError as error:
        raise CheckpointError(f"'{weights_path}' is damaged: {error}.") from error
    load_weights(reward, weights, where=weights_path)
    return reward.eval()


def _locate(source: str | Path, name: str, hub: dict[str, Any]) -> Path:
    if Path(source).is_dir():
        path = Path(source) / name
        if not path.is_file():
            raise FileNotFoundError(f"'{source}' holds no '{name}': no reward was saved there.")
        return path
    try:
        return Path(hf_hub_download(str(source), name, **hub))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise FileNotFoundError(
            f"No reward at '{source}': there is no such folder, and no such repository on the hub "
            "could be read."
        ) from error
