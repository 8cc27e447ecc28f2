"""How errors are told to whoever typed a command."""

import dataclasses
import re
from typing import Any


def describe(error: BaseException) -> str | None:
    """Return what to tell the user about `error`, or None if it is a fault of the program.

    robopref's own errors and the system's are meant for the user. A `ValueError`, a `LookupError`
    or an `ArithmeticError` is only if robopref's code raised it with a `raise` statement: one that
    numpy raised, or a key that was missing, is a fault and keeps its traceback.
    """
    from robopref.errors import RoboprefError

    if _is_disk_full(error):
        return "The disk is full. Free some space, then run the same command again to go on."
    if isinstance(error, RoboprefError):
        return str(error)
    if isinstance(error, OSError):
        return _describe_os_error(error)
    if isinstance(error, (ValueError, LookupError, ArithmeticError)) and _raised_on_purpose(error):
        return str(error.args[0]) if error.args else type(error).__name__
    return None


def name_options(error: BaseException, config_class: type[Any], prefix: str = "") -> None:
    """Let an error speak of options where it speaks of the fields of a config or a command.

    A class whose options go by other names than what it passes on says so in `option_names`.

    Args:
        error: Its message is changed in place, so that its traceback stays.
        config_class: Whose fields the options are.
        prefix: What stands before their names, such as "clips.".
    """
    if not (error.args and isinstance(error.args[0], str)):
        return
    fields = [field.name for field in dataclasses.fields(config_class)]
    names = dict(zip(fields, fields, strict=True)) | getattr(config_class, "option_names", {})

    def option(found: re.Match[str]) -> str:
        name = names.get(found[1])
        if name is None:
            return found[0]
        flag = f"--{prefix}{name.replace('_', '-')}"
        said = found[2] or ""
        return flag if said == f" ({flag})" else flag + said

    # What names its option already, as "`env` (--env)", says it once.
    error.args = (re.sub(r"`(\w+)`( \(--[\w-]+\))?", option, error.args[0]), *error.args[1:])


def _describe_os_error(error: OSError) -> str:
    if error.errno is None or error.strerror is None:
        return str(error)
    where = f": '{error.filename}'" if error.filename is not None else ""
    return f"{error.strerror}{where}."


def _is_disk_full(error: BaseException | None) -> bool:
    """Return whether a full disk is behind `error`, under whichever name a library gave it."""
    import errno

    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        # SQLite and the safetensors writer wrap the system's error in one of their own.
        if "disk is full" in str(error) or "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _raised_on_purpose(error: BaseException) -> bool:
    """Return whether a `raise` statement of robopref's own code is where `error` came from."""
    import opcode

    trace = error.__traceback__
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    frame = trace.tb_frame
    if frame.f_globals.get("__name__", "").partition(".")[0] != "robopref":
        return False
    return opcode.opname[frame.f_code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"
