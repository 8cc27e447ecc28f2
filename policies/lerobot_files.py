"""The files of LeRobot's policy checkpoints, read without the package.

A checkpoint is `config.json`, `model.safetensors`, and the pipelines `policy_preprocessor.json` and
`policy_postprocessor.json` with their numbers beside them. In the config, features have LeRobot's
keys, and pictures come channels first; in robopref they come channels last.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from robopref.config import write_bytes_atomically, write_text_atomically
from robopref.encoders import ObsShapes
from robopref.errors import CheckpointError
from robopref.pretrained import CONFIG_FILE, read_header
from robopref.types import ACTION

PIPELINE_FILES = ("policy_preprocessor.json", "policy_postprocessor.json")
"""What LeRobot does before and after a policy; the numbers are in files that these name."""


def is_lerobot(config: Any) -> bool:
    """Return whether this is the content of a `config.json` of a policy of LeRobot's."""
    return isinstance(config, dict) and {"type", "input_features", "output_features"} <= set(config)


def read_config(directory: Path) -> dict[str, Any]:
    """Return the content of a checkpoint's `config.json`.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is damaged, or not of a policy of LeRobot's.
    """
    path = directory / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(f"No policy of LeRobot's at '{directory}': no '{CONFIG_FILE}'.")
    config = read_header(path)
    if not is_lerobot(config):
        raise CheckpointError(
            f"'{path}' is not the config of a policy of LeRobot's, which has a 'type', "
            "'input_features' and 'output_features'."
        )
    found: dict[str, Any] = config
    return found


def obs_shapes_of(config: Mapping[str, Any]) -> ObsShapes:
    """Return the shape of each observation as robopref has it: pictures (H, W, 3).

    Raises:
        CheckpointError: A feature does not say its type and shape.
    """
    return {
        key: (*shape[1:], shape[0]) if kind == "VISUAL" else shape
        for key, (kind, shape) in _features(config, "input_features").items()
    }


def camera_keys(config: Mapping[str, Any]) -> list[str]:
    """Return the keys of pictures."""
    features = _features(config, "input_features")
    return [key for key, (kind, _) in features.items() if kind == "VISUAL"]


def action_dim_of(config: Mapping[str, Any]) -> int:
    """Return Da.

    Raises:
        CheckpointError: The policy does not return actions.
    """
    features = _features(config, "output_features")
    if ACTION not in features:
        raise CheckpointError(
            f"A policy of LeRobot's must return '{ACTION}', got {sorted(features)}."
        )
    return int(features[ACTION][1][0])


def _features(config: Mapping[str, Any], name: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    try:
        return {
            key: (str(feature["type"]), tuple(int(size) for size in feature["shape"]))
            for key, feature in (config[name] or {}).items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"`{name}` of a policy of LeRobot's must give each feature a 'type' and a 'shape', "
            f"got {config[name]!r}."
        ) from error


def read_statistics(directory: Path) -> dict[str, tuple[str, dict[str, Tensor]]]:
    """Return how each feature is normalised: the mode, and the numbers by name.

    Raises:
        CheckpointError: A pipeline is missing, damaged, or has a step that means more than
            normalising.
    """
    found: dict[str, tuple[str, dict[str, Tensor]]] = {}
    for name in PIPELINE_FILES:
        path = directory / name
        if not path.is_file():
            raise CheckpointError(
                f"'{directory}' lacks '{name}': it was saved by LeRobot before 0.4. Bring it up to "
                "date with lerobot/processor/migrate_policy_normalization.py."
            )
        try:
            steps = json.loads(path.read_text())["steps"]
            for step in steps:
                _check_plain(step, path)
                if step["registry_name"] in _NORMALIZERS:
                    found |= _normalised(step, directory)
        except (ValueError, KeyError, TypeError, SafetensorError, OSError) as error:
            raise CheckpointError(f"'{path}' is damaged: {error}.") from error
    return found


def write_pipelines(
    directory: Path,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    modes: Mapping[str, str],
    statistics: Mapping[str, Mapping[str, Tensor]],
) -> None:
    """Write the pipelines of a policy that does nothing but normalise.

    Args:
        directory: Folder of the checkpoint.
        inputs: Features that it sees, as in its config.
        outputs: Features that it returns.
        modes: How each type of feature is normalised.
        statistics: The numbers by feature and name.
    """
    numbers = {f"{key}.{name}": v for key, some in statistics.items() for name, v in some.items()}
    device = {"registry_name": "device_processor", "config": {"device": "cpu", "float_dtype": None}}
    before = [
        {"registry_name": "rename_observations_processor", "config": {"rename_map": {}}},
        {"registry_name": "to_batch_processor", "config": {}},
        device,
        _normalizer("normalizer_processor", {**inputs, **outputs}, modes),
    ]
    after = [_normalizer("unnormalizer_processor", outputs, modes), device]
    for file, steps in zip(PIPELINE_FILES, (before, after), strict=True):
        name = file.removesuffix(".json")
        for place, step in enumerate(steps):
            if step["registry_name"] in _NORMALIZERS:
                step["state_file"] = f"{name}_step_{place}_{step['registry_name']}.safetensors"
                write_bytes_atomically(directory / step["state_file"], save(numbers))
        text = json.dumps({"name": name, "steps": steps}, indent=2) + "\n"
        write_text_atomically(directory / file, text)


_NORMALIZERS = ("normalizer_processor", "unnormalizer_processor")
_PLAIN = (*_NORMALIZERS, "rename_observations_processor", "to_batch_processor", "device_processor")


def _check_plain(step: Mapping[str, Any], path: Path) -> None:
    name = step.get("registry_name", step.get("class"))
    if name not in _PLAIN or step.get("config", {}).get("rename_map"):
        raise CheckpointError(
            f"'{path}' does more than normalise: it has the step '{name}' with "
            f"{step.get('config', {})}. Such a policy acts as it is, and is not imported."
        )


def _normalised(
    step: Mapping[str, Any], directory: Path
) -> dict[str, tuple[str, dict[str, Tensor]]]:
    config = step["config"]
    numbers = load_file(directory / step["state_file"]) if "state_file" in step else {}
    found = {}
    for key, feature in config["features"].items():
        own = {
            name.removeprefix(f"{key}."): value.float()
            for name, value in numbers.items()
            if name.rpartition(".")[0] == key
        }
        found[key] = (config["norm_map"].get(feature["type"], "IDENTITY"), own)
    return found


def _normalizer(name: str, features: Mapping[str, Any], modes: Mapping[str, str]) -> dict[str, Any]:
    config = {"eps": 1e-8, "features": dict(features), "norm_map": dict(modes)}
    return {"registry_name": name, "config": config}
