"""LeRobot's UNet and its sampling loop, timed on request; run by policy_speed.py in .venv-lerobot.

Reads one JSON line at a time: {"threads": n, "num": m} samples m times and answers with seconds;
{"save": path} writes the weights, an input and its output as safetensors.
"""

import json
import sys
import time
from typing import Any

import lerobot
import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.diffusion.modeling_diffusion import DiffusionModel
from safetensors.torch import save_file


def build(shape: dict[str, Any]) -> DiffusionModel:
    """Return LeRobot's diffusion model for vectors, with ten DDIM steps."""
    environment = shape["condition_dim"] // shape["n_obs_steps"] - 1
    config = DiffusionConfig(
        n_obs_steps=shape["n_obs_steps"],
        horizon=shape["chunk_size"],
        n_action_steps=shape["chunk_size"] // 2,
        down_dims=tuple(shape["channels"]),
        kernel_size=shape["kernel_size"],
        n_groups=shape["num_groups"],
        diffusion_step_embed_dim=shape["step_dim"],
        use_film_scale_modulation=True,
        noise_scheduler_type="DDIM",
        num_train_timesteps=shape["num_train_steps"],
        num_inference_steps=shape["num_denoise_steps"],
        # It wants a robot state and an environment state; only the sum of their sizes matters here.
        input_features={
            "observation.state": PolicyFeature(FeatureType.STATE, (1,)),
            "observation.environment_state": PolicyFeature(FeatureType.ENV, (environment,)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (shape["action_dim"],))},
        device="cpu",
    )
    torch.manual_seed(0)
    return DiffusionModel(config).eval()


def main() -> None:
    """Answer requests until the input ends."""
    shape = json.loads(sys.argv[1])
    model = build(shape)
    rows, condition_dim = shape["num_candidates"], shape["condition_dim"]
    condition = torch.randn(1, condition_dim).repeat(rows, 1)
    num_parameters = sum(p.numel() for p in model.unet.parameters())
    print(json.dumps({"version": lerobot.__version__, "parameters": num_parameters}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        with torch.inference_mode():
            if "save" in request:
                x = torch.randn(rows, shape["chunk_size"], shape["action_dim"])
                step = torch.randint(shape["num_train_steps"], (rows,))
                out = model.unet(x, step, global_cond=condition)
                extra = {"_x": x, "_step": step, "_condition": condition, "_out": out.contiguous()}
                save_file({**model.unet.state_dict(), **extra}, request["save"])
                print("{}", flush=True)
                continue
            torch.set_num_threads(request["threads"])
            seconds = []
            for _ in range(request["num"]):
                start = time.perf_counter()
                model.conditional_sample(rows, global_cond=condition)
                seconds.append(time.perf_counter() - start)
            print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
