"""The command `robopref`: finds the verb, reads its options, runs it, and words its errors.

Only the standard library is imported here, and only the module of the chosen verb after it, so
that `robopref --help` answers at once.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

VERBS: dict[str, tuple[str, str]] = {
    "demo": (
        "robopref.commands.demo:DemoCommand",
        "Run the main job once: from demonstrations to an aligned policy and a report.",
    ),
    "collect": (
        "robopref.commands.collect:CollectCommand",
        "Record episodes of a scripted behaviour, a policy or a recipe.",
    ),
    "query": (
        "robopref.commands.query:QueryCommand",
        "Choose pairs of segments worth asking about.",
    ),
    "answer": (
        "robopref.commands.answer:AnswerCommand",
        "Answer waiting queries on the terminal.",
    ),
    "label": ("robopref.commands.label:LabelCommand", "Compare clips in a browser, with others."),
    "train policy": (
        "robopref.commands.train_policy:TrainPolicyCommand",
        "Train a policy on episodes.",
    ),
    "train reward": (
        "robopref.commands.train_reward:TrainRewardCommand",
        "Train a reward on preferences.",
    ),
    "train iql": (
        "robopref.commands.train_iql:TrainIQLCommand",
        "Train a policy to earn a reward, from episodes alone (offline RL).",
    ),
    "policy import": (
        "robopref.commands.policy:ImportCommand",
        "Read a diffusion policy that LeRobot trained, to fine-tune it.",
    ),
    "policy export": (
        "robopref.commands.policy:ExportCommand",
        "Write a diffusion policy as a checkpoint that LeRobot loads.",
    ),
    "transfer": (
        "robopref.commands.transfer:TransferCommand",
        "Use answers about one task on another, and say how far to trust that.",
    ),
    "align": (
        "robopref.commands.align:AlignCommand",
        "Run the whole loop on an environment, a behaviour and a teacher of your choice.",
    ),
    "deform": (
        "robopref.commands.deform:DeformCommand",
        "Learn from ranked candidates which action primitive to perform on a point cloud.",
    ),
    "evaluate": (
        "robopref.commands.evaluate:EvaluateCommand",
        "Measure how often a policy succeeds and shows the preferred behaviour.",
    ),
    "deploy": (
        "robopref.commands.deploy:DeployCommand",
        "Let a policy act on an arm, slowly and under a supervisor, and record it.",
    ),
    "arm check": (
        "robopref.commands.arm:CheckCommand",
        "Show what an arm is, its limits and its state; nothing moves.",
    ),
    "arm recover": (
        "robopref.commands.arm:RecoverCommand",
        "Clear an arm's stop, on the word of a person who looked at it.",
    ),
    "arm stop": ("robopref.commands.arm:StopCommand", "Stop an arm."),
    "serve": (
        "robopref.commands.serve:ServeCommand",
        "Let arms on other machines ask a policy on this one.",
    ),
    "camera list": (
        "robopref.commands.camera:ListCommand",
        "List the kinds of cameras, and what is attached of each.",
    ),
    "camera show": (
        "robopref.commands.camera:ShowCommand",
        "Look through a camera.",
    ),
    "camera mount": (
        "robopref.commands.camera:MountCommand",
        "Say that a camera was mounted now.",
    ),
    "camera calibrate": (
        "robopref.commands.camera:CalibrateCommand",
        "Find where a camera is, from views of a board.",
    ),
    "teleop": (
        "robopref.commands.teleop:TeleopCommand",
        "Steer an arm by hand, and record what was done.",
    ),
    "data info": (
        "robopref.commands.data:InfoCommand",
        "Show what a data set holds.",
    ),
    "data validate": (
        "robopref.commands.data:ValidateCommand",
        "Check every file of a data set.",
    ),
    "data compact": (
        "robopref.commands.data:CompactCommand",
        "Join the small files of a data set into few large ones.",
    ),
    "data merge": (
        "robopref.commands.merge_data:MergeCommand",
        "Bring the episodes of several data sets together in one.",
    ),
    "data import": (
        "robopref.commands.data:ImportCommand",
        "Read a data set of another format.",
    ),
    "data import-preferences": (
        "robopref.commands.import_preferences:ImportPreferencesCommand",
        "Read a preference set of another project.",
    ),
    "data upgrade-preferences": (
        "robopref.commands.upgrade_preferences:UpgradePreferencesCommand",
        "Bring a preference store of an older robopref up to date.",
    ),
    "data export": (
        "robopref.commands.data:ExportCommand",
        "Write a data set or its preferences in another format.",
    ),
    "bench": (
        "robopref.commands.bench:BenchCommand",
        "Run a benchmark of this checkout.",
    ),
    "doctor": (
        "robopref.commands.doctor:DoctorCommand",
        "Say what this machine has, and what to install for what is missing.",
    ),
}
"""What each verb runs, as "module:Class" with one line for the list; nothing is imported yet."""

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run `robopref` with `argv` and return the exit code.

    0 is success, 2 an error of use or of data, 130 an interrupt. Faults of the program itself are
    not caught: they end with a traceback and exit code 1.
    """
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again to go on.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise
        return EXIT_BROKEN_PIPE
    except Exception as error:
        from robopref.commands.wording import describe

        message = describe(error)
        if message is None:
            raise
        if os.environ.get("ROBOPREF_DEBUG"):
            import traceback

            traceback.print_exc()
        rank = os.environ.get("RANK", "0")
        print(f"{'' if rank == '0' else f'Rank {rank}: '}Error: {message}", file=sys.stderr)
        return EXIT_ERROR
    return code


