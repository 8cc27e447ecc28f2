"""How fast policies sample and train, and the UNet beside LeRobot's of equal size.

Both networks are timed in turns in the same run. Without the side environment `.venv-lerobot`
(`make peers`) LeRobot's time is the committed one, scaled by a matrix product.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.lerobot_unet import from_lerobot
from robopref.policies.unet_denoiser import UNetDenoiserConfig
from robopref.seeding import make_generator
from robopref.types import ACTION, STATE

ROOT = Path(__file__).resolve().parents[1]
LEROBOT = ROOT / ".venv-lerobot" / "bin" / "python"
OBS_DIM, ACTION_DIM = 39, 4
"""Those of Meta-World."""
NUM_CANDIDATES = 16
SHAPE: dict[str, Any] = {
    "n_obs_steps": 2, "chunk_size": 16, "channels": [128, 256, 512], "kernel_size": 5,
    "num_groups": 8, "step_dim": 128, "num_train_steps": 100, "num_denoise_steps": 10,
    "action_dim": ACTION_DIM, "condition_dim": 2 * OBS_DIM, "num_candidates": NUM_CANDIDATES,
}  # fmt: skip
"""LeRobot's smallest UNet, 17 million parameters, with the sampling of both sides."""
COMMITTED: dict[str, Any] = {
    "lerobot": "0.4.4", "threads": 1, "milliseconds": 2702.0, "matmul_milliseconds": 53.8,
}  # fmt: skip
"""LeRobot's time for SHAPE and that of a 1024^3 product, medians of 10 taken in turns on a busy
machine: both are slow alike there, and only their ratio is used."""


def run(quick: bool) -> dict[str, Any]:
    """Time sampling on one and two threads, training, and both UNets."""
    repeats, rounds = (50, 3) if quick else (300, 10)
    threads = torch.get_num_threads()
    figures: dict[str, Any] = {}
    try:
        for num_threads in (1, 2):
            torch.set_num_threads(num_threads)
            figures |= time_sampling(num_threads, repeats)
            figures |= time_training(num_threads, 20 if quick else 100)
            unets, reference = time_unets(num_threads, rounds)
            figures |= unets
    finally:
        torch.set_num_threads(threads)
    return {"figures": figures, "reference": reference}


