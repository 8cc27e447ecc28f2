"""Policies on disk and on the Hugging Face hub; the files are those of `robopref.pretrained`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from robopref.encoders import ObsShapes
from robopref.errors import CheckpointError, check_at_least
from robopref.policies import POLICIES
from robopref.policies.lerobot_files import PIPELINE_FILES, is_lerobot, obs_shapes_of
from robopref.pretrained import CONFIG_FILE, WEIGHTS_FILE, PretrainedModel, locate, read_header
from robopref.registry import Registry

_MODEL_CARD = """---
{{ card_data }}
---

A robot policy made with robopref.

```python
from robopref.policies.serialization import load_policy

policy = load_policy("path/to/this/folder")
```
"""


@dataclass(frozen=True)
class PolicySizes:
    """What a policy is built for."""

    obs_shapes: dict[str, tuple[int, ...]]
    """Shape of one observation by key."""
    action_dim: int
    """Da."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("action_dim", self.action_dim, 1)


class PretrainedPolicy(PretrainedModel, model_card_template=_MODEL_CARD):  # type: ignore[call-arg]
    """A policy that keeps its config, its `obs_shapes` and its `action_dim`."""

    registry: ClassVar[Registry] = POLICIES
    sizes_class: ClassVar[type[Any]] = PolicySizes
    obs_shapes: ObsShapes
    action_dim: int


def read_obs_shapes(directory: Path) -> dict[str, tuple[int, ...]]:
    """Return what a saved policy observes, without its weights.

    Raises:
        FileNotFoundError: There is no policy.
        CheckpointError: Its config is damaged.
    """
    path = directory / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(f"No policy at '{directory}': '{CONFIG_FILE}' is missing.")
    config = read_header(path)
    try:
        shapes = obs_shapes_of(config) if is_lerobot(config) else config["obs_shapes"]
        return {key: tuple(shape) for key, shape in shapes.items()}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"'{path}' is damaged: {error}.") from error


def fetch_policy(source: str | Path, **hub: Any) -> Path:
    """Return the folder with all files of a policy, robopref's or LeRobot's.

    Args:
        source: A folder, which is returned; or, as a string, "owner/name" on the hub.
        hub: Options of `huggingface_hub.hf_hub_download`, such as `revision`.

    Raises:
        FileNotFoundError: There is neither such a folder nor such a repository.
        CheckpointError: A file is missing or damaged.
    """
    path = locate(source, CONFIG_FILE, "policy", hub)
    if Path(source).is_dir():
        return Path(source)
    locate(source, WEIGHTS_FILE, "policy", hub)
    if is_lerobot(read_header(path)):
        for name in PIPELINE_FILES:
            pipeline = read_header(locate(source, name, "policy", hub))
            for step in pipeline.get("steps", ()):
                if "state_file" in step:
                    locate(source, step["state_file"], "policy", hub)
    return path.parent


def load_policy(
    source: str | Path,
    *,
    obs_shapes: ObsShapes | None = None,
    action_dim: int | None = None,
    **hub: Any,
) -> Any:
    """Load any policy that `save_pretrained` wrote, robopref's or LeRobot's, ready to be used.

    Args:
        source: A folder; or, as a string, "owner/name" on the hub.
        obs_shapes: What the policy is to be given, checked if stated.
        action_dim: What actions it is to return, checked if stated.
        hub: Options of `huggingface_hub.hf_hub_download`, such as `revision`.

    Raises:
        FileNotFoundError: There is neither such a folder nor such a repository.
        CheckpointError: It is damaged or incomplete, of a type that is not registered, or for
            other observations or actions.
        MissingExtraError: It is a policy of LeRobot's, which is not installed.
    """
    policy: Any
    if is_lerobot(read_header(locate(source, CONFIG_FILE, "policy", hub))):
        from robopref.policies.lerobot import LeRobotPolicy

        policy = LeRobotPolicy(fetch_policy(source, **hub))
    else:
        policy = PretrainedPolicy.from_pretrained(source, **hub)
    for key, shape in policy.obs_shapes.items():
        given = shape if obs_shapes is None else obs_shapes.get(key)
        if given != shape:
            raise CheckpointError(
                f"The policy in '{source}' needs '{key}' of shape {shape}, "
                f"got {'none' if given is None else given}. It was trained for another task."
            )
    if action_dim is not None and action_dim != policy.action_dim:
        raise CheckpointError(
            f"The policy in '{source}' returns actions of size {policy.action_dim}, expected "
            f"{action_dim}. It was trained for another task."
        )
    return policy
