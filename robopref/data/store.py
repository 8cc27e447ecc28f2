"""The episode store: a LeRobot v3.0 data set that survives a kill at any instant.

`add` writes one file an episode, and returns when the episode is on disk. Commit order: video and
data files, then the episode's file in `meta/episodes` (the commit point), then the summaries.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from robopref.data.episode import Episode
from robopref.data.hashing import episode_hash
from robopref.data.index import LOOSE_EPISODES, Index, write_summaries
from robopref.data.lock import folder_lock
from robopref.data.rewrite import rewrite
from robopref.data.rows import EpisodeRow
from robopref.data.schema import STATS
from robopref.data.stored import LOCK, StoredEpisodes, load
from robopref.data.writer import Recording, check_fits, commit
from robopref.errors import DataError, check_above
from robopref.locations import as_url

COMPACT_EVERY = 1000
"""Files of a few episodes after which the store compacts itself."""


GROUP_EPISODES = 1000
"""Episodes that `add_all` writes into one file, at most."""
GROUP_BYTES = 100_000_000
"""About how large what it holds in memory gets before it writes."""


class EpisodeStore(StoredEpisodes):
    """Episodes on disk. Made by `create` or `open`.

    Several processes may use one store: writers take turns, and readers see what was added when
    they ask for an episode that they do not know, or call `refresh`.

    Args:
        index: What is in the data set.
        cache_size: Episodes kept in memory.

    Example:
        >>> import tempfile, numpy as np
        >>> from robopref.data.segment import Segment
        >>> store = EpisodeStore.create(tempfile.mkdtemp(), fps=10)
        >>> outcome = np.zeros(3, np.float32)
        >>> episode = Episode(
        ...     "id-1", {"observation.state": np.ones((4, 2), np.float32)},
        ...     np.zeros((3, 1), np.float32), outcome, outcome > 0, False, True, "env", "task",
        ...     seed=0, fps=10,
        ... )
        >>> store.add(episode)
        >>> store.cut(Segment("id-1", 1, 2))[0]["observation.state"].shape
        (2, 2)
    """

    def __init__(self, index: Index, *, cache_size: int = 256) -> None:
        super().__init__(index, cache_size=cache_size)
        self._lock = folder_lock(index.root / LOCK)

    @classmethod
    def create(cls, path: str | Path, *, fps: float, cache_size: int = 256) -> "EpisodeStore":
        """Make an empty store in a folder that is empty or does not exist.

        After a kill, what it left can be opened, or made again where `open` finds no data set.

        Raises:
            DataError: The folder holds files.
            ValueError: `fps` is not positive.
        """
        root = Path(path)
        check_above("fps", fps, 0)
        if _holds_files(root):
            raise DataError(
                f"'{root}' holds files already. Continue with EpisodeStore.open, or give another "
                "folder."
            )
        write_summaries(root, Index(root, {}, fps, []), {})
        return cls.open(root, cache_size=cache_size)

    @classmethod
    def open(cls, path: str | Path, *, cache_size: int = 256) -> "EpisodeStore":
        """Open a store; what an interrupted writer left undone is finished or ignored.

        Args:
            path: Its folder; or the URL of one, to be read (see `robopref.data.remote`).
            cache_size: Episodes kept in memory.

        Raises:
            FileNotFoundError: There is no such folder.
            DataError: It is no data set, of another version, or its episode table is damaged; or
                the URL cannot be read.
            MissingExtraError: What opens such URLs is not installed.
        """
        url = as_url(path)
        if url is not None:
            from robopref.data.remote import RemoteStore

            return RemoteStore(url, cache_size=cache_size)
        return cls(load(Path(path)), cache_size=cache_size)

    @property
    def location(self) -> str:
        """Where the data set lies: its folder, or the URL that it is a copy of."""
        return str(self.root)

    def size_mb(self) -> float:
        """Return how large its files are [MB]."""
        return sum(p.stat().st_size for p in self.root.rglob("*") if p.is_file()) / 1e6

    def add(self, episode: Episode) -> None:
        """Store an episode; when this returns, it is on disk.

        An episode that is there already with equal content changes nothing, so that a resumed run
        may record again. Every 1,000 small files the store compacts itself.

        Raises:
            DataError: The episode does not fit the data set, another episode has its id, or it
                cannot be written. Nothing that was stored is lost.
        """
        self.add_all([episode])

    def add_all(self, episodes: Iterable[Episode]) -> int:
        """Store many episodes, in few files; return how many were new.

        They are written a thousand or so at a time, so that what comes of a long iterator needs
        little memory. Interrupted, it can be called again.

        Raises:
            DataError: As `add`. Those before the episode that failed are stored.
        """
        new = (episode for episode in episodes if not self.holds(episode))
        return self._commit_all(map(Recording.of, new))

    def holds(self, episode: Episode) -> bool:
        """Return whether an equal episode is stored.

        Raises:
            DataError: Another episode has its id.
        """
        return self._is_stored(episode.id, episode_hash(episode))

    def merge(self, other: "EpisodeStore") -> int:
        """Add the episodes of another store; return how many were new.

        Interrupted, it can be called again. Camera streams are copied without loss.

        Raises:
            DataError: The other store has other columns or another rate, or one id stands for two
                contents. Episodes before the one that failed are merged.
        """
        new = (r for r in other.rows if not self._is_stored(r.episode_id, r.content_hash))
        return self._commit_all(other.recording(row.episode_id) for row in new)

    def delete(self, episode_ids: Iterable[str]) -> None:
        """Remove episodes and compact; segments of the others stay what they are.

        Raises:
            DataError: The store has no such episode, or an episode to keep cannot be read.
        """
        gone = {self.row(episode_id).episode_id for episode_id in episode_ids}
        with self._writing("the episodes that stay"):
            self._rewrite([row for row in self._index.rows if row.episode_id not in gone])

    def compact(self) -> None:
        """Write many files into few; the old ones stay until the new ones are in place.

        Raises:
            DataError: A file is missing or damaged; nothing has changed then.
        """
        with self._writing("the episodes in fewer files"):
            self._rewrite(self._index.rows)

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Hold the writers' lock on fresh content; put failures to write into words."""
        try:
            with self._lock.held():
                self.refresh()
                yield
        except OSError as error:
            raise DataError(
                f"Writing {what} to '{error.filename or self.root}' failed: {error.strerror}. "
                f"The {len(self)} episodes in '{self.root}' are unharmed. Free space or fix the "
                "permission, then run the same command again."
            ) from error

    def _is_stored(self, episode_id: str, content_hash: str) -> bool:
        row = self._index.by_id.get(episode_id)
        if row is not None:
            self._check_same(episode_id, content_hash, row.content_hash)
        return row is not None

    def _check_same(self, episode_id: str, content_hash: str, stored_hash: str) -> None:
        if content_hash != stored_hash:
            raise DataError(
                f"'{self.root}' has another episode with the id '{episode_id}'. Give the new one "
                "an id of its own, or delete the old one first."
            )

    def _commit_all(self, recordings: Iterable[Recording]) -> int:
        """Write recordings in groups; return how many were new."""
        num = 0
        for group in _groups(recordings):
            alone = len(group) == 1
            with self._writing(
                f"episode {group[0].episode.id}" if alone else f"{len(group)} episodes"
            ):
                num += self._commit(group)
        return num

    def _commit(self, group: Sequence[Recording]) -> int:
        """Write those of a group that are new into one file, and compact when it is time.

        Of a group with one that does not fit, those before it are written.
        """
        new: dict[str, Recording] = {}
        refused: DataError | None = None
        try:
            for recording in group:
                if self._is_new(recording, new):
                    new[recording.episode.id] = recording
        except DataError as error:
            refused = error
        if new:
            first = not len(self)
            self._statistics = commit(list(new.values()), self._index, self.stats())
            self._num_loose += len(new) <= LOOSE_EPISODES
            if first:
                self._reader = self._make_reader()
            if self._num_loose >= COMPACT_EVERY:
                self.compact()
        if refused is not None:
            raise refused
        return len(new)

    def _is_new(self, recording: Recording, beside: Mapping[str, Recording]) -> bool:
        """Return whether a recording is neither stored nor among others; raise if it cannot be."""
        episode = recording.episode
        content_hash = episode_hash(episode)
        if self._is_stored(episode.id, content_hash):
            return False
        if episode.id in beside:
            self._check_same(episode.id, content_hash, episode_hash(beside[episode.id].episode))
            return False
        first = next(iter(beside.values()), None)
        check_fits(recording, self._index, first)
        return True

    def _rewrite(self, keep: list[EpisodeRow]) -> None:
        rewrite(self._index, keep)
        self.refresh()


def _groups(recordings: Iterable[Recording]) -> Iterator[list[Recording]]:
    """Yield recordings that go into one file."""
    group: list[Recording] = []
    num_bytes = 0
    try:
        for recording in recordings:
            group.append(recording)
            num_bytes += recording.num_bytes
            if len(group) == GROUP_EPISODES or num_bytes > GROUP_BYTES:
                yield group
                group, num_bytes = [], 0
    except DataError:
        # Where one cannot be read, those before it are stored.
        if group:
            yield group
        raise
    if group:
        yield group


def _holds_files(root: Path) -> bool:
    """Whether a folder holds more than a `create` that was interrupted leaves there."""
    left = {root / LOCK, root / STATS}
    files = (path for path in root.rglob("*") if not path.is_dir())
    return any(path not in left and path.suffix != ".partial" for path in files)
