"""One writer at a time on a folder, between processes and between threads of one."""

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FolderLock:
    """A lock that the system frees when its holder dies, however it dies.

    It can be taken again by who holds it. On systems without `fcntl` it holds within one process.

    Args:
        path: The file that carries the lock; made when it is first taken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread_lock = threading.RLock()
        self._depth = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock and keep it inside the block."""
        with self._thread_lock:
            if self._depth:
                yield
                return
            with self.path.open("a") as file:
                _lock(file.fileno())
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1


def folder_lock(path: Path) -> FolderLock:
    """Return this process's lock on `path`: the same object for whoever asks while it is in use.

    Two locks of one process on one file would wait for each other for ever.
    """
    with _LOCKS_GUARD:
        return _LOCKS.setdefault(path.resolve(), FolderLock(path))


_LOCKS: weakref.WeakValueDictionary[Path, FolderLock] = weakref.WeakValueDictionary()
_LOCKS_GUARD = threading.Lock()


def _lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)