def parse(argv: Sequence[str]) -> Any:
    """Return the command that `argv` (a verb and its options) describes, ready to `run()`.

    Raises:
        UnknownNameError: There is no such verb, or no such component.
        ValueError: An option is out of its range.
        SystemExit: An option is unknown or cannot be read, or help was asked for.
    """
    verb, rest = _split_verb(list(argv))
    command_class = load(verb)
    if not rest and not _has_options_to_read(command_class):
        return command_class()
    from robopref.options import parse_options

    return parse_options(command_class, rest, program=f"robopref {verb}")


def load(verb: str) -> type[Any]:
    """Import and return the command class of `verb`."""
    import importlib

    module, _, name = VERBS[verb][0].partition(":")
    loaded: type[Any] = getattr(importlib.import_module(module), name)
    return loaded


def usage() -> str:
    """Return the list of verbs."""
    return (
        "usage: robopref VERB [options]\n\n"
        "Teach robots what people prefer.\n\n"
        f"{_list_verbs(VERBS)}\n\n"
        "  --help                     show this list; after a verb: its options and an example\n"
        "  --version                  show the version\n\n"
        "Start with: robopref demo"
    )


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if argv[0] == "--version":
        from robopref import __version__

        print(f"robopref {__version__}")
        return 0
    members = {verb: VERBS[verb] for verb in VERBS if verb.startswith(f"{argv[0]} ")}
    if members and (len(argv) == 1 or argv[1] in ("-h", "--help")):
        print(f"usage: robopref {argv[0]} VERB [options]\n\n{_list_verbs(members)}")
        return 0 if len(argv) > 1 else EXIT_ERROR
    _configure_messages()
    command = parse(argv)
    try:
        with _among_processes(command, _split_verb(argv)[0]):
            command.run()
    except Exception as error:
        from robopref.commands.wording import name_options

        name_options(error, type(command))
        raise
    return 0


@contextlib.contextmanager
def _among_processes(command: Any, verb: str) -> Iterator[None]:
    """Let one of the processes that a launcher started together speak for all.

    Raises:
        ValueError: The command is not one that several can share.
    """
    from robopref.progress import is_first, is_launched

    if not is_launched():
        yield
        return
    if not getattr(command, "several_processes", False):
        raise ValueError(
            f"'robopref {verb}' runs in one process, and {os.environ['WORLD_SIZE']} were "
            "started. Run it without the launcher; train policy, train reward, train iql, align "
            "and deform can use several."
        )
    with contextlib.ExitStack() as stack:
        if not is_first():
            nowhere = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        yield
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _split_verb(argv: list[str]) -> tuple[str, list[str]]:
    """Return the verb at the start of `argv`, of one word or two, and the rest."""
    for length in (2, 1):
        verb = " ".join(argv[:length])
        if verb in VERBS:
            return verb, argv[length:]
    from robopref.errors import UnknownNameError, did_you_mean

    two_words = any(verb.startswith(f"{argv[0]} ") for verb in VERBS) if argv else False
    given = " ".join(argv[: 2 if two_words else 1])
    raise UnknownNameError(
        f"No command named '{given}'.{did_you_mean(given, VERBS)} "
        "Run 'robopref --help' for the list."
    )


def _has_options_to_read(command_class: type[Any]) -> bool:
    """Return whether a field is required, or is a component whose config has to be built."""
    import dataclasses

    return any(
        "registry" in field.metadata
        or (field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING)
        for field in dataclasses.fields(command_class)
    )


def _configure_messages() -> None:
    """Show robopref's warnings in one line each, and none of other packages."""
    import logging
    import warnings

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", module="robopref")


def _list_verbs(verbs: dict[str, tuple[str, str]]) -> str:
    return "\n".join(f"  {verb:<25}  {summary}" for verb, (_, summary) in verbs.items())


def _stdout_is_closed() -> bool:
    """Return whether the reader of standard output has gone; then nothing more is written to it."""
    import select

    try:
        descriptor = sys.stdout.fileno()
    except OSError:  # Not a file of the system.
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        return False
    # What is still buffered would fail again when Python flushes it at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    return True


if __name__ == "__main__":
    sys.exit(main())
