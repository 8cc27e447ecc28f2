"""Tables of components by name, loaded when they are asked for.

A table maps a name to `"module:ConfigClass"`. Nothing is imported until a name is used, so
`robopref --help` lists every component without importing any, and an extra that is not installed
costs nothing until its component is chosen. Other packages add components through entry points.
"""

import functools
import importlib
from collections.abc import Iterator
from importlib.metadata import EntryPoints, distributions
from types import ModuleType
from typing import Any

from robopref.errors import MissingExtraError, UnknownNameError, check_name


class Registry:
    """Components of one kind by name.

    Args:
        kind: What one entry is, in the singular; used in messages.
        group: Entry-point group through which other packages add entries.

    Example:
        >>> table = Registry("reward", "robopref.rewards")
        >>> table.register("mlp", "robopref.rewards.mlp:MLPRewardConfig", "Bradley-Terry MLP.")
        >>> table.names()
        ['mlp']
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._targets: dict[str, str] = {}
        self._summaries: dict[str, str] = {}
        self._entry_points_loaded = False

    def register(self, name: str, target: str, summary: str = "") -> None:
        """Add `name` for `target`, which reads `"module:ConfigClass"`.

        Raises:
            ValueError: The name is taken, or the target has no colon.
        """
        if name in self._targets:
            raise ValueError(f"A {self.kind} named '{name}' is registered already.")
        if ":" not in target:
            raise ValueError(f"`target` must read 'module:ConfigClass', got '{target}'.")
        self._targets[name] = target
        self._summaries[name] = summary

    def names(self) -> list[str]:
        """Return the names, sorted, those of other packages included."""
        self._load_entry_points()
        return sorted(self._targets)

    def summary(self, name: str) -> str:
        """Return the one-line description given at registration."""
        self._check(name)
        return self._summaries[name]

    def config_class(self, name: str) -> type[Any]:
        """Import and return the config class behind `name`.

        Raises:
            UnknownNameError: No such name; the message suggests the nearest.
        """
        self._check(name)
        module, _, attribute = self._targets[name].partition(":")
        loaded: type[Any] = getattr(importlib.import_module(module), attribute)
        return loaded

    def name_of(self, config_class: type[Any]) -> str:
        """Return the name under which `config_class` is registered.

        Raises:
            UnknownNameError: It is not registered.
        """
        target = f"{config_class.__module__}:{config_class.__qualname__}"
        for name, registered in self._targets.items():
            if registered == target:
                return name
        raise UnknownNameError(f"No {self.kind} is registered for {target}.")

    def __contains__(self, name: str) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _check(self, name: str) -> None:
        if name in self._targets:
            return
        self._load_entry_points()
        check_name(self.kind, name, sorted(self._targets))

    def _load_entry_points(self) -> None:
        if self._entry_points_loaded:
            return
        self._entry_points_loaded = True
        for entry in _entry_points().select(group=self.group):
            if entry.name not in self._targets:
                distribution = entry.dist.name if entry.dist is not None else entry.value
                self.register(entry.name, entry.value, f"From {distribution}.")


@functools.cache
def _entry_points() -> EntryPoints:
    """Return those of all packages; reading them takes a while and is done once."""
    return EntryPoints(entry for package in distributions() for entry in package.entry_points)


def import_extra(module: str, *, purpose: str, extra: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    Args:
        module: Name of the module.
        purpose: What needs it; the message starts with this.
        extra: The extra of robopref that installs it.

    Raises:
        MissingExtraError: The package is not installed.

    Example:
        >>> import_extra("json", purpose="Nothing", extra="dev").__name__
        'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"{purpose} needs {package}. Install it with: pip install 'robopref[{extra}]'."
        ) from error
