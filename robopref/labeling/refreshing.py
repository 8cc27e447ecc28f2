"""Keeping up with a data set that other programs change while it is labelled."""

import time

from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from robopref.labeling.worker import ClipError

_EVERY_S = 1.0
_TIMES_SPENT = 20.0


class Refresher:
    """Takes in what other processes did to a data set; not often, since it may be much.

    Args:
        episodes: The data set; one thread at a time uses it, and this.
    """

    def __init__(self, episodes: EpisodeStore) -> None:
        self.episodes = episodes
        self._next_s = 0.0

    def refresh(self) -> bool:
        """Take in what has changed, if some time has passed; return whether anything had.

        Raises:
            ClipError: The data set cannot be read now.
        """
        start = time.monotonic()
        if start < self._next_s:
            return False
        try:
            changed = self.episodes.refresh()
        except (DataError, OSError) as error:
            raise ClipError(str(error), passing=True) from error
        spent = time.monotonic() - start
        self._next_s = time.monotonic() + max(_EVERY_S, _TIMES_SPENT * spent)
        return changed
