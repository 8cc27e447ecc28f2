"""`robopref data`: look at data sets, check them, and convert them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robopref.commands.following import answer, answered_data, command, free_folder
from robopref.errors import DataError, check_at_least, check_choice

if TYPE_CHECKING:
    from robopref.data.robomimic_format import SimulatorFile
    from robopref.data.store import EpisodeStore
    from robopref.preferences.store import PreferenceStore

PREFERENCE_FORMATS = ("chosen-rejected", "jsonl", "npz", "parquet")
PREFERENCE_SUFFIXES = {".jsonl": "jsonl", ".npz": "npz", ".parquet": "parquet"}


@dataclass(frozen=True)
class InfoCommand:
    """Show what a data set holds.

    Example:
        robopref data info --data runs/demo/pool
    """

    data: Path
    """Folder of the data set."""

    def run(self) -> None:
        """Print two tables: the data set, and its columns."""
        from rich.console import Console
        from rich.table import Table

        from robopref.data.store import EpisodeStore

        store = EpisodeStore.open(self.data)
        console = Console()
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, value in _facts(store):
            table.add_row(name, value)
        console.print(table)
        columns = Table("column", "each step", box=None, pad_edge=False)
        for key, feature in store.features.items():
            columns.add_row(key, str(feature))
        console.print("", columns)
        for line in store.report:
            console.print(f"Note: {line}", highlight=False, soft_wrap=True)
        print(f"Next:   {command('data validate', '--data', self.data)}")


@dataclass(frozen=True)
class ValidateCommand:
    """Check every file of a data set: hashes, numbers, lengths, frames.

    Example:
        robopref data validate --data runs/demo/pool
    """

    data: Path
    """Folder of the data set."""
    drop_damaged: bool = False
    """Delete the episodes that cannot be read or have changed; the others stay."""

    def run(self) -> None:
        """List each problem; with any left, end with an error."""
        from robopref.data.store import EpisodeStore

        store = EpisodeStore.open(self.data)
        for line in store.report:
            print(f"Note: {line}")
        if self.drop_damaged:
            damaged = store.damaged_ids()
            if damaged:
                store.delete(damaged)
            print(f"Deleted {len(damaged)} damaged episodes.")
        problems = store.validate()
        for line in problems:
            print(line)
        if problems:
            raise DataError(f"'{self.data}' has {len(problems)} problems, listed above.")
        print(f"'{self.data}' is sound: {len(store)} episodes, {store.num_steps} steps.")
        print(f"Next:   {command('data compact', '--data', self.data)}")


@dataclass(frozen=True)
class CompactCommand:
    """Join the small files of a data set into few large ones.

    Old files stay until the new ones are in place; an interruption loses nothing.

    Example:
        robopref data compact --data runs/demo/pool
    """

    data: Path
    """Folder of the data set."""

    def run(self) -> None:
        """Compact, and print the number of files before and after."""
        from robopref.data.store import EpisodeStore

        store = EpisodeStore.open(self.data)
        before = _num_files(self.data)
        store.compact()
        print(f"{len(store)} episodes: {before} files before, {_num_files(self.data)} now.")
        print(f"Next:   {command('data info', '--data', self.data)}")


@dataclass(frozen=True)
class ImportCommand:
    """Read a data set of another format: robomimic HDF5, Minari, or a buffer of diffusion_policy.

    A new data set appears complete or not at all: where a source cannot be read, or by Ctrl-C,
    nothing is left. A data set that is there keeps what it has. Importing the same again adds
    nothing, so an interrupted import may be repeated.

    Example:
        robopref data import --source runs/demo/pool.hdf5 --out runs/pool
    """

    source: Path
    """File (robomimic), folder (Minari), or NAME.zarr or NAME.zarr.zip (diffusion_policy) to
    read."""
    out: Path
    """Data set to write to; made if missing."""
    format: str | None = None
    """"robomimic", "minari" or "diffusion-policy"; by default what the source looks like."""
    filter_key: str | None = None
    """robomimic: only the demonstrations of this mask."""
    fps: float | None = None
    """Steps a second [Hz], where the source does not say."""

    def __post_init__(self) -> None:
        """Check ranges."""
        from robopref.data.formats import FORMATS

        if self.format is not None:
            check_choice("format", self.format, FORMATS)
        if self.fps is not None:
            check_at_least("fps", self.fps, 1e-3)

    def run(self) -> None:
        """Read, store, and print what was added."""
        from robopref.data.formats import format_of, read_episodes
        from robopref.data.importing import import_episodes
        from robopref.progress import Progress

        name = format_of(self.source, self.format)
        episodes = read_episodes(self.source, name, filter_key=self.filter_key, fps=self.fps)
        with Progress(f"import {name}", 0) as bar:
            done = import_episodes(bar.counting(episodes), self.out, self.source)
        print(
            f"Imported {done.num_new} episodes from {self.source}; {self.out} has {done.num_total}."
        )
        if done.num_there:
            print(f"Note: {done.num_there} episodes of {self.source} were there already.")
        if done.num_equal:
            print(
                f"Note: {done.num_equal} episodes of {self.source} equal another one of it and "
                "were kept once."
            )
        print(f"Next:   {command('data info', '--data', self.out)}")


@dataclass(frozen=True)
class ExportCommand:
    """Write a data set or its preferences in another format.

    Episodes are LeRobot v3.0 as they are and need no export for that. Preferences with the segments
    that they are about become an npz file as Preference Transformer and IPL read it.

    Example:
        robopref data export --data runs/demo/pool --out runs/demo/pool.hdf5
        robopref data export --db runs/demo/preferences.sqlite --out runs/demo/answers.jsonl
        robopref data export --db runs/reach/preferences.sqlite --data runs/reach --out a.npz
    """

    out: Path
    """File or folder to write."""
    data: Path | None = None
    """Data set to export: as robomimic HDF5 (a name like x.hdf5) or Minari (a name like x-v0)."""
    db: str | None = None
    """Preference store to export instead, or as npz with its data set: a SQLite file, or a URL."""
    format: str | None = None
    """"robomimic" or "minari"; for preferences "jsonl", "npz", "parquet" or "chosen-rejected"."""

    def __post_init__(self) -> None:
        """Check that there is one thing to export, in a format that it has."""
        from robopref.data.formats import WRITTEN

        if self.data is None and self.db is None:
            raise ValueError("Give one of `data` and `db`: what to export.")
        if self.format is not None:
            known = WRITTEN if self.db is None else PREFERENCE_FORMATS
            check_choice("format", self.format, known)
        if self.db is not None and (self.data is None) == (self._preference_format() == "npz"):
            raise ValueError(
                "`data` and `db` go together for the format 'npz', which holds the segments with "
                "the answers, and for no other. Give one of them, or a name like x.npz."
            )

    def run(self) -> None:
        """Export, and print how much."""
        if self.db is not None:
            self._export_preferences(self.db)
        elif self.data is not None:
            self._export_episodes(self.data)

    def _export_episodes(self, data: Path) -> None:
        from robopref.data.formats import WRITTEN, format_of, write_episodes
        from robopref.data.store import EpisodeStore

        name = format_of(self.out, self.format, WRITTEN)
        store = EpisodeStore.open(data)
        simulator = _simulator_file(store) if name == "robomimic" else None
        num = write_episodes(store, self.out, name, simulator=simulator)
        print(f"Exported {num} episodes to {self.out} ({name}).")
        again = free_folder(data.with_name(f"{data.name}-again"))
        print(f"Next:   {command('data import', '--source', self.out, '--out', again)}")

    def _export_preferences(self, db: str) -> None:
        from robopref.preferences.store import PreferenceStore

        name = self._preference_format()
        if name is None:
            raise DataError(
                f"'{self.out}' looks like no known format. Give `format`: one of "
                f"{list(PREFERENCE_FORMATS)}."
            )
        with PreferenceStore(db, create=False) as store:
            writers: dict[str, Callable[[Path], int]] = {
                "jsonl": store.export_jsonl,
                "npz": partial(self._write_npz, store),
                "parquet": store.export_parquet,
                "chosen-rejected": store.export_chosen_rejected,
            }
            num = writers[name](self.out)
            data = self.data or answered_data(store, db)
        print(f"Exported {num} rows to {self.out} ({name}).")
        if data is not None:
            print(f"Next:   {answer(data, db)}")

    def _preference_format(self) -> str | None:
        return self.format or PREFERENCE_SUFFIXES.get(self.out.suffix)

    def _write_npz(self, store: "PreferenceStore", path: Path) -> int:
        from robopref.data.store import EpisodeStore
        from robopref.preferences.importers_npz import write_npz

        assert self.data is not None  # checked above
        return write_npz(store.preferences(), EpisodeStore.open(self.data).cut, path)


def _facts(store: "EpisodeStore") -> list[tuple[str, str]]:
    import statistics

    from robopref.data.episode import knows

    rows = store.rows
    facts = [
        ("data set", store.location),
        ("episodes", str(len(rows))),
        ("steps", f"{store.num_steps} at {store.fps:g} a second"),
        ("files", f"{_num_files(store.root)}, {store.size_mb():.1f} MB"),
    ]
    for env, num in Counter(row.env for row in rows).most_common():
        known = [row for row in rows if row.env == env and knows(row.metadata, "success")]
        solved = f"{sum(row.succeeded for row in known) / len(known):.0%} solved" if known else ""
        facts.append((env, f"{num} episodes, {solved or 'success not known'}"))
    for task, num in Counter(row.task for row in rows).most_common(8):
        facts.append((f"task '{task}'", f"{num} episodes"))
    if rows:
        lengths = sorted(row.length for row in rows)
        middle = f"median {statistics.median(lengths):.10g}"
        facts.append(("length", f"{lengths[0]} to {lengths[-1]} steps, {middle}"))
        facts.append(("ended", f"{sum(r.terminated for r in rows)} terminated"))
    return facts


def _simulator_file(store: "EpisodeStore") -> "SimulatorFile | None":
    """Return what made the episodes, where that is robomimic's simulator and they do not say."""
    if not store.rows or "env_args" in store.rows[0].metadata:
        return None
    env_id = store.rows[0].env
    if not env_id.startswith("robomimic/"):
        return None
    from robopref.envs.make import make_env

    env: Any = make_env(env_id)
    try:
        said: SimulatorFile = env.file_attributes()
    finally:
        env.close()
    return said


def _num_files(root: Path) -> int:
    patterns = ("data/*/*.parquet", "meta/episodes/*/*.parquet", "videos/*/*/*.mp4")
    return sum(1 for pattern in patterns for _ in root.glob(pattern))
