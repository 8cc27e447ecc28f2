"""Cloning episodes: learns, resumes bit for bit, and says what is wrong."""

import dataclasses
import uuid

import numpy as np
import pytest
import torch

from robopref.commands.train_policy import TrainPolicyCommand
from robopref.data.episode import Episode
from robopref.data.store import EpisodeStore
from robopref.errors import CheckpointError, ConfigError, DataError
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.mlp_denoiser import MLPDenoiserConfig
from robopref.policies.serialization import load_policy
from robopref.policies.windows import WindowSource, window_source
from robopref.tracker import read_metrics
from robopref.train_policy import split_episodes, train_policy
from robopref.trainer import TrainerConfig
from robopref.types import STATE

POLICY = DiffusionPolicyConfig(
    chunk_size=4, n_action_steps=4, denoiser=MLPDenoiserConfig(width=32, num_blocks=1)
)
TRAINER = TrainerConfig(
    num_steps=40, batch_size=32, ema_decay=0.9, checkpoint_interval=10, validation_interval=10,
    log_interval=10,
)  # fmt: skip


def make_episode(index, rng, *, obs_dim=3, num_steps=15):
    state = rng.uniform(-1, 1, (num_steps + 1, obs_dim)).astype(np.float32)
    action = np.stack([state[:-1, 0], -state[:-1, 1]], axis=1)
    zeros = np.zeros(num_steps, np.float32)
    success = zeros == 1
    success[-1] = index % 2 == 0
    return Episode(
        str(uuid.UUID(int=index)), {STATE: state}, action, zeros, success, False, True,
        "test/toy", "copy the state", index, 20,
    )  # fmt: skip


@pytest.fixture
def episodes(rng):
    return [make_episode(index, rng) for index in range(10)]


def same(first, second):
    mine, yours = first.state_dict(), second.state_dict()
    return mine.keys() == yours.keys() and all(torch.equal(mine[k], yours[k]) for k in mine)


def test_it_learns(episodes):
    trainer = dataclasses.replace(TRAINER, num_steps=400, learning_rate=5e-3)
    policy, result = train_policy(POLICY, episodes, trainer)
    assert result.figures["validation/loss"] < 0.5  # Predicting no noise at all has a loss of 1.
    obs = torch.tensor([[[0.0, 0.0, 0.0], [0.6, 0.4, 0.0]]])
    chunk = policy.sample({STATE: obs}, 64, torch.Generator().manual_seed(0))
    first = chunk[0, :, 0].mean(dim=0)
    assert first.tolist() == pytest.approx([0.6, -0.4], abs=0.2)


def test_an_interrupted_run_ends_with_the_same_weights(episodes, tmp_path, monkeypatch):
    whole, _ = train_policy(POLICY, episodes, TRAINER, directory=tmp_path / "whole")
    gather = WindowSource.gather
    calls: list[None] = []

    def fail_late(self, indices):
        calls.append(None)
        if len(calls) == 26:  # One for validation, 25 steps: past the checkpoint at step 20.
            raise OSError("No space left on device")
        return gather(self, indices)

    with monkeypatch.context() as patch:
        patch.setattr(WindowSource, "gather", fail_late)
        with pytest.raises(OSError, match="No space left"):
            train_policy(POLICY, episodes, TRAINER, directory=tmp_path / "cut")
    assert not (tmp_path / "cut" / "policy").exists()
    resumed, result = train_policy(POLICY, episodes, TRAINER, directory=tmp_path / "cut")
    assert result.steps == 40
    assert same(resumed, whole)
    assert same(load_policy(tmp_path / "cut" / "policy"), whole)
    steps = [row["step"] for row in read_metrics(tmp_path / "cut" / "metrics.jsonl")]
    assert steps == [10, 20, 30, 40]


def test_a_finished_run_is_not_trained_again(episodes, tmp_path):
    first, _ = train_policy(POLICY, episodes, TRAINER, directory=tmp_path)
    again, result = train_policy(POLICY, episodes, TRAINER, directory=tmp_path)
    assert result.seconds < 1
    assert same(first, again)


