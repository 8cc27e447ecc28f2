"""Small policies as LeRobot has them, for the tests of what is imported and exported."""

import json
from dataclasses import replace

import torch

from robopref.encoders import StateEncoderConfig
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.lerobot_diffusion import (
    ENVIRONMENT_STATE,
)
from robopref.policies.unet_denoiser import UNetDenoiserConfig
from robopref.resnet_encoder import ResNetEncoderConfig
from robopref.types import IMAGES, STATE

CONFIG = DiffusionPolicyConfig(
    n_obs_steps=2, num_past_actions=1, chunk_size=15, n_action_steps=6,
    denoiser=UNetDenoiserConfig(channels=(16, 32)), prediction="noise", sampler="ddim",
)  # fmt: skip


def make_policy(config=CONFIG, shapes=None, action_dim=2):
    generator = torch.Generator().manual_seed(0)
    policy = config.build({STATE: (7,)} if shapes is None else shapes, action_dim, generator)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    states = getattr(policy.encoder, "states", policy.encoder)
    for normalizer in (states.normalizer, policy.action_normalizer):
        normalizer.loc.normal_(generator=generator)
        normalizer.scale.uniform_(0.5, 2, generator=generator)
    return policy.eval()


def split(obs, num):
    return {STATE: obs[STATE][..., :num], ENVIRONMENT_STATE: obs[STATE][..., num:]}


def edit(directory, **changes):
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


EYES = ResNetEncoderConfig(
    crop=(40, 38), num_points=4,
    states=StateEncoderConfig(clip=1e6, beside=(ENVIRONMENT_STATE,)),
)  # fmt: skip
SEEN: dict[str, tuple[int, ...]] = {
    STATE: (3,), ENVIRONMENT_STATE: (4,), IMAGES + "top": (44, 42, 3), IMAGES + "back": (44, 42, 3),
}  # fmt: skip


def make_seeing(eyes=EYES):
    shapes = dict(SEEN) if eyes.states.beside else {k: v for k, v in SEEN.items() if "env" not in k}
    policy = make_policy(replace(CONFIG, encoder=eyes), shapes)
    for numbers in policy.encoder.pixels:
        numbers.loc.uniform_(0.4, 0.6, generator=torch.Generator().manual_seed(4))
    return policy


def make_pictured(policy, batch=2):
    drawn = torch.Generator().manual_seed(5)
    return {
        key: torch.randint(256, (batch, 2, *shape), generator=drawn, dtype=torch.uint8)
        if key.startswith(IMAGES)
        else torch.randn(batch, 2, *shape, generator=drawn)
        for key, shape in policy.obs_shapes.items()
    }
