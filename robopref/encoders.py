"""The slot through which a policy or a critic sees: observations in, one feature vector out.

Shapes: B batch, To observation steps, Do observation size, Dc feature size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from robopref.errors import check_at_least
from robopref.nn import Normalizer
from robopref.registry import Registry
from robopref.types import STATE

ENCODERS = Registry("encoder", "robopref.encoders")
ENCODERS.register(
    "state", "robopref.encoders:StateEncoderConfig", "Normalised state history, flattened."
)
ENCODERS.register(
    "images",
    "robopref.image_encoder:ImageEncoderConfig",
    "Cameras, by maps of a pretrained network and a trained head.",
)
ENCODERS.register(
    "resnet",
    "robopref.resnet_encoder:ResNetEncoderConfig",
    "Cameras, by a ResNet trained with the policy, and states, as LeRobot's diffusion policy.",
)

FRAME_ENCODERS = Registry("frame encoder", "robopref.frame_encoders")
FRAME_ENCODERS.register(
    "efficientnet-lite0",
    "robopref.backbones:EfficientNetLite0Config",
    "Learned on ImageNet; the weights come with a package, without a network.",
)
FRAME_ENCODERS.register(
    "resnet18", "robopref.backbones:ResNet18Config", "torchvision's, weights from a file."
)
FRAME_ENCODERS.register(
    "timm", "robopref.backbones:TimmConfig", "Any model of timm, from a file or the hub."
)
FRAME_ENCODERS.register(
    "small-cnn", "robopref.backbones:SmallCNNConfig", "Four convolutions from scratch."
)

ObsShapes = Mapping[str, tuple[int, ...]]
"""Shape of one observation by LeRobot key, such as {"observation.state": (39,)}."""
Statistics = Mapping[str, Mapping[str, np.ndarray]]
"""min, max, mean and std of each feature by LeRobot key, as in LeRobot's stats.json."""


@runtime_checkable
class Encoder(Protocol):
    """Turns an observation history into one feature vector; also an `nn.Module`."""

    keys: tuple[str, ...]
    feature_dim: int
    seen_shapes: ObsShapes
    """Shapes of what may stand in place of an observation, such as features of a picture."""

    def fit_normalizer(self, statistics: Statistics) -> None:
        """Take over the statistics of the training data."""
        ...

    def augmented(
        self, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """Return another view of a training batch, where there are any."""
        ...

    def __call__(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Return features (B, Dc) of observations (B, To, ...)."""
        ...


@dataclass(frozen=True)
class StateEncoderConfig:
    """Settings of `StateEncoder`."""

    normalization: Literal["range", "gaussian"] = "range"
    """range: the seen range becomes [-1, 1]; gaussian: zero mean and unit deviation."""
    clip: float = 5.0
    """Normalised features are held within this bound."""
    beside: tuple[str, ...] = ()
    """Keys of further vectors that are laid beside the state, such as observation.environment_state
    of LeRobot's data sets."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("clip", self.clip, 1)

    def build(self, obs_shapes: ObsShapes, n_obs_steps: int) -> "StateEncoder":
        """Return the encoder.

        Raises:
            ValueError: There is no state observation, or it is not a vector.
        """
        return StateEncoder(self, obs_shapes, n_obs_steps)


class StateEncoder(nn.Module):
    """Normalises the states of the history and lays them side by side.

    Features are clipped: one that hardly moved in training, and so is scaled up a lot, must not
    drown all others when it moves at test time.
    """

    def __init__(self, config: StateEncoderConfig, obs_shapes: ObsShapes, n_obs_steps: int) -> None:
        super().__init__()
        self.keys = (STATE, *config.beside)
        for key in self.keys:
            if len(obs_shapes.get(key, ())) != 1:
                raise ValueError(
                    f"The state encoder needs '{key}' of shape (Do,), got {dict(obs_shapes)}."
                )
        self.seen_shapes: ObsShapes = {}
        self.clip = config.clip
        size = sum(obs_shapes[key][0] for key in self.keys)
        self.feature_dim = n_obs_steps * size
        self.normalizer = Normalizer(size, config.normalization)

    def fit_normalizer(self, statistics: Statistics) -> None:
        """Take over the statistics of the training data."""
        names = ("min", "max", "mean", "std")
        self.normalizer.fit(
            {
                name: np.concatenate([np.ravel(statistics[key][name]) for key in self.keys])
                for name in names
                if all(name in statistics[key] for key in self.keys)
            }
        )

    def augmented(
        self, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """Return the batch: there is one view of a state."""
        return batch

    def forward(self, obs: Mapping[str, Any]) -> Float[Tensor, "B Dc"]:
        """Return features of observations (B, To, Do)."""
        vectors = [obs[key] for key in self.keys]
        state: Tensor = self.normalizer(torch.cat(vectors, dim=-1) if vectors[1:] else vectors[0])
        return torch.clamp(state, -self.clip, self.clip).flatten(1)
