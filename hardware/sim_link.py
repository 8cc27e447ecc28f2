"""A connection to the controller of a simulated arm, and that controller as a process."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Any

from robopref.errors import HardwareError
from robopref.hardware.sim_messages import MAX_BYTES, Address, Kind, json_bytes, json_of

ANSWER_S = 1.0
"""An answer that takes longer does not come [s]."""


class SimLink:
    """A connection to a controller.

    Args:
        address: Where it is.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(address)
        self._socket.setblocking(False)
        self._asking = threading.RLock()
        self._number = 0
        self._waiting: list[bytes] = []
        self._answers: dict[int, dict[str, Any]] = {}

    def send(self, data: bytes) -> None:
        """Send a datagram; whether it arrives is not known."""
        # The controller may be gone: then its states stay out, which is noticed.
        with contextlib.suppress(ConnectionError, BlockingIOError):
            self._socket.send(data)

    def incoming(self) -> list[bytes]:
        """Return the states that came since the last call."""
        with self._asking:
            self._receive()
            found, self._waiting = self._waiting, []
            return found

    def tell(self, do: str, **content: Any) -> None:
        """Ask for something without waiting for an answer; whether it arrives is not known."""
        self.send(self._request(do, content)[1])

    def ask(self, do: str, **content: Any) -> dict[str, Any]:
        """Return the controller's answer; asked again while none comes.

        Raises:
            HardwareError: None came, or it refuses.
        """
        with self._asking:
            number, request = self._request(do, content)
            deadline = time.monotonic() + ANSWER_S
            while time.monotonic() < deadline:
                self.send(request)
                answer = self._wait_for(number, min(deadline, time.monotonic() + 0.1))
                if answer is not None and "error" in answer:
                    raise HardwareError(str(answer["error"]))
                if answer is not None:
                    return answer
        host, port = self.address
        raise HardwareError(
            f"No controller answers at {host}:{port}. Is it running, and the address right?"
        )

    def _request(self, do: str, content: dict[str, Any]) -> tuple[int, bytes]:
        with self._asking:
            self._number += 1
            request = {"id": self._number, "do": do, **content}
            return self._number, json_bytes(Kind.REQUEST, request)

    def close(self) -> None:
        """Let go."""
        self._socket.close()

    def _wait_for(self, number: int, deadline: float) -> dict[str, Any] | None:
        while time.monotonic() < deadline:
            self._receive()
            if number in self._answers:
                return self._answers.pop(number)
            time.sleep(0.0005)
        return None

    def _receive(self) -> None:
        while True:
            try:
                data = self._socket.recv(MAX_BYTES)
            except (BlockingIOError, ConnectionError):
                return
            if data and data[0] == Kind.STATE:
                self._waiting.append(data)
            elif data and data[0] == Kind.ANSWER:
                answer = json_of(data)
                # An answer that nobody waits for is to something told.
                if answer is not None and answer["id"] == self._number:
                    self._answers = {answer["id"]: answer}


class SimProcess:
    """A controller in a process of its own, from its making to `close`.

    Args:
        config: The arm, as `to_dict` gives it.

    Raises:
        HardwareError: It does not start.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "robopref.hardware.sim_server"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(config) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        found = json.loads(line) if line else {"error": "The controller did not start."}
        if "error" in found:
            self.close()
            raise HardwareError(found["error"])
        self.address: Address = ("127.0.0.1", int(found["port"]))

    def __enter__(self) -> "SimProcess":
        """Return it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self.close()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def close(self) -> None:
        """Let it brake and end; may be called twice."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def parse_address(text: str) -> Address:
    """Return host and port of "HOST:PORT".

    Raises:
        ValueError: It is of another form.

    Example:
        >>> parse_address("127.0.0.1:30004")
        ('127.0.0.1', 30004)
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"`address` must read HOST:PORT, such as 127.0.0.1:30004, got '{text}'.")
    return host, int(port)
