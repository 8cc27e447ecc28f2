"""What is asked of a served policy, and what it answers.

Shapes: B batch, N candidates, To observation steps, Tp action chunk, Da action size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robopref.seeding import make_generator
from robopref.serving.wire import WireError

PROTOCOL = "robopref/1"
OBSERVATION = "observation"
"""A message that has it is one of robopref's own; all others are openpi's."""
MOST_CHUNKS = 4096
"""So many chunks are drawn for one request at most."""


@dataclass(frozen=True)
class Served:
    """A policy that is served, as its clients are told on connecting.

    Args:
        name: What it is called.
        obs_shapes: Shape of one observation by key.
        action_dim: Da.
        n_obs_steps: To.
        chunk_size: Tp.
        n_action_steps: So many actions of a chunk are executed before the next is asked for.
    """

    name: str
    obs_shapes: dict[str, tuple[int, ...]]
    action_dim: int
    n_obs_steps: int
    chunk_size: int
    n_action_steps: int

    @classmethod
    def of(cls, policy: Any, name: str, device: Any = "cpu") -> "Served":
        """Return what clients are told of a policy, asking it once, which also warms it up."""
        import torch

        shapes = {key: tuple(shape) for key, shape in policy.obs_shapes.items()}
        obs = {
            key: torch.zeros(1, policy.n_obs_steps, *shape, device=device)
            for key, shape in shapes.items()
        }
        with torch.inference_mode():
            chunk = policy.predict_action_chunk(obs, make_generator(0, "served"))
        return cls(
            name, shapes, chunk.shape[-1], policy.n_obs_steps, policy.chunk_size,
            policy.n_action_steps,
        )  # fmt: skip

    def message(self) -> dict[str, Any]:
        """Return it as a message."""
        return {"protocol": PROTOCOL, **vars(self)}

    @classmethod
    def parse(cls, message: Mapping[str, Any]) -> "Served":
        """Return what a message says.

        Raises:
            WireError: It is no server of robopref, or one of another version.
        """
        if message.get("protocol") != PROTOCOL:
            raise WireError(
                f"The server speaks {message.get('protocol')!r}, and '{PROTOCOL}' is needed. "
                "Serve the policy with `robopref serve` of the same version."
            )
        try:
            shapes = {str(k): tuple(map(int, v)) for k, v in dict(message["obs_shapes"]).items()}
            numbers = [int(message[name]) for name in _NUMBERS]
            name = str(message["name"])
        except (KeyError, TypeError, ValueError) as error:
            raise WireError(f"What the server says of its policy is damaged: {error}.") from error
        if min(numbers) < 1:
            raise WireError(f"What the server says of its policy is damaged: {numbers}.")
        return cls(name, shapes, *numbers)


_NUMBERS = ("action_dim", "n_obs_steps", "chunk_size", "n_action_steps")


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked.

    Args:
        obs: Observations (B, To, ...) by key, float32.
        num_candidates: N chunks are wanted for each; None for one.
        seed: Decides what is drawn; None for anything.
        deadline_s: The answer is of no use so long after the question came [s].
        is_openpi: openpi's client asks, which sends no batch and wants none back.
    """

    obs: dict[str, np.ndarray]
    num_candidates: int | None = None
    seed: int | None = None
    deadline_s: float | None = None
    is_openpi: bool = False

    def message(self) -> dict[str, Any]:
        """Return it as a message of robopref's own."""
        asked = {
            "num_candidates": self.num_candidates, "seed": self.seed, "deadline_s": self.deadline_s
        }  # fmt: skip
        return {OBSERVATION: self.obs} | {k: v for k, v in asked.items() if v is not None}


def parse(message: Mapping[str, Any], served: Served, keys: Mapping[str, str]) -> Request:
    """Return what a message asks of a policy.

    Args:
        message: As `Request.message` makes it; or observations by key, as openpi's client sends
            them: the newest step, (...), or the last To, (To, ...). Other entries, such as a
            prompt, say nothing to the policy and are passed over.
        served: The policy.
        keys: The policy's keys by the names that clients use for them.

    Raises:
        WireError: It asks for nothing that the policy can answer; the text says why.
    """
    if OBSERVATION not in message:
        given = {keys.get(key, key): value for key, value in message.items()}
        steps = {k: _openpi_steps(k, given.get(k), shape, served) for k, shape in _shapes(served)}
        return Request(_checked(steps, served), is_openpi=True)
    strange = sorted(set(message) - {OBSERVATION, "num_candidates", "seed", "deadline_s"})
    if strange:
        raise WireError(f"'{strange[0]}' is not part of a request.")
    given = message[OBSERVATION]
    if not isinstance(given, dict):
        raise WireError(f"`{OBSERVATION}` must be a map of arrays by key.")
    obs = _checked({key: given.get(key) for key, _ in _shapes(served)}, served)
    batch = len(next(iter(obs.values())))
    if batch > MOST_CHUNKS:
        raise WireError(f"At most {MOST_CHUNKS} chunks are drawn at once, asked for {batch}.")
    return Request(
        obs,
        _whole(message, "num_candidates", 1, MOST_CHUNKS // batch),
        _whole(message, "seed", 0, 2**63 - 1),
        _seconds(message, "deadline_s"),
    )


def _shapes(served: Served) -> Sequence[tuple[str, tuple[int, ...]]]:
    return list(served.obs_shapes.items())


def _openpi_steps(key: str, value: Any, shape: tuple[int, ...], served: Served) -> Any:
    """Return observations with an axis for the batch and one for the steps.

    What was before the only step that came is not known, so it counts as having been the same.
    """
    if isinstance(value, list):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.shape == shape:
        value = np.repeat(value[None], served.n_obs_steps, axis=0)
    elif isinstance(value, np.ndarray) and value.shape != (served.n_obs_steps, *shape):
        raise WireError(
            f"'{key}' must have shape {shape}, or {(served.n_obs_steps, *shape)} for the last "
            f"{served.n_obs_steps} steps, got {value.shape}."
        )
    return value[None] if isinstance(value, np.ndarray) else value


def _checked(obs: Mapping[str, Any], served: Served) -> dict[str, np.ndarray]:
    """Return observations in float32, all there, of the right shapes, and finite."""
    checked: dict[str, np.ndarray] = {}
    batch: int | str = "B"
    for key, shape in _shapes(served):
        value = obs[key]
        if not isinstance(value, np.ndarray):
            known = ", ".join(f"'{name}' {size}" for name, size in _shapes(served))
            raise WireError(f"'{key}' is not there as an array. The policy observes {known}.")
        if (
            value.ndim != 2 + len(shape)
            or value.shape[1:] != (served.n_obs_steps, *shape)
            or (batch != "B" and value.shape[0] != batch)
            or value.shape[0] == 0
        ):
            wanted = ", ".join(map(str, (batch, served.n_obs_steps, *shape)))
            raise WireError(f"'{key}' must have shape ({wanted}), got {value.shape}.")
        if not np.isfinite(value).all():
            raise WireError(f"'{key}' must be finite.")
        batch = value.shape[0]
        checked[key] = value.astype(np.float32)
    return checked


def _whole(message: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    value = message.get(name)
    if value is None:
        return None
    if type(value) is not int or not low <= value <= high:
        raise WireError(f"`{name}` must be a whole number in [{low}, {high}], got {value!r}.")
    return value


def _seconds(message: Mapping[str, Any], name: str) -> float | None:
    value = message.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise WireError(f"`{name}` must be above 0 [s], got {value!r}.")
    return float(value)
