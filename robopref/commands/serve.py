"""`robopref serve`: a policy on this machine answers arms on others."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import UseAppendAction

from robopref.access import find_token
from robopref.commands.collect import name_policy

if TYPE_CHECKING:
    from robopref.serving.server import PolicyServerConfig


@dataclass(frozen=True)
class ServeCommand:
    """Answer over WebSocket what a policy would do; on a GPU, if there is one.

    `robopref deploy --server ws://HOST:PORT` asks it from the machine of the arm, and so does any
    robot that speaks openpi's client protocol.

    Example:
        robopref serve --policy runs/demo/aligned --port 0 --stop-after 1
    """

    policy: Path
    """Run of the policy."""
    reward: Path | None = None
    """Run of a reward, by which the policy's proposals are chosen."""
    host: str = "127.0.0.1"
    """Address to listen at; any but this machine's own needs a token."""
    port: int = 8000
    """Port to listen at; 0 for any that is free."""
    token: str | None = None
    """What clients must give; None takes it from the environment variable ROBOPREF_TOKEN, which
    other users of this machine cannot see."""
    key: UseAppendAction[tuple[str, ...]] = ()
    """What clients call an observation, as `theirs=ours`, such as
    "observation/state=observation.state"."""
    max_message_mib: float = 32.0
    """Largest message that is read [MiB]."""
    deadline: float = 10.0
    """A question that waited so long for its turn is refused, if it says nothing itself [s]."""
    device: Literal["auto", "cpu"] = "auto"
    """Where the policy computes; "auto" for the best there is."""
    stop_after: float | None = None
    """Stop after so many seconds; None goes on until Ctrl-C."""

    def __post_init__(self) -> None:
        """Check the settings."""
        self._settings()

    def run(self) -> None:
        """Serve until Ctrl-C."""
        import asyncio

        from accelerate import Accelerator

        from robopref.align.actors import policy_spec
        from robopref.serving.messages import Served
        from robopref.serving.server import PolicyServer

        device = Accelerator(cpu=self.device == "cpu").device
        policy = policy_spec(self.policy, self.reward).load(device)
        served = Served.of(policy, name_policy(self.policy, self.reward), device)
        server = PolicyServer(policy, served, self._settings(), device)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(server.run(announce=self._announce, stop_after_s=self.stop_after))
        print(f"{server.num_answers} answers.")

    def _announce(self, address: str) -> None:
        print(f"Serving {self.policy} at {address}; Ctrl-C stops.", flush=True)
        print(f"Next:   robopref deploy --server {address}", flush=True)

    def _settings(self) -> "PolicyServerConfig":
        from robopref.serving.server import PolicyServerConfig

        keys = {}
        for text in self.key:
            theirs, _, ours = text.partition("=")
            if not theirs or not ours:
                raise ValueError(f"`key` must be like theirs=ours, got '{text}'.")
            keys[theirs] = ours
        return PolicyServerConfig(
            self.host, self.port, find_token(self.token), self.max_message_mib,
            deadline_s=self.deadline, keys=keys,
        )  # fmt: skip
