"""Data sets that lie elsewhere, behind any URL that fsspec opens: object storage, hubs, the web.

A copy of what is used is kept in a folder of this machine's cache. The tables of episodes are
copied when the data set is opened, a file of steps or frames when something of it is first read.
What has changed there since is copied anew. Nothing is ever written there.

Examples of URLs: `s3://bucket/episodes`, `hf://datasets/owner/name`, `https://host/episodes`.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from robopref.config import write_text_atomically
from robopref.data.index import Index, files_of
from robopref.data.reader import Reader
from robopref.data.rows import EpisodeRow
from robopref.data.schema import EPISODES, INFO
from robopref.data.store import EpisodeStore
from robopref.data.stored import load
from robopref.errors import DataError, MissingExtraError

log = logging.getLogger(__name__)

T = TypeVar("T")

CACHE_VARIABLE = "ROBOPREF_CACHE"
"""Names the folder of the cache; without it, `robopref` in the user's."""
LISTING = "listing.json"
WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""How long is waited before each further try where a server does not answer [s]."""
REFRESH_S = 10.0
"""How long a listing is taken to be true [s]."""
_FLEETING = ("atime", "mode", "uid", "gid", "ino", "nlink")
"""What is said of a file that may change while its content does not."""


def cache_folder() -> Path:
    """Return where copies are kept."""
    named = os.environ.get(CACHE_VARIABLE)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(base) / "robopref"


class Mirror:
    """The copy of one data set.

    Args:
        url: Where it lies.

    Raises:
        DataError: It cannot be reached or read, or is no data set.
        MissingExtraError: What opens such URLs is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._files, self._root = self._file_system()
        digest = hashlib.sha256(url.encode()).hexdigest()[:16]
        self.folder = cache_folder() / "data" / digest
        self.folder.mkdir(parents=True, exist_ok=True)
        self._listed: dict[str, str] = {}
        self._asked_s = -REFRESH_S

    def update(self) -> bool:
        """Take in what has changed there; return whether anything had.

        It is not asked again within `REFRESH_S`.
        """
        if time.monotonic() < self._asked_s + REFRESH_S:
            return False
        listed = self._retried(self._list)
        self._asked_s = time.monotonic()
        kept = self._kept_listing()
        if listed == kept:
            self._listed = listed
            return False
        for name in kept:
            if listed.get(name) != kept[name]:
                (self.folder / name).unlink(missing_ok=True)
        # What is half copied after a kill is not what the old listing says.
        write_text_atomically(self.folder / LISTING, json.dumps({}))
        self._listed = listed
        for name in listed:
            if name.startswith("meta/"):
                self.fetch(self.folder / name)
        write_text_atomically(self.folder / LISTING, json.dumps(listed))
        return True

    def fetch(self, path: Path) -> None:
        """Copy a file of the data set here unless it is here; one that it has not is left to fail.

        Args:
            path: Where the copy is to be.

        Raises:
            DataError: It cannot be read there.
        """
        name = path.relative_to(self.folder).as_posix()
        if path.exists() or name not in self._listed:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        source = f"{self._root}/{name}"
        try:
            self._retried(lambda: self._files.get_file(source, str(partial)))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def check_complete(self, rows: list[EpisodeRow]) -> None:
        """Refuse a data set of which files are missing: its upload was cut off, or goes on.

        Raises:
            DataError: The episode table names a file that is not there.
        """
        # The table's own files were listed, or there would be no rows.
        named = {path for path in files_of(rows) if EPISODES not in path.parents}
        missing = sorted(path.as_posix() for path in named if path.as_posix() not in self._listed)
        if missing:
            raise DataError(
                f"'{self.url}' lacks {len(missing)} of the {len(named)} files that its episode "
                f"table names, '{missing[0]}' among them: its upload has not finished. Wait until "
                "it has, or upload what is missing."
            )

    def _file_system(self) -> tuple[Any, str]:
        import fsspec

        scheme = self.url.partition(":")[0]
        try:
            files, root = fsspec.core.url_to_fs(self.url)
        except ImportError as error:
            raise MissingExtraError(
                f"'{scheme}://' needs a package that is not installed: {error}. Those for https "
                "and S3 are in an extra: pip install 'robopref[remote]'"
            ) from error
        except ValueError as error:
            raise DataError(f"'{self.url}' cannot be opened: {error}.") from error
        return files, str(root).rstrip("/")

    def _list(self) -> dict[str, str]:
        """Return what there is, and what tells a file from what it was before."""
        self._files.invalidate_cache()
        # A listing passes over what cannot be read; reading says why.
        self._files.cat_file(f"{self._root}/{INFO.as_posix()}")
        found = self._files.find(self._root, detail=True)
        listed = {}
        for path, facts in found.items():
            name = PurePosixPath(path).relative_to(PurePosixPath(self._root)).as_posix()
            if name.startswith(("data/", "videos/", "meta/")):
                kept = {key: value for key, value in facts.items() if key not in _FLEETING}
                listed[name] = json.dumps(kept, sort_keys=True, default=str)
        return listed

    def _kept_listing(self) -> dict[str, str]:
        try:
            kept: dict[str, str] = json.loads((self.folder / LISTING).read_text())
        except (OSError, ValueError):
            return {}
        return kept

    def _retried(self, work: Callable[[], T]) -> T:
        """Do what needs the server, again where it does not answer; put failures into words."""
        for wait_s in (*WAITS_S, None):
            try:
                return work()
            except (FileNotFoundError, NotADirectoryError) as error:
                raise DataError(
                    f"There is no whole LeRobot data set at '{self.url}' ({_said(error)}). Give "
                    "the URL of the folder that holds 'meta' and 'data'."
                ) from error
            except PermissionError as error:
                raise self._forbidden(error) from error
            except Exception as error:
                if _status(error) in (401, 403):
                    raise self._forbidden(error) from error
                if wait_s is None or not _passes(error):
                    raise DataError(f"'{self.url}' cannot be read: {_said(error)}.") from error
                log.warning(
                    "'%s' does not answer (%s); trying again in %g s.",
                    self.url, _said(error), wait_s,
                )  # fmt: skip
                time.sleep(wait_s)
        raise AssertionError("the last try returns or raises")

    def _forbidden(self, error: Exception) -> DataError:
        return DataError(
            f"'{self.url}' may not be read: {_said(error)}. Give this machine credentials that "
            "may, as the storage's own tools take them."
        )