def time_sampling(threads: int, repeats: int) -> dict[str, Any]:
    """Time 16 candidates in 10 denoising steps for one observation, with every denoiser."""
    figures = {}
    for denoiser in ("mlp", "unet", "transformer"):
        policy = DiffusionPolicyConfig(denoiser=denoiser).build(
            {STATE: (OBS_DIM,)}, ACTION_DIM, make_generator(0)
        )
        num = repeats if denoiser == "mlp" else max(repeats // 5, 5)
        times = 1e3 * np.array(timed(sampler_of(policy.eval()), num))
        name = f"sample_16_{denoiser}_{threads}_threads"
        figures[f"{name}_p50_ms"] = {"value": np.median(times), "n": num}
        slow = np.percentile(times, 95)
        aim = {"floor": 10, "ok": bool(slow <= 10)} if denoiser == "mlp" else {}
        figures[f"{name}_p95_ms"] = {"value": slow, "n": num, **aim}
    return figures


def sampler_of(policy: Any) -> Callable[[], Tensor]:
    """Return what samples 16 candidates for one observation."""
    generator = make_generator(0)
    obs = {STATE: torch.randn(1, policy.n_obs_steps, OBS_DIM, generator=generator)}
    return lambda: policy.sample(obs, NUM_CANDIDATES, generator)


def time_training(threads: int, num: int) -> dict[str, Any]:
    """Time loss and gradient of the default policy at batch 256."""
    generator = make_generator(0)
    policy = DiffusionPolicyConfig().build({STATE: (OBS_DIM,)}, ACTION_DIM, generator)
    batch = {
        STATE: torch.randn(256, 2, OBS_DIM, generator=generator),
        ACTION: torch.randn(256, policy.chunk_size, ACTION_DIM, generator=generator),
    }

    def step() -> None:
        policy.zero_grad()
        policy(batch, generator)[0].backward()

    times = 1e3 * np.array(timed(step, num))
    return {f"gradient_256_mlp_{threads}_threads_ms": {"value": np.median(times), "n": num}}


def time_unets(threads: int, rounds: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Time our UNet and LeRobot's in turns; return figures, and where LeRobot's time is from."""
    config = DiffusionPolicyConfig(
        chunk_size=16, num_train_steps=100, sampler="ddim", denoiser=unet_config()
    )
    policy = config.build({STATE: (OBS_DIM,)}, ACTION_DIM, make_generator(0)).eval()
    sample = sampler_of(policy)
    timed(sample, 2)
    ours: list[float] = []
    theirs: list[float] = []
    if LEROBOT.exists():
        with Reference() as reference:
            reference.ask({"threads": threads, "num": 2})
            for _ in range(rounds):
                ours += timed(sample, 2)
                theirs += reference.ask({"threads": threads, "num": 2})
            difference = reference.difference()
            source: dict[str, Any] = {"measured": True, **reference.about}
        source["largest_difference_of_outputs"] = difference
    else:
        before = matmul_milliseconds()
        ours = timed(sample, 2 * rounds)
        scale = (before + matmul_milliseconds()) / 2 / COMMITTED["matmul_milliseconds"]
        theirs = [scale * COMMITTED["milliseconds"] / 1e3]
        source = {"measured": False, "scaled_by": scale, **COMMITTED}
    ratio = float(np.median(theirs) / np.median(ours))
    name = f"unet_17m_{threads}_threads"
    return {
        f"{name}_ms": {"value": 1e3 * np.median(ours), "n": len(ours)},
        f"{name}_lerobot_ms": {"value": 1e3 * np.median(theirs), "n": len(theirs)},
        f"{name}_ratio": {"value": ratio, "floor": 1.5, "ok": ratio >= 1.5},
    }, source


def unet_config() -> UNetDenoiserConfig:
    """Return the settings of our UNet that make it LeRobot's."""
    return UNetDenoiserConfig(
        channels=tuple(SHAPE["channels"]), kernel_size=SHAPE["kernel_size"],
        num_groups=SHAPE["num_groups"], step_dim=SHAPE["step_dim"],
    )  # fmt: skip


class Reference:
    """LeRobot's UNet in a process of its own environment."""

    def __enter__(self) -> "Reference":
        """Start it and wait until it is ready."""
        self._process = subprocess.Popen(
            [str(LEROBOT), str(ROOT / "benchmarks" / "lerobot_unet.py"), json.dumps(SHAPE)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.about = self._read()
        return self

    def __exit__(self, *exception: object) -> None:
        """End it."""
        self._process.communicate()

    def ask(self, request: Mapping[str, Any]) -> Any:
        """Return its answer to one request."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def difference(self) -> float:
        """Return by how much our UNet with its weights differs from it, at most."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "unet.safetensors"
            self.ask({"save": str(path)})
            return largest_difference(load_file(path))

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("LeRobot's process ended early. Try 'make peers' again.")
        return json.loads(line)


def largest_difference(saved: Mapping[str, Tensor]) -> float:
    """Return the largest difference of outputs between LeRobot's UNet and ours with its weights."""
    unet = unet_config().build(SHAPE["chunk_size"], ACTION_DIM, SHAPE["condition_dim"])
    unet.load_state_dict(from_lerobot({k: v for k, v in saved.items() if k[0] != "_"}, unet))
    with torch.inference_mode():
        modulation = unet.modulation(saved["_step"], saved["_condition"])
        out = unet(saved["_x"][:, None], modulation)[:, 0]
    return float((out - saved["_out"]).abs().max())


def matmul_milliseconds() -> float:
    """Return the time of a 1024^3 product, by which times of other machines are scaled."""
    a = torch.randn(1024, 1024)
    return 1e3 * float(np.median(timed(lambda: a @ a, 20)))


def timed(call: Callable[[], object], num: int) -> list[float]:
    """Return the seconds of each of `num` calls after one that does not count."""
    call()
    seconds = []
    for _ in range(num):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds
