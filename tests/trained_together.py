"""Everything that trains, small: what `tests/test_ranks.py` trains by one process and by several.

    torchrun --nproc-per-node 2 -m tests.trained_together OUT [CASE ...]

writes the weights and the figures of every step of each case to OUT/CASE.
"""

import dataclasses
import os
import sys
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Dict
from gymnasium.vector import SyncVectorEnv

from robopref.backbones import SmallCNNConfig
from robopref.checkpoint import save_tree
from robopref.data.episode import Episode
from robopref.data.normalizer import compute_statistics
from robopref.data.segment import Segment
from robopref.image_encoder import ImageEncoderConfig
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.finetune import FINETUNE
from robopref.policies.finetune.data import FinetuneData, Judgement
from robopref.policies.finetune.denoising_mdp import DenoisingConfig
from robopref.policies.finetune.online import PPOConfig
from robopref.policies.gaussian import GaussianPolicyConfig
from robopref.policies.iql import IQLConfig
from robopref.policies.iql_members import prepare_iql
from robopref.policies.mlp_denoiser import MLPDenoiserConfig
from robopref.policies.primitive_diffusion import PointDenoiserConfig, PrimitiveDiffusionConfig
from robopref.preferences.preference import PairwiseView
from robopref.rewards import REWARDS
from robopref.rewards.critic import CriticConfig
from robopref.rewards.deformpam import CandidateRewardConfig
from robopref.run_checkpoint import RunCheckpoint
from robopref.token_encoder import TokenEncoderConfig
from robopref.train_policy import train_policy
from robopref.trainer import TrainerConfig
from robopref.types import IMAGES, STATE, SegmentBatch
from tests.clouds import ACTION_DIM, SHAPES, make_rankings

# 15 rows do not divide evenly among two processes.
TRAINER = TrainerConfig(num_steps=8, batch_size=15, warmup_steps=2, learning_rate=1e-3,
                        log_interval=1, validation_interval=4, checkpoint_interval=4)  # fmt: skip
POLICY = DiffusionPolicyConfig(
    chunk_size=4, n_action_steps=2, denoiser=MLPDenoiserConfig(width=16, num_blocks=1)
)
TOKENS = TokenEncoderConfig(num_tokens=8, num_neighbours=4, width=24, num_layers=1, num_heads=2)
PRIMITIVES = PrimitiveDiffusionConfig(
    encoder=TOKENS, denoiser=PointDenoiserConfig(width=24, num_heads=2)
)
EYES = ImageEncoderConfig(
    backbone=SmallCNNConfig(width=4), size=16, num_points=4, width=8, train_backbone=True
)
Case = Callable[[Path], Any]


def episodes(num: int = 12, *, pictures: bool = False) -> list[Episode]:
    """Return episodes of a toy whose first action is to the left or to the right."""
    rng = np.random.default_rng(0)
    return [_episode(index, rng, pictures) for index in range(num)]


def _episode(index: int, rng: np.random.Generator, pictures: bool) -> Episode:
    num = 10 + index % 3
    obs: dict[str, Any] = {STATE: rng.uniform(-1, 1, (num + 1, 3)).astype(np.float32)}
    if pictures:
        obs[IMAGES + "top"] = rng.integers(0, 256, (num + 1, 16, 16, 3), dtype=np.uint8)
    action = (0.1 * rng.normal(size=(num, 2)) + (0.6 if index % 2 else -0.6)).astype(np.float32)
    reward, done = rng.normal(size=num).astype(np.float32), np.zeros(num, bool)
    done[-1] = True
    return Episode(
        str(uuid.UUID(int=index)), obs, action, reward, done, index % 2 == 0, index % 2 == 1,
        "test/toy", "go left or right", index, 20,
    )  # fmt: skip


def seeded(seed: int = 3) -> torch.Generator:
    """Return a generator."""
    return torch.Generator().manual_seed(seed)


class Scorer:
    """Likes chunks that go right."""

    def score(self, obs: Any, candidates: torch.Tensor) -> torch.Tensor:
        """Return the mean of the first action."""
        return candidates[..., 0].mean(-1)

    def uncertainty(self, obs: Any, candidates: torch.Tensor, /) -> torch.Tensor:
        """Return what varies a little."""
        return 0.1 * candidates[..., 0].std(-1)


