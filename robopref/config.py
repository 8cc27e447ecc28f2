"""Configs as frozen dataclasses: to plain values and back, checked on the way.

A config holds numbers, strings, booleans, None, enums, paths, tuples and other configs. Nested
components of a registry are written as `{"type": name, ...}`, so that a run can be built
again from its `config.yaml` alone.
"""

import contextlib
import dataclasses
import enum
import errno
import importlib
import os
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from robopref.errors import ConfigError, did_you_mean
from robopref.registry import Registry

T = TypeVar("T")


def component(
    registry: str,
    default: str | None = None,
    *,
    or_path: bool = False,
    or_none: bool = False,
) -> Any:
    """Return a dataclass field that holds a component of a registry.

    Its value is a registered name, or the config of a component; `resolve` gives the config. It is
    saved as `{"type": name, ...}`, and the command line offers `--field NAME --field.option VALUE`.

    Args:
        registry: Where the registry is, as "module:NAME"; imported when it is needed.
        default: Registered name; None makes the field required.
        or_path: Whether the command line may name a folder instead, which is then the value.
        or_none: Whether there may be none, which is then the default.
    """
    metadata = {"registry": registry, "or_path": or_path}
    if or_none:
        return dataclasses.field(default=default, metadata=metadata)
    if default is None:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def resolve(config: Any, name: str) -> Any:
    """Return the component config in field `name`, built with its defaults if given by name.

    A field that may be empty gives None then.

    Raises:
        UnknownNameError: The registry has no such name.
    """
    value = getattr(config, name)
    if not isinstance(value, str):
        return value
    fields = {f.name: f for f in dataclasses.fields(config)}
    return load_registry(fields[name].metadata["registry"]).config_class(value)()


def load_registry(reference: str) -> Registry:
    """Return the registry at "module:NAME"."""
    module, _, attribute = reference.partition(":")
    registry: Registry = getattr(importlib.import_module(module), attribute)
    return registry


def to_dict(config: Any) -> dict[str, Any]:
    """Return `config` as plain values that JSON and YAML can hold.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Net:
        ...     width: int = 64
        ...     sizes: tuple[int, ...] = (1, 2)
        >>> to_dict(Net())
        {'width': 64, 'sizes': [1, 2]}
    """
    return {f.name: _plain_field(config, f) for f in dataclasses.fields(config) if f.init}


def from_dict(config_class: type[T], values: dict[str, Any]) -> T:
    """Build `config_class` from what `to_dict` returned.

    Raises:
        ConfigError: A key is unknown or missing, or a value has the wrong type or range.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Net:
        ...     width: int = 64
        >>> from_dict(Net, {"width": 3})
        Net(width=3)
    """
    hints = typing.get_type_hints(config_class)
    fields = {f.name: f for f in dataclasses.fields(config_class) if f.init}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ConfigError(
                f"{config_class.__name__} has no field '{key}'.{did_you_mean(key, fields)} "
                f"Fields: {sorted(fields)}."
            )
    built = {
        key: _component(value, fields[key])
        if "registry" in fields[key].metadata
        else _typed(value, hints[key], f"{config_class.__name__}.{key}")
        for key, value in values.items()
    }
    missing = [name for name, f in fields.items() if name not in built and _is_required(f)]
    if missing:
        raise ConfigError(f"{config_class.__name__} needs values for {missing}.")
    try:
        return config_class(**built)
    except ValueError as error:
        raise ConfigError(f"{config_class.__name__} cannot be built: {error}") from error


def save_yaml(config: Any, path: Path) -> None:
    """Write `config` to `path`, replacing it in one step."""
    import yaml

    # Escaped to ASCII: PyYAML turns some line breaks of Unicode into spaces otherwise.
    text = yaml.safe_dump(to_dict(config), sort_keys=False)
    write_text_atomically(path, text)


