"""Policies of LeRobot's own under robopref, and robopref's under LeRobot.

It runs where LeRobot is: `test_lerobot.py` starts it with a folder to work in and with checkpoints
that robopref wrote, and looks at what it prints.
"""

import contextlib
import io
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.factory import (
    get_policy_class,
    make_policy_config,
    make_pre_post_processors,
)
from safetensors.torch import load_file

from robopref.cli import main as robopref
from robopref.policies.lerobot_diffusion import export_diffusion, import_diffusion
from robopref.policies.serialization import load_policy
from robopref.types import ACTION, STATE

ENVIRONMENT, CAMERA = "observation.environment_state", "observation.images.corner"
LONE = "observation.image"
SIZES = {STATE: 3, ENVIRONMENT: 4, ACTION: 2}
SMALL: dict[str, dict[str, Any]] = {
    "diffusion": {
        "horizon": 16, "n_action_steps": 6, "down_dims": (16, 32), "diffusion_step_embed_dim": 32,
        "noise_scheduler_type": "DDIM", "num_inference_steps": 10,
        "use_film_scale_modulation": False,
    },
    "act": {
        "chunk_size": 10, "n_action_steps": 5, "dim_model": 32, "n_heads": 2, "dim_feedforward": 32,
        "n_encoder_layers": 1, "latent_dim": 4, "pretrained_backbone_weights": None,
    },
}  # fmt: skip


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def save(kind, folder, features, action_dim=SIZES[ACTION], **settings):
    """Save a policy with random weights and its processors, as LeRobot's training does."""
    config = make_policy_config(
        kind, input_features=features, device="cpu",
        output_features={ACTION: PolicyFeature(FeatureType.ACTION, (action_dim,))},
        **SMALL[kind], **settings,
    )  # fmt: skip
    torch.manual_seed(0)
    policy = get_policy_class(kind)(config).eval()
    for name, buffer in policy.named_buffers():
        if "running_mean" in name:
            buffer.uniform_(-0.05, 0.05)  # Larger ones leave nothing of what is seen.
        elif "running_var" in name:
            buffer.uniform_(0.8, 1.2)
    drawn = generator(3)
    stats = {}
    for key, feature in {**features, **config.output_features}.items():
        shape = (3, 1, 1) if feature.type == FeatureType.VISUAL else feature.shape
        low, span = torch.rand(shape, generator=drawn), torch.rand(shape, generator=drawn) + 0.5
        stats[key] = {"min": low, "max": low + span, "mean": low + span / 2, "std": span / 3}
    if STATE in stats:
        # One number never varied.
        stats[STATE]["max"][0] = stats[STATE]["min"][0]
    before, after = make_pre_post_processors(config, dataset_stats=stats)
    for part in (policy, before, after):
        part.save_pretrained(folder)
    return policy, before, after


def vectors():
    return {
        STATE: PolicyFeature(FeatureType.STATE, (SIZES[STATE],)),
        ENVIRONMENT: PolicyFeature(FeatureType.ENV, (SIZES[ENVIRONMENT],)),
    }


def make_obs(batch=5, steps=2):
    drawn = generator(7)
    obs = {k: torch.rand(batch, steps, SIZES[k], generator=drawn) for k in (STATE, ENVIRONMENT)}
    obs[STATE][..., 0] = torch.rand((), generator=generator(3))
    return obs


def prepared(parts, obs):
    """Return observations as LeRobot's policy gets them."""
    policy, before, _ = parts
    obs = {
        k: v.movedim(-1, -3).float() / 255 if v.dtype == torch.uint8 else v for k, v in obs.items()
    }
    steps = [before({k: v[:, t] for k, v in obs.items()}) for t in range(policy.config.n_obs_steps)]
    return {key: torch.stack([step[key] for step in steps], dim=1) for key in obs}


def theirs(parts, obs, noise):
    """Return the chunk that LeRobot's policy makes of noise."""
    policy, _, after = parts
    policy.reset()
    return after(policy.predict_action_chunk(prepared(parts, obs), noise=noise))


def difference(first, second):
    return float((first - second).abs().max())


def try_types(folder):
    """Return what each type does as a policy here."""
    found = {}
    for kind in SMALL:
        own, before, after = save(kind, folder / kind, vectors())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            policy = load_policy(folder / kind)
            obs = make_obs(steps=policy.n_obs_steps)
            chunks = policy.sample(obs, 4, generator())
            rows = policy.sample(obs, 4, [generator(i) for i in range(5)])
        alone = policy.sample({k: v[2:3] for k, v in obs.items()}, 4, [generator(2)])
        state = torch.get_rng_state()
        again = policy.sample(obs, 4, generator())
        left_alone = bool(torch.equal(state, torch.get_rng_state()))
        own.reset()
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator(9))))
        if kind == "diffusion":
            expected = theirs((own, before, after), obs, torch.randn(5, 16, SIZES[ACTION]))
        else:
            seen = {k: v[:, -1] for k, v in obs.items()}
            steps = [after(own.select_action(before(seen))) for _ in range(policy.n_action_steps)]
            expected = torch.stack(steps, dim=1)
        chunk = policy.predict_action_chunk(obs, generator(9))[:, : policy.n_action_steps]
        found[kind] = {
            "sizes": [policy.n_obs_steps, policy.chunk_size, policy.n_action_steps],
            "shape": list(chunks.shape),
            "repeats": bool(torch.equal(chunks, again)),
            "spread": difference(chunks[:, 0], chunks[:, 1]),
            "alone": difference(rows[2:3], alone),
            "leaves_randomness": left_alone,
            "warned": [str(w.message) for w in caught if "proposes the same" in str(w.message)],
            "as_theirs": difference(expected, chunk),
        }
    return found


