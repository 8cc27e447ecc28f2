"""Options of the command line, made from the dataclass of a command by tyro.

A field made with `robopref.config.component` becomes `--field NAME`, and the options of the chosen
component become `--field.option VALUE`. The names are read from the arguments first, so that only
the chosen components are imported; the others are listed from the registry's strings.
"""

import dataclasses
import functools
import inspect
import re
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import docstring_parser
import tyro

from robopref.commands.wording import name_options
from robopref.config import load_registry
from robopref.registry import Registry

FieldSpec = tuple[str, Any, "dataclasses.Field[Any]"]
"""Name, type and default of a field, as `dataclasses.make_dataclass` takes them."""


def parse_options(command_class: type[Any], argv: Sequence[str], *, program: str) -> Any:
    """Return `command_class` filled from `argv`, with its components as their configs.

    Raises:
        UnknownNameError: A component has no such name; the message suggests the nearest.
        ValueError: An option is out of its range.
        SystemExit: An option is unknown or cannot be read, or help was asked for.
    """
    # Help is about all options: tyro leaves out the positional ones that were given.
    wants_help = not {"-h", "--help"}.isdisjoint(argv)
    filled = tyro.cli(
        _make_form(command_class, "", argv),
        args=["--help"] if wants_help else list(argv),
        prog=program,
        description=_description(inspect.getdoc(command_class) or ""),
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.HelptextFromCommentsOff),
    )
    return _from_form(filled)


def _description(docstring: str) -> str:
    """Return a docstring with each paragraph in one line, for the terminal to break."""
    about, heading, examples = docstring.partition("Example:\n")
    paragraphs = [" ".join(paragraph.split()) for paragraph in about.split("\n\n")]
    # A line that was continued has the blanks before its second part within it.
    return "\n\n".join(paragraphs) + heading + re.sub(r"(?<=\S) {2,}", " ", examples)


def _make_form(
    config_class: type[Any], prefix: str, argv: Sequence[str], default: Any = dataclasses.MISSING
) -> type[Any]:
    """Return a subclass of `config_class` for tyro to fill, with the values of `default`.

    Each component stands in it as the config of the chosen name, with that name beside it. Ranges
    are not checked while the form is filled but when `_from_form` builds the real class, so that
    their errors look like all others.
    """
    hints = typing.get_type_hints(config_class, include_extras=True)
    specs: list[FieldSpec] = []
    for field in dataclasses.fields(config_class):
        if not field.init:
            continue
        value = _default(field, default)
        flag = f"{prefix}{field.name.replace('_', '-')}"
        hint = hints[field.name]
        if "registry" in field.metadata:
            specs += _component(config_class, field, flag, argv, value)
        elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
            inner = _prefix(hint, f"{flag}.")
            form: Any = _make_form(hint, inner, argv, value)
            shown = form if inner else Annotated[form, tyro.conf.arg(name="")]
            specs.append((field.name, shown, _factory(form, value)))
        elif value is None and any(map(dataclasses.is_dataclass, typing.get_args(hint))):
            # A part that may be absent, such as a scene's gripper, is for those who write Python.
            hidden = Annotated[hint, tyro.conf.Fixed, tyro.conf.Suppress]  # type: ignore[valid-type]
            specs.append((field.name, hidden, _constant(value)))
        else:
            specs.append(
                (field.name, _explained(config_class, field, hint, value), _constant(value))
            )
    return dataclasses.make_dataclass(
        config_class.__name__,
        specs,
        bases=(config_class,),
        namespace={"__post_init__": lambda _form: None, "form_of": config_class},
        frozen=config_class.__dataclass_params__.frozen,
    )


def _explained(
    config_class: type[Any], field: "dataclasses.Field[Any]", hint: Any, value: Any
) -> Any:
    """Return a hint with the help of its option, as one paragraph whatever its line breaks."""
    about, behaviour = field_help(config_class, field.name), None
    markers = getattr(hint, "__metadata__", ())
    if value is True and hint is bool:  # The only option is the one that begins with "--no-".
        about, behaviour = f"Turns this off: {about}", "(on by default)"
    elif value is dataclasses.MISSING and tyro.conf.UseAppendAction in markers:
        behaviour = "(required, may be repeated)"
    return Annotated[hint, tyro.conf.arg(help=about, help_behavior_hint=behaviour)]


