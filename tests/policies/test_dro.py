import copy
import dataclasses

import numpy as np
import pytest
import torch

from robopref.policies.finetune.data import FinetuneData
from robopref.policies.finetune.dro import DROConfig, DROObjective
from robopref.policies.windows import WindowSource
from robopref.trainer import TrainerConfig
from robopref.types import ACTION, STATE

TRAINER = TrainerConfig(num_steps=80, batch_size=128, learning_rate=3e-3, ema_decay=0.98)


@pytest.fixture(scope="module")
def data(make_toy_episode):
    """Return demonstrations that go right, and nothing else."""
    rng = np.random.default_rng(1)
    return FinetuneData([make_toy_episode(100 + i, rng, right=True) for i in range(15)])


@pytest.fixture
def batch(toy_policy, data):
    source = WindowSource(
        data.chosen, toy_policy.n_obs_steps, toy_policy.chunk_size, keys=toy_policy.obs_shapes
    )
    return source.gather(torch.arange(64))


def run(config, policy, data, **options):
    return config.run(policy, data, generator=torch.Generator().manual_seed(3), **options)


def follows(policy, obs):
    """Return how far the second action is from half of state 0, on average."""
    chunks = policy.sample(obs, 40, torch.Generator().manual_seed(5))
    return float((chunks[:, :, 0, 1] - 0.5 * obs[STATE][:, -1:, 0]).abs().mean())


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture(scope="module")
def ranked(toy_policy, data):
    """Return a policy that learned from nothing but that its own chunks are not as good."""
    return run(DROConfig(TRAINER, anchor=0.0), toy_policy, data)[0]


def test_ranking_alone_moves_the_policy_to_what_was_demonstrated(ranked, share_right, toy_obs):
    assert share_right(ranked) > 0.9
    assert follows(ranked, toy_obs) < 0.1


def test_the_anchor_keeps_what_the_demonstrations_have_in_common(
    toy_policy, data, share_right, toy_obs
):
    # Ranking as published drives the error of own chunks up without end.
    published = DROConfig(TRAINER, anchor=0.0, safeguard=0.0)
    drifted, _ = run(published, toy_policy, data)
    held, _ = run(dataclasses.replace(published, anchor=0.5), toy_policy, data)
    assert follows(held, toy_obs) < 0.05 < follows(drifted, toy_obs)
    assert share_right(held) > 0.9


def test_the_loss_at_the_start_is_the_margin_and_the_anchor(toy_policy, batch, generator):
    config = DROConfig(TRAINER, margin=0.25, anchor=2.0)
    objective = DROObjective(toy_policy, toy_policy, config)
    loss, figures = objective(batch, generator)
    again = torch.Generator().manual_seed(0)
    objective.snapshot.sample({STATE: batch[STATE]}, 1, again)
    error = toy_policy.noise_error(batch, *toy_policy.draw_noising(64, again))
    assert loss.item() == pytest.approx(0.25 + 2 * error.mean().item(), abs=1e-6)
    assert figures["ahead"].item() == pytest.approx(0, abs=1e-6)
    assert figures["ahead_by_margin"].item() == 0


def test_what_is_ahead_by_the_margin_counts_no_more(toy_policy, ranked, batch, generator):
    objective = DROObjective(ranked, toy_policy, DROConfig(TRAINER, margin=1e-9, anchor=0.0)).eval()
    # Own chunks of the base go left as often as right, of which the tuned policy has unlearned one.
    objective.snapshot.load_state_dict(toy_policy.state_dict())
    loss, figures = objective(batch, generator)
    assert figures["ahead"] > 0.01
    assert figures["ahead_by_margin"] > 0.4
    assert loss < 0.1


def test_the_snapshot_is_taken_anew_at_its_interval(toy_policy, batch, generator):
    config = DROConfig(TRAINER, refresh_steps=2)
    objective = DROObjective(copy.deepcopy(toy_policy), toy_policy, config).train()
    taken = []
    for _ in range(4):
        # Stands for a training step: other weights at each batch.
        with torch.no_grad():
            for parameter in objective.policy.parameters():
                parameter.mul_(1.001)
        objective(batch, generator)
        taken.append(same(objective.snapshot, objective.policy))
    assert taken == [True, False, True, False]
    assert not any(p.requires_grad for p in objective.snapshot.parameters())


def test_a_padded_action_counts_in_neither_chunk(toy_policy, batch):
    losses = []
    for filler in (0.0, 5.0):
        action = torch.where(batch["action_is_pad"][..., None], filler, batch[ACTION])
        objective = DROObjective(toy_policy, toy_policy, DROConfig(TRAINER))
        loss, _ = objective({**batch, ACTION: action}, torch.Generator().manual_seed(1))
        losses.append(loss.item())
    assert batch["action_is_pad"].any()
    # The network sees the filler, but it is not what is asked for; a wrong mask costs far more.
    assert losses[0] == pytest.approx(losses[1], abs=0.1)


def test_nothing_demonstrated_is_refused(toy_policy):
    with pytest.raises(ValueError) as error:
        run(DROConfig(TRAINER), toy_policy, FinetuneData())
    assert str(error.value) == (
        "There are no chosen episodes that show what is wanted. Give at least one."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": 0.0}, "`margin` must be above 0, got 0.0."),
        ({"refresh_steps": 0}, "`refresh_steps` must be at least 1, got 0."),
        ({"safeguard": 1.5}, "`safeguard` must be between 0 and 1, got 1.5."),
        ({"anchor": -1.0}, "`anchor` must be at least 0, got -1.0."),
    ],
)
def test_config_checks_its_ranges(options, message):
    with pytest.raises(ValueError) as error:
        DROConfig(**options)
    assert str(error.value) == message
