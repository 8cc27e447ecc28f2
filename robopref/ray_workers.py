"""Workers on a Ray cluster, or on one that this machine starts for itself (extra `scale`).

Ray places each piece of work where its resources are free, and begins it again elsewhere when the
process or machine that had it is lost; what comes of it is taken once.

Source: Moritz et al., "Ray: A Distributed Framework for Emerging AI Applications" (OSDI 2018).
"""

import functools
import hashlib
import importlib
import importlib.metadata
import os
import pickle
import platform
import socket
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from robopref.errors import RoboprefError, check_above, check_at_least
from robopref.progress import forget_launcher, is_first
from robopref.registry import import_extra
from robopref.workers import Workers

R = TypeVar("R")

CONNECT_S = 5.0
"""Time within which the head of a cluster has to answer [s]."""
PATIENCE_S = 300.0
"""Time for which no machine has room before that is an error [s]."""
STORE_BYTES = 512 * 2**20
"""Memory for results on their way, of a cluster that this machine starts."""
ENTRY = "robopref.ray_workers"
"""What a worker imports to work."""
RESULT, ERROR, REFUSED = "result", "error", "refused"
DECISIVE = ("mujoco", "numpy", "torch")
"""Packages that decide results; a worker has to have the same version."""


class RayError(RoboprefError):
    """Raised when a Ray cluster cannot be reached, or cannot do the work."""


@dataclass(frozen=True)
class RayConfig:
    """Whether work is done on Ray, and what a piece of it takes."""

    ray: bool = False
    """Work on Ray: on the cluster that RAY_ADDRESS names, or on one that this machine starts for it
    with --num-workers workers."""
    ray_address: str | None = None
    """Cluster to work on: HOST:PORT of its head, from one of its machines; "auto" for that of this
    machine; ray://HOST:PORT from elsewhere. There are as many workers as it has room for then."""
    ray_cpus: float = 1.0
    """CPU cores of a worker; it is placed on a machine that has them free."""
    ray_gpus: float = 0.0
    """GPUs of a worker; less than 1 shares one."""
    ray_memory_gb: float = 0.0
    """Memory that is set aside for a worker [GB]."""
    ray_retries: int = 3
    """How often work whose worker was lost is begun again, before that is an error."""

    option_prefix: ClassVar[str] = ""
    """Stands before these options in a command, in the place of the field's name."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_above("ray_cpus", self.ray_cpus, 0)
        for name in ("ray_gpus", "ray_memory_gb", "ray_retries"):
            check_at_least(name, getattr(self, name), 0)
        if self.ray_gpus > 1 and self.ray_gpus % 1:
            raise ValueError(f"`ray_gpus` must be whole above 1, got {self.ray_gpus}.")

    def build(self, num_workers: int) -> Workers:
        """Return workers, which are on this machine unless Ray was asked for.

        Of processes that a launcher started together only the main one has work for others.

        Args:
            num_workers: Workers where this machine starts them.

        Raises:
            ValueError: Nobody would work.
        """
        if not is_first():
            return Workers(0)
        if not self.ray and self.ray_address is None:
            return Workers(num_workers)
        check_at_least("num_workers", num_workers, 1)
        return RayWorkers(self, num_workers)

    def needs(self) -> dict[str, float]:
        """Return what a worker takes, by Ray's names."""
        needs = {"CPU": self.ray_cpus, "GPU": self.ray_gpus, "memory": self.ray_memory_gb * 1e9}
        return {name: amount for name, amount in needs.items() if amount}


