"""The side that has the policy: answers over WebSocket, one question at a time.

Shapes: B batch, N candidates, To observation steps, Tp action chunk, Da action size.
"""

import asyncio
import contextlib
import hmac
import http
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robopref.access import LOOPBACK, TOKEN_VARIABLE, bind, check_token
from robopref.errors import check_above, check_at_least, check_between
from robopref.seeding import make_generator
from robopref.serving.messages import Request, Served, parse
from robopref.serving.wire import WireError, need, pack, unpack

MIB = 2**20


@dataclass(frozen=True)
class PolicyServerConfig:
    """Settings of a policy's server.

    Raises:
        ValueError: A number is out of its range, or others could reach it without a token.
    """

    host: str = "127.0.0.1"
    """Address to listen at; any but this machine's own needs a token."""
    port: int = 8000
    """Port to listen at; 0 for any that is free."""
    token: str | None = None
    """What clients must give."""
    max_message_mib: float = 32.0
    """Largest message that is read [MiB]."""
    max_clients: int = 16
    """So many may be connected at once."""
    deadline_s: float = 10.0
    """A question that waited so long for its turn is refused, if it says nothing itself [s]."""
    keys: dict[str, str] = field(default_factory=dict)
    """The policy's keys by the names that clients use for them."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_between("port", self.port, 0, 65535)
        check_above("max_message_mib", self.max_message_mib, 0)
        check_at_least("max_clients", self.max_clients, 1)
        check_above("deadline_s", self.deadline_s, 0)
        check_token(self.token)
        if self.host not in LOOPBACK and not self.token:
            raise ValueError(
                f"At {self.host} everybody on the network could ask. Give a token: "
                f"{TOKEN_VARIABLE}=... in the environment, here and for the clients."
            )


class PolicyServer:
    """Answers what is asked of a policy.

    Args:
        policy: A `Policy` of the protocols.
        served: What clients are told of it.
        config: Settings.
        device: Where the policy computes.

    Raises:
        ValueError: `config.keys` names an observation that the policy has not.
    """

    def __init__(
        self, policy: Any, served: Served, config: PolicyServerConfig, device: Any = "cpu"
    ) -> None:
        unknown = sorted(set(config.keys.values()) - set(served.obs_shapes))
        if unknown:
            raise ValueError(
                f"The policy does not observe '{unknown[0]}', but: {', '.join(served.obs_shapes)}."
            )
        self.policy, self.served, self.config, self.device = policy, served, config, device
        self.num_answers = 0
        self._clients = 0
        self._draws = 0
        # One thread: a policy answers one question at a time, and the server stays responsive.
        self._thread = ThreadPoolExecutor(1, "policy")

    async def run(self, *, announce: Callable[[str], None], stop_after_s: float | None) -> None:
        """Serve until cancelled.

        Args:
            announce: Called with the address once it listens.
            stop_after_s: Stop after so long [s]; None for never.

        Raises:
            DataError: The port is taken, or the address is not this machine's.
        """
        serve = need("websockets.asyncio.server").serve
        config = self.config
        listener = bind(config.host, config.port)
        # Pages of other sites may open WebSockets to this machine, and say so by an origin.
        async with serve(
            self._converse, sock=listener, compression=None, origins=[None],
            max_size=int(config.max_message_mib * MIB), process_request=self._admit,
        ) as server:  # fmt: skip
            host = f"[{config.host}]" if ":" in config.host else config.host
            announce(f"ws://{host}:{listener.getsockname()[1]}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(server.wait_closed(), stop_after_s)

    def _admit(self, connection: Any, request: Any) -> Any:
        """Return why a connection is refused, or nothing."""
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if self.config.token is not None:
            # openpi's client says "Api-Key".
            _, _, given = request.headers.get("Authorization", "").partition(" ")
            if not hmac.compare_digest(given.encode(), self.config.token.encode()):
                return connection.respond(http.HTTPStatus.UNAUTHORIZED, "Wrong or no token.\n")
        if self._clients >= self.config.max_clients:
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "Too many clients.\n")
        return None

    async def _converse(self, connection: Any) -> None:
        self._clients += 1
        gone = need("websockets.exceptions").ConnectionClosed
        try:
            with contextlib.suppress(gone):
                await connection.send(pack(self.served.message()))
                async for data in connection:
                    await connection.send(await self._answer(data, time.monotonic()))
        finally:
            self._clients -= 1

    async def _answer(self, data: bytes | str, came_s: float) -> bytes | str:
        """Return the answer to a message; a text says why there is none."""
        try:
            if isinstance(data, str):
                raise WireError("A request is bytes of msgpack, got text.")
            request = parse(unpack(data), self.served, self.config.keys)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._work, request, came_s)
        except WireError as error:
            return str(error)
        # Whatever is wrong with one question, the next may be right.
        except Exception as error:
            return f"The policy failed: {type(error).__name__}: {error}"

    def _work(self, request: Request, came_s: float) -> bytes:
        import torch

        began = time.monotonic()
        deadline_s = request.deadline_s or self.config.deadline_s
        if began - came_s > deadline_s:
            raise WireError(
                f"The request waited {began - came_s:.2f} s for its turn, more than the "
                f"{deadline_s:.2f} s after which it is of no use."
            )
        with torch.inference_mode():
            obs = {
                key: torch.from_numpy(value).to(self.device) for key, value in request.obs.items()
            }
            if request.seed is None:
                self._draws += 1
                generator = make_generator(self._draws, "served")
            else:
                generator = make_generator(request.seed, "served")
            if request.num_candidates is None:
                chunks = self.policy.predict_action_chunk(obs, generator)
            else:
                chunks = self.policy.sample(obs, request.num_candidates, generator)
        self.num_answers += 1
        return pack(_reply(chunks.cpu().numpy(), request, time.monotonic() - began))


def _reply(chunks: np.ndarray, request: Request, took_s: float) -> Mapping[str, Any]:
    actions = chunks[0] if request.is_openpi else chunks
    return {"actions": actions, "server_timing": {"infer_ms": 1000 * took_s}}
