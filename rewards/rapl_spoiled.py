"""How much an alignment has to weigh beside a head that sees no order: what spoiled copies tell.

A preferred clip turned around, in no order or cut off half way is worse than the same clip at
another speed. Nobody needs to be asked that, and to the mean of numbers of frames the first two are
as good as the clip itself.

Shapes: M members, S labelled clips, P preferred ones, K experts, N frames, F features.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robopref.rewards.clip_distance import Clips
from robopref.seeding import make_generator

SLOWING = 1.5
"""Power of time in the copy at another speed: slow at first, then fast."""


def copies(clip: Float[Tensor, "N F"], generator: torch.Generator) -> list[Tensor]:
    """Return a clip at another speed, turned around, in no order, and cut off half way."""
    num = len(clip)
    share = torch.linspace(0, 1, num, device=clip.device) ** SLOWING
    order = torch.randperm(num, generator=generator).to(clip.device)
    return [
        clip[(share * (num - 1)).round().long()],
        clip.flip(0),
        clip[order],
        clip[: max(1, num // 2)],
    ]


def least_weight(
    reward: Any, clips: Clips, preferred: Int[Tensor, " P"], share: float
) -> Float[Tensor, " M"]:
    """Return the least weight of distances at which `share` of the spoiled copies are worse.

    It is never so large that distances of labelled clips would differ more than what the head gives
    them: from there on the alignment would decide alone.

    Args:
        reward: A RAPL reward with a head and preferred clips.
        clips: Features of the labelled clips.
        preferred: Places of those that are copied; the experts come first.
        share: In [0, 1].
    """
    generator = make_generator(0, "spoiled")
    frames, mask = clips
    made = [copy for place in preferred for copy in copies(frames[place, mask[place]], generator)]
    lengths = torch.tensor([len(copy) for copy in made], device=mask.device)
    copied = Clips(
        torch.nn.utils.rnn.pad_sequence(made, batch_first=True),
        torch.arange(int(lengths.max()), device=mask.device) < lengths[:, None],
    )
    score, distance = _judge(reward, copied)
    own = torch.arange(len(made), device=mask.device)[:, None] // 4
    own = own == torch.arange(distance.shape[2], device=mask.device)
    # A copy is near to what it was made of, as no new clip is.
    near = distance.masked_fill(own & (distance.shape[2] > 1), torch.inf).amin(2)
    score, near = (x.view(len(x), -1, 4) for x in (score, near))
    ahead = score[..., 1:] - score[..., :1]
    farther = (near[..., 1:] - near[..., :1]).clamp_min(1e-6)
    needed = (ahead / farther).clamp_min(0).flatten(1).quantile(share, dim=1)
    score, distance = _judge(reward, clips)
    most = score.std(1, correction=0) / distance.amin(2).std(1, correction=0).clamp_min(1e-6)
    return torch.minimum(needed, most)


def _judge(reward: Any, clips: Clips) -> tuple[Float[Tensor, "M S"], Float[Tensor, "M S K"]]:
    """Return what the head gives clips, and their distances from the preferred ones."""
    embedded = reward.embed(clips.frames)
    numbers = reward.numbers(embedded) * clips.mask
    distance, _ = reward.expert_distances(Clips(embedded, clips.mask))
    return numbers.sum(2) / clips.mask.sum(1), distance
