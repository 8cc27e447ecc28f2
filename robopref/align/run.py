"""A run's folder: its config, its stages, and what each of them found.

A stage is done once its figures stand in `stages.json`; until then it is begun again, and takes up
what it had left on disk.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from robopref.config import load_yaml, save_yaml, to_dict, write_text_atomically
from robopref.errors import ConfigError


class Run:
    """The folder of one run.

    Args:
        directory: Where it is.
        config: What it runs; written to `config.yaml` when the folder is new. How many workers
            record changes no result, and may differ when a run goes on.
        may_change: Further fields that may differ when a run goes on.
        announce: Told in a line when a stage begins and how long it took.

    Raises:
        ConfigError: The folder holds a run with another config.
    """

    def __init__(
        self,
        directory: Path,
        config: Any,
        *,
        may_change: Iterable[str] = (),
        announce: Callable[[str], None] | None = None,
    ) -> None:
        self.directory = directory
        self._announce = announce or _say_nothing
        path = directory / "config.yaml"
        if path.is_file():
            earlier = to_dict(load_yaml(type(config), path))
            _check_same(earlier, to_dict(config), directory, {"num_workers", *may_change})
        else:
            directory.mkdir(parents=True, exist_ok=True)
            save_yaml(config, path)
        self._stages: dict[str, dict[str, Any]] = {}
        if self._file.is_file():
            self._stages = json.loads(self._file.read_text())

    def stage(self, name: str, work: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Do `work` unless it was done before; return its figures, with the seconds it took.

        Seconds of interrupted attempts are not counted.
        """
        if name not in self._stages:
            self._announce(f"{name} ...")
            start = time.monotonic()
            figures = dict(work())
            self._stages[name] = {**figures, "seconds": time.monotonic() - start}
            write_text_atomically(self._file, json.dumps(self._stages, indent=1))
            self._announce(f"{name} done in {self._stages[name]['seconds']:.0f} s")
        return self._stages[name]

    @property
    def stages(self) -> dict[str, dict[str, Any]]:
        """Figures of the stages that are done, in their order."""
        return dict(self._stages)

    def figures(self, name: str) -> dict[str, Any]:
        """Return the figures of a stage that is done."""
        return self._stages[name]

    @property
    def seconds(self) -> float:
        """Seconds of all stages together."""
        return float(sum(figures["seconds"] for figures in self._stages.values()))

    @property
    def _file(self) -> Path:
        return self.directory / "stages.json"


def _say_nothing(text: str) -> None:
    """Take a line and do nothing with it."""


def _check_same(
    earlier: dict[str, Any], now: dict[str, Any], directory: Path, may_change: set[str]
) -> None:
    changed = [key for key in now if earlier.get(key) != now[key] and key not in may_change]
    if changed:
        key = changed[0]
        raise ConfigError(
            f"'{directory}' holds a run with other settings: `{key}` was {earlier.get(key)!r}, "
            f"now {now[key]!r}. Choose another folder with --out, or delete this one."
        )
