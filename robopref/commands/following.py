"""What to do next, as command lines that run as they are printed."""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robopref.locations import as_url

if TYPE_CHECKING:
    from robopref.preferences.store import PreferenceStore

DEFAULT_CRITERION = "overall"


def command(*words: object) -> str:
    """Return `robopref` with these words, quoted where a shell would take them apart.

    Example:
        >>> command("data info", "--data", Path("runs/my reach"))
        "robopref data info --data 'runs/my reach'"
    """
    verb, *options = (as_url(str(word)) or str(word) for word in words)
    return " ".join(["robopref", verb, *([shlex.join(options)] if options else [])])


def by(criterion: str) -> list[str]:
    """Return the option for a criterion; none for the usual one."""
    return [] if criterion == DEFAULT_CRITERION else ["--criterion", criterion]


def answer(data: Path, db: str, *, annotator: str = "person", criterion: str = "overall") -> str:
    """Return how to answer what waits."""
    who = [] if annotator == "person" else ["--annotator", annotator]
    return command("answer", "--data", data, "--db", db, *who, *by(criterion))


def train_reward(data: Path, db: str | Path, criterion: str = DEFAULT_CRITERION) -> str:
    """Return how to train on answers, in a folder that no other data set or criterion has."""
    options = ["--data", str(data), "--db", str(db), *by(criterion)]
    for folder in _reward_folders(data, criterion):
        out = [] if folder == DEFAULT_REWARD else ["--out", str(folder)]
        if _goes_on(folder, [*options, *out]):
            return command("train reward", *options, *out)
    raise AssertionError("one of the numbered folders is free")


def only_ties(labels: int, decided: int) -> str:
    """Return what to say where there are labels and none of them prefers anything."""
    return " All are ties, which tell a reward nothing." if labels and not decided else ""


DEFAULT_REWARD = Path("runs/reward")
"""Where `robopref train reward` puts its run unless it is told otherwise."""


def _reward_folders(data: Path, criterion: str) -> Iterator[Path]:
    if criterion == DEFAULT_CRITERION:
        yield DEFAULT_REWARD
    parts = [data.resolve().name, *by(criterion)[1:], "reward"]
    yield from _numbered(Path("runs") / "-".join(re.sub(r"[^\w.]+", "-", part) for part in parts))


def _numbered(folder: Path) -> Iterator[Path]:
    """Yield a folder, and others beside it without end."""
    number = 1
    while True:
        yield folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        number += 1


def _goes_on(folder: Path, options: list[str]) -> bool:
    """Return whether a reward can be trained in `folder` with these options."""
    if not folder.exists():
        return True
    # Only now: the components of a reward bring in torch.
    from robopref.align.run import Run
    from robopref.commands.train_reward import TrainRewardCommand
    from robopref.options import parse_options

    config = parse_options(TrainRewardCommand, options, program="robopref train reward")
    return Run.can_go_on(folder, config)


def free_folder(folder: Path) -> Path:
    """Return `folder`, or one beside it with a number that is not there yet."""
    return next(place for place in _numbered(folder) if not place.exists())


def answered_data(store: "PreferenceStore", db: str) -> Path | None:
    """Return the data set that the queries of a store are about, if it is where it was."""
    import sqlalchemy as sa

    from robopref.preferences import tables

    queries = tables.queries.c
    newest = sa.select(queries.context).order_by(queries.seq.desc()).limit(1)
    with store.database.reading() as connection:
        context: Mapping[str, Any] = connection.scalar(newest) or {}
    places = [Path(context["data"])] if "data" in context else []
    places += [] if "://" in db else [Path(db).parent]
    return next((place for place in places if (place / "meta" / "info.json").is_file()), None)


def judging(env: str, metadata: Mapping[str, Any]) -> list[str]:
    """Return the options of a command that judges policies as the episodes that taught them.

    Only by a behaviour that experts of these episodes were told to show.

    Args:
        env: Environment of the episodes.
        metadata: Of one of them.
    """
    from robopref.envs import BEHAVIOURS

    words = ["--env", env]
    named = str(metadata.get("policy", "")).removeprefix("expert:")
    if named not in BEHAVIOURS.names():
        return words
    try:
        BEHAVIOURS.config_class(named)().check_env(env)
    except ValueError:
        return words
    return [*words, "--behaviour", named]
