"""IQL: its update is that of autograd and Adam, members are alone, and runs resume bit for bit."""

import dataclasses
import math
import os
import signal
import uuid

import numpy as np
import pytest
import torch
from torch import nn

from robopref.data.episode import Episode
from robopref.errors import CheckpointError, DataError
from robopref.policies.gaussian import GaussianPolicyConfig
from robopref.policies.iql import IQLConfig, IQLRun
from robopref.policies.iql_data import Transitions
from robopref.policies.iql_members import chunk_weights, train_iql_members
from robopref.policies.iql_networks import CACHE_LINE, flatten_parameters
from robopref.seeding import make_generator
from robopref.tracker import read_metrics
from robopref.types import STATE
from tests.policies.plain_iql import PlainIQL

CONFIG = IQLConfig(
    policy=GaussianPolicyConfig(hidden_sizes=(24, 20)), num_steps=40, batch_size=16,
    learning_rate=3e-3, max_weight=5.0, target_rate=0.05, log_interval=10, checkpoint_interval=10,
)  # fmt: skip


def make_episode(index, rng, *, num_steps=12, terminated=False, obs_dim=3):
    success = np.zeros(num_steps, bool)
    success[-1] = terminated
    return Episode(
        str(uuid.UUID(int=index)),
        {STATE: rng.uniform(-1, 1, (num_steps + 1, obs_dim)).astype(np.float32)},
        rng.uniform(-1, 1, (num_steps, 2)).astype(np.float32),
        rng.normal(size=num_steps).astype(np.float32),
        success, terminated, not terminated, "test/none", "none", index, 20,
    )  # fmt: skip


@pytest.fixture
def episodes(rng):
    return [make_episode(i, rng, terminated=i % 2 == 0) for i in range(6)]


@pytest.fixture
def rewards(rng):
    return rng.normal(size=(3, 72)).astype(np.float32)


def transitions_of(episodes, config=CONFIG):
    policy = config.policy.build({STATE: (3,)}, 2)
    return Transitions.from_episodes(policy, episodes)


def make_run(episodes, rewards, seeds, *, config=CONFIG, clones=None, **options):
    return IQLRun(
        config, transitions_of(episodes, config), torch.from_numpy(rewards), seeds,
        clones=clones or [False] * len(seeds), device="cpu", **options,
    )  # fmt: skip


