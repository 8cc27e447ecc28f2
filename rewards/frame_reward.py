"""What rewards that see frames share: features stand where states do, and actions are not seen.

Shapes: B clips, L steps, V views, Do features, Da action size.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from robopref.frame_features import VIEWS
from robopref.rewards.ensemble import EnsembleReward
from robopref.trainer import TrainerConfig
from robopref.types import SegmentBatch


def make_trainer(num_steps: int, learning_rate: float) -> TrainerConfig:
    """Return how a small network on features is trained: all comparisons in every step."""
    return TrainerConfig(
        num_steps=num_steps, batch_size=512, learning_rate=learning_rate, weight_decay=1e-4,
        warmup_steps=10, validation_interval=25, patience=4,
    )  # fmt: skip


class FrameReward(EnsembleReward):
    """An ensemble whose networks see the features of frames, normalised."""

    def prepare(
        self,
        state: Float[Tensor, "B L Do"],
        action: Float[Tensor, "B L Da"],
        mask: Bool[Tensor, "B L"],
    ) -> dict[str, Tensor]:
        """Return the normalised features of the frames and which are real."""
        return {"features": self.normalize_state(state), "mask": mask}


def read_views(
    segments: SegmentBatch, mask: Bool[Tensor, "B L"]
) -> Float[Tensor, "B L V Do"] | None:
    """Return the features of augmented frames where `mask` is, 0 in padding; None without any."""
    views = segments.obs.get(VIEWS)
    if views is None or not views.shape[2]:
        return None
    found = torch.as_tensor(views).to(mask.device).float()
    return found.masked_fill(~mask[..., None, None], 0.0)


def draw_views(
    features: Float[Tensor, "B L Do"], views: Float[Tensor, "B L V Do"], generator: torch.Generator
) -> Float[Tensor, "B L Do"]:
    """Return each clip as it is or by one of its views, drawn alike."""
    drawn = torch.randint(views.shape[2] + 1, (len(views),), generator=generator)
    drawn = drawn.to(views.device)
    clip = torch.arange(len(views), device=views.device)
    chosen = views[clip, :, (drawn - 1).clamp_min(0)]
    return torch.where((drawn > 0)[:, None, None], chosen, features)
