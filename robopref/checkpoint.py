"""Checkpoints: nested tensors and plain values as one safetensors file, written in one step.

No pickle: tensors go into safetensors, everything else into its JSON header. What was saved comes
back equal bit for bit, so that a resumed run goes on exactly where it was. Weights of others, which
may come in a pickle, are read without running code from it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from robopref.config import write_bytes_atomically
from robopref.errors import CheckpointError

FORMAT = "robopref-1"


def save_tree(path: Path, tree: dict[str, Any]) -> None:
    """Write a nested dictionary of tensors and plain values to `path`.

    Keys may be strings or integers; lists and tuples come back as lists.

    Raises:
        TypeError: A value is neither a tensor nor plain.
    """
    tensors: dict[str, torch.Tensor] = {}
    skeleton = _split(tree, "", tensors)
    header = {"format": FORMAT, "tree": json.dumps(skeleton)}
    write_bytes_atomically(path, save(tensors, metadata=header))


def load_tree(path: Path, *, device: str = "cpu") -> dict[str, Any]:
    """Read what `save_tree` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is damaged, or was not written by `save_tree`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No checkpoint at '{path}'.")
    try:
        with safe_open(path, framework="pt", device=device) as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"'{path}' is damaged: {error}. Delete it to start this stage again."
        ) from error
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"'{path}' is not a checkpoint of robopref: its header says format "
            f"{header.get('format')!r}, expected '{FORMAT}'."
        )
    tree: dict[str, Any] = _join(json.loads(header["tree"]), tensors)
    return tree


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors in a `.pth` or `.safetensors` file, without running code from it.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is damaged, or holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No weights at '{path}'.")
    try:
        if path.suffix == ".safetensors":
            loaded: dict[str, torch.Tensor] = load_file(path)
            return loaded
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(f"'{path}' is damaged: {error}.") from error
    except Exception as error:  # The unpickler has an error class of its own.
        raise CheckpointError(f"'{path}' holds no plain weights: {error}") from error
    if not isinstance(weights, dict) or not all(
        isinstance(v, torch.Tensor) for v in weights.values()
    ):
        raise CheckpointError(f"'{path}' holds no plain weights, but {type(weights).__name__}.")
    return weights


def load_weights(
    module: nn.Module,
    weights: Mapping[str, torch.Tensor],
    *,
    where: Path | str,
    remedy: str = "Use that model, or delete the file to start this stage again.",
) -> None:
    """Put `weights`, read from `where`, into `module`.

    Args:
        module: The model.
        weights: Tensors by name.
        where: Where they were read from, for messages.
        remedy: What to do about weights of another model, for messages.

    Raises:
        CheckpointError: They are of another model; the message names the first difference.
    """
    own = module.state_dict()
    differences = [f"it lacks {name}" for name in own if name not in weights]
    differences += [f"it has {name}, which is not expected" for name in weights if name not in own]
    differences += [
        f"{name} has shape {tuple(weights[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if differences:
        raise CheckpointError(f"'{where}' is of another model: {differences[0]}. {remedy}")
    module.load_state_dict(weights)


def _split(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Return `value` with tensors replaced by references, collecting them in `tensors`."""
    if isinstance(value, torch.Tensor):
        name = path
        while name in tensors:  # The keys 1 and "1", or "a/b" and "b" in "a", share a path.
            name += "'"
        # A copy each: safetensors refuses tensors that share memory.
        tensors[name] = value.detach().to("cpu").contiguous().clone()
        return {"t": name}
    if isinstance(value, dict):
        items = []
        for key, item in value.items():
            if not isinstance(key, (str, int)):
                raise TypeError(f"Checkpoint keys must be str or int, got {key!r} under '{path}'.")
            items.append([key, _split(item, f"{path}/{key}", tensors)])
        return {"d": items}
    if isinstance(value, (list, tuple)):
        return {"l": [_split(item, f"{path}/{i}", tensors) for i, item in enumerate(value)]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"v": value}
    raise TypeError(f"A checkpoint cannot hold a {type(value).__name__} ('{path}').")


def _join(node: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Any:
    kind, content = next(iter(node.items()))
    if kind == "t":
        return tensors[content]
    if kind == "d":
        return {key: _join(item, tensors) for key, item in content}
    if kind == "l":
        return [_join(item, tensors) for item in content]
    return content
