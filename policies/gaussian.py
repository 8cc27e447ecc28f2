"""Gaussian policy: one action at a time, around a mean that tanh keeps inside the data's range.

As in the code of the authors of IQL [1]: the mean is bounded, the spread is not a function of the
observation, and what is executed is the mean. All of it is in normalised units, in which the
actions of the data fill [-1, 1]; drawn actions are cut off there.

Shapes: B batch, N candidates, To observation steps, Dc feature size, Da action size.

References:
    [1] Kostrikov et al., Offline reinforcement learning with implicit Q-learning, 2021,
        arXiv:2110.06169, appendix B.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robopref.config import component, resolve
from robopref.diffusion import Randomness, draw_noise
from robopref.encoders import ObsShapes, Statistics
from robopref.errors import check_at_least
from robopref.nn import EnsembleMLP, Normalizer
from robopref.policies.execution import ChunkExecution
from robopref.policies.serialization import PretrainedPolicy
from robopref.seeding import make_generator
from robopref.types import ACTION

WEIGHT = "weight"
"""Key of how much each action of a batch counts."""
LARGEST_LOG_STD = 2.0


@dataclass(frozen=True)
class GaussianPolicyConfig:
    """Settings of `GaussianPolicy`."""

    n_obs_steps: int = 1
    """Observations given."""
    hidden_sizes: tuple[int, ...] = (256, 256)
    """Width of each hidden layer."""
    encoder: Any = component("robopref.encoders:ENCODERS", default="state")
    """What turns observations into features."""
    min_log_std: float = -5.0
    """Lowest logarithm of the spread, in normalised units; -5 as published [1]."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("n_obs_steps", self.n_obs_steps, 1)
        for size in self.hidden_sizes:
            check_at_least("hidden_sizes", size, 1)
        if not self.min_log_std < LARGEST_LOG_STD:
            raise ValueError(
                f"`min_log_std` must be below {LARGEST_LOG_STD}, got {self.min_log_std}."
            )

    def build(
        self, obs_shapes: ObsShapes, action_dim: int, generator: torch.Generator | None = None
    ) -> "GaussianPolicy":
        """Return the policy.

        Args:
            obs_shapes: Shape of one observation by key, such as {"observation.state": (39,)}.
            action_dim: Da.
            generator: Draws the first weights.
        """
        return GaussianPolicy(
            self, obs_shapes, action_dim, generator or make_generator(0, "gaussian-policy")
        )


class GaussianPolicy(ChunkExecution, PretrainedPolicy):
    """Draws actions from a Gaussian; executes its mean.

    Called with a batch and a generator it returns the loss of behaviour cloning, so it is the
    objective of `robopref.trainer.Trainer`. Its normaliser is saved with it.
    """

    chunk_size = 1
    n_action_steps = 1

    def __init__(
        self,
        config: GaussianPolicyConfig,
        obs_shapes: ObsShapes,
        action_dim: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        # With every default written out, a checkpoint outlives a change of the defaults.
        config = replace(config, encoder=resolve(config, "encoder"))
        self.config = config
        self.action_dim = action_dim
        self.n_obs_steps = config.n_obs_steps
        self.encoder = config.encoder.build(obs_shapes, config.n_obs_steps)
        # Only what the encoder looks at is asked for later.
        self.obs_shapes: ObsShapes = {key: tuple(obs_shapes[key]) for key in self.encoder.keys}
        self.network = EnsembleMLP(
            1, self.encoder.feature_dim, config.hidden_sizes, action_dim, generator=generator
        )
        self.log_std = nn.Parameter(torch.zeros(action_dim))
        self.action_normalizer = Normalizer(action_dim, "range")
        self.reset()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.action_normalizer.loc.device

    def fit_normalizer(self, statistics: Statistics) -> None:
        """Take over the statistics of the training data, LeRobot's by key."""
        self.encoder.fit_normalizer(statistics)
        self.action_normalizer.fit(statistics[ACTION])

    def forward(
        self,
        batch: Mapping[str, Tensor],
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the negative log-likelihood of a batch's actions, and no further figures.

        Args:
            batch: Observations (B, To, ...) by key, "action" (B, 1, Da) and, if actions are not to
                count alike, "weight" (B,).
            generator: Not used.
        """
        losses = -self.log_prob(self.encoder(batch), self.action_normalizer(batch[ACTION][:, 0]))
        weight = batch.get(WEIGHT)
        return (losses if weight is None else losses * weight).mean(), {}

    def log_prob(
        self, features: Float[Tensor, "B Dc"], action: Float[Tensor, "B Da"]
    ) -> Float[Tensor, " B"]:
        """Return the log-density of normalised actions."""
        log_std = self.bounded_log_std()
        standard = (action - self.mean(features)) * (-log_std).exp()
        return -(0.5 * standard.square() + log_std + 0.5 * math.log(2 * math.pi)).sum(-1)

    def mean(self, features: Float[Tensor, "B Dc"]) -> Float[Tensor, "B Da"]:
        """Return the mean of the normalised actions."""
        return torch.tanh(self.network(features)[0])

    def bounded_log_std(self) -> Float[Tensor, " Da"]:
        """Return the logarithm of the spread of the normalised actions."""
        return self.log_std.clamp(self.config.min_log_std, LARGEST_LOG_STD)

    def predict_action_chunk(
        self,
        obs: Mapping[str, Tensor],
        generator: Randomness,
    ) -> Float[Tensor, "B 1 Da"]:
        """Return the mean action for observations (B, To, ...); the generator is not used."""
        return self.action_normalizer.inverse(self._mean_of(obs))[:, None]

    @torch.inference_mode()
    def sample(
        self, obs: Mapping[str, Tensor], num_candidates: int, generator: Randomness
    ) -> Float[Tensor, "B N 1 Da"]:
        """Return draws for observations (B, To, ...).

        Args:
            obs: Observations by key.
            num_candidates: N.
            generator: One for the batch, or one for each observation, so that what an observation
                gets does not depend on its neighbours.

        Raises:
            ValueError: An observation is missing, has another shape, or is not finite.
        """
        mean = self._mean_of(obs)[:, None, None]
        shape = (len(mean), num_candidates, 1, self.action_dim)
        noise = draw_noise(shape, generator, device=self.device)
        drawn = mean + self.bounded_log_std().exp() * noise
        return self.action_normalizer.inverse(drawn.clamp(-1, 1))

    @torch.inference_mode()
    def _mean_of(self, obs: Mapping[str, Tensor]) -> Float[Tensor, "B Da"]:
        self.check_obs(obs, self.n_obs_steps)
        return self.mean(self.encoder({key: obs[key].to(self.device) for key in self.encoder.keys}))
