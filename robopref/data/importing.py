"""Bringing the episodes of another format into a data set: all of them or none."""

import itertools
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from robopref.data.episode import Episode
from robopref.data.folders import check_is_free, new_folder
from robopref.data.store import EpisodeStore
from robopref.errors import DataError


@dataclass(frozen=True)
class Imported:
    """What an import came to.

    Args:
        num_new: Episodes that the data set did not have.
        num_there: Episodes that it had already.
        num_equal: Episodes that equal another one of the source, and were kept once.
        num_total: Episodes of the data set.
    """

    num_new: int
    num_there: int
    num_equal: int
    num_total: int


def import_episodes(episodes: Iterable[Episode], out: Path, source: Path) -> Imported:
    """Write episodes to a data set, which is made if missing, once all of them were read.

    They are written beside the data set, so that memory stays flat; then a new data set is renamed
    into its place, and one that is there gets those that it does not have. Where an episode cannot
    be read, and by Ctrl-C before that, nothing has changed. Ctrl-C while episodes are added to a
    data set that is there may leave some of them added; importing again adds the rest.

    Args:
        episodes: What to store.
        out: Folder of the data set.
        source: Where they come from, for messages.

    Raises:
        DataError: There are no episodes, one cannot be read or does not fit, or `out` holds
            something else.
    """
    times: Counter[str] = Counter()

    def counted() -> Iterator[Episode]:
        for episode in episodes:
            times[episode.id] += 1
            yield episode

    if (out / "meta" / "info.json").is_file():
        store = EpisodeStore.open(out)
        fresh = (episode for episode in counted() if not store.holds(episode))
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
            staged = _fill(Path(folder), fresh)
            num_new = 0 if staged is None else store.merge(staged)
    else:
        check_is_free(out)
        with new_folder(out) as partial:
            staged = _fill(partial, counted())
            if staged is None:
                raise DataError(f"'{source}' holds no episodes.")
            num_new = len(staged)
        store = EpisodeStore.open(out)
    return Imported(num_new, len(times) - num_new, times.total() - len(times), len(store))


def _fill(folder: Path, episodes: Iterator[Episode]) -> EpisodeStore | None:
    first = next(episodes, None)
    if first is None:
        return None
    store = EpisodeStore.create(folder, fps=first.fps)
    store.add_all(itertools.chain([first], episodes))
    return store