class RemoteStore(EpisodeStore):
    """Episodes that lie elsewhere, to be read.

    Args:
        url: Where.
        cache_size: Episodes kept in memory.

    Raises:
        DataError: It cannot be reached or read, or is no data set.
        MissingExtraError: What opens such URLs is not installed.
    """

    def __init__(self, url: str, *, cache_size: int = 256) -> None:
        self._mirror = Mirror(url)
        self._mirror.update()
        super().__init__(self._loaded(), cache_size=cache_size)

    @property
    def location(self) -> str:
        """The URL."""
        return self._mirror.url

    def refresh(self) -> bool:
        """Take in what has changed there; return whether anything had."""
        # Another process of this machine may have copied the change.
        if not self._mirror.update() and self._index.is_current:
            return False
        self._take(self._loaded())
        return True

    def _loaded(self) -> Index:
        index = load(self._mirror.folder)
        self._mirror.check_complete(index.rows)
        return index

    def _make_reader(self) -> Reader:
        return Reader(self.root, self._index.features, self._mirror.fetch)

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        raise DataError(
            f"'{self.location}' can only be read, so {what} cannot be written there. Copy it "
            f"first: robopref data merge --data {self.location} --out FOLDER"
        )
        yield


def _status(error: Exception) -> int | None:
    """Return the HTTP status of an error that has one."""
    status = getattr(error, "status", None)
    if status is None:
        status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _passes(error: Exception) -> bool:
    """Whether a failure may be over soon: of the connection, or of a server that is busy."""
    status = _status(error)
    if status is not None:
        return status == 429 or status >= 500
    names = {cls.__name__ for cls in type(error).__mro__}
    return isinstance(error, (OSError, TimeoutError)) or bool(
        names & {"ClientError", "TransportError", "ConnectionError"}
    )


def _said(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__).rstrip(".")
