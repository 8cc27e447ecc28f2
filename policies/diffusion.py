"""Diffusion policy: action chunks by denoising, conditioned on the last observations.

Shapes: B batch, N candidates, S draws of noise, To observation steps, Do observation size,
Tp action chunk, Tn the same with past actions, Da action size, Dc condition size.

References:
    [1] Chi et al., Diffusion Policy: Visuomotor Policy Learning via Action Diffusion, 2023,
        arXiv:2303.04137.
    [2] Salimans and Ho, Progressive distillation for fast sampling of diffusion models, 2022,
        arXiv:2202.00512, appendix D.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from robopref.config import component, resolve
from robopref.data.windows import ACTION_IS_PAD, PAST_ACTION
from robopref.diffusion import (
    NoiseSchedule,
    Randomness,
    draw_denoise_steps,
    draw_noise,
    noise_error,
    prediction_loss,
)
from robopref.encoders import ObsShapes, Statistics
from robopref.errors import check_at_least, check_between, check_choice
from robopref.nn import Normalizer
from robopref.policies.execution import ChunkExecution
from robopref.policies.serialization import PretrainedPolicy
from robopref.sampler import Sampler, SamplerName
from robopref.seeding import seeded_weights
from robopref.types import ACTION

WEIGHT = "weight"
"""Key of how much each chunk of a batch counts."""


@dataclass(frozen=True)
class DiffusionPolicyConfig:
    """Settings of `DiffusionPolicy`."""

    n_obs_steps: int = 2
    """Observations given."""
    chunk_size: int = 8
    """Actions predicted, the first one for now."""
    n_action_steps: int = 8
    """Actions executed before the next prediction."""
    num_past_actions: int = 0
    """Actions before now that the network predicts together with the chunk, and that are never
    carried out: `n_obs_steps` - 1 as published [1] and in LeRobot."""
    encoder: Any = component("robopref.encoders:ENCODERS", default="state")
    """What turns observations into features."""
    denoiser: Any = component("robopref.policies:DENOISERS", default="mlp")
    """Network that predicts the noise."""
    num_train_steps: int = 50
    """Denoising steps of training."""
    num_denoise_steps: int = 10
    """Denoising steps of sampling."""
    prediction: Literal["velocity", "noise"] = "velocity"
    """What the network predicts. noise is as published [1]; velocity, alpha noise - sigma chunk
    [2], keeps apart what the demonstrations keep apart: with as much training, a noise predictor
    fills the gap between going left and going right with proposals that do neither."""
    sampler: SamplerName = "dpm-solver++"
    """How chunks are sampled; at 10 steps DPM-Solver++ keeps to the modes better than DDIM."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("n_obs_steps", "chunk_size", "n_action_steps"):
            check_at_least(name, getattr(self, name), 1)
        if self.n_action_steps > self.chunk_size:
            raise ValueError(
                f"`n_action_steps` (={self.n_action_steps}) must not exceed "
                f"`chunk_size` (={self.chunk_size})."
            )
        check_between("num_past_actions", self.num_past_actions, 0, self.n_obs_steps - 1)
        check_at_least("num_train_steps", self.num_train_steps, 2)
        check_between("num_denoise_steps", self.num_denoise_steps, 1, self.num_train_steps)
        check_choice("sampler", self.sampler, get_args(SamplerName))
        check_choice("prediction", self.prediction, ("velocity", "noise"))

    def build(
        self, obs_shapes: ObsShapes, action_dim: int, generator: torch.Generator | None = None
    ) -> "DiffusionPolicy":
        """Return the policy.

        Args:
            obs_shapes: Shape of one observation by key, such as {"observation.state": (39,)}.
            action_dim: Da.
            generator: Draws the first weights.
        """
        with seeded_weights(generator):
            return DiffusionPolicy(self, obs_shapes, action_dim)


