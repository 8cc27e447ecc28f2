"""Clips on disk, named by their content: several servers may share the folder.

What was not looked at for longest goes first when the folder grows beyond its bound.
"""

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robopref.config import replacing
from robopref.errors import check_at_least
from robopref.labeling.worker import ClipError

_OURS = re.compile(r"\.?[0-9a-f]{40}\.(mp4|webm)(\.\d+\.partial)?")
"""Names of files that may be removed, whatever else is in the folder."""
_ABANDONED_S = 600.0
"""Age after which a file that was being written [s] belongs to a process that died."""


class ClipCache:
    """A folder of clips that does not grow beyond a bound.

    Args:
        directory: The folder; made when it is first written to.
        max_bytes: The bound.

    Raises:
        ValueError: The bound is below one megabyte, less than a clip or two.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        check_at_least("max_bytes", max_bytes, 2**20)
        self.directory = directory
        self.max_bytes = max_bytes
        self._written = max_bytes  # Nothing is known yet of what others wrote.

    def find(self, name: str) -> Path | None:
        """Return the path of a clip and note that it was looked at; None if it is not there."""
        path = self.directory / name
        try:
            os.utime(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:  # Another user's: it can be read, and its age is theirs to keep.
            return path if os.access(path, os.R_OK) else None
        return path

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield where to write a clip, which is then in its place as a whole.

        Raises:
            ClipError: The folder cannot be written to; a full disk is first made some room on.
        """
        try:
            with replacing(self.directory / name) as partial:
                yield partial
                self._written += partial.stat().st_size
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self.trim(self._size() // 2)
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ClipError(
                f"Clips cannot be written to '{self.directory}': {reason}. Free space or fix the "
                "permission; queries go on by themselves then.",
                passing=True,
            ) from error
        # Reading the folder's content costs more than writing a clip does.
        if self._written > self.max_bytes // 16:
            self.trim(self.max_bytes)

    def trim(self, max_bytes: int) -> None:
        """Remove what was not looked at for longest, until `max_bytes` are left."""
        files = sorted(self._files(), key=lambda entry: entry[1].st_mtime)
        total = sum(stat.st_size for _, stat in files)
        for path, stat in files:
            is_partial = path.suffix == ".partial"
            if is_partial and time.time() - stat.st_mtime < _ABANDONED_S:
                continue
            if is_partial or total > max_bytes:
                path.unlink(missing_ok=True)
                total -= stat.st_size
        self._written = 0

    def _size(self) -> int:
        return sum(stat.st_size for _, stat in self._files())

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Yield the files; others may be removing them."""
        try:
            entries = list(os.scandir(self.directory))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            try:
                if _OURS.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    yield Path(entry.path), entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