def load_yaml(config_class: type[T], path: Path) -> T:
    """Read what `save_yaml` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: The file is not YAML, or does not fit `config_class`.
    """
    return from_dict(config_class, read_yaml(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, whatever it is the config of.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: The file is not YAML, or holds no mapping.
    """
    import yaml

    if not path.is_file():
        raise FileNotFoundError(f"No config at '{path}'.")
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"'{path}' is not readable as YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"'{path}' must hold a mapping, got {type(values).__name__}.")
    return values


def write_text_atomically(path: Path, text: str) -> None:
    """Write `text` to `path` as `replacing` does."""
    write_bytes_atomically(path, text.encode())


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` as `replacing` does."""
    with replacing(path) as partial:
        partial.write_bytes(data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a file beside `path`, which takes the place of `path` at the end.

    A kill or a power cut at any moment leaves the old file or the new one, never a part of either;
    once the block has ended it is the new one. If the block raises, the old one stays.
    """
    folder = path.parent
    new_folders = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        sync_to_disk(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    for each in (folder, *(new.parent for new in new_folders)):
        sync_to_disk(each)


def sync_to_disk(path: Path) -> None:
    """Flush a file's content to disk; of a folder, the names in it, so that a rename is kept."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot flush a folder; they keep its names on a server.
        if error.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def _plain_field(config: Any, field: "dataclasses.Field[Any]") -> Any:
    value = getattr(config, field.name)
    if "registry" not in field.metadata or value is None:
        return _plain(value)
    if isinstance(value, str):
        # With its options, so that a changed default shows and the file says all.
        value = resolve(config, field.name)
    name = load_registry(field.metadata["registry"]).name_of(type(value))
    return {"type": name, **to_dict(value)}


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _component(value: Any, field: "dataclasses.Field[Any]") -> Any:
    if value is None:
        return None
    options = dict(value) if isinstance(value, dict) else {"type": value}
    name = options.pop("type", None)
    if not isinstance(name, str):
        raise ConfigError(f"`{field.name}` needs a 'type', got {value!r}.")
    return from_dict(load_registry(field.metadata["registry"]).config_class(name), options)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ConfigError(f"A config cannot hold a {type(value).__name__}: {value!r}.")


def _typed(value: Any, hint: Any, where: str) -> Any:
    """Return `value` as `hint` asks, or raise `ConfigError` naming `where`."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _typed(value, typing.get_args(hint)[0], where)
    if hint is Any or (origin is typing.Literal and value in typing.get_args(hint)):
        return value
    if origin in (typing.Union, types.UnionType):
        return _typed_union(value, typing.get_args(hint), where)
    if origin in (tuple, list) and isinstance(value, (list, tuple)):
        return _typed_sequence(value, hint, where)
    if origin is dict and isinstance(value, dict):
        inner = typing.get_args(hint)[1]
        return {key: _typed(item, inner, f"{where}[{key!r}]") for key, item in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return from_dict(typing.cast(type[Any], hint), value)
    if isinstance(hint, type):
        converted = _typed_scalar(value, hint)
        if converted is not None:
            return converted
    raise ConfigError(f"`{where}` must be {_name(hint)}, got {value!r}.")


def _typed_union(value: Any, options: tuple[Any, ...], where: str) -> Any:
    if value is None and type(None) in options:
        return None
    for option in options:
        if option is type(None):
            continue
        try:
            return _typed(value, option, where)
        except ConfigError:
            continue
    names = " or ".join(_name(option) for option in options)
    raise ConfigError(f"`{where}` must be {names}, got {value!r}.")


def _typed_sequence(value: Any, hint: Any, where: str) -> Any:
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is list or (len(arguments) == 2 and arguments[1] is Ellipsis):
        inner: tuple[Any, ...] = (arguments[0],) * len(value)
    else:
        inner = arguments
    if len(inner) != len(value):
        raise ConfigError(f"`{where}` must have {len(inner)} entries, got {len(value)}.")
    items = [
        _typed(v, h, f"{where}[{i}]") for i, (v, h) in enumerate(zip(value, inner, strict=True))
    ]
    return items if typing.get_origin(hint) is list else tuple(items)


def _typed_scalar(value: Any, hint: type) -> Any:
    if issubclass(hint, enum.Enum):
        matches = [member for member in hint if member.value == value]
        return matches[0] if matches else None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, bool):
        return None
    if hint is Path and isinstance(value, str):
        return Path(value)
    return value if isinstance(value, hint) else None


def _name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)
