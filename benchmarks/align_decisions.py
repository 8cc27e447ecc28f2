"""How long a decision by best-of-N takes, beside the 50 ms that an arm at 20 Hz waits at most."""

import time
from typing import Any

import numpy as np
import torch

from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.selection import BestOfNConfig
from robopref.rewards.mlp import MLPRewardConfig
from robopref.seeding import make_generator
from robopref.types import STATE


def measure_decisions() -> dict[str, Any]:
    """Return the median and the slowest in twenty of one observation's decisions, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    generator = make_generator(0)
    policy = DiffusionPolicyConfig().build({STATE: (39,)}, 4, generator).eval()
    chooser = BestOfNConfig().build(policy, MLPRewardConfig().build(39, 4))
    obs = {STATE: torch.randn(1, policy.n_obs_steps, 39, generator=generator)}
    times = []
    with torch.inference_mode():
        for _ in range(520):
            start = time.perf_counter()
            chooser.predict_action_chunk(obs, generator)
            times.append(1e3 * (time.perf_counter() - start))
    torch.set_num_threads(threads)
    median, slow = np.percentile(times[20:], (50, 95))
    num = len(times) - 20
    return {
        "best_of_16_p50_ms": {"value": float(median), "n": num},
        "best_of_16_p95_ms": {"value": float(slow), "n": num, "floor": 50, "ok": bool(slow <= 50)},
    }
