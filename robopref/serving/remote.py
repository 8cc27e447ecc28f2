"""The side that has the arm: a policy like any other, which asks one that is served elsewhere.

Shapes: B batch, N candidates, To observation steps, Tp action chunk, Da action size.
"""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from robopref.access import TOKEN_VARIABLE, find_token
from robopref.align.actors import Actor, PolicyActor
from robopref.diffusion import Randomness
from robopref.errors import HardwareError, check_above
from robopref.policies.execution import ChunkExecution
from robopref.protocols import Environment
from robopref.serving.messages import Request, Served
from robopref.serving.wire import WireError, need, pack, unpack

if TYPE_CHECKING:
    from torch import Tensor


class PolicyUnreachable(HardwareError):  # noqa: N818 - as the other errors of hardware
    """The policy's server does not answer, or not in time."""


@dataclass(frozen=True)
class RemoteSpec:
    """A policy that is served elsewhere.

    Args:
        server: Its address, as "ws://HOST:PORT".
        deadline_s: An answer that takes longer is an error [s].

    Raises:
        ValueError: It is no such address, or the time is not above 0.
    """

    server: str
    deadline_s: float = 2.0

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.server.startswith(("ws://", "wss://")):
            raise ValueError(
                f"`server` must be like ws://HOST:PORT, as `robopref serve` prints it, "
                f"got '{self.server}'."
            )
        check_above("deadline_s", self.deadline_s, 0)

    def load(self) -> "RemotePolicy":
        """Return the policy, connected; the token is read from the environment."""
        return RemotePolicy(self, find_token())

    def build(self, envs: Sequence[Environment]) -> Actor:
        """Connect and build the actor."""
        return PolicyActor(self.load())


class RemotePolicy(ChunkExecution):
    """A `Policy` that asks a server.

    Args:
        spec: Where it is.
        token: What the server wants to be given.

    Raises:
        PolicyUnreachable: It is not there, or refuses.
        WireError: What answers there is no server of robopref.
    """

    def __init__(self, spec: RemoteSpec, token: str | None = None) -> None:
        self.spec = spec
        self._token = token
        self._connection: Any = None
        self._open = contextlib.ExitStack()
        self.served = self._connect()
        self.n_obs_steps = self.served.n_obs_steps
        self.chunk_size = self.served.chunk_size
        self.n_action_steps = self.served.n_action_steps
        self.obs_shapes = self.served.obs_shapes
        self.action_dim = self.served.action_dim
        self.reset()

    def predict_action_chunk(self, obs: Mapping[str, "Tensor"], generator: Randomness) -> "Tensor":
        """Return one chunk (B, Tp, Da) for observations (B, To, ...).

        Raises:
            PolicyUnreachable: No answer came in time.
            WireError: The server refuses the question; the text says why.
        """
        return self._ask(obs, generator, None)

    def sample(
        self, obs: Mapping[str, "Tensor"], num_candidates: int, generator: Randomness
    ) -> "Tensor":
        """Return candidates (B, N, Tp, Da) for observations (B, To, ...); raises as above."""
        return self._ask(obs, generator, num_candidates)

    def close(self) -> None:
        """End the connection; may be called twice."""
        self._connection = None
        self._open.close()

    def _connect(self) -> Served:
        errors = need("websockets.exceptions")
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else None
        try:
            connecting = need("websockets.sync.client").connect(
                self.spec.server, compression=None, max_size=None, additional_headers=headers,
                open_timeout=self.spec.deadline_s, close_timeout=self.spec.deadline_s,
            )  # fmt: skip
            self._connection = self._open.enter_context(connecting)
            return Served.parse(unpack(self._connection.recv(timeout=self.spec.deadline_s)))
        except errors.InvalidStatus as error:
            raise PolicyUnreachable(
                f"The policy's server at {self.spec.server} refuses: "
                f"{(error.response.body or b'').decode(errors='replace').strip()} "
                f"Set {TOKEN_VARIABLE} in the environment to the server's token."
            ) from error
        except (OSError, errors.WebSocketException) as error:
            self.close()
            raise self._unreachable(error) from error

    def _ask(self, obs: Mapping[str, "Tensor"], generator: Randomness, num: int | None) -> "Tensor":
        import torch

        if not isinstance(generator, torch.Generator):
            rows = [{k: v[i : i + 1] for k, v in obs.items()} for i in range(len(generator))]
            return torch.cat(
                [self._ask(row, each, num) for row, each in zip(rows, generator, strict=True)]
            )
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        arrays = {key: obs[key].cpu().numpy() for key in self.obs_shapes}
        request = Request(arrays, num, seed, self.spec.deadline_s)
        reply = self._exchange(pack(request.message()))
        batch = len(next(iter(arrays.values())))
        shape = (batch, *(() if num is None else (num,)), self.chunk_size, self.action_dim)
        return torch.from_numpy(_actions(reply, shape))

    def _exchange(self, data: bytes) -> dict[str, Any]:
        """Send a question and return its answer; a connection that was lost is made once more."""
        errors = need("websockets.exceptions")
        end = time.monotonic() + self.spec.deadline_s
        try:
            try:
                answer = self._send(data, end)
            except errors.ConnectionClosed:
                self.close()
                answer = self._send(data, end)
        except (OSError, errors.WebSocketException) as error:
            # A late answer would be taken for that to the next question.
            self.close()
            raise self._unreachable(error) from error
        if isinstance(answer, str):
            raise WireError(f"The policy's server at {self.spec.server} refuses: {answer}")
        return unpack(answer)

    def _send(self, data: bytes, end: float) -> bytes | str:
        if self._connection is None and self._connect() != self.served:
            raise PolicyUnreachable(
                f"{self.spec.server} serves another policy than before. Start again."
            )
        connection: Any = self._connection
        connection.send(data)
        answer: bytes | str = connection.recv(timeout=max(end - time.monotonic(), 0.0))
        return answer

    def _unreachable(self, error: Exception) -> PolicyUnreachable:
        what = (
            f"did not answer within {self.spec.deadline_s:g} s"
            if isinstance(error, TimeoutError)
            else f"cannot be reached: {error}"
        )
        return PolicyUnreachable(
            f"The policy's server at {self.spec.server} {what}. Look whether `robopref serve` runs "
            "there and listens at that address."
        )


def _actions(reply: Mapping[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    actions = reply.get("actions")
    if not isinstance(actions, np.ndarray) or actions.shape != shape:
        got = getattr(actions, "shape", type(actions).__name__)
        raise WireError(f"The server's actions must have shape {shape}, got {got}.")
    if not np.isfinite(actions).all():
        raise WireError("The server's actions are not finite.")
    return actions.astype(np.float32, copy=False)