class DiffusionPolicy(ChunkExecution, PretrainedPolicy):
    """Samples action chunks by denoising; trained to tell the noise from demonstrated ones.

    Called with a batch and a generator it returns the training loss, so it is the objective of
    `robopref.trainer.Trainer`. Its normaliser is saved with it.
    """

    def __init__(
        self, config: DiffusionPolicyConfig, obs_shapes: ObsShapes, action_dim: int
    ) -> None:
        super().__init__()
        # With every default written out, a checkpoint outlives a change of the defaults.
        config = replace(
            config, encoder=resolve(config, "encoder"), denoiser=resolve(config, "denoiser")
        )
        self.config = config
        self.action_dim = action_dim
        self.n_obs_steps = config.n_obs_steps
        self.chunk_size = config.chunk_size
        self.n_action_steps = config.n_action_steps
        self.num_past_actions = config.num_past_actions
        self.encoder = config.encoder.build(obs_shapes, config.n_obs_steps)
        # Only what the encoder looks at is asked for later.
        self.obs_shapes: ObsShapes = {key: tuple(obs_shapes[key]) for key in self.encoder.keys}
        self.seen_shapes: ObsShapes = self.encoder.seen_shapes
        self.denoiser = self.make_denoiser(config)
        self.action_normalizer = Normalizer(action_dim, "range")
        self.schedule = NoiseSchedule(config.num_train_steps)
        self.sampler = Sampler(config.sampler, config.num_train_steps, config.num_denoise_steps)
        self.reset()

    def make_denoiser(self, config: Any) -> Any:
        """Return the network that denoises; called once, when the encoder is there."""
        return config.denoiser.build(*self.noise_shape, self.encoder.feature_dim)

    @property
    def noise_shape(self) -> tuple[int, int]:
        """What the network denoises, (Tn, Da)."""
        return self.num_past_actions + self.chunk_size, self.action_dim

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.action_normalizer.loc.device

    def fit_normalizer(self, statistics: Statistics) -> None:
        """Take over the statistics of the training data, LeRobot's by key."""
        self.encoder.fit_normalizer(statistics)
        self.action_normalizer.fit(statistics[ACTION])

    def forward(
        self, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the denoising loss of a batch, and no further figures.

        Args:
            batch: Observations (B, To, ...) by key, "action" (B, Tp, Da), "action_is_pad" (B, Tp)
                and, if chunks are not to count alike, "weight" (B,); of a policy that predicts
                past actions also "action.past".
            generator: Draws the steps and the noise.
        """
        if self.training:
            batch = self.augmented(batch, generator)
        steps, noise = self.draw_noising(len(batch[ACTION]), generator)
        chunk, _, predicted = self._predict(batch, steps, noise)
        target = noise
        if self.config.prediction == "velocity":
            target = self.schedule.velocity(chunk, noise, steps)
        is_pad: Tensor | None = batch.get(ACTION_IS_PAD)
        if is_pad is not None and PAST_ACTION in batch:
            is_pad = pad(is_pad, (self.num_past_actions, 0))
        loss = prediction_loss(predicted, target, is_pad, batch.get(WEIGHT))
        return loss, {}

    def augmented(
        self, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """Return another view of a training batch, as the encoder has it."""
        view: Mapping[str, Tensor] = self.encoder.augmented(batch, generator)
        return view

    def draw_noising(
        self, batch_size: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, " B"], Float[Tensor, "B Tn Da"]]:
        """Return denoising steps and noise for `noise_error`."""
        steps = draw_denoise_steps(self.config.num_train_steps, batch_size, generator)
        shape = (batch_size, *self.noise_shape)
        return steps.to(self.device), draw_noise(shape, generator, device=self.device)

    def noise_error(
        self,
        batch: Mapping[str, Tensor],
        denoise_step: Int[Tensor, " B"],
        noise: Float[Tensor, "B Tn Da"],
    ) -> Float[Tensor, " B"]:
        """Return the mean squared error of the predicted noise of each chunk of a batch.

        Two policies called with equal steps and noise give the implicit reward: minus the strength
        of the reference (the beta of DPO) times the error less that of the reference. Gradients
        flow.
        """
        predicted = self.predict_noise(batch, denoise_step, noise)
        is_pad: Bool[Tensor, "B Tp"] | None = batch.get(ACTION_IS_PAD)
        return noise_error(predicted, noise, is_pad)

    def candidate_errors(
        self,
        obs: Mapping[str, Tensor],
        candidates: Float[Tensor, "B N Tp Da"],
        denoise_step: Int[Tensor, " S"],
        noise: Float[Tensor, "S Tn Da"],
    ) -> Float[Tensor, "B N S"]:
        """Return `noise_error` of every candidate under every draw.

        All candidates meet the same draws, and each observation (B, To, ...) is encoded once.
        """
        (rows, num), draws = candidates.shape[:2], len(denoise_step)
        obs = {key: obs[key].to(self.device) for key in self.encoder.keys}
        features = self.condition(obs)
        steps = denoise_step.repeat(rows)
        modulation = self.denoiser.modulation(steps, features.repeat_interleave(draws, dim=0))
        chunk = self.to_network(candidates.to(self.device), obs).repeat_interleave(draws, dim=0)
        steps = steps.repeat_interleave(num)
        noise = noise.repeat(rows, 1, 1).repeat_interleave(num, dim=0)
        noisy = self.schedule.add_noise(chunk.flatten(0, 1), noise, steps)
        predicted = self.denoiser(noisy.view_as(chunk), modulation).flatten(0, 1)
        predicted = self._as_noise(predicted, noisy, steps)
        ours = (slice(None), slice(self.num_past_actions, None))
        error = noise_error(predicted[ours], noise[ours])
        return error.view(rows, draws, num).transpose(1, 2)

    def predict_noise(
        self,
        batch: Mapping[str, Tensor],
        denoise_step: Int[Tensor, " B"],
        noise: Float[Tensor, "B Tn Da"],
    ) -> Float[Tensor, "B Tn Da"]:
        """Return what the network takes for the noise that was added to each chunk of a batch."""
        _, noisy, predicted = self._predict(batch, denoise_step, noise)
        return self._as_noise(predicted, noisy, denoise_step)

    def _as_noise(self, predicted: Tensor, noisy: Tensor, denoise_step: Tensor) -> Tensor:
        """Return the noise that a prediction says is in noisy chunks."""
        if self.config.prediction == "velocity":
            return self.schedule.noise_of(predicted, noisy, denoise_step)
        return predicted

    def _predict(
        self, batch: Mapping[str, Tensor], denoise_step: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the normalised chunks, the same with noise, and what the network predicts."""
        chunk = self.to_network(batch[ACTION], batch)
        noisy = self.schedule.add_noise(chunk, noise, denoise_step)
        condition = self.condition(batch)
        return chunk, noisy, self.denoise(noisy, denoise_step, condition)

    def denoise(
        self,
        noisy: Float[Tensor, "B Tn Da"],
        denoise_step: Int[Tensor, " B"],
        condition: Float[Tensor, "_ *Dc"],
    ) -> Float[Tensor, "B Tn Da"]:
        """Return what the network predicts for noisy chunks, each with a step of its own.

        There may be more chunks than conditions; then each condition is that of as many which
        follow one another.
        """
        if len(condition) < len(noisy):
            condition = condition.repeat_interleave(len(noisy) // len(condition), dim=0)
        modulation = self.denoiser.modulation(denoise_step, condition)
        predicted: Tensor = self.denoiser(noisy[:, None], modulation)[:, 0]
        return predicted

    @torch.inference_mode()
    def sample(
        self,
        obs: Mapping[str, Tensor],
        num_candidates: int,
        generator: Randomness,
        *,
        noise: Float[Tensor, "B N Tn Da"] | None = None,
    ) -> Float[Tensor, "B N Tp Da"]:
        """Return candidates for observations (B, To, ...), all in one batched denoising pass.

        Args:
            obs: Observations by key.
            num_candidates: N.
            generator: One for the batch, or one for each observation, so that what an observation
                gets does not depend on its neighbours.
            noise: What to denoise, in place of drawing it.

        Raises:
            ValueError: An observation is missing, has another shape, or is not finite.
        """
        self.check_obs(obs, self.n_obs_steps)
        batch_size = len(obs[self.encoder.keys[0]])
        if noise is None:
            shape = (batch_size, num_candidates, *self.noise_shape)
            noise = draw_noise(shape, generator, device=self.device)
        placed = {key: obs[key].to(self.device) for key in self.encoder.keys}
        chunk = self.sampler.sample(self.noise_predictor(placed), noise)
        return self.from_network(chunk, placed)

    def to_network(
        self, action: Float[Tensor, "B *N Tp Da"], obs: Mapping[str, Tensor]
    ) -> Float[Tensor, "B *N Tn Da"]:
        """Return actions as the network sees them, for observations (B, To, ...).

        Past actions that `obs` does not have are the middle of their range: copies of the first
        action would tell the network what it is to find out.
        """
        normalized: Tensor = self.action_normalizer(action)
        if self.num_past_actions == 0:
            return normalized
        shape = (*normalized.shape[:-2], self.num_past_actions, self.action_dim)
        past = normalized.new_zeros(shape)
        if PAST_ACTION in obs:
            past = self.action_normalizer(obs[PAST_ACTION])
            past = (past if past.ndim == len(shape) else past[:, None]).expand(shape)
        return torch.cat((past, normalized), dim=-2)

    def from_network(
        self, action: Float[Tensor, "B *N Tn Da"], obs: Mapping[str, Tensor]
    ) -> Float[Tensor, "B *N Tp Da"]:
        """Return actions in their own units, of what `to_network` returned."""
        inverse: Tensor = self.action_normalizer.inverse(action)
        return inverse[..., self.num_past_actions :, :]

    def condition(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "B *Dc"]:
        """Return what the network is told beside the chunk and the denoising step."""
        features: Tensor = self.encoder(batch)
        return features

    def noise_predictor(self, obs: Mapping[str, Tensor]) -> Callable[[Tensor, int], Tensor]:
        """Return what predicts the noise in chunks (B, N, Tp, Da) at each step of the sampler.

        What depends on the observations (B, To, ...) alone is worked out here, once for all steps.
        """
        return self.predictor_under(self.condition(obs))

    def predictor_under(self, condition: Float[Tensor, "B *Dc"]) -> Callable[[Tensor, int], Tensor]:
        """Return what predicts the noise in chunks (B, N, Tp, Da) under a condition."""
        modulations = self._sampling_modulations(condition)
        if self.config.prediction == "noise":
            return lambda x, i: self.denoiser(x, modulations[i])

        def predict(x: Tensor, i: int) -> Tensor:
            step = self.sampler.steps[i]
            velocity = self.denoiser(x, modulations[i])
            return torch.add(x * step.sigma, velocity, alpha=step.alpha)

        return predict

    def _sampling_modulations(self, condition: Tensor) -> list[tuple[Tensor, ...]]:
        """Return for each step of the sampler what does not depend on the chunk."""
        num_steps, rows = len(self.sampler.steps), len(condition)
        steps = torch.tensor(
            [step.denoise_step for step in self.sampler.steps], device=condition.device
        )
        modulation = self.denoiser.modulation(
            steps.repeat_interleave(rows),
            condition.repeat(num_steps, *(1 for _ in condition.shape[1:])),
        )
        return list(zip(*(part.chunk(num_steps) for part in modulation), strict=True))
