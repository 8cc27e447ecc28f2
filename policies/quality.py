"""A diffusion policy that is told how well to act, and acts well.

In training each chunk comes with its class, good or bad, which is left out now and then; at run
time the policy is told "good", and its noise prediction is pushed on from the one without a class
(classifier-free guidance [1]). So bad episodes teach too: what bad chunks have in common is what
guidance leads away from, and nothing is unlearned.

Shapes: B batch, To observation steps, Tp action chunk, Da action size, Dc condition size.

References:
    [1] Ho and Salimans, Classifier-free diffusion guidance, 2022, arXiv:2207.12598, eq. 6.
    [2] Wang et al., OpenChat: advancing open-source language models with mixed-quality data
        (C-RLFT), 2023, arXiv:2309.11235.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robopref.encoders import ObsShapes
from robopref.errors import check_at_least, check_between
from robopref.policies.diffusion import DiffusionPolicy, DiffusionPolicyConfig
from robopref.seeding import seeded_weights
from robopref.shares import draw_rows
from robopref.types import ACTION

QUALITY = "quality"
"""Key of the class of each chunk of a batch, (B,)."""
GOOD, BAD, NONE = range(3)
REACH = 10.0
"""Factor on the embedding of the class: it starts at nothing, and has to get away from what the
observations themselves look like within a short training."""


@dataclass(frozen=True)
class QualityDiffusionConfig(DiffusionPolicyConfig):
    """Settings of `QualityDiffusionPolicy`."""

    guidance: float = 1.0
    """How far predictions are pushed on from those without a class; 0 only asks for good ones, at
    half the cost."""
    drop_share: float = 0.15
    """Share of the chunks whose class is left out in training."""

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        check_at_least("guidance", self.guidance, 0)
        check_between("drop_share", self.drop_share, 0, 1)

    def build(
        self, obs_shapes: ObsShapes, action_dim: int, generator: torch.Generator | None = None
    ) -> "QualityDiffusionPolicy":
        """Return the policy."""
        with seeded_weights(generator):
            return QualityDiffusionPolicy(self, obs_shapes, action_dim)


class QualityDiffusionPolicy(DiffusionPolicy):
    """Samples chunks of the class "good"; a batch without classes counts as good.

    So trained on demonstrations alone it is a diffusion policy, whatever the guidance.
    """

    config: QualityDiffusionConfig

    def __init__(
        self, config: QualityDiffusionConfig, obs_shapes: ObsShapes, action_dim: int
    ) -> None:
        super().__init__(config, obs_shapes, action_dim)
        self.quality = nn.Embedding(3, self.encoder.feature_dim)
        # Nothing at first: a policy made from another one begins as that one.
        nn.init.zeros_(self.quality.weight)

    @classmethod
    def from_policy(
        cls, policy: DiffusionPolicy, *, guidance: float, drop_share: float
    ) -> "QualityDiffusionPolicy":
        """Return a policy that acts as `policy` does, until it is trained."""
        names = [field.name for field in fields(DiffusionPolicyConfig)]
        config = QualityDiffusionConfig(
            **{name: getattr(policy.config, name) for name in names},
            guidance=guidance, drop_share=drop_share,
        )  # fmt: skip
        made = config.build(policy.obs_shapes, policy.action_dim, torch.Generator().manual_seed(0))
        # Tuned once before, it goes on with what it knows of good and bad.
        for name, module in policy.named_children():
            setattr(made, name, copy.deepcopy(module))
        return made.to(policy.device)

    def forward(
        self, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the denoising loss of a batch, with some of its classes left out."""
        if self.training:
            quality = batch.get(QUALITY)
            if quality is None:
                # Else guidance would lead away from a class that no chunk was ever trained in.
                quality = torch.full((len(batch[ACTION]),), GOOD, device=self.device)
            drawn = draw_rows(
                len(quality),
                lambda num: torch.rand(num, generator=generator, device=generator.device),
            )
            left_out = drawn.to(quality.device) < self.config.drop_share
            batch = {**batch, QUALITY: quality.masked_fill(left_out, NONE)}
        return super().forward(batch, generator)

    def condition(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "B Dc"]:
        """Return the features of the observations and of the class."""
        features = super().condition(batch)
        quality = batch.get(QUALITY)
        if quality is None:
            return features + REACH * self.quality.weight[GOOD]
        embedded: Tensor = self.quality(quality)
        return features + REACH * embedded

    def noise_predictor(self, obs: Mapping[str, Tensor]) -> Callable[[Tensor, int], Tensor]:
        """Return what predicts the noise at each step of the sampler, pushed towards good."""
        features, weight = super().condition(obs), self.config.guidance
        told, plain = (features + REACH * self.quality.weight[c] for c in (GOOD, NONE))
        if weight == 0:
            return self.predictor_under(told)
        # One call for both: for the few chunks of a single robot, calls are what costs.
        both = self.predictor_under(torch.cat((told, plain)))

        def predict(x: Tensor, i: int) -> Tensor:
            good, without = both(torch.cat((x, x)), i).chunk(2)
            return torch.lerp(without, good, 1 + weight)

        return predict
