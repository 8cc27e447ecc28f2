"""Running a labelling project: what it is made of, and the web server around it."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robopref.access import bind, check_token
from robopref.data.schema import can_be_shown
from robopref.data.store import EpisodeStore
from robopref.errors import check_between
from robopref.labeling.background import Trainer
from robopref.labeling.clip_jobs import ClipConfig
from robopref.labeling.clip_service import ClipService
from robopref.labeling.clips import check_can_be_shown
from robopref.labeling.clouds import cloud_keys
from robopref.labeling.config import LabelConfig
from robopref.labeling.first_queries import draw_pairs
from robopref.labeling.recent import num_queries, recent_queries
from robopref.labeling.security import (
    allowed_hosts,
    check_host_name,
    is_loopback,
    reachable_name,
)
from robopref.labeling.service import LabelService
from robopref.labeling.sessions import Sessions
from robopref.preferences.query import Query
from robopref.preferences.store import PreferenceStore
from robopref.seeding import make_rng

NUM_FIRST = 20
"""Queries made before the first one is shown; more follow while it is answered."""
NUM_ASKED = 20_000
"""Newest queries whose pairs are not drawn again; to read a million takes a minute."""


@dataclass(frozen=True)
class ServerConfig:
    """Where a project is served, and from what."""

    data: Path
    """Data set that is compared."""
    db: str
    """Preference store: a SQLite file or a URL."""
    out: Path
    """Folder for the clips, and for what is learned on the way."""
    host: str = "127.0.0.1"
    """Address that the server listens at."""
    port: int = 8321
    """Port; 0 for any that is free."""
    token: str | None = None
    """What annotators must give to sign in; required at any address but this machine's own."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names by which the server is called, such as that of a proxy with TLS before it."""
    segment_length: int | None = 50
    """Steps of a segment of the queries that are made; None compares whole episodes."""
    first_queries: int = NUM_FIRST
    """Queries that are made where none waits; 0 for none."""
    seed: int = 0
    """Decides which queries are drawn."""
    clips: ClipConfig = field(default_factory=ClipConfig)
    """How clips are drawn."""

    def __post_init__(self) -> None:
        """Check that who is not on this machine needs a token, and that it cannot be guessed."""
        check_between("port", self.port, 0, 65535)
        for name in self.allowed_hosts:
            check_host_name("allowed_hosts", name)
        check_token(self.token)
        if not is_loopback(self.host) and self.token is None:
            raise ValueError(
                f"`host` '{self.host}' can be reached from other machines: give a `token` that "
                "annotators sign in with (ROBOPREF_TOKEN or --token), or listen at 127.0.0.1."
            )
        if self.allowed_hosts and self.token is None:
            raise ValueError(
                f"`allowed_hosts` {list(self.allowed_hosts)} can be called from other machines: "
                "give a `token` that annotators sign in with (ROBOPREF_TOKEN or --token)."
            )


@contextlib.contextmanager
def open_project(config: ServerConfig, project: LabelConfig) -> Iterator[LabelService]:
    """Yield the service of a project, with queries to ask.

    Raises:
        DataError: The data set or the store cannot be used, or there is nothing to compare.
        FileNotFoundError: There is no data set.
    """
    episodes = EpisodeStore.open(config.data)
    if not cloud_keys(episodes.features):  # Candidates can be shown without a picture.
        check_can_be_shown(episodes)
    clips = ClipService(config.clips, config.data, config.out / "clips")
    try:
        clips.start()
        clips.check_cameras()
        if config.first_queries and not _may_be_there(config.db):
            _draw(episodes, config, 1)  # What is refused here leaves no store behind.
        with PreferenceStore(config.db) as store:
            service = LabelService(project, store, episodes, clips)
            service.queue.fill()
            service.queue.unblock()  # What could not be shown may be back.
            service.queue.set_overlap()
            waiting = any(service.queue.num_open(name) for name in project.names)
            if config.first_queries and not waiting:
                add_random_queries(service, config, config.first_queries)
            yield service
    finally:
        clips.close()


def _may_be_there(db: str) -> bool:
    """Return whether there may be a store already; no server is asked."""
    return "://" in db or Path(db).exists()


def add_random_queries(service: LabelService, config: ServerConfig, num: int) -> None:
    """Draw pairs that were not asked lately, and queue them."""
    if not can_be_shown(service.episodes.features):
        return
    database = service.store.database
    asked = recent_queries(database, NUM_ASKED)
    queries = _draw(service.episodes, config, num, asked, num_before=num_queries(database))
    service.store.add_queries(
        queries, cut_hash=service.episodes.content_hash, context={"data": str(config.data)}
    )
    service.queue.fill()


def _draw(
    episodes: EpisodeStore,
    config: ServerConfig,
    num: int,
    asked: Sequence[Query] = (),
    *,
    num_before: int = 0,
) -> list[Query]:
    rng = make_rng(config.seed, "label", num_before)
    return draw_pairs(episodes, num, rng, segment_length=config.segment_length, asked=asked)


@contextlib.contextmanager
def ended_like_interrupted() -> Iterator[None]:
    """Leave the block at Ctrl-C or SIGTERM, so that what comes after it ends what it started."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, interrupt) if is_main else None
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)


def serve(
    service: LabelService,
    config: ServerConfig,
    *,
    announce: Callable[[str, Any], None] | None = None,
    trainer: Trainer | None = None,
    stop_after_s: float | None = None,
) -> None:
    """Serve a project until it is interrupted, by Ctrl-C or a signal to end.

    Args:
        service: The project.
        config: Where.
        announce: Told the address once the server listens, and given the server, whose
            `should_exit` ends it.
        trainer: What refits the reward meanwhile.
        stop_after_s: Stop by itself after this time [s].
    """
    # Not before they are needed: the help of the command answers sooner.
    import uvicorn

    from robopref.labeling.app import make_app
    from robopref.labeling.desk import Desk
    from robopref.labeling.management import Management

    listener = bind(config.host, config.port)
    management = Management(service)
    port = listener.getsockname()[1]
    desk = Desk(
        service,
        management,
        Sessions(service.store.database, config.token),
        f"robopref_session_{port}",
        trainer,
    )
    settings = uvicorn.Config(
        make_app(desk, allowed_hosts(config.host)).behind(config.allowed_hosts),
        log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=5,
        ws="none",
    )  # fmt: skip
    server = uvicorn.Server(settings)
    if announce is not None:
        host = reachable_name(config.host)
        name = f"[{host}]" if ":" in host else host
        announce(f"http://{name}:{port}/", server)
    if stop_after_s is not None:
        timer = threading.Timer(stop_after_s, lambda: setattr(server, "should_exit", True))
        timer.daemon = True
        timer.start()
    with contextlib.closing(management), ended_like_interrupted():
        server.run(sockets=[listener])  # when it is interrupted, it ends all requests first
