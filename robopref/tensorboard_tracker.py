"""Figures as TensorBoard's event files."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robopref.tracker import Place, Training

FOLDER = "tensorboard"


@dataclass(frozen=True)
class TensorBoardConfig:
    """Event files in `tensorboard/` of each training."""

    def check(self) -> None:
        """Nothing can be missing: it is installed with robopref and writes files only."""

    def open(self, training: Training) -> "TensorBoard":
        """Begin to write, or go on; what was written of steps after `resume_at` is taken back."""
        return TensorBoard(training)

    def find(self, directory: Path) -> list[Place]:
        """Return the command that shows all event files in a folder, if there are any."""
        if not any(directory.rglob(f"{FOLDER}/events.out.tfevents.*")):
            return []
        command = shlex.join(["tensorboard", "--logdir", str(directory)])
        return [Place("TensorBoard", "", command)]


class TensorBoard:
    """Writes the event files of one training, from its first figures on."""

    where = ""

    def __init__(self, training: Training) -> None:
        self._training = training
        self._writer: Any = None

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Write figures at a step."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(
                str(self._training.directory / FOLDER), purge_step=self._training.resume_at + 1
            )
        for key, value in figures.items():
            self._writer.add_scalar(key, value, step)

    def close(self) -> None:
        """Flush and close the file."""
        if self._writer is not None:
            self._writer.close()
