"""Where the mass goes under Diffusion-DPO as published, and with what mends it.

A toy of two ways to succeed: the first action goes left or right, as often; the second follows the
state, which nobody judges. Right is preferred in 30 pairs. Beside the share of right turns it is
counted how many chunks leave the data, and how far the second action is from its task;
docs/images/dpo-mass.svg shows where the actions lie.
"""

import uuid
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch

from robopref.align.figures import AFTER, BEFORE, INK, MUTED, svg_data
from robopref.config import write_text_atomically
from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.finetune.data import FinetuneData, Judgement
from robopref.policies.finetune.dpo import DPOConfig
from robopref.policies.finetune.group_sources import GroupsConfig
from robopref.policies.mlp_denoiser import MLPDenoiserConfig
from robopref.seeding import make_generator, make_rng
from robopref.train_policy import train_policy
from robopref.trainer import TrainerConfig
from robopref.types import STATE

PICTURE = Path("docs/images/dpo-mass.svg")
SIDE = 0.6
"""First action of either way."""
TREMOR = 0.05
"""Standard deviation of the actions about their way."""
TRAINER = TrainerConfig(num_steps=150, batch_size=256, learning_rate=1e-3, ema_decay=0.98)
ANSWERS = GroupsConfig("answers")
METHODS = {
    "as published": DPOConfig(TRAINER, ANSWERS, safeguard=0.0, anchor=0.0),
    "safeguarded": DPOConfig(TRAINER, ANSWERS, anchor=0.0),
    "safeguarded, anchored": DPOConfig(TRAINER, ANSWERS),
}


def make_episode(
    index: int, rng: np.random.Generator, *, right: bool, num_steps: int = 25
) -> Episode:
    """Return an episode whose actions are (+-SIDE, half of the state's first number), nearly."""
    state = rng.uniform(-1, 1, (num_steps + 1, 3)).astype(np.float32)
    action = TREMOR * rng.normal(size=(num_steps, 2)).astype(np.float32)
    action[:, 0] += SIDE if right else -SIDE
    action[:, 1] += 0.5 * state[:-1, 0]
    zeros = np.zeros(num_steps, np.float32)
    return Episode(
        str(uuid.UUID(int=index)), {STATE: state}, action.astype(np.float32), zeros, zeros == 0,
        True, False, "test/toy", "go left or right", index, 20,
    )  # fmt: skip


def make_episodes() -> list[Episode]:
    """Return 60 episodes, every other one of which goes right."""
    rng = np.random.default_rng(0)
    return [make_episode(i, rng, right=i % 2 == 0) for i in range(60)]


def clone(episodes: list[Episode]) -> Any:
    """Return a policy that imitates both ways."""
    config = DiffusionPolicyConfig(
        chunk_size=4, n_action_steps=2, denoiser=MLPDenoiserConfig(width=64, num_blocks=2)
    )
    trainer = TrainerConfig(num_steps=600, batch_size=128, learning_rate=3e-3, ema_decay=0.99)
    policy, _ = train_policy(config, episodes, trainer, validation_share=0)
    return policy


def judge(episodes: list[Episode]) -> FinetuneData:
    """Return 30 pairs, in each of which the episode that goes right is preferred."""
    segments = [Segment(episode.id, 0, len(episode)) for episode in episodes]
    pairs = [Judgement.of_pair(segments[i], segments[i + 1], 0.0) for i in range(0, 60, 2)]
    return FinetuneData(judged=episodes, judgements=pairs)


def run(quick: bool) -> dict[str, Any]:
    """Tune by each method with one seed, or five, and draw what the first seed did."""
    episodes = make_episodes()
    base, data = clone(episodes), judge(episodes)
    chosen = {"cloned": first_and_second(base)}
    found: dict[str, list[dict[str, float]]] = {"cloned": [measure(*chosen["cloned"])]}
    for seed in range(1 if quick else 5):
        for name, method in METHODS.items():
            tuned, result = method.run(base, data, generator=make_generator(seed, "two-ways"))
            actions = first_and_second(tuned)
            changes = ("error_change_preferred", "error_change_other")
            figures = measure(*actions) | {key: result.figures[key] for key in changes}
            found.setdefault(name, []).append(figures)
            chosen.setdefault(name, actions)
    if not quick:
        write_text_atomically(PICTURE, draw(chosen))
    return {
        "figures": {
            f"{name}: {key}": _spread([row[key] for row in rows])
            for name, rows in found.items()
            for key in rows[0]
        }
    }


def first_and_second(policy: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the first action of sampled chunks, and the second less what its task asks for."""
    state = make_rng(0, "two-ways").uniform(-1, 1, (200, 2, 3)).astype(np.float32)
    obs = {STATE: torch.from_numpy(state)}
    chunks = policy.sample(obs, 20, make_generator(0, "two-ways"))[:, :, 0].numpy()
    return chunks[..., 0].ravel(), (chunks[..., 1] - 0.5 * state[:, -1:, 0]).ravel()


def measure(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Return shares of chunks: to the right, off the data; and the mean error of the task."""
    off = (np.abs(np.abs(first) - SIDE) > 4 * TREMOR) | (np.abs(second) > 4 * TREMOR)
    return {
        "right": float((first > 0).mean()),
        "off the data": float(off.mean()),
        "error of the task": float(np.abs(second).mean()),
    }


def draw(actions: dict[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """Return a picture of how the two actions are distributed, one row a policy."""
    figure, axes = plt.subplots(1, 2, figsize=(8.0, 3.0), sharey=True)
    colours = {"cloned": MUTED, "as published": BEFORE}
    names = ("first action: left or right", "second action, less what its task asks for")
    for column, (axis, label, ways) in enumerate(
        zip(axes, names, ((-SIDE, SIDE), (0.0,)), strict=True)
    ):
        bins = np.linspace(-1.0, 1.0, 81)
        for row, (name, values) in enumerate(actions.items()):
            height, _ = np.histogram(values[column].clip(-0.99, 0.99), bins)
            scaled = 0.85 * height / height.max()
            axis.fill_between(
                bins[:-1], -row, scaled - row, step="post", linewidth=0,
                color=colours.get(name, AFTER),
            )  # fmt: skip
        for way in ways:
            axis.axvspan(way - 4 * TREMOR, way + 4 * TREMOR, color="#e4e7eb", zorder=0)
        axis.set_xlabel(label, fontsize=9)
        axis.set_ylim(0.95 - len(actions), 1.0)
        axis.tick_params(colors=MUTED, labelsize=8)
        for side in ("top", "left", "right"):
            axis.spines[side].set_visible(False)
    axes[0].set_yticks([0.3 - row for row in range(len(actions))], list(actions))
    axes[0].tick_params(axis="y", length=0, colors=INK)
    axes[1].tick_params(axis="y", length=0)
    return svg_data(figure)


def _spread(values: list[float]) -> dict[str, Any]:
    return {
        "value": float(np.mean(values)),
        "low": min(values),
        "high": max(values),
        "n": len(values),
    }