def try_import(folder, obs, features, **settings):
    """Return how far a policy here and LeRobot's are apart, both ways."""
    parts = save("diffusion", folder / "base", features, **settings)
    own = parts[0]
    imported = import_diffusion(folder / "base")
    noise = torch.randn(5, 16, SIZES[ACTION], generator=generator())
    chunk = theirs(parts, obs, noise)
    # One camera's key has no name.
    seen = {f"{LONE}s.image" if key == LONE else key: value for key, value in obs.items()}
    ours = imported.sample(seen, 1, generator(), noise=noise[:, None])[:, 0]
    batch = {**seen, ACTION: ours, "action.past": ours[:, :1]}
    steps = torch.tensor([0, 3, 20, 50, 99])
    predicted = imported.predict_noise(batch, steps, noise)
    noisy = imported.schedule.add_noise(imported.to_network(ours, batch), noise, steps)
    given = prepared(parts, obs)
    cameras = list(own.config.image_features)
    if cameras:
        given["observation.images"] = torch.stack([given[key] for key in cameras], dim=-4)
    with torch.no_grad():
        condition = own.diffusion._prepare_global_conditioning(given)
        expected = own.diffusion.unet(noisy, steps, global_cond=condition)
    turned = {key: v.flip(-2) if v.dtype == torch.uint8 else v for key, v in seen.items()}
    other = imported.sample(turned, 1, generator(), noise=noise[:, None])[:, 0]
    # As a method would, a little.
    with torch.no_grad():
        for parameter in imported.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator()))
    export_diffusion(imported, folder / "tuned")
    tuned = load_theirs(folder / "tuned")
    return {
        "noise": difference(predicted, expected),
        "sizes": [imported.chunk_size, imported.num_past_actions, imported.n_action_steps],
        "chunk": difference(chunk, ours[:, : chunk.shape[1]]),
        "sees": difference(other, ours),
        "tuned_moved": difference(chunk, theirs(tuned, seen, noise)),
        "tuned": difference(
            imported.sample(seen, 1, generator(), noise=noise[:, None])[:, 0, :6],
            theirs(tuned, seen, noise),
        ),
    }


PLAIN = {"pretrained_backbone_weights": None, "spatial_softmax_num_keypoints": 8}
EYES: dict[str, dict[str, Any]] = {
    "group": {"use_group_norm": True, "crop_shape": (56, 52)},
    "batch": {"use_group_norm": False, "crop_shape": (56, 51), "num_cameras": 2},
    "shared": {
        "use_group_norm": True, "use_separate_rgb_encoder_per_camera": False, "num_cameras": 2,
        "resize_shape": (48, 40), "crop_ratio": 0.9, "environment": True,
    },
}  # fmt: skip


def try_pictures(folder):
    """Return the same of policies that see pictures, each in another way."""
    found = {}
    for name, settings in EYES.items():
        settings = {**PLAIN, **settings}
        features, obs = vectors(), make_obs()
        if not settings.pop("environment", False):
            del features[ENVIRONMENT], obs[ENVIRONMENT]
        num = settings.pop("num_cameras", 1)
        # Not in the order of the alphabet.
        for key in [LONE] if num == 1 else ["observation.images.wrist", CAMERA]:
            features[key] = PolicyFeature(FeatureType.VISUAL, (3, 64, 60))
            shape = (5, 2, 64, 60, 3)
            drawn = torch.randint(256, shape, generator=generator(len(key)), dtype=torch.uint8)
            obs[key] = drawn
        found[name] = try_import(folder / name, obs, features, **settings)
    return found


def load_theirs(folder):
    policy = get_policy_class("diffusion").from_pretrained(folder, strict=True)
    return policy, *make_pre_post_processors(policy.config, str(folder))


def try_exported(folder):
    """Return by how much LeRobot's policy differs from the chunks that robopref's made."""
    given = load_file(folder / "expected.safetensors")
    obs = {key: given[key] for key in (STATE, ENVIRONMENT)}
    chunk = theirs(load_theirs(folder), obs, given["noise"])
    return difference(chunk, given["chunk"][:, : chunk.shape[1]])


def try_command(folder):
    """Return what `robopref evaluate` makes of a policy that sees pictures."""
    seeing = {
        STATE: PolicyFeature(FeatureType.STATE, (39,)),
        CAMERA: PolicyFeature(FeatureType.VISUAL, (3, 64, 64)),
    }
    save("act", folder / "seeing", seeing, action_dim=4)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = robopref([
            "evaluate", "--policy", str(folder / "seeing"), "--env", "metaworld/reach-v3",
            "--behaviour", "slow", "--num-episodes", "1", "--max-episode-steps", "6",
            "--num-workers", "0", "--out", str(folder / "evaluation"),
        ])  # fmt: skip
    return {"code": code, "said": said.getvalue()}


def main():
    """Try everything in a folder; print what was found as one JSON line."""
    folder, exported = Path(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    found = {
        "types": try_types(folder),
        "import": try_import(folder / "states", make_obs(), vectors()),
        "pictures": try_pictures(folder),
        "exported": try_exported(exported),
        "command": try_command(folder),
    }
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