def untrained() -> Any:
    """Return a policy that knows the scale of the toy."""
    policy = POLICY.build({STATE: (3,)}, 2, seeded(0))
    policy.fit_normalizer(compute_statistics(episodes()))
    return policy


def finetune_data() -> FinetuneData:
    """Return what methods learn from, with some judgements that are no pairs."""
    judged = episodes()
    whole = [Segment(episode.id, 0, 10) for episode in judged]
    pairs = [Judgement.of_pair(whole[i], whole[i + 1], 1.0) for i in range(0, 12, 2)]
    returns = np.array([episode.action[:, 0].sum() for episode in judged])
    return FinetuneData(
        judged[1::2], judged=judged, judgements=pairs, pool=judged,
        returns=np.stack([returns, 1.1 * returns]), scorer=Scorer(),
    )  # fmt: skip


def pairs(num: int = 31) -> PairwiseView:
    """Return pairs of segments of ragged length, of which some are ties."""
    rng = np.random.default_rng(1)
    mask = np.arange(12) < rng.integers(6, 13, 2 * num)[:, None]
    segments = SegmentBatch(
        {STATE: rng.normal(size=(2 * num, 12, 5)).astype(np.float32)},
        rng.normal(size=(2 * num, 12, 2)).astype(np.float32), mask,
    )  # fmt: skip
    returns = np.where(mask, segments.action[..., 0], 0).sum(1)
    a, b = np.arange(0, 2 * num, 2), np.arange(1, 2 * num, 2)
    gap = returns[b] - returns[a]
    prefers_b = np.where(np.abs(gap) < 0.3, 0.5, gap > 0).astype(np.float32)
    names = tuple(f"episode-{i}" for i in range(2 * num))
    return PairwiseView(segments, names, a, b, prefers_b, np.ones(num, np.float32))


def clone(config: Any, out: Path, *, seen: bool = False, **trainer: Any) -> Any:
    """Return a policy that was cloned."""
    settings = dataclasses.replace(TRAINER, **trainer)
    return train_policy(config, episodes(pictures=seen), settings, directory=out)[0]


def tune(name: str, out: Path) -> Any:
    """Return a policy that a method of the registry tuned."""
    method = FINETUNE.config_class(name)()
    trainer = dataclasses.replace(TRAINER, ema_decay=0.9)
    method = dataclasses.replace(method, trainer=trainer)
    base, data = untrained(), finetune_data()
    if name.startswith("deformpam"):
        base = PRIMITIVES.build(SHAPES, ACTION_DIM, seeded(0))
        data = FinetuneData(rankings=make_rankings(np.random.default_rng(2), 12))
    return method.run(base, data, generator=seeded(), directory=out)[0]


def fit(name: str, out: Path, *, batch_size: int = 15) -> Any:
    """Return a reward of the registry that was fitted to pairs, to some or to all in a step."""
    config = REWARDS.config_class(name)()
    trainer = dataclasses.replace(
        config.fit.trainer, num_steps=8, batch_size=batch_size, log_interval=1,
        validation_interval=4,
    )  # fmt: skip
    small: dict[str, Any] = {
        "num_members": 2,
        "fit": dataclasses.replace(config.fit, trainer=trainer),
    }
    if name.endswith("mlp"):
        small |= {"n_action_steps": 3, "hidden_sizes": (16,)}
    if name.endswith("transformer"):
        small |= {"embedding_size": 16, "num_heads": 2}
    reward = dataclasses.replace(config, **small).build(5, 2)
    reward.fit(pairs(), generator=seeded(), directory=out)
    return reward


def rank_candidates(out: Path) -> Any:
    """Return an ensemble that was fitted to rankings of candidates."""
    config = CandidateRewardConfig(num_members=2, encoder=TOKENS, trainer=TRAINER)
    reward = config.build(SHAPES, ACTION_DIM, seeded(0))
    rankings = make_rankings(np.random.default_rng(2), 20)
    reward.fit(rankings, validation=rankings, generator=seeded(), directory=out)
    return reward


