"""Models on disk and on the Hugging Face hub: `config.json`, `model.safetensors`, a model card.

The config holds the registered name (`type`), the sizes that the model was built for, and its
settings (`options`). The normalisers are part of the weights. No pickle is read or written.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
)
from safetensors.torch import save
from torch import nn

from robopref.checkpoint import load_weights, read_weights
from robopref.config import from_dict, to_dict, write_bytes_atomically, write_text_atomically
from robopref.errors import CheckpointError, UnknownNameError
from robopref.registry import Registry

M = TypeVar("M", bound="PretrainedModel")

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


class PretrainedModel(  # type: ignore[call-arg]
    nn.Module,
    PyTorchModelHubMixin,  # type: ignore[misc]
    library_name="robopref",
    tags=["robotics", "preference-learning"],
):
    """Gives a model `save_pretrained`, `from_pretrained` and `push_to_hub`.

    There is one subclass for each kind of model. It says where the kind is registered and what a
    config's `build` takes; a model has attributes of the same names.
    """

    registry: ClassVar[Registry]
    """Where the configs of this kind are; its `kind` is used in messages."""
    sizes_class: ClassVar[type[Any]]
    """Dataclass of what `config.build` takes beside a generator."""

    config: Any

    @classmethod
    def from_pretrained(cls: type[M], pretrained_model_name_or_path: str | Path, **hub: Any) -> M:
        """Load what `save_pretrained` wrote, ready to be used.

        Args:
            pretrained_model_name_or_path: A folder; or, as a string, "owner/name" on the hub.
            hub: Options of `huggingface_hub.hf_hub_download`, such as `revision`.

        Raises:
            FileNotFoundError: There is neither such a folder nor such a repository.
            CheckpointError: A file is missing or damaged, of another kind of model or of another
                class, or of a type that is not registered.
        """
        source, kind = pretrained_model_name_or_path, cls.registry.kind
        model = _build(cls, locate(source, CONFIG_FILE, kind, hub))
        if not isinstance(model, cls):
            raise CheckpointError(
                f"'{source}' holds {type(model).__name__}, expected {cls.__name__}. "
                f"Load it with load_{kind}, which takes any {kind}."
            )
        path = locate(source, WEIGHTS_FILE, kind, hub)
        remedy = f"It and '{CONFIG_FILE}' must come from the same save."
        load_weights(model, read_weights(path), where=path, remedy=remedy)
        return model.eval()

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> str | None:
        """Write config, weights and a model card to a folder.

        Args:
            save_directory: The folder; it is made if need be.
            options: Those of `PyTorchModelHubMixin.save_pretrained`, such as `push_to_hub`.
        """
        url: str | None = super().save_pretrained(save_directory, **options)
        return url

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload config, weights and a model card to the hub; return the commit's address.

        Args:
            repo_id: "owner/name"; it is made if need be.
            options: Those of `PyTorchModelHubMixin.push_to_hub`, such as `private`.
        """
        url: str = super().push_to_hub(repo_id, **options)
        return url

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write the weights and then the config, each in one step.

        The old config is gone by now, so that it never stands beside new weights.
        """
        # A copy each: safetensors refuses tensors that share memory.
        weights = {
            name: value.detach().to("cpu").contiguous().clone()
            for name, value in self.state_dict().items()
        }
        header = {
            "type": self.registry.name_of(type(self.config)),
            **{f.name: getattr(self, f.name) for f in fields(self.sizes_class)},
            "options": to_dict(self.config),
        }
        write_bytes_atomically(save_directory / WEIGHTS_FILE, save(weights, {"format": "pt"}))
        write_text_atomically(save_directory / CONFIG_FILE, json.dumps(header, indent=2) + "\n")


def locate(source: str | Path, name: str, kind: str, hub: Mapping[str, Any]) -> Path:
    """Return the path of the file `name` in a folder, or of its copy from the hub.

    Args:
        source: A folder; or, as a string, "owner/name" on the hub.
        name: The file's.
        kind: What it is a file of, for messages.
        hub: Options of `huggingface_hub.hf_hub_download`, such as `revision`.

    Raises:
        FileNotFoundError: There is neither such a folder nor such a repository.
        CheckpointError: There is, without this file.
    """
    missing = f"'{source}' holds no {kind}: '{name}' is missing."
    folder = Path(source)
    if folder.is_dir():
        if not (folder / name).is_file():
            raise CheckpointError(missing)
        return folder / name
    if isinstance(source, Path):
        raise FileNotFoundError(f"No {kind} at '{source}'.")
    try:
        return Path(hf_hub_download(source, name, **hub))
    except (HfHubHTTPError, HFValidationError, EntryNotFoundError, OSError) as error:
        # The local one says that the hub was not reached and no copy is here.
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            raise CheckpointError(missing) from error
        raise FileNotFoundError(
            f"No {kind} at '{source}': there is no such folder, and no such repository on the "
            "hub could be read."
        ) from error


def _build(model_class: type[PretrainedModel], path: Path) -> Any:
    """Build the model that the config at `path` describes; its weights are not yet there."""
    return build_model(model_class, read_header(path), path)


def read_header(path: Path) -> Any:
    """Return the content of a `config.json`, or of another file in JSON of a saved model.

    Raises:
        CheckpointError: It is damaged.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise CheckpointError(f"'{path}' is damaged: {error}.") from error


def build_model(model_class: type[PretrainedModel], header: Any, where: Path | str) -> Any:
    """Build the model that the content of a `config.json` describes, with weights of its own.

    Args:
        model_class: The kind of model.
        header: The content.
        where: Where it is from, for messages.

    Raises:
        CheckpointError: It is not of such a model, or cannot be built.
    """
    registry = model_class.registry
    is_ours = isinstance(header, dict) and isinstance(header.get("type"), str)
    if not is_ours or not isinstance(header.get("options"), dict):
        raise CheckpointError(
            f"'{where}' is not the config of a {registry.kind} of robopref, which has a 'type' "
            "and 'options'."
        )
    sizes = dict(header)
    name, options = sizes.pop("type"), sizes.pop("options")
    try:
        config = from_dict(registry.config_class(name), options)
        found = from_dict(model_class.sizes_class, sizes)
        return config.build(**{f.name: getattr(found, f.name) for f in fields(found)})
    except (UnknownNameError, ValueError) as error:
        raise CheckpointError(f"'{where}' cannot be used: {error}") from error
