"""Tests for config.py."""

import contextlib
import dataclasses
import enum
import errno
import os
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from robopref.config import (
    component,
    from_dict,
    load_yaml,
    resolve,
    save_yaml,
    to_dict,
    write_bytes_atomically,
)
from robopref.errors import ConfigError, UnknownNameError, check_at_least
from robopref.registry import Registry

TABLE = Registry("reward", "robopref.none")
TABLE.register("net", f"{__name__}:Net", "A network.")
TABLE.register("pair", f"{__name__}:Pair", "Two of them.")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass(frozen=True)
class Net:
    width: int = 64
    dropout: float = 0.1
    sizes: tuple[int, ...] = (1, 2)
    corners: tuple[float, float] = (0.0, 1.0)
    activation: Literal["relu", "tanh"] = "relu"
    colour: Colour = Colour.RED
    path: Path | None = None
    note: str = ""
    bias: bool = True
    weights: dict[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_at_least("width", self.width, 1)


@dataclasses.dataclass(frozen=True)
class Pair:
    first: Net
    second: Net = Net(width=3)


@dataclasses.dataclass(frozen=True)
class Run:
    seed: int
    reward: Any = component(f"{__name__}:TABLE", default="net")
    other: Any = component(f"{__name__}:TABLE", default="pair")


@pytest.fixture(autouse=True)
def _findable(monkeypatch):
    """Let "module:NAME" find this file, which pytest imports under a name of its own."""
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this_module())


def _this_module():
    import types

    module = types.ModuleType(__name__)
    module.__dict__.update(globals())
    return module


nets = st.builds(
    Net,
    width=st.integers(1, 10**9),
    dropout=st.floats(allow_nan=False),
    sizes=st.lists(st.integers()).map(tuple),
    corners=st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)),
    activation=st.sampled_from(["relu", "tanh"]),
    colour=st.sampled_from(Colour),
    path=st.none() | st.text(min_size=1, alphabet="abc/.").map(Path),
    note=st.text(),
    bias=st.booleans(),
    weights=st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False)),
)


@given(st.builds(Pair, first=nets, second=nets))
def test_what_is_written_is_read_back_equal(tmp_path_factory, pair):
    assert from_dict(Pair, to_dict(pair)) == pair
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    save_yaml(pair, path)
    assert load_yaml(Pair, path) == pair


def test_components_are_written_with_their_names_and_read_back_as_configs():
    run = Run(7, reward=Net(width=3), other="net")
    values = to_dict(run)
    assert values["reward"]["type"] == "net"
    assert values["reward"]["width"] == 3
    assert values["other"] == {"type": "net", **to_dict(Net())}  # Its defaults are written out.
    assert to_dict(from_dict(Run, values)) == values
    assert from_dict(Run, values) == Run(7, Net(width=3), Net())
    assert from_dict(Run, {"seed": 7, "reward": "net"}).reward == Net()


def test_resolve_gives_the_config_whether_by_name_or_not():
    assert resolve(Run(0), "reward") == Net()
    assert resolve(Run(0, reward=Net(width=5)), "reward") == Net(width=5)


def test_resolve_suggests_a_name():
    with pytest.raises(UnknownNameError) as error:
        resolve(Run(0, reward="nett"), "reward")
    assert str(error.value) == (
        "No reward named 'nett'. Did you mean 'net'? Registered: ['net', 'pair']."
    )


