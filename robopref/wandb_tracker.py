"""Figures at Weights & Biases (extra `wandb`), or beside the run until they are sent there.

Each training is a W&B run, in the group of the robopref run that it is a part of; `wandb.json` in
the training's folder says which. A training that goes on adds to it only what it has not got, and
what it lacks of `metrics.jsonl`. Steps that are computed again are computed to the same figures
(robopref.trainer): W&B, which takes back nothing, keeps the first.
"""

import json
import re
import shlex
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robopref.config import write_text_atomically
from robopref.errors import reason_of
from robopref.registry import import_extra
from robopref.tracker import Place, TrackerError, Training, finite

NOTE = "wandb.json"
FOLDER = "wandb"
NOT_SENT = ("offline", "dryrun", "disabled")
"""Modes in which W&B is not asked anything."""


@dataclass(frozen=True)
class WandbConfig:
    """Weights & Biases, as `wandb login` and the variables WANDB_... set it up.

    WANDB_MODE=offline keeps the figures in `wandb/` of each training, for `wandb sync` to send.
    """

    project: str = "robopref"
    """Project at Weights & Biases."""
    entity: str | None = None
    """User or team whose project it is; by default that of the login."""

    def check(self) -> None:
        """Raise unless W&B knows who is there, or works offline.

        Raises:
            MissingExtraError: The package is not installed.
            TrackerError: There is no login, or W&B does not answer or refuses it.
        """
        wandb = _import()
        settings = wandb.setup().settings  # From WANDB_... and W&B's own files.
        if settings.mode in NOT_SENT:
            return
        try:
            knows = wandb.login(prompt=False, verify=True)
        except wandb.Error as error:
            raise TrackerError(
                f"Weights & Biases at {settings.base_url} takes no figures: {reason_of(error)}. "
                "WANDB_MODE=offline keeps them here, for 'wandb sync' to send later."
            ) from error
        if not knows:
            raise TrackerError(
                "Nobody is logged in to Weights & Biases. Run 'wandb login' or set WANDB_API_KEY; "
                "WANDB_MODE=offline keeps the figures here, for 'wandb sync' to send later."
            )

    def open(self, training: Training) -> "WandbBoard":
        """Begin a W&B run, or go on with that of this training.

        Raises:
            MissingExtraError: The package is not installed.
            TrackerError: W&B does not answer, or refuses.
        """
        return WandbBoard(self, training)

    def find(self, directory: Path) -> list[Place]:
        """Return the pages of all trainings in a folder, and the command that sends the others."""
        notes = {path: json.loads(path.read_text()) for path in sorted(directory.rglob(NOTE))}
        pages = [
            Place(f"Weights & Biases, {path.parent.relative_to(directory)}", note["url"], "")
            for path, note in notes.items()
            if note["url"]
        ]
        kept = [str(path.parent / FOLDER) for path, note in notes.items() if not note["url"]]
        command = shlex.join(["wandb", "sync", *kept])
        return pages + ([Place("Weights & Biases", "", command)] if kept else [])


class WandbBoard:
    """Sends the figures of one training to its W&B run."""

    def __init__(self, config: WandbConfig, training: Training) -> None:
        wandb = _import()
        directory, root = training.directory, training.run
        mode = wandb.setup().settings.mode
        self._path = directory / NOTE
        self._note = self._earlier(config, mode) if training.resume_at else None
        self._note = self._note or {
            "id": uuid.uuid4().hex[:12], "project": config.project, "entity": config.entity,
            "mode": mode, "closed_at": -1,
        }  # fmt: skip
        try:
            self._run = wandb.init(
                project=config.project, entity=config.entity, id=self._note["id"],
                resume="allow", dir=str(directory), job_type=training.what,
                group=None if root is None else root.resolve().name,
                name=_name(directory, root), config=_without_secrets(training.settings),
                # A run that the caller has of its own stays as it is.
                reinit="create_new",
                settings=wandb.Settings(console="off", silent=True),
            )  # fmt: skip
        except wandb.Error as error:
            raise TrackerError(
                f"Weights & Biases takes no figures of '{directory}': {reason_of(error)}."
            ) from error
        # W&B says itself what it has; what is kept here was written to its end if it was closed.
        self._last = self._note["closed_at"] if mode in NOT_SENT else self._run.step - 1
        url = None if mode in NOT_SENT else self._run.url
        kept = f"figures in {directory / FOLDER}, for 'wandb sync' to send"
        self.where = kept if url is None else f"figures at {url}"
        self._write(url=url, open=Path(self._run.dir).parent.name)
        for row in training.rows:
            self.log(int(row["step"]), finite({k: v for k, v in row.items() if k != "step"}))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Send figures at a step, unless the W&B run has them."""
        if step > self._last:
            self._run.log(dict(figures), step=step, commit=True)
            self._last = step

    def close(self) -> None:
        """Send what is waiting, and end the W&B run until it goes on."""
        self._run.finish()
        self._write(open=None, closed_at=self._last)

    def _earlier(self, config: WandbConfig, mode: str) -> dict[str, Any] | None:
        """Return the note of the W&B run to go on with, if there is one.

        Where a kill ended it nobody knows what W&B's process had written of it by then: it is
        written again from `metrics.jsonl`, as another one if that part was sent meanwhile.
        """
        if not self._path.is_file():
            return None
        note: dict[str, Any] = json.loads(self._path.read_text())
        if (note["project"], note["entity"], note["mode"]) != (config.project, config.entity, mode):
            return None
        if note["open"] and mode in NOT_SENT:
            torn = self._path.parent / FOLDER / note["open"]
            if any(torn.glob("*.synced")):
                return None
            shutil.rmtree(torn, ignore_errors=True)
        return note

    def _write(self, **changed: Any) -> None:
        self._note = {**(self._note or {}), **changed}
        write_text_atomically(self._path, json.dumps(self._note))


def _import() -> Any:
    return import_extra("wandb", purpose="The tracker 'wandb'", extra="wandb")


def _name(directory: Path, root: Path | None) -> str:
    directory = directory.resolve()
    if root is None or not directory.is_relative_to(root.resolve()):
        return directory.name
    return str(directory.relative_to(root.resolve().parent))


def _without_secrets(value: Any) -> Any:
    """Return plain values with passwords, and what signs a request, left out of URLs."""
    if isinstance(value, Mapping):
        return {key: _without_secrets(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_secrets(item) for item in value]
    if isinstance(value, str) and "://" in value:
        return re.sub(r"(://[^/:@]*):[^/@]*@", r"\1:***@", value.partition("?")[0])
    return value
