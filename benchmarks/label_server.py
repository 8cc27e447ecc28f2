"""The labelling server of the load test, as a process that is killed and started again."""

import contextlib
import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

_START_S = 120.0
"""A server that does not answer within this time [s] has failed."""


class Server:
    """`robopref label` as a process that is killed and started."""

    def __init__(self, data: Path, location: str, folder: Path, *, overlap: int) -> None:
        self.overlap = overlap
        self.port = _find_port()
        self.clips = folder / "label" / "clips"
        """Where its clips are drawn."""
        self._log = folder / "server.log"
        self._command = [
            sys.executable, "-m", "robopref.cli", "label", "--data", str(data), "--db", location,
            "--out", str(folder / "label"), "--port", str(self.port), "--no-browser",
            "--overlap", str(self.overlap),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run the server inside the block."""
        self.start()
        try:
            yield
        finally:
            if self._process is not None:
                self._process.terminate()
                self._process.wait()

    def start(self) -> float:
        """Start the server; return after how many seconds it answered.

        Raises:
            RuntimeError: It ended, or did not answer.
        """
        began = time.monotonic()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        while time.monotonic() - began < _START_S:
            if self._process.poll() is not None:
                break
            if self._answers():
                return time.monotonic() - began
            time.sleep(0.05)
        raise RuntimeError(f"The server does not answer:\n{self._log.read_text()[-2000:]}")

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/api/project")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        """End the server as a power cut would, with every process that it started."""
        assert self._process is not None
        server = psutil.Process(self._process.pid)
        members = [*server.children(recursive=True), server]
        for process in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        # The system takes a killed process away a little later, and until then it may still write.
        while any(_is_alive(process) for process in members):
            time.sleep(0.01)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _find_port() -> int:
    """Return a free port that the system gives to no client.

    A client that tries a closed port again and again may be given that very port for its own end,
    and is then connected with itself.
    """
    for port in range(20_000, 30_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("No port is free.")