@pytest.mark.parametrize(
    ("config_class", "values", "message"),
    [
        (Net, {"widht": 3},
         "Net has no field 'widht'. Did you mean 'width'? Fields: ['activation', 'bias', "
         "'colour', 'corners', 'dropout', 'note', 'path', 'sizes', 'weights', 'width']."),
        (Net, {"width": "3"}, "`Net.width` must be int, got '3'."),
        (Net, {"width": True}, "`Net.width` must be int, got True."),
        (Net, {"width": 1.5}, "`Net.width` must be int, got 1.5."),
        (Net, {"width": None}, "`Net.width` must be int, got None."),
        (Net, {"width": 0}, "Net cannot be built: `width` must be at least 1, got 0."),
        (Net, {"dropout": "high"}, "`Net.dropout` must be float, got 'high'."),
        (Net, {"sizes": [1, "2"]}, "`Net.sizes[1]` must be int, got '2'."),
        (Net, {"corners": [1.0]}, "`Net.corners` must have 2 entries, got 1."),
        (Net, {"activation": "gelu"},
         "`Net.activation` must be typing.Literal['relu', 'tanh'], got 'gelu'."),
        (Net, {"colour": "green"}, "`Net.colour` must be Colour, got 'green'."),
        (Net, {"path": 3}, "`Net.path` must be Path or NoneType, got 3."),
        (Net, {"weights": {"a": "x"}}, "`Net.weights['a']` must be float, got 'x'."),
        (Pair, {}, "Pair needs values for ['first']."),
        (Pair, {"first": 3}, "`Pair.first` must be Net, got 3."),
        (Run, {"seed": 0, "reward": {"width": 3}},
         "`reward` needs a 'type', got {'width': 3}."),
        (Run, {"seed": 0, "reward": 5}, "`reward` needs a 'type', got 5."),
        (Run, {"seed": 0, "reward": {"type": "net", "width": "3"}},
         "`Net.width` must be int, got '3'."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(config_class, values, message):
    with pytest.raises(ConfigError) as error:
        from_dict(config_class, values)
    assert str(error.value) == message


def test_an_unknown_component_in_a_file_suggests_a_name():
    with pytest.raises(UnknownNameError) as error:
        from_dict(Run, {"seed": 0, "reward": {"type": "nett"}})
    assert str(error.value) == (
        "No reward named 'nett'. Did you mean 'net'? Registered: ['net', 'pair']."
    )


def test_a_config_holds_plain_values_only():
    with pytest.raises(ConfigError) as error:
        to_dict(Net(note={1, 2}))  # type: ignore[arg-type]
    assert str(error.value) == "A config cannot hold a set: {1, 2}."


def test_an_integer_in_a_file_is_a_float_where_one_is_wanted():
    dropout = from_dict(Net, {"dropout": 1}).dropout
    assert isinstance(dropout, float)
    assert dropout == 1.0


def test_files_that_are_no_config(tmp_path):
    path = tmp_path / "config.yaml"
    with pytest.raises(FileNotFoundError) as missing:
        load_yaml(Net, path)
    assert str(missing.value) == f"No config at '{path}'."
    path.write_text("- 1\n- 2\n")
    with pytest.raises(ConfigError) as error:
        load_yaml(Net, path)
    assert str(error.value) == f"'{path}' must hold a mapping, got list."
    path.write_text("a: [1, 2")
    with pytest.raises(ConfigError) as error:
        load_yaml(Net, path)
    assert str(error.value).startswith(f"'{path}' is not readable as YAML: ")
    path.write_text("a: !!python/object/apply:os.system ['true']")
    with pytest.raises(ConfigError) as error:
        load_yaml(Net, path)
    assert "could not determine a constructor" in str(error.value)


def test_a_failed_write_leaves_the_old_file_and_no_scraps(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "config.yaml"
    save_yaml(Net(width=3), path)

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes_atomically(path, b"half of a new f")
    assert load_yaml(Net, path) == Net(width=3)
    assert [file.name for file in path.parent.iterdir()] == ["config.yaml"]


def test_a_file_and_its_name_are_flushed_to_disk_in_the_order_that_a_power_cut_asks_for(
    tmp_path, monkeypatch
):
    """The content before it takes the name, the name after, and those of new folders too."""
    path = tmp_path / "new" / "deep" / "file"
    flushed = []

    def look_and_flush(descriptor):
        target = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        content = target.read_bytes() if target.is_file() else None
        flushed.append((target, content, path.read_bytes() if path.exists() else None))
        fsync(descriptor)

    fsync = os.fsync
    monkeypatch.setattr("os.fsync", look_and_flush)
    write_bytes_atomically(path, b"old")
    partial = path.with_name(f".file.{os.getpid()}.partial")
    names = [(folder, None, b"old") for folder in (path.parent, tmp_path / "new", tmp_path)]
    assert flushed == [(partial, b"old", None), *names]
    flushed.clear()
    write_bytes_atomically(path, b"new")
    assert flushed == [(partial, b"new", b"old"), (path.parent, None, b"new")]


@pytest.mark.parametrize(("number", "is_raised"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_folder_that_cannot_be_flushed(tmp_path, monkeypatch, number, is_raised):
    """Some network file systems answer EINVAL; a failing disk must be told."""

    def refuse(descriptor):
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")).is_dir():
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", refuse)
    expected = pytest.raises(OSError) if is_raised else contextlib.nullcontext()
    with expected:
        write_bytes_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_the_file_keeps_the_order_of_the_fields(tmp_path):
    save_yaml(Net(), tmp_path / "c.yaml")
    text = (tmp_path / "c.yaml").read_text()
    assert list(yaml.safe_load(text)) == [field.name for field in dataclasses.fields(Net)]


def test_unicode_line_breaks_survive(tmp_path):
    # PyYAML reads an unescaped U+0085 back as a space.
    save_yaml(Net(note="a\x85b\u2028c"), tmp_path / "c.yaml")
    assert load_yaml(Net, tmp_path / "c.yaml").note == "a\x85b\u2028c"
