"""Whether a reward on disk was built for a data set; neither torch nor weights are loaded."""

import json
from pathlib import Path
from typing import Any

from robopref.data.store import EpisodeStore
from robopref.errors import CheckpointError
from robopref.types import ACTION, STATE


def check_reward_fits(folder: Path, episodes: EpisodeStore) -> None:
    """Check that a reward takes the observations and actions of a data set.

    Args:
        folder: Where its config is.
        episodes: The data set.

    Raises:
        CheckpointError: It does not, or its config cannot be read.
    """
    path = folder / "config.json"
    try:
        header: Any = json.loads(path.read_text())
        wanted = {key: header[key] for key in ("obs_dim", "action_dim") if key in header}
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"'{path}' is damaged: {error}.") from error
    features = episodes.features
    for key, column, what in (
        ("obs_dim", STATE, "observations"), ("action_dim", ACTION, "actions")
    ):  # fmt: skip
        if key not in wanted:  # Rewards of pictures take others.
            continue
        size = features[column].shape[-1] if column in features else 0
        if size != wanted[key]:
            raise CheckpointError(
                f"The reward in '{folder}' was built for {what} of size {wanted[key]}; those of "
                f"'{episodes.root}' have size {size}. Give another --reward, or train one with: "
                f"robopref train reward --data {episodes.root}."
            )
