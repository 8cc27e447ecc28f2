"""The imitation library's ensemble trainer, timed on request; run by reward_speed.py.

Runs in `.venv-imitation` (`make peers`). Reads one JSON line at a time, {"pairs": n}, trains once
over n pairs, and answers with the seconds it took.
"""

import json
import sys
import time
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from imitation.algorithms import preference_comparisons as pc
from imitation.data.types import TrajectoryWithRew
from imitation.rewards.reward_nets import BasicRewardNet, RewardEnsemble


def make_dataset(shape: dict[str, Any], num_pairs: int) -> pc.PreferenceDataset:
    """Return pairs of random segments, half of them with the first one preferred."""
    rng = np.random.default_rng(0)

    def segment() -> TrajectoryWithRew:
        length = shape["length"]
        return TrajectoryWithRew(
            obs=rng.standard_normal((length + 1, shape["obs_dim"])).astype(np.float32),
            acts=rng.uniform(-1, 1, (length, shape["action_dim"])).astype(np.float32),
            infos=None,
            terminal=False,
            rews=np.zeros(length, np.float32),
        )

    dataset = pc.PreferenceDataset()
    pairs = [(segment(), segment()) for _ in range(num_pairs)]
    dataset.push(pairs, rng.integers(0, 2, num_pairs).astype(np.float32))
    return dataset


def make_trainer(shape: dict[str, Any]) -> pc.EnsembleTrainer:
    """Return its ensemble trainer with networks of the given shape."""
    torch.manual_seed(0)
    obs_space = Box(-np.inf, np.inf, (shape["obs_dim"],))
    action_space = Box(-1.0, 1.0, (shape["action_dim"],))
    members = [
        BasicRewardNet(obs_space, action_space, hid_sizes=shape["hidden_sizes"])
        for _ in range(shape["num_members"])
    ]
    return pc.EnsembleTrainer(
        pc.PreferenceModel(RewardEnsemble(obs_space, action_space, members)),
        pc.CrossEntropyRewardLoss(),
        rng=np.random.default_rng(0),
        batch_size=shape["batch_size"],
        epochs=1,
    )


def main() -> None:
    """Answer requests until the input ends."""
    shape = json.loads(sys.argv[1])
    torch.set_num_threads(shape["threads"])
    trainer = make_trainer(shape)
    about = {"imitation": version("imitation"), "torch": torch.__version__}
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        dataset = make_dataset(shape, json.loads(line)["pairs"])
        start = time.perf_counter()
        trainer.train(dataset)
        print(json.dumps(time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    main()
