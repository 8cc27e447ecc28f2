"""The way "critic" from a reward to an action scorer: what followed a chunk, learned in advance.

A reward that judges what happened, such as one that sees frames, cannot say what a candidate is
worth before it is executed. A critic can: a small ensemble regresses the discounted rewards that
followed each executed chunk in recorded episodes, from what the policy knew then and the chunk. It
is the value of the policy that recorded; candidates are compared by one step of improvement on it.

Shapes: W windows, B observations, N candidates, M members, To observation steps, Tp chunk,
Ta executed actions, Da action size, Dc condition size.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from robopref.config import component, resolve
from robopref.data.episode import Episode, check_has_episodes
from robopref.data.windows import WindowSampler
from robopref.encoders import ObsShapes
from robopref.errors import check_at_least, check_between
from robopref.nn import EnsembleMLP, Normalizer
from robopref.pretrained import CONFIG_FILE, PretrainedModel
from robopref.registry import Registry
from robopref.rewards import SCORERS
from robopref.rewards.serialization import load_reward
from robopref.seeding import make_generator, make_rng, seeded_weights
from robopref.trainer import Trainer, TrainerConfig
from robopref.types import ACTION


@dataclass(frozen=True)
class CriticConfig:
    """Settings of `Critic`; the first three are those of the policy whose chunks are scored."""

    encoder: Any = component("robopref.encoders:ENCODERS", default="state")
    """What turns observations into features."""
    n_obs_steps: int = 2
    """Observations given."""
    n_action_steps: int = 8
    """Actions of a chunk that are executed, and so looked at."""
    num_members: int = 3
    """Critics in the ensemble."""
    hidden_sizes: tuple[int, ...] = (128, 128)
    """Hidden layers of each."""
    discount: float = 0.95
    """Of the rewards of one step to the next."""
    held_out_share: float = 0.2
    """Share of the episodes on whose windows training is stopped, if there are ten or more."""
    trainer: TrainerConfig = field(
        default_factory=lambda: TrainerConfig(
            num_steps=1500, learning_rate=1e-3, weight_decay=1e-3, patience=4
        )
    )
    """How it is trained."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("n_obs_steps", "n_action_steps", "num_members"):
            check_at_least(name, getattr(self, name), 1)
        for size in self.hidden_sizes:
            check_at_least("hidden_sizes", size, 1)
        check_between("discount", self.discount, 0, 1)
        check_between("held_out_share", self.held_out_share, 0, 0.9)

    def build(
        self, obs_shapes: ObsShapes, action_dim: int, generator: torch.Generator | None = None
    ) -> "Critic":
        """Return an untrained critic."""
        with seeded_weights(generator):
            return Critic(self, obs_shapes, action_dim, generator or make_generator(0, "critic"))

    def of_policy(self, policy: Any, generator: torch.Generator | None = None) -> "Critic":
        """Return an untrained critic that sees what a policy sees, by a copy of its encoder."""
        own = replace(
            self, encoder=policy.config.encoder, n_obs_steps=policy.n_obs_steps,
            n_action_steps=policy.n_action_steps,
        )  # fmt: skip
        critic = own.build(policy.obs_shapes, policy.action_dim, generator)
        critic.encoder.load_state_dict(copy.deepcopy(policy.encoder.state_dict()))
        critic.encoder.eval().requires_grad_(False)
        return critic


@dataclass(frozen=True)
class CriticSizes:
    """What a critic is built for."""

    obs_shapes: dict[str, tuple[int, ...]]
    """Shape of one observation by key."""
    action_dim: int
    """Da."""


