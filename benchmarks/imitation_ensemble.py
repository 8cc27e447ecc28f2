"""The imitation library's reward ensemble, timed on request; run by imitation_process.py.

Runs in `.venv-imitation` (`make peers`). Reads one JSON line at a time and answers with the seconds
it took: {"train": n} trains once over n pairs, {"choose": k, "among": n} chooses k of n pairs.
"""

import contextlib
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

NUM_EPISODES, EPISODE_STEPS = 200, 500
"""Those of speed.py."""


def make_steps(
    shape: dict[str, Any], num_steps: int, rng: np.random.Generator
) -> TrajectoryWithRew:
    """Return random steps, a segment or an episode."""
    return TrajectoryWithRew(
        obs=rng.standard_normal((num_steps + 1, shape["obs_dim"])).astype(np.float32),
        acts=rng.uniform(-1, 1, (num_steps, shape["action_dim"])).astype(np.float32),
        infos=None,
        terminal=False,
        rews=np.zeros(num_steps, np.float32),
    )


def make_dataset(shape: dict[str, Any], num_pairs: int) -> pc.PreferenceDataset:
    """Return pairs of random segments, half of them with the first one preferred."""
    rng = np.random.default_rng(0)
    length, dataset = shape["length"], pc.PreferenceDataset()
    pairs = [
        (make_steps(shape, length, rng), make_steps(shape, length, rng)) for _ in range(num_pairs)
    ]
    dataset.push(pairs, rng.integers(0, 2, num_pairs).astype(np.float32))
    return dataset


def make_model(shape: dict[str, Any]) -> pc.PreferenceModel:
    """Return its preference model, an ensemble of networks of the given shape."""
    torch.manual_seed(0)
    obs_space = Box(-np.inf, np.inf, (shape["obs_dim"],))
    action_space = Box(-1.0, 1.0, (shape["action_dim"],))
    members = [
        BasicRewardNet(obs_space, action_space, hid_sizes=shape["hidden_sizes"])
        for _ in range(shape["num_members"])
    ]
    return pc.PreferenceModel(RewardEnsemble(obs_space, action_space, members))


def time_training(shape: dict[str, Any], model: pc.PreferenceModel, num_pairs: int) -> float:
    """Return the seconds of one epoch of its ensemble trainer."""
    dataset = make_dataset(shape, num_pairs)
    trainer = pc.EnsembleTrainer(
        model,
        pc.CrossEntropyRewardLoss(),
        rng=np.random.default_rng(0),
        batch_size=shape["batch_size"],
        epochs=1,
    )
    start = time.perf_counter()
    trainer.train(dataset)
    return time.perf_counter() - start


def time_choice(
    shape: dict[str, Any], model: pc.PreferenceModel, num_chosen: int, num_pairs: int
) -> float:
    """Return the seconds in which its active selection chooses among pairs of random segments."""
    rng = np.random.default_rng(0)
    episodes = [make_steps(shape, EPISODE_STEPS, rng) for _ in range(NUM_EPISODES)]
    fragmenter = pc.ActiveSelectionFragmenter(
        model, pc.RandomFragmenter(rng, warning_threshold=0), num_pairs / num_chosen
    )
    start = time.perf_counter()
    fragmenter(episodes, fragment_length=shape["length"], num_pairs=num_chosen)
    return time.perf_counter() - start


def main() -> None:
    """Answer requests until the input ends."""
    shape, answers = json.loads(sys.argv[1]), sys.stdout
    torch.set_num_threads(shape["threads"])
    with contextlib.redirect_stdout(sys.stderr):  # The library warns on standard output.
        model = make_model(shape)
        about = {"imitation": version("imitation"), "torch": torch.__version__}
        print(json.dumps(about), file=answers, flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            if "train" in request:
                seconds = time_training(shape, model, request["train"])
            else:
                seconds = time_choice(shape, model, request["choose"], request["among"])
            print(json.dumps(seconds), file=answers, flush=True)


if __name__ == "__main__":
    main()