def assert_same(ensemble, member, reference):
    for layer, linear in zip(ensemble.layers, reference[::2], strict=True):
        torch.testing.assert_close(layer.weight[member], linear.weight.T, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(layer.bias[member, 0], linear.bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bound", [None, "low"])
def test_updates_are_those_of_autograd_and_adam(episodes, rewards, bound):
    run = make_run(episodes, rewards, [4, 5, 6], clones=[False, True, False])
    if bound:  # Below its bound the spread has no gradient.
        with torch.no_grad():
            run.learner.log_std.fill_(-5.5)
    members = [PlainIQL(run, member) for member in range(3)]
    draws = [make_generator(seed, "iql") for seed in (4, 5, 6)]
    for draw, generator in zip(draws, run.generators, strict=True):
        draw.set_state(generator.get_state())
    data = run.transitions
    for _ in range(12):
        run._after_update(run.update(), None)
        losses = []
        for member, (reference, draw) in enumerate(zip(members, draws, strict=True)):
            chosen = torch.randint(len(data), (CONFIG.batch_size,), generator=draw)
            losses.append(reference.update(
                data.features[data.row[chosen]], data.action[chosen],
                run.rewards[member, chosen, None], data.features[data.row[chosen] + 1],
                data.continues[chosen, None],
            ))  # fmt: skip
        if run.step == 10:
            names = ("value_loss", "critic_loss", "actor_loss")
            logged = [run._figures[name] for name in names]
            assert logged == pytest.approx(np.mean(losses, axis=0).tolist(), rel=1e-4)
    learner = run.learner
    for member, reference in enumerate(members):
        assert_same(learner.critic, member, reference.q1)
        assert_same(learner.critic, 3 + member, reference.q2)
        assert_same(learner.target, member, reference.t1)
        assert_same(learner.target, 3 + member, reference.t2)
        assert_same(learner.value, member, reference.value)
        assert_same(learner.actor, member, reference.actor)
        torch.testing.assert_close(learner.log_std[member, 0], reference.log_std)


def test_bf16_rounds_what_is_between_hidden_layers_and_nothing_else(episodes, rewards):
    def gradients(precision, hidden_sizes):
        policy = GaussianPolicyConfig(hidden_sizes=hidden_sizes)
        config = dataclasses.replace(
            CONFIG, policy=policy, batch_size=64, mixed_precision=precision
        )
        run = make_run(episodes, rewards[:1], [0], config=config)
        errors = run.update()
        found = run.learner._flat[0].grad
        assert found is not None
        return found, errors.advantage

    exact, advantage = gradients("no", (64, 64))
    rounded, other_advantage = gradients("bf16", (64, 64))
    assert not torch.equal(exact, rounded)
    assert torch.linalg.vector_norm(exact - rounded) < 0.05 * torch.linalg.vector_norm(exact)
    torch.testing.assert_close(advantage, other_advantage, rtol=0, atol=2e-3)
    for same, too in zip(gradients("no", (64,)), gradients("bf16", (64,)), strict=True):
        assert torch.equal(same, too)


def test_a_member_is_what_it_is_alone(episodes, rewards):
    together = make_run(episodes, rewards, [1, 2, 2], clones=[False, False, True])
    together.fit()
    for member, (seed, clone) in enumerate([(1, False), (2, False), (2, True)]):
        alone = make_run(episodes, rewards[member : member + 1], [seed], clones=[clone])
        alone.fit()
        for mine, yours in (
            (together.learner.actor, alone.learner.actor),
            (together.learner.value, alone.learner.value),
        ):
            for p, q in zip(mine.parameters(), yours.parameters(), strict=True):
                torch.testing.assert_close(p[member], q[0], rtol=1e-4, atol=1e-5)


def test_members_of_one_seed_begin_alike_and_part_by_their_rewards(episodes, rewards):
    run = make_run(episodes, rewards[:2], [3, 3])
    weights = next(run.learner.actor.parameters())
    assert torch.equal(weights[0], weights[1])
    run.fit()
    assert not torch.equal(weights[0], weights[1])
    drawn = run._draw()
    assert torch.equal(drawn[0], drawn[1])


def test_a_clone_is_behaviour_cloning_whatever_its_reward(episodes, rewards):
    first = make_run(episodes, rewards[:2], [3, 3], clones=[True, True])
    first.fit()
    for parameter in first.learner.actor.parameters():
        assert torch.equal(parameter[0], parameter[1])


def test_the_actor_begins_as_the_policy_of_the_same_generator(episodes, rewards):
    run = make_run(episodes, rewards[:1], [8])
    like = CONFIG.policy.build({STATE: (3,)}, 2, make_generator(8, "iql"))
    made = run.policies(like)[0]
    for key, value in like.state_dict().items():
        assert torch.equal(made.state_dict()[key], value), key


def test_policies_act_as_their_members(episodes, rewards):
    policies, _ = train_iql_members(CONFIG, episodes, rewards, [0, 1, 2], device="cpu")
    obs = {STATE: torch.from_numpy(episodes[0].state[:-1, None])}
    actions = [policy.predict_action_chunk(obs, torch.Generator()) for policy in policies]
    assert actions[0].shape == (12, 1, 2)
    assert not torch.equal(actions[0], actions[1])
    largest = max(np.abs(episode.action).max() for episode in episodes)
    assert max(float(action.abs().max()) for action in actions) <= largest


def test_what_bootstraps(episodes):
    data = transitions_of(episodes)
    assert len(data) == 72
    ends = torch.arange(11, 72, 12)
    assert data.continues[ends].tolist() == [0.0, 1.0] * 3  # Terminated, truncated, ...
    assert data.continues.sum() == 72 - 3
    batch = data.gather(torch.arange(72.0)[None], torch.tensor([[11, 12]]))
    policy = CONFIG.policy.build({STATE: (3,)}, 2)
    seen = [
        episodes[0].state[11],
        episodes[1].state[0],
        episodes[0].state[12],
        episodes[1].state[1],
    ]
    expected = policy.encoder({STATE: torch.from_numpy(np.stack(seen))[:, None]})
    assert torch.equal(batch.features[0], expected)
    assert batch.reward.flatten().tolist() == [11.0, 12.0]
    np.testing.assert_array_equal(batch.action[0, 1], episodes[1].action[0])


def test_histories_repeat_the_first_observation(episodes):
    config = dataclasses.replace(CONFIG, policy=GaussianPolicyConfig(n_obs_steps=2))
    data = transitions_of(episodes, config)
    state = torch.from_numpy(episodes[0].state)
    assert torch.equal(data.features[0], torch.cat([state[0], state[0]]))
    assert torch.equal(data.features[5], torch.cat([state[4], state[5]]))


@pytest.mark.parametrize("n_action_steps", [1, 3, 20])
def test_a_chunk_counts_by_what_it_earned(episodes, rewards, n_action_steps):
    run = make_run(episodes, rewards, [1, 2, 3], clones=[False, False, True])
    run.fit()
    values = run.values()
    expected = torch.zeros(3, 72)
    for member in range(3):
        for start in range(72):
            stop = min(start + n_action_steps, 12 * (start // 12 + 1))
            rewarded = run.rewards[member, start:stop]
            gained = (rewarded * CONFIG.discount ** torch.arange(stop - start)).sum()
            ahead = (
                CONFIG.discount ** (stop - start)
                * values[member, run.transitions.row[stop - 1] + 1]
            )
            gained += ahead * run.transitions.continues[stop - 1]
            expected[member, start] = gained - values[member, run.transitions.row[start]]
    raw = (CONFIG.inverse_temperature * expected).exp().clamp(max=CONFIG.max_weight)
    raw[2] = 1.0  # The clone.
    found = chunk_weights(run, n_action_steps)
    torch.testing.assert_close(found, raw / raw.mean(dim=1, keepdim=True), rtol=1e-4, atol=1e-5)


def test_parts_of_a_vector_share_its_memory(generator):
    parameters = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in (3, (2, 5), 1)]
    before = [p.detach().clone() for p in parameters]
    flat = flatten_parameters(parameters)
    assert len(flat) == 3 * CACHE_LINE
    for parameter, value in zip(parameters, before, strict=True):
        assert torch.equal(parameter, value)
    with torch.no_grad():
        flat.add_(1.0)
    assert flat.grad is not None
    flat.grad.add_(2.0)
    for parameter, value in zip(parameters, before, strict=True):
        assert torch.equal(parameter, value + 1)
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, torch.full_like(parameter, 2.0))


# Interruption


def test_an_interrupted_run_ends_with_the_same_weights(episodes, rewards, tmp_path, monkeypatch):
    whole = make_run(episodes, rewards, [1, 2, 3], directory=tmp_path / "whole")
    whole.fit()
    gather = Transitions.gather
    calls: list[None] = []

    def fail_late(self, rewards, indices):
        calls.append(None)
        if len(calls) == 26:  # Past the checkpoint at step 20.
            raise OSError("No space left on device")
        return gather(self, rewards, indices)

    with monkeypatch.context() as patch:
        patch.setattr(Transitions, "gather", fail_late)
        with pytest.raises(OSError, match="No space left"):
            make_run(episodes, rewards, [1, 2, 3], directory=tmp_path / "cut").fit()
    resumed = make_run(episodes, rewards, [1, 2, 3], directory=tmp_path / "cut")
    result = resumed.fit()
    assert result.steps == 40
    mine, yours = whole.learner.state_dict(), resumed.learner.state_dict()
    assert all(torch.equal(mine[key], yours[key]) for key in mine)
    assert result.figures == whole._figures
    steps = [row["step"] for row in read_metrics(tmp_path / "cut" / "metrics.jsonl")]
    assert steps == [10, 20, 30, 40]
    again = make_run(episodes, rewards, [1, 2, 3], directory=tmp_path / "cut").fit()
    assert again.seconds < 1


def test_ctrl_c_finishes_the_update_and_saves(episodes, rewards, tmp_path, monkeypatch):
    whole = make_run(episodes, rewards, [1, 2, 3])
    whole.fit()
    update = IQLRun.update

    def interrupted(self):
        if self.step == 13:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self)

    with monkeypatch.context() as patch:
        patch.setattr(IQLRun, "update", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_run(episodes, rewards, [1, 2, 3], directory=tmp_path).fit()
    resumed = make_run(episodes, rewards, [1, 2, 3], directory=tmp_path)
    resumed._resume()
    assert resumed.step == 14
    resumed.fit()
    for mine, yours in zip(whole.learner.parameters(), resumed.learner.parameters(), strict=True):
        assert torch.equal(mine, yours)


@pytest.mark.parametrize("what", ["rewards", "seed", "clones", "episodes"])
def test_a_checkpoint_of_another_run_is_refused(episodes, rewards, tmp_path, what):
    make_run(episodes, rewards, [1, 2, 3], directory=tmp_path).fit()
    given = {"episodes": episodes, "rewards": rewards, "seeds": [1, 2, 3], "clones": [False] * 3}
    given["seeds"] = [1, 2, 4] if what == "seed" else given["seeds"]
    given["clones"] = [True, False, False] if what == "clones" else given["clones"]
    given["rewards"] = -rewards if what == "rewards" else rewards
    given["episodes"] = episodes[::-1] if what == "episodes" else episodes
    with pytest.raises(CheckpointError) as error:
        make_run(**given, directory=tmp_path).fit()
    assert str(error.value) == (
        f"'{tmp_path}/iql.safetensors' was begun from other data, another model or another seed. "
        "Use those, or delete the file to start this stage again."
    )


# Bad input


def test_bad_members(episodes, rewards):
    with pytest.raises(ValueError) as error:
        train_iql_members(CONFIG, [], rewards, [0, 1, 2])
    assert str(error.value) == (
        "There are no episodes to train on. Record some with: robopref collect."
    )
    with pytest.raises(ValueError) as error:
        train_iql_members(CONFIG, episodes, rewards, [0, 1])
    assert str(error.value) == (
        "`rewards` must have shape (M, N) = (2, 72), a row for each seed and a column for each "
        "step of the episodes, got (3, 72)."
    )
    with pytest.raises(ValueError) as error:
        train_iql_members(CONFIG, episodes, rewards, [0, 1, 2], clones=[True])
    assert str(error.value) == "`clones` must hold a value for each of 3 members, got 1."
    rewards[1, 70] = math.nan
    with pytest.raises(DataError) as data_error:
        train_iql_members(CONFIG, episodes, rewards, [0, 1, 2])
    assert str(data_error.value) == "The reward of member 1 is not finite at step 70 of the data."


def test_losses_that_overflow(episodes, rewards, tmp_path):
    rewards[0] = 1e30
    with pytest.raises(FloatingPointError) as error:
        make_run(episodes, rewards, [0, 1, 2], directory=tmp_path).fit()
    assert str(error.value).startswith("The losses of IQL are not finite at step 10: ")
    assert not (tmp_path / "iql.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0}, "`num_steps` must be at least 1, got 0."),
        ({"expectile": 1.5}, "`expectile` must be between 0 and 1, got 1.5."),
        ({"learning_rate": 0}, "`learning_rate` must be above 0, got 0."),
        ({"max_weight": -1}, "`max_weight` must be above 0, got -1."),
        ({"inverse_temperature": -1}, "`inverse_temperature` must be at least 0, got -1."),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ValueError) as error:
        IQLConfig(**options)
    assert str(error.value) == message
