"""A run's folder: its config, its stages, and what each of them found.

A stage is done once its figures stand in `stages.json`; until then it is begun again, and takes up
what it had left on disk.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from robopref.config import load_yaml, save_yaml, to_dict, write_text_atomically
from robopref.errors import ConfigError, DataError

CONFIG = "config.yaml"
WHERE = ("num_workers", "cluster", "tracker")
"""Fields of configs that say where work is done and shown, which changes no result."""


class Run:
    """The folder of one run.

    Args:
        directory: Where it is.
        config: What it runs; written to `config.yaml` when the folder holds nothing else yet. Where
            work is done and shown changes no result, and may differ when a run goes on.
        may_change: Further fields that may differ when a run goes on.
        announce: Told in a line when a stage begins and how long it took.

    Raises:
        ConfigError: The folder holds a run with another config.
        DataError: It holds a data set that no run made, or its `stages.json` is damaged.
    """

    def __init__(
        self,
        directory: Path,
        config: Any,
        *,
        may_change: Iterable[str] = (),
        announce: Callable[[str], None] | None = None,
    ) -> None:
        from robopref.ranks import get_ranks

        ranks = get_ranks()
        self.directory = directory
        self.announce = (announce if ranks.is_main else None) or _say_nothing
        self._stages: dict[str, dict[str, Any]] = ranks.on_main(
            lambda: self._claim(config, {*WHERE, *may_change})
        )

    def _claim(self, config: Any, may_change: set[str]) -> dict[str, dict[str, Any]]:
        """Take the folder for this run; return the stages that are done there."""
        path = self.directory / CONFIG
        if path.is_file() and _holds_more_than_config(self.directory):
            earlier = _load_earlier(type(config), path)
            _check_same(earlier, to_dict(config), self.directory, may_change)
        else:
            _check_no_data_set(self.directory)
            save_yaml(config, path)
        done: dict[str, dict[str, Any]] = {}
        if self._file.is_file():
            done = load_figures(self._file, dict)
        return done

    @classmethod
    def can_go_on(cls, directory: Path, config: Any) -> bool:
        """Return whether a run of this config can begin in a folder, or go on there."""
        path = directory / CONFIG
        try:
            if path.is_file() and _holds_more_than_config(directory):
                earlier = _load_earlier(type(config), path)
                _check_same(earlier, to_dict(config), directory, {*WHERE})
            else:
                _check_no_data_set(directory)
        except (ConfigError, DataError):
            return False
        return True

    def stage(
        self, name: str, work: Callable[[], Mapping[str, Any]], *, together: bool = False
    ) -> dict[str, Any]:
        """Do `work` unless it was done before; return its figures, with the seconds it took.

        Seconds of interrupted attempts are not counted.

        Args:
            name: Of the stage.
            work: Returns its figures.
            together: All processes that a launcher started take part; else the main one does it,
                and the others wait.
        """
        from robopref.ranks import get_ranks

        if name not in self._stages:
            ranks = get_ranks()
            self.announce(f"{name} ...")
            start = time.monotonic()
            found = work() if together else ranks.on_main(work)
            self._stages[name] = ranks.on_main(
                lambda: self._keep(name, found, time.monotonic() - start)
            )
            self.announce(f"{name} done in {self._stages[name]['seconds']:.0f} s")
        return self._stages[name]

    def _keep(self, name: str, found: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        figures = {**found, "seconds": seconds}
        save_figures({**self._stages, name: figures}, self._file)
        return figures

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


def save_figures(figures: Any, path: Path) -> None:
    """Write figures as JSON; those that are not finite, which JSON cannot hold, become null."""
    write_text_atomically(path, json.dumps(with_null(figures), indent=1, allow_nan=False))


def load_figures(path: Path, kind: type[Any]) -> Any:
    """Return what `save_figures` wrote, a list or a dictionary; null becomes NaN.

    Raises:
        DataError: The file holds something else.
    """
    try:
        figures = json.loads(path.read_text())
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(figures, kind):
        raise _damaged(path, f"it must hold a {kind.__name__}, got {type(figures).__name__}")
    return _with_nan(figures)


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(
        f"'{path}' is damaged: {reason}. Delete it and run the same command again, which goes on "
        "from what else is in the folder."
    )


def with_null(value: Any) -> Any:
    """Return figures with None in the place of numbers that are not finite, as JSON wants."""
    if isinstance(value, Mapping):
        return {key: with_null(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [with_null(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_nan(item) for item in value]
    return float("nan") if value is None else value


def _holds_more_than_config(directory: Path) -> bool:
    """Return whether a run was begun; one refused before it did anything may be corrected."""
    return any(path.name != CONFIG for path in directory.iterdir())


def _check_no_data_set(directory: Path) -> None:
    # One without episodes was made just now, for this run.
    recorded = any(directory.glob("data/*/*.parquet"))
    if recorded and (directory / "meta" / "info.json").is_file():
        raise DataError(
            f"'{directory}' holds a data set that another command made, and nothing is added to "
            "it. Choose another folder with --out."
        )


def _load_earlier(config_class: type[Any], path: Path) -> dict[str, Any]:
    try:
        return to_dict(load_yaml(config_class, path))
    except ConfigError as error:
        raise ConfigError(
            f"'{path.parent}' holds a run of another kind or of another version: {error} "
            "Choose another folder with --out, or delete this one."
        ) from error


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