def test_seeds_decide(episodes):
    short = dataclasses.replace(TRAINER, num_steps=5)
    first, second, other = (train_policy(POLICY, episodes, short, seed=s)[0] for s in (1, 1, 2))
    assert same(first, second)
    assert not same(first, other)


def test_whole_episodes_are_held_out(episodes):
    training, validation = split_episodes(episodes, 0.3, seed=0)
    assert len(training) == 7
    assert sorted(e.id for e in training + validation) == sorted(e.id for e in episodes)
    assert split_episodes(episodes[:1], 0.5, seed=0) == (episodes[:1], [])


def test_the_normaliser_covers_the_training_data(episodes):
    policy, _ = train_policy(
        POLICY, episodes, dataclasses.replace(TRAINER, num_steps=1), validation_share=0
    )
    states = np.concatenate([e.state[:-1] for e in episodes])
    normalised = policy.encoder.normalizer(torch.from_numpy(states))
    assert normalised.amin(dim=0).tolist() == pytest.approx([-1, -1, -1], abs=1e-5)
    assert normalised.amax(dim=0).tolist() == pytest.approx([1, 1, 1], abs=1e-5)


def test_windows_have_weights_of_their_episode(episodes):
    policy = POLICY.build({STATE: (3,)}, 2)
    batch = window_source(policy, episodes).gather(torch.tensor([0, 14, 15]))
    assert set(batch) == {STATE, "action", "action_is_pad"}
    assert batch[STATE].shape == (3, 2, 3)
    assert batch["action"].shape == (3, 4, 2)
    assert batch["action_is_pad"].tolist()[1] == [False, True, True, True]


def test_no_episodes():
    with pytest.raises(ValueError) as error:
        train_policy(POLICY, [], TRAINER)
    assert str(error.value) == (
        "There are no episodes to train on. Record some with: robopref collect."
    )


def test_episodes_that_differ(episodes, rng):
    odd = make_episode(99, rng, obs_dim=4)
    with pytest.raises(DataError) as error:
        train_policy(POLICY, [*episodes, odd], TRAINER, validation_share=0)
    assert str(error.value) == (
        f"Windows need episodes of one shape: episode {odd.id} has 'observation.state' "
        "float32 (4,), those before it float32 (3,)."
    )


def test_a_checkpoint_of_another_policy(episodes, tmp_path):
    train_policy(POLICY, episodes, TRAINER, directory=tmp_path)
    other = dataclasses.replace(POLICY, denoiser=MLPDenoiserConfig(width=64, num_blocks=1))
    with pytest.raises(CheckpointError) as error:
        train_policy(other, episodes, TRAINER, directory=tmp_path)
    assert str(error.value).startswith(f"'{tmp_path}/trainer.safetensors' is of another model: ")


def test_a_refused_command_leaves_the_config_of_the_finished_run(episodes, tmp_path):
    store = EpisodeStore.create(tmp_path / "data", fps=20)
    for episode in episodes:
        store.add(episode)
    run = tmp_path / "run"
    short = dataclasses.replace(TRAINER, num_steps=2)
    command = TrainPolicyCommand(tmp_path / "data", run, policy=POLICY, training=short)
    command.run()
    config = (run / "config.yaml").read_text()
    with pytest.raises(ConfigError) as error:
        dataclasses.replace(command, seed=1).run()
    assert str(error.value) == (
        f"'{run}' holds a run with other settings: `seed` was 0, now 1. Choose another folder with "
        "--out, or delete this one."
    )
    assert (run / "config.yaml").read_text() == config


def test_the_command_trains_on_successes_and_says_what_is_next(episodes, tmp_path, capsys):
    store = EpisodeStore.create(tmp_path / "data", fps=20)
    for episode in episodes:
        store.add(episode)
    command = TrainPolicyCommand(
        data=tmp_path / "data", out=tmp_path / "run", policy=POLICY, training=TRAINER
    )
    command.run()
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"5 of 10 episodes in {tmp_path / 'data'} are used."
    assert printed[-1].startswith(f"Next:   robopref evaluate --policy {tmp_path / 'run'} ")
    assert load_policy(tmp_path / "run" / "policy").chunk_size == 4