class Critic(PretrainedModel):
    """Scores candidate chunks by the rewards that are expected to follow; an `ActionScorer`.

    Called with a batch of windows it returns the loss: the squared error of each member's estimate
    of the standardised discounted reward.
    """

    registry: ClassVar[Registry] = SCORERS
    sizes_class: ClassVar[type[Any]] = CriticSizes

    def __init__(
        self,
        config: CriticConfig,
        obs_shapes: ObsShapes,
        action_dim: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        config = replace(config, encoder=resolve(config, "encoder"))
        self.config = config
        self.action_dim = action_dim
        self.encoder = config.encoder.build(obs_shapes, config.n_obs_steps)
        self.encoder.eval().requires_grad_(False)
        self.obs_shapes: ObsShapes = {key: tuple(obs_shapes[key]) for key in self.encoder.keys}
        size = self.encoder.feature_dim + config.n_action_steps * action_dim
        self.inputs = Normalizer(size, "gaussian")
        self.outputs = Normalizer(1, "gaussian")
        self.members = EnsembleMLP(
            config.num_members, size, config.hidden_sizes, 1, generator=generator
        )

    def fit(
        self,
        episodes: Sequence[Episode],
        rewards: Sequence[Float[np.ndarray, " T"]],
        *,
        generator: torch.Generator,
        seed: int = 0,
    ) -> dict[str, float]:
        """Learn from recorded episodes; return what was measured.

        Args:
            episodes: What happened; of a frozen encoder that has maps, with these in place.
            rewards: The reward of each step of each.
            generator: Draws the batches.
            seed: Decides which episodes are held out.

        Returns:
            "explained": share of the variance of what followed that is explained, on windows of
            held-out episodes if there are any.

        Raises:
            ValueError: There are no episodes, or not a reward for each of their steps.
        """
        check_has_episodes(episodes)
        if [len(e) for e in episodes] != [len(r) for r in rewards]:
            raise ValueError("`rewards` must hold one number for each step of each episode.")
        inputs = self._inputs_of(episodes)
        following = [_discounted(r, self.config.discount) for r in rewards]
        target = torch.from_numpy(np.concatenate(following)).float()[:, None]
        held = self._held_out(episodes, seed)
        for part, values in ((self.inputs, inputs), (self.outputs, target)):
            part.fit({"mean": values[~held].mean(0).numpy(), "std": values[~held].std(0).numpy(),
                      "min": values.amin(0).numpy(), "max": values.amax(0).numpy()})  # fmt: skip
        known = {"inputs": self.inputs(inputs), "target": self.outputs(target)}
        training = {key: value[~held] for key, value in known.items()}
        judged = {key: value[held if held.any() else ~held] for key, value in known.items()}

        def validate() -> dict[str, float]:
            return {"loss": float(self(judged, generator)[0])}

        trainer = self.config.trainer
        if not held.any():
            trainer = replace(trainer, patience=None)
        Trainer(
            trainer, self, _Rows(training), generator=generator, description="train critic",
            validate=validate if held.any() else None, device="cpu",
        ).fit()  # fmt: skip
        with torch.no_grad():
            error = self.members(judged["inputs"]).mean(0) - judged["target"]
            spread = judged["target"].var(correction=0)
            return {"explained": float(1 - error.square().mean() / spread.clamp_min(1e-12))}

    def forward(
        self, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss of a batch of normalised inputs and targets, and no further figures."""
        error: Tensor = self.members(batch["inputs"]) - batch["target"]
        return error.square().mean(dim=(1, 2)).sum(), {}

    @torch.no_grad()
    def candidate_scores(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "M B N"]:
        """Return every member's estimate of the discounted reward that follows each candidate."""
        rows, num = candidates.shape[:2]
        device = self.inputs.loc.device
        seen = self.encoder({key: obs[key].to(device) for key in self.encoder.keys})
        executed = candidates[:, :, : self.config.n_action_steps].to(device).flatten(2)
        inputs = torch.cat((seen[:, None].expand(-1, num, -1), executed), dim=2).flatten(0, 1)
        estimates = self.outputs.inverse(self.members(self.inputs(inputs)))
        scores: Tensor = estimates.view(-1, rows, num)
        return scores

    def score(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "B N"]:
        """Return the mean of the members' estimates."""
        return self.candidate_scores(obs, candidates).mean(0)

    def uncertainty(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"], /
    ) -> Float[Tensor, "B N"]:
        """Return the members' standard deviation."""
        return self.candidate_scores(obs, candidates).std(0, correction=0)

    @torch.no_grad()
    def _inputs_of(self, episodes: Sequence[Episode]) -> Float[Tensor, "W D"]:
        """Return what is known at each step, and what was executed from it on."""
        config = self.config
        sampler = WindowSampler(episodes, config.n_obs_steps, config.n_action_steps)
        parts = []
        for indices in np.array_split(np.arange(len(sampler)), -(-len(sampler) // 256)):
            found = sampler.gather(indices)
            seen = self.encoder({key: torch.from_numpy(found[key]) for key in self.encoder.keys})
            parts.append(torch.cat((seen, torch.from_numpy(found[ACTION]).flatten(1)), dim=1))
        return torch.cat(parts)

    def _held_out(self, episodes: Sequence[Episode], seed: int) -> Tensor:
        """Return which windows are of held-out episodes."""
        share = self.config.held_out_share if len(episodes) >= 10 else 0.0
        order = make_rng(seed, "critic", "split").permutation(len(episodes))
        chosen = np.isin(np.arange(len(episodes)), order[: round(share * len(episodes))])
        return torch.from_numpy(np.repeat(chosen, [len(episode) for episode in episodes]))


class _Rows:
    """Tensors with one row an item."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    def __len__(self) -> int:
        return len(self._tensors["target"])

    def gather(self, indices: Tensor) -> dict[str, Tensor]:
        return {key: value[indices] for key, value in self._tensors.items()}


def _discounted(rewards: Float[np.ndarray, " T"], discount: float) -> Float[np.ndarray, " T"]:
    """Return the discounted sum of the rewards from each step on."""
    following = np.zeros(len(rewards))
    ahead = 0.0
    for step in range(len(rewards) - 1, -1, -1):
        following[step] = ahead = float(rewards[step]) + discount * ahead
    return following


def load_critic(source: str | Path, **hub: Any) -> Critic:
    """Load a critic that `save_pretrained` wrote, ready to be used.

    Raises:
        FileNotFoundError: There is none.
        CheckpointError: It is damaged or incomplete.
    """
    return Critic.from_pretrained(source, **hub)


def load_scorer(directory: Path) -> Any:
    """Load what scores candidates: a critic, or a reward by its way "chunk".

    Raises:
        FileNotFoundError: There is neither.
        CheckpointError: It is damaged or incomplete.
        ValueError: The reward has no such way.
    """
    path = directory / CONFIG_FILE
    if path.is_file() and f'"type": "{SCORERS.name_of(CriticConfig)}"' in path.read_text():
        return load_critic(directory)
    return load_reward(directory).as_action_scorer("chunk")