def _component(
    config_class: type[Any],
    field: "dataclasses.Field[Any]",
    flag: str,
    argv: Sequence[str],
    value: Any,
) -> list[FieldSpec]:
    """Return two fields: the name of the component, and the form of its options."""
    registry = load_registry(field.metadata["registry"])
    missing = value is dataclasses.MISSING
    is_name = missing or value is None or isinstance(value, str)
    default_name = value if is_name else registry.name_of(type(value))
    name = _chosen(flag, argv, default_name)
    about = field_help(config_class, field.name)
    hint = "(required)" if missing else "" if value is None else f"(default: {default_name})"
    choice = tyro.conf.arg(
        name=field.name,
        metavar="NAME",
        help=_list_names(f"{about} {hint}".strip(), registry),
        help_behavior_hint="",
    )
    if field.metadata["or_path"] and isinstance(name, str) and _is_path(name):
        return [(field.name, Annotated[Path, choice], _constant(Path(name)))]
    chosen: Any = str if value is not None else str | None
    specs: list[FieldSpec] = [
        (f"{field.name}__name", Annotated[chosen, choice], _constant(default_name))
    ]
    if name is None:  # It may be left out, and is.
        hidden = Annotated[Any, tyro.conf.Fixed, tyro.conf.Suppress]
        return [*specs, (field.name, hidden, _constant(None))]
    if not isinstance(name, str):
        return specs  # tyro says that it is required.
    chosen_class = registry.config_class(name)
    start = value if isinstance(value, chosen_class) else dataclasses.MISSING
    form = _make_form(chosen_class, f"{flag}.", argv, start)
    group = tyro.conf.arg(help=f"Options of the {registry.kind} '{name}'.")
    return [*specs, (field.name, Annotated[form, group], _factory(form, None))]


def _from_form(value: Any, prefix: str = "") -> Any:
    """Return the real config for a filled form, whose options have this prefix; else the value."""
    config_class = getattr(type(value), "form_of", None)
    if config_class is None:
        return value
    fields = [field.name for field in dataclasses.fields(config_class) if field.init]
    parts = {
        name: _from_form(part, _prefix(type(part), f"{prefix}{name.replace('_', '-')}."))
        for name, part in ((name, getattr(value, name)) for name in fields)
    }
    try:
        return config_class(**parts)
    except ValueError as error:
        name_options(error, config_class, prefix)
        raise


def _prefix(config_class: type[Any], usual: str) -> str:
    """Return what stands before the options of a nested config: its own wish, or the usual."""
    prefix: str = getattr(config_class, "option_prefix", usual)
    return prefix


def _chosen(flag: str, argv: Sequence[str], default: Any) -> Any:
    """Return the value that `argv` gives `--flag`, the last one if there are several."""
    chosen = default
    for i, argument in enumerate(argv):
        option, equals, value = argument.partition("=")
        if option.startswith("--") and option[2:].replace("_", "-") == flag:
            if equals:
                chosen = value
            elif i + 1 < len(argv) and not argv[i + 1].startswith("-"):
                chosen = argv[i + 1]
    return chosen


def _is_path(name: str) -> bool:
    """Return whether a folder is meant, not a registered name."""
    return "/" in name or Path(name).is_dir()


def _default(field: "dataclasses.Field[Any]", instance: Any) -> Any:
    if instance is not dataclasses.MISSING:
        return getattr(instance, field.name)
    factory: Any = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def _constant(value: Any) -> Any:
    """Return a field with this default, or a required one if there is none."""
    if value is dataclasses.MISSING:
        return dataclasses.field(kw_only=True)
    return dataclasses.field(default_factory=lambda: value, kw_only=True)


def _factory(form: type[Any], default: Any) -> Any:
    """Return a field whose default is the form with its own defaults."""
    if default is dataclasses.MISSING:
        return dataclasses.field(kw_only=True)
    return dataclasses.field(default_factory=form, kw_only=True)


def _list_names(about: str, registry: Registry) -> str:
    names = registry.names()
    width = max((len(name) for name in names), default=0)
    lines = [f"  {name:<{width}}  {registry.summary(name)}".rstrip() for name in names]
    return "\n".join([about, *lines])


def field_help(config_class: type[Any], name: str) -> str:
    """Return the string under a field, looked up through the bases as tyro does."""
    for base in config_class.__mro__[:-1]:
        if name in (helps := _field_helps(base)):
            return helps[name]
    return ""


@functools.cache
def _field_helps(config_class: type[Any]) -> dict[str, str]:
    parameters = docstring_parser.parse_from_object(config_class).params
    return {p.arg_name: " ".join(p.description.split()) for p in parameters if p.description}