def criticise(out: Path) -> Any:
    """Return a critic of the toy's rewards."""
    critic = CriticConfig(num_members=2, hidden_sizes=(8,), trainer=TRAINER).of_policy(untrained())
    data = episodes()
    critic.fit(data, [episode.reward for episode in data], generator=seeded())
    return critic


def train_iql(out: Path) -> Any:
    """Return the networks of three members that learned offline."""
    data = episodes()
    config = IQLConfig(policy=GaussianPolicyConfig(hidden_sizes=(8,)), num_steps=8, batch_size=15,
                       learning_rate=3e-3, log_interval=1, checkpoint_interval=4)  # fmt: skip
    rewards = np.random.default_rng(5).normal(size=(3, sum(map(len, data)))).astype(np.float32)
    run, _ = prepare_iql(config, data, rewards, [0, 1, 2], directory=out)
    run.fit()
    return run.learner


class ToyEnv(gymnasium.Env[Any, Any]):
    """Four steps in which nothing is paid."""

    observation_space = Dict({STATE: Box(-1, 1, (3,))})
    action_space = Box(-1, 1, (2,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Begin."""
        super().reset(seed=seed)
        self.count = 0
        return self._observe(), {}

    def step(self, action: np.ndarray) -> Any:
        """Go on."""
        self.count += 1
        return self._observe(), 0.0, False, self.count >= 4, {}

    def _observe(self) -> dict[str, np.ndarray]:
        return {STATE: self.np_random.uniform(-1, 1, 3).astype(np.float32)}


def act(out: Path) -> Any:
    """Return a policy that PPO tuned."""
    config = PPOConfig(DenoisingConfig(tuned_steps=4), num_iterations=2, max_decisions=2,
                       num_epochs=2, batch_size=15, checkpoint_interval=1)  # fmt: skip
    return config.run(
        untrained(), FinetuneData(scorer=Scorer()), generator=seeded(), directory=out,
        make_vector_env=lambda: SyncVectorEnv([ToyEnv] * 4),
    )[0]  # fmt: skip


def cases() -> dict[str, Case]:
    """Return everything that trains, by name."""
    tuned = [name for name in FINETUNE.names() if name not in ("ppo", "best-of-n", "guidance")]
    fitted = [name for name in REWARDS.names() if name not in ("random", "zero", "criteria")]
    return {
        "policy": lambda out: clone(POLICY, out, gradient_accumulation=2, ema_decay=0.9),
        "policy-bf16": lambda out: clone(POLICY, out, mixed_precision="bf16"),
        "policy-gaussian": lambda out: clone(GaussianPolicyConfig(hidden_sizes=(8,)), out),
        "policy-compiled": lambda out: clone(
            GaussianPolicyConfig(hidden_sizes=(8,)), out, compile=True
        ),
        "policy-that-sees": lambda out: clone(
            dataclasses.replace(POLICY, encoder=EYES), out, seen=True, batch_size=5, num_steps=4
        ),
        **{f"tuned-{name}": partial(tune, name) for name in tuned},
        "tuned-ppo": act,
        **{f"reward-{name}": partial(fit, name) for name in fitted},
        "reward-all-pairs": lambda out: fit("mlp", out, batch_size=64),
        "reward-of-candidates": rank_candidates,
        "reward-critic": criticise,
        "iql": train_iql,
    }


class StoppedError(Exception):
    """The moment after a save at which a run is to end."""


def _stop_at_save() -> None:
    """Let every case end when its first checkpoint was written."""
    save = RunCheckpoint.save

    def save_and_stop(self: RunCheckpoint, state: dict[str, Any]) -> None:
        save(self, state)
        raise StoppedError

    RunCheckpoint.save = save_and_stop  # type: ignore[method-assign]


def main(out: str, *names: str) -> None:
    """Train the cases, all by default, and keep what came of them."""
    torch.set_num_threads(1)
    if "STOP_AT_SAVE" in os.environ:
        _stop_at_save()
    known = cases()
    for name in names or known:
        try:
            trained = known[name](Path(out) / name)
        except StoppedError:
            continue
        if os.environ.get("RANK", "0") == "0":
            save_tree(Path(out) / name / "weights.safetensors", dict(trained.state_dict()))


if __name__ == "__main__":
    main(*sys.argv[1:])
