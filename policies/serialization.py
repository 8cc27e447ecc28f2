"""Policies on disk: `config.json` and `model.safetensors` in a folder, as on the Hugging Face hub.

The normaliser is part of the weights. No pickle is read or written.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import torch
from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from robopref.config import from_dict, to_dict, write_bytes_atomically, write_text_atomically
from robopref.encoders import ObsShapes
from robopref.errors import CheckpointError, ConfigError, UnknownNameError
from robopref.policies import POLICIES

P = TypeVar("P", bound="Pretrained")

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_MODEL_CARD = """---
{{ card_data }}
---

A robot policy made with robopref.

```python
from robopref.policies.serialization import load_policy

policy = load_policy("path/to/this/folder")
```
"""


@runtime_checkable
class _PolicyConfig(Protocol):
    def build(
        self, obs_shapes: ObsShapes, action_dim: int, generator: torch.Generator | None = None
    ) -> Any: ...


class Pretrained(  # type: ignore[call-arg]
    PyTorchModelHubMixin,  # type: ignore[misc]
    library_name="robopref",
    tags=["robotics", "preference-learning"],
    model_card_template=_MODEL_CARD,
):
    """Gives a policy `save_pretrained`, `from_pretrained` and `push_to_hub`.

    The policy keeps its `config`, its `obs_shapes` and its `action_dim`; its config builds it.
    """

    config: Any
    obs_shapes: ObsShapes
    action_dim: int

    @classmethod
    def from_pretrained(cls: type[P], pretrained_model_name_or_path: str | Path, **hub: Any) -> P:
        """Load what `save_pretrained` wrote, or a repository of the Hugging Face hub.

        Args:
            pretrained_model_name_or_path: Folder, or "owner/name" on the hub.
            hub: Options of `huggingface_hub.hf_hub_download`, such as `revision`.

        Raises:
            FileNotFoundError: There is neither such a folder nor such a repository.
            CheckpointError: It is damaged, incomplete, or of another policy.
        """
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir():
            folder = _download(str(pretrained_model_name_or_path), hub)
        policy = load_policy(folder)
        if not isinstance(policy, cls):
            raise CheckpointError(
                f"'{folder}' holds a {type(policy).__name__}, expected a {cls.__name__}."
            )
        return policy

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> str | None:
        """Write config, weights and a model card to a folder.

        Args:
            save_directory: The folder; it is made if need be.
            options: Those of `PyTorchModelHubMixin.save_pretrained`.
        """
        url: str | None = super().save_pretrained(save_directory, **options)
        return url

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Write config, weights and a model card to a repository of the Hugging Face hub.

        Args:
            repo_id: "owner/name"; it is made if need be.
            options: Those of `PyTorchModelHubMixin.push_to_hub`, such as `private`.
        """
        url: str = super().push_to_hub(repo_id, **options)
        return url

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write the config and the weights, each in one step."""
        header = {
            "type": POLICIES.name_of(type(self.config)),
            "obs_shapes": {key: list(shape) for key, shape in self.obs_shapes.items()},
            "action_dim": self.action_dim,
        }
        weights = {
            key: value.detach().to("cpu").contiguous().clone()
            for key, value in cast(nn.Module, self).state_dict().items()
        }
        write_bytes_atomically(
            save_directory / WEIGHTS_FILE, save(weights, metadata={"format": "pt"})
        )
        text = json.dumps(header | to_dict(self.config), indent=2) + "\n"
        write_text_atomically(save_directory / CONFIG_FILE, text)


def load_policy(
    folder: Path, *, obs_shapes: ObsShapes | None = None, action_dim: int | None = None
) -> Any:
    """Return the policy that `save_pretrained` wrote to `folder`, ready to be used.

    Args:
        folder: Where it is.
        obs_shapes: What the policy is to be given, checked if stated.
        action_dim: What actions it is to return, checked if stated.

    Raises:
        FileNotFoundError: There is no such folder.
        CheckpointError: It is damaged, incomplete, or for other observations or actions.
        UnknownNameError: The kind of policy is not registered.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"No policy at '{folder}'.")
    values = _read_config(folder / CONFIG_FILE)
    saved_shapes = _shapes(values.pop("obs_shapes", None), folder)
    saved_dim = values.pop("action_dim", None)
    if not isinstance(saved_dim, int):
        raise CheckpointError(f"'{folder / CONFIG_FILE}' does not say `action_dim`.")
    _check_fits(folder, saved_shapes, saved_dim, obs_shapes, action_dim)
    policy = _build(folder, values, saved_shapes, saved_dim)
    _load_weights(policy, folder / WEIGHTS_FILE)
    return policy.eval()


