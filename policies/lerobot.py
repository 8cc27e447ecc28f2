"""Any policy that LeRobot trained, as a policy that acts and proposes here.

It computes in LeRobot's own code, between the pre- and postprocessors that were saved with it. A
policy that draws random numbers proposes different chunks for copies of one observation; one that
draws none, such as ACT, proposes the same chunk each time, and a reward has nothing to choose from.

Shapes: B batch, N candidates, R = B N rows, To observation steps, Tp action chunk, Da action size.
"""

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor

from robopref.diffusion import Randomness
from robopref.errors import CheckpointError, MissingExtraError
from robopref.policies.execution import ChunkExecution
from robopref.policies.lerobot_files import (
    action_dim_of,
    camera_keys,
    obs_shapes_of,
    read_config,
)
from robopref.registry import import_extra
from robopref.types import ACTION


class LeRobotPolicy(ChunkExecution):
    """Acts by a checkpoint of LeRobot's, of any type that the installed version knows.

    A chunk holds the actions that the policy plans from now on. What a policy does between its
    chunks in LeRobot, such as ACT's temporal ensembling, is not done.

    Args:
        directory: Folder of the checkpoint.
        device: Where it computes.

    Raises:
        FileNotFoundError: There is no checkpoint.
        CheckpointError: It is damaged or incomplete.
        MissingExtraError: LeRobot is not installed, or a package that this policy needs.
    """

    task: str = ""
    """What is to be done, in words, for policies that are told."""

    def __init__(self, directory: Path, device: torch.device | str = "cpu") -> None:
        config = read_config(directory)
        self.obs_shapes = obs_shapes_of(config)
        self.action_dim = action_dim_of(config)
        self.type = str(config["type"])
        self._directory = directory
        self._cameras = frozenset(camera_keys(config))
        self._policy = self._load()
        self.to(device)
        own = self._policy.config
        self.n_obs_steps = int(own.n_obs_steps)
        blank = {
            key: torch.zeros(1, self.n_obs_steps, *shape) for key, shape in self.obs_shapes.items()
        }
        # Types call the length of their chunks by many names; one that was made says it.
        self.chunk_size = self._propose(blank, 1, torch.Generator().manual_seed(0)).shape[2]
        self.n_action_steps = min(
            int(getattr(own, "n_action_steps", self.chunk_size)), self.chunk_size
        )
        self.reset()

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        device: torch.device = next(self._policy.parameters()).device
        return device

    def to(self, device: torch.device | str) -> "LeRobotPolicy":
        """Move it to a device."""
        factory = _lerobot("policies.factory")
        self._policy.to(device)
        self._policy.config.device = str(device)
        place = {"device_processor": {"device": str(device)}}
        try:
            self._before, self._after = factory.make_pre_post_processors(
                self._policy.config, str(self._directory), preprocessor_overrides=place
            )
        except (FileNotFoundError, ValueError, KeyError, SafetensorError) as error:
            raise CheckpointError(
                f"The processors of the policy in '{self._directory}' cannot be used: {error}"
            ) from error
        return self

    @torch.inference_mode()
    def sample(
        self, obs: Mapping[str, Tensor], num_candidates: int, generator: Randomness
    ) -> Float[Tensor, "B N Tp Da"]:
        """Return candidates for observations (B, To, ...): as many copies of each are acted on.

        Args:
            obs: Observations by key; pictures (B, To, H, W, 3) in 8 bits.
            num_candidates: N.
            generator: One for the batch, or one for each observation.

        Raises:
            ValueError: An observation is missing, has another shape, or is not finite.
        """
        self.check_obs(obs, self.n_obs_steps)
        seen = {key: obs[key] for key in self.obs_shapes}
        if isinstance(generator, torch.Generator):
            chunks = self._propose(seen, num_candidates, generator)
        else:
            rows = [{key: value[i : i + 1] for key, value in seen.items()}
                    for i in range(len(generator))]  # fmt: skip
            chunks = torch.cat(
                [self._propose(r, num_candidates, g) for r, g in zip(rows, generator, strict=True)]
            )
        # Rounding differs from row to row of a batch.
        if num_candidates > 1 and torch.allclose(chunks, chunks[:, :1].expand_as(chunks), 1e-4):
            warnings.warn(
                f"The policy in '{self._directory}' ({self.type}) proposes the same chunk each "
                "time: a reward has nothing to choose from. Take a policy that samples, such as "
                "one of type diffusion.",
                stacklevel=1,
            )
        return chunks

    def _propose(
        self, obs: Mapping[str, Tensor], num_candidates: int, generator: torch.Generator
    ) -> Float[Tensor, "B N Tp Da"]:
        """Return chunks of copies of each observation, with the numbers of one generator."""
        steps = [
            {key: self._as_theirs(key, value[:, t], num_candidates) for key, value in obs.items()}
            for t in range(self.n_obs_steps)
        ]
        num_obs = len(next(iter(obs.values())))
        task = {"task": [self.task] * (num_obs * num_candidates)}
        devices = [self.device] if self.device.type == "cuda" else []
        # LeRobot's policies draw from torch's own generator.
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            planned = self._plan([self._before({**step, **task}) for step in steps])
            # One step at a time, as LeRobot does it: some postprocessors take no chunks.
            actions = [self._after(planned[:, t]) for t in range(planned.shape[1])]
        chunks = torch.stack(actions, dim=1).to(self.device, torch.float32)
        return chunks.view(num_obs, num_candidates, *chunks.shape[1:])

    def _plan(self, steps: list[dict[str, Any]]) -> Float[Tensor, "R Tp Da"]:
        """Return the chunks that follow a history, as the policy itself would make them."""
        policy = self._policy
        policy.reset()
        queues = getattr(policy, "_queues", None)
        if queues is None or ACTION not in queues:
            chunk: Tensor = policy.predict_action_chunk(steps[-1])
            return chunk
        # Policies with a history fill it in `select_action`, which plans when no action waits.
        for step in steps[:-1]:
            queues[ACTION].append(torch.zeros(()))
            policy.select_action(dict(step))
        queues[ACTION].clear()
        first = policy.select_action(dict(steps[-1]))
        return torch.stack([first, *queues[ACTION]], dim=1)

    def _as_theirs(self, key: str, value: Tensor, copies: int) -> Tensor:
        """Return one step of an observation, each row copied, as LeRobot's policies see it."""
        if key in self._cameras:
            value = value.movedim(-1, -3).float() / 255
        return value.repeat_interleave(copies, dim=0)

    def _load(self) -> Any:
        configs, factory = _lerobot("configs.policies"), _lerobot("policies.factory")
        source = str(self._directory)
        try:
            config = configs.PreTrainedConfig.from_pretrained(source)
            config.device = "cpu"
            policy = factory.get_policy_class(self.type).from_pretrained(
                source, config=config, strict=True
            )
        except ImportError as error:
            raise MissingExtraError(
                f"The policy in '{source}' ({self.type}) needs more than LeRobot: {error}"
            ) from error
        except (SafetensorError, OSError, RuntimeError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"The policy in '{source}' ({self.type}) cannot be loaded: {error}"
            ) from error
        return policy.eval()


def _lerobot(module: str) -> Any:
    """Import a module of LeRobot's, or say what brings it."""
    if sys.version_info < (3, 12):
        raise MissingExtraError(
            "A policy of LeRobot's needs lerobot, and that Python 3.12 or newer; this is "
            f"{sys.version_info.major}.{sys.version_info.minor}. In an environment of 3.12: "
            "pip install 'robopref[lerobot]'."
        )
    return import_extra(f"lerobot.{module}", purpose="A policy of LeRobot's", extra="lerobot")
