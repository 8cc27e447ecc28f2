"""The checkpoint of a training run: written whole, and taken up only by the run that it is of.

Of several processes the main one writes and reads it, and tells the others what it holds: machines
that train together need no common disk, and may be more or fewer when the run goes on.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robopref.checkpoint import load_tree, load_weights, save_tree
from robopref.config import to_dict
from robopref.errors import CheckpointError
from robopref.ranks import get_ranks


class RunCheckpoint:
    """The state of a run in one file, with the settings and the start that it belongs to.

    Args:
        path: The file.
        config: Settings of the training.
        objective: What is trained, before the first step.
        generator: Its randomness, before the first step.
        num_items: How many items there are to train on.
    """

    def __init__(
        self,
        path: Path,
        config: Any,
        objective: nn.Module,
        generator: torch.Generator,
        num_items: int,
    ) -> None:
        self.path = path
        self._objective = objective
        self._config = json.dumps(to_dict(config))
        self._origin = _digest(objective, generator, num_items)

    def save(self, state: dict[str, Any]) -> None:
        """Write the objective and `state` in place of what was there."""
        if not get_ranks().is_main:
            return
        run = {"config": self._config, "origin": self._origin}
        save_tree(self.path, run | {"objective": self._objective.state_dict()} | state)

    def load(self) -> dict[str, Any] | None:
        """Put the weights back into the objective and return the state; None if none was saved.

        Raises:
            CheckpointError: The file is damaged, or is of another run.
        """
        ranks = get_ranks()
        tree = ranks.on_main(self._read)
        if tree is not None and not ranks.is_main:
            load_weights(self._objective, tree["objective"], where=self.path)
        return tree

    def _read(self) -> dict[str, Any] | None:
        if not self.path.is_file():
            return None
        tree = load_tree(self.path)
        if "config" not in tree or "objective" not in tree:
            raise CheckpointError(
                f"'{self.path}' is not a training checkpoint: it holds {list(tree)}. "
                "Delete the file to start this stage again."
            )
        if tree["config"] != self._config:
            raise CheckpointError(
                f"'{self.path}' was made with other training settings: {tree['config']}. "
                "Use those, or delete the file to start this stage again."
            )
        load_weights(self._objective, tree["objective"], where=self.path)
        if tree.get("origin") != self._origin:
            raise CheckpointError(
                f"'{self.path}' was begun from other data, another model or another seed. "
                "Use those, or delete the file to start this stage again."
            )
        return tree


def _digest(objective: nn.Module, generator: torch.Generator, num_items: int) -> str:
    """Return a hash of what training starts from.

    The first weights and the generator's state follow from the seed, a normaliser's numbers from
    the data.
    """
    digest = hashlib.sha256(str(num_items).encode())
    for name, value in [*objective.state_dict().items(), ("", generator.get_state())]:
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