def _download(repository: str, options: Mapping[str, Any]) -> Path:
    """Return the folder in the hub's cache that holds config and weights of `repository`."""
    try:
        files = [hf_hub_download(repository, n, **options) for n in (CONFIG_FILE, WEIGHTS_FILE)]
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise FileNotFoundError(
            f"No policy at '{repository}': there is no such folder, and no such repository on "
            "the hub could be read."
        ) from error
    return Path(files[0]).parent


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"'{path.parent}' holds no policy: '{path.name}' is missing.")
    try:
        values = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"'{path}' is damaged: {error}.") from error
    if not isinstance(values, dict) or "type" not in values:
        raise CheckpointError(
            f"'{path}' is not the config of a policy of robopref: it has no 'type'."
        )
    return values


def _shapes(value: Any, folder: Path) -> dict[str, tuple[int, ...]]:
    if not isinstance(value, dict):
        raise CheckpointError(f"'{folder / CONFIG_FILE}' does not say `obs_shapes`.")
    return {str(key): tuple(int(size) for size in shape) for key, shape in value.items()}


def _check_fits(
    folder: Path,
    saved_shapes: ObsShapes,
    saved_dim: int,
    obs_shapes: ObsShapes | None,
    action_dim: int | None,
) -> None:
    """Raise unless the policy takes what there is and returns what is needed."""
    for key, shape in saved_shapes.items():
        given = shape if obs_shapes is None else obs_shapes.get(key)
        if given != shape:
            raise CheckpointError(
                f"The policy in '{folder}' needs '{key}' of shape {shape}, "
                f"got {'none' if given is None else given}. It was trained for another task."
            )
    if action_dim is not None and action_dim != saved_dim:
        raise CheckpointError(
            f"The policy in '{folder}' returns actions of size {saved_dim}, expected "
            f"{action_dim}. It was trained for another task."
        )


def _build(folder: Path, values: dict[str, Any], obs_shapes: ObsShapes, action_dim: int) -> Any:
    name = values.pop("type")
    if name not in POLICIES:
        raise UnknownNameError(
            f"'{folder}' holds a policy of type {name!r}, which is not registered. "
            f"Registered: {POLICIES.names()}."
        )
    try:
        config: _PolicyConfig = from_dict(POLICIES.config_class(name), values)
        return config.build(obs_shapes, action_dim)
    except (ConfigError, LookupError, ValueError) as error:
        raise CheckpointError(f"'{folder / CONFIG_FILE}' cannot be used: {error}") from error


def _load_weights(policy: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"'{path.parent}' holds no policy: '{path.name}' is missing.")
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"'{path}' is damaged: {error}.") from error
    _check_weights(path, policy.state_dict(), weights)
    policy.load_state_dict(weights)


def _check_weights(
    path: Path, expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> None:
    """Raise for the first weight that is missing, unknown, or of another shape."""
    for key, value in expected.items():
        if key not in weights:
            raise CheckpointError(f"'{path}' is of another policy: it has no '{key}'.")
        if weights[key].shape != value.shape:
            raise CheckpointError(
                f"'{path}' is of another policy: '{key}' has shape {tuple(weights[key].shape)}, "
                f"expected {tuple(value.shape)}."
            )
    for key in weights:
        if key not in expected:
            raise CheckpointError(f"'{path}' is of another policy: it has an unknown '{key}'.")