class RayWorkers(Workers):
    """Workers of a Ray cluster; use with `with`.

    A process that is connected to Ray already works on that cluster and stays connected.

    Args:
        config: Which cluster, and what a worker takes.
        num_workers: Workers of a cluster that this machine starts.
    """

    may_repeat = True

    def __init__(self, config: RayConfig, num_workers: int = 2) -> None:
        super().__init__(num_workers)
        self.config = config
        self._ray: Any = None
        self._machines: dict[str, str] = {}
        self._room = 0
        self._full_since_s: float | None = None

    def __exit__(self, *exception: object) -> None:
        """Drop what is not done, and leave the cluster, or end it if it was started for this."""
        super().__exit__(*exception)
        if self._ray is not None and self._owns:
            self._ray.shutdown()
        self._ray = None

    @property
    def num_at_once(self) -> int:
        """Workers that the machines of the cluster have room for now."""
        return max(1, self._room)

    def _start(self) -> Executor:
        """Connect.

        Raises:
            MissingExtraError: Ray is not installed.
            RayError: The cluster cannot be reached, or has another Ray or Python.
        """
        # Asked for before its first import, after which it is too late.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._ray = import_extra("ray", purpose="Work on Ray", extra="scale")
        self._owns = not self._ray.is_initialized()
        if self._owns:
            self._connect(self.config.ray_address or os.environ.get("RAY_ADDRESS") or "local")
        self._count()
        return _RayExecutor(self._ray, self.config)

    def _connect(self, address: str) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        if address == "local":
            options |= {
                "num_cpus": self.num_workers * self.config.ray_cpus, "include_dashboard": False,
                "object_store_memory": STORE_BYTES,
            }  # fmt: skip
        elif address != "auto":
            _check_answers(address)
        try:
            self._ray.init(address, **options)
        # Ray has no class of its own for what goes wrong here.
        except (RuntimeError, ConnectionError, ValueError, OSError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise RayError(
                f"Cannot work on the Ray cluster '{address}': {reason}. This machine needs the "
                "Ray and Python that it has, and its token (RAY_AUTH_MODE=token) if it has one."
            ) from error

    def _look(self, tell: Callable[[str], None]) -> None:
        """Say which machines were lost, and give up if there is no room for too long."""
        before = dict(self._machines)
        self._count()
        for name in sorted(before.keys() - self._machines.keys()):
            tell(f"Lost the machine {before[name]}; what it was doing is done again elsewhere.")
        if self._room:
            self._full_since_s = None
            return
        needs = ", ".join(f"{amount:g} {name}" for name, amount in self.config.needs().items())
        if self._full_since_s is None:
            self._full_since_s = time.monotonic()
            tell(f"No machine of the Ray cluster has {needs}: waiting for one.")
        elif time.monotonic() - self._full_since_s > PATIENCE_S:
            raise RayError(
                f"No machine of the Ray cluster had {needs} for {PATIENCE_S:.0f} s. Add one, or "
                "ask for less with --ray-cpus, --ray-gpus and --ray-memory-gb."
            )

    def _count(self) -> None:
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        self._machines = {node["NodeID"]: node["NodeManagerHostname"] for node in alive}
        self._room = sum(
            int(min(node["Resources"].get(k, 0) / amount for k, amount in needs.items()))
            for needs in [self.config.needs()] for node in alive
        )  # fmt: skip


class _RayExecutor(Executor):
    """Ray's remote functions with the interface of `concurrent.futures`."""

    def __init__(self, ray: Any, config: RayConfig) -> None:
        self._ray = ray
        self._config = config
        self._running: dict[Future[Any], Any] = {}
        needs = config.needs()
        self._remote = ray.remote(
            num_cpus=needs["CPU"], num_gpus=config.ray_gpus, memory=needs.get("memory"),
            max_retries=config.ray_retries,
            max_calls=0,  # A process is kept, with its environments.
        )(_make_remote())  # fmt: skip
        # Stored once for all that is submitted.
        self._expected = ray.put(pickle.dumps(Place.here()))

    def submit(self, function: Callable[..., R], /, *args: Any, **named: Any) -> Future[R]:
        """Have `function` called on the cluster."""
        # Ray's pickle also knows functions of the script that is run.
        job = self._ray.cloudpickle.dumps(functools.partial(function, *args, **named))
        reference = self._remote.remote(job, self._expected)
        future: Future[R] = Future()
        self._running[future] = reference
        reference.future().add_done_callback(functools.partial(self._settle, future))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Drop what is not done yet, whatever was asked: its results would have no reader."""
        for future, reference in list(self._running.items()):
            future.cancel()
            self._ray.cancel(reference)

    def _settle(self, future: Future[R], answered: Future[tuple[str, bytes]]) -> None:
        """Pass on what came, unless nobody waits for it any more."""
        self._running.pop(future, None)
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(self._result(answered))
        # Whatever it is, who waits has to hear of it.
        except Exception as error:
            future.set_exception(error)

    def _result(self, answered: Future[tuple[str, bytes]]) -> Any:
        error = answered.exception()
        if error is not None:
            raise self._word(error)
        kind, found = answered.result()
        if kind == REFUSED:
            raise RayError(found.decode())
        result = pickle.loads(found)
        if kind == ERROR:
            raise result
        return result

    def _word(self, error: Any) -> BaseException:
        failed = self._ray.exceptions
        if isinstance(error, failed.RayTaskError) and isinstance(error.cause, ImportError):
            reason = (
                "A machine of the Ray cluster has no robopref that can work with this one: "
                f"{error.cause}. Install the same there."
            )
        elif isinstance(error, failed.RayError):
            reason = (
                f"Ray gave up on a piece of work, after {self._config.ray_retries} retries at "
                f"most: {str(error).strip().splitlines()[0]} What is finished is kept: run the "
                "same command again to go on."
            )
        else:
            found: BaseException = error
            return found
        worded = RayError(reason)
        worded.__cause__ = error
        return worded


@dataclass(frozen=True)
class Place:
    """What has to be the same where work is done and where it is asked for.

    Args:
        host: Name of the machine; may differ.
        folder: Working directory; a worker goes there, so that relative paths lead to the same.
        versions: Of Python, of packages that decide results, and a digest of robopref's code.
    """

    host: str
    folder: str
    versions: dict[str, str]

    @classmethod
    def here(cls) -> "Place":
        """Return what is here."""
        return cls(socket.gethostname(), os.getcwd(), dict(_versions()))

    def check(self, expected: "Place") -> None:
        """Refuse a place where results would be others.

        Raises:
            RayError: A version differs.
        """
        for name, wanted in expected.versions.items():
            found = self.versions.get(name, "none")
            if found != wanted:
                raise RayError(
                    f"The machine {self.host} of the Ray cluster has {name} {found}, and "
                    f"{expected.host} has {wanted}: results would differ. Install the same there."
                )


def answer(job: bytes, expected: Place) -> tuple[str, bytes]:
    """Work in a process of Ray; return the pickled result or error, and which of them it is."""
    import torch

    torch.set_num_threads(1)
    forget_launcher()
    if os.path.isdir(expected.folder):
        os.chdir(expected.folder)
    place = Place.here()
    try:
        place.check(expected)
        return RESULT, pickle.dumps(pickle.loads(job)())
    except Exception as error:
        if not isinstance(error, OSError) or place.host == expected.host:
            return ERROR, pickle.dumps(error)
        reason = (
            f"On the machine {place.host} of the Ray cluster: {error}. All machines have to see "
            "the files of a run under the same path."
        )
        return REFUSED, reason.encode()


def _make_remote() -> Callable[[bytes, bytes], tuple[str, bytes]]:
    """Return a function that goes to workers by value: robopref may be missing there."""
    module = ENTRY
    remote = lambda job, place: importlib.import_module(module).answer(job, pickle.loads(place))  # noqa: E731
    remote.__name__ = remote.__qualname__ = "robopref"  # As Ray calls it where it failed.
    return remote


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for package in DECISIVE:
        # What stands behind the + says what torch was built for, not which release it is.
        found[package] = importlib.metadata.version(package).partition("+")[0]
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for folder, folders, files in os.walk(root, followlinks=True):
        folders.sort()
        for name in sorted(files):
            if name.endswith(".py"):
                path = Path(folder, name)
                digest.update(f"{path.relative_to(root)}".encode() + path.read_bytes())
    found["robopref code"] = digest.hexdigest()[:12]
    return tuple(found.items())


def _check_answers(address: str) -> None:
    """Refuse an address where nobody listens; Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise RayError(
            f"`ray_address` must read 'auto', 'HOST:PORT' or 'ray://HOST:PORT', got '{address}'."
        )
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        raise RayError(
            f"No Ray cluster answers at '{address}': {error.strerror or error}. Start its head "
            "with 'ray start --head', and give the address that it prints."
        ) from error
