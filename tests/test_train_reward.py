"""Tests for train_reward.py."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from robopref import cli
from robopref.commands.train_reward import TrainRewardCommand
from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.errors import ConfigError, DataError
from robopref.preferences.names import TRANSFERRED
from robopref.preferences.preference import Preference
from robopref.preferences.query import Query
from robopref.preferences.ranking import Ranking
from robopref.preferences.store import PreferenceStore
from robopref.rewards.fit import FitConfig
from robopref.rewards.mlp import MLPRewardConfig
from robopref.rewards.preference_transformer import PreferenceTransformerConfig
from robopref.rewards.serialization import load_reward
from robopref.rewards.trivial import ZeroRewardConfig
from robopref.seeding import derive_uuid, make_rng
from robopref.train_reward import load_preferences, train_reward
from robopref.trainer import Trainer, TrainerConfig
from robopref.types import STATE

REWARD = MLPRewardConfig(
    num_members=2,
    hidden_sizes=(16,),
    n_action_steps=1,
    fit=FitConfig(trainer=TrainerConfig(num_steps=60, learning_rate=1e-2, checkpoint_interval=20)),
)


def make_episode(i, rng):
    state = rng.standard_normal((9, 3)).astype(np.float32)
    return Episode(
        id=derive_uuid(0, "episode", i),
        obs={STATE: state},
        action=rng.standard_normal((8, 2)).astype(np.float32),
        reward=np.zeros(8, np.float32),
        success=np.zeros(8, bool),
        terminated=False,
        truncated=True,
        env="none/none",
        task="a task",
        seed=i,
        fps=10.0,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data set of 80 episodes and 40 answers: more of the first state number is better."""
    folder = tmp_path_factory.mktemp("answered")
    rng = make_rng(0, "episodes")
    episodes = EpisodeStore.create(folder / "data", fps=10.0)
    episodes.add_all(make_episode(i, rng) for i in range(80))
    store = PreferenceStore(folder / "preferences.sqlite")
    for k in range(40):
        a, b = (Segment(episodes.ids[i], 0, 8) for i in (2 * k, 2 * k + 1))
        sums = [episodes.cut(item)[0][STATE][:, 0].sum() for item in (a, b)]
        query = Query(derive_uuid(0, "query", k), (a, b))
        store.add_queries([query], cut_hash=episodes.content_hash)
        ranking = Ranking.prefer(int(np.argmax(sums)))
        store.answer(Preference(derive_uuid(0, "answer", k), query, ranking))
    store.close()
    return folder


@pytest.fixture
def answered(made, tmp_path):
    """Return a data set and its answers, for one test alone."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return EpisodeStore.open(tmp_path / "data"), tmp_path / "preferences.sqlite"


def test_a_reward_is_measured_on_held_out_pairs_and_saved(answered, tmp_path):
    episodes, database = answered
    reward, figures = train_reward(
        REWARD, load_preferences(database, episodes), episodes, directory=tmp_path / "run"
    )
    assert figures["held_out/accuracy"] > 0.7
    assert figures["held_out/pairs"] >= 5
    assert 0.0 <= figures["held_out/ece"] <= 1.0
    loaded = load_reward(tmp_path / "run" / "reward")
    obs, action = episodes.cut(Segment(episodes.ids[0], 0, 8))
    from robopref.data.episode import batch_segments

    batch = batch_segments([(obs, action)])
    np.testing.assert_array_equal(loaded.rewards(batch), reward.rewards(batch))


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_held_out_labels_of_a_transfer_are_told_apart(answered, share):
    episodes, database = answered
    answers = load_preferences(database, episodes)
    carried = round(share * len(answers))
    answers[:carried] = [replace(each, annotator=TRANSFERRED) for each in answers[:carried]]
    _, figures = train_reward(ZeroRewardConfig(), answers, episodes)
    if share == 0.5:
        assert 0 < figures["held_out/transferred"] < figures["held_out/pairs"]
    else:
        assert figures["held_out/transferred"] == share * figures["held_out/pairs"]


def test_a_second_run_ends_the_same(answered, tmp_path):
    episodes, database = answered
    preferences = load_preferences(database, episodes)
    for name in ("one", "two"):
        train_reward(REWARD, preferences, episodes, directory=tmp_path / name)
    first, second = (
        (tmp_path / name / "reward" / "model.safetensors").read_bytes() for name in ("one", "two")
    )
    assert first == second


def run_command(answered, out, reward, **options):
    episodes, database = answered
    TrainRewardCommand(
        data=episodes.root, db=str(database), out=out, reward=reward, **options
    ).run()  # fmt: skip


def test_a_reward_is_fitted_anew_when_answers_came_in(answered, tmp_path, capsys):
    _, database = answered
    run, store = tmp_path / "run", PreferenceStore(database)
    weights = run / "reward" / "model.safetensors"
    run_command(answered, run, REWARD)
    first = weights.read_bytes()
    capsys.readouterr()
    run_command(answered, run, REWARD)
    assert "fitting again" not in capsys.readouterr().out
    assert weights.read_bytes() == first

    last, before = (store.preferences()[place] for place in (-1, -2))
    store.undo(last.id)
    store.undo(before.id)
    run_command(answered, run, REWARD)
    assert capsys.readouterr().out.splitlines()[0] == (
        "2 answers fewer than in the last fit: fitting again."
    )
    for answer in (before, last):
        store.answer(replace(answer, id=derive_uuid(1, answer.id)))
    run_command(answered, run, REWARD)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 answers more than in the last fit: fitting again."
    assert lines[1].startswith("Fitted to 40 answers in ")
    assert weights.read_bytes() == first


def test_an_interrupted_second_fit_keeps_the_old_reward_and_goes_on(
    answered, tmp_path, monkeypatch
):
    episodes, database = answered
    run = tmp_path / "run"
    answers = load_preferences(database, episodes)
    train_reward(REWARD, answers[:-2], episodes, directory=run)
    weights = run / "reward" / "model.safetensors"
    first = weights.read_bytes()
    monkeypatch.setattr(Trainer, "_after_step", interrupt_at(30, Trainer._after_step))
    with pytest.raises(KeyboardInterrupt):
        train_reward(REWARD, answers, episodes, directory=run)
    assert weights.read_bytes() == first
    monkeypatch.undo()
    said: list[str] = []
    train_reward(REWARD, answers, episodes, directory=run, announce=said.append)
    train_reward(REWARD, answers, episodes, directory=tmp_path / "at-once")
    assert said == []
    assert weights.read_bytes() == (tmp_path / "at-once/reward/model.safetensors").read_bytes()


def interrupt_at(step, after_step):
    def raising(trainer, tracker):
        after_step(trainer, tracker)
        if trainer.step == step:
            trainer._save()
            raise KeyboardInterrupt

    return raising


@pytest.mark.parametrize("reward", ["zero", "random"])
def test_a_reward_that_learns_nothing_says_so(answered, tmp_path, capsys, reward):
    run_command(answered, tmp_path / "run", reward)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "This reward learns nothing: 40 answers only measured it."
    assert lines[-1] == (
        f"Next:   robopref train iql --data {answered[0].root} --reward {tmp_path / 'run'} --out "
        f"{tmp_path / 'run'}-iql"
    )


def test_what_is_next_where_nothing_can_be_shown(answered, tmp_path, capsys):
    episodes, _ = answered
    fit = FitConfig(trainer=TrainerConfig(num_steps=2))
    reward = PreferenceTransformerConfig(num_members=1, fit=fit)
    run_command(answered, tmp_path / "run", reward, held_out_share=0.0)
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"Next:   robopref train iql --data {episodes.root} --reward {tmp_path / 'run'} --out "
        f"{tmp_path / 'run'}-iql"
    )


def test_offline_rl_is_named_beside_what_else_is_next(answered, tmp_path, capsys):
    plain, database = answered
    shown = EpisodeStore.create(tmp_path / "shown", fps=10.0)
    shown.add_all(replace(episode, sim_states=np.zeros((9, 4))) for episode in plain)
    with PreferenceStore(tmp_path / "shown.sqlite") as store:
        for answer in load_preferences(database, plain):
            store.add_queries([answer.query], cut_hash=shown.content_hash)
            store.answer(answer)
    run = tmp_path / "run"
    run_command((shown, tmp_path / "shown.sqlite"), run, "zero")
    *_, first, why, offline = capsys.readouterr().out.splitlines()
    assert first == (
        f"Next:   robopref label --data {shown.root} --db {tmp_path / 'shown.sqlite'} "
        f"--reward {run}"
    )
    assert why == "Or learn a policy from these episodes and the reward alone, by offline RL:"
    assert offline == (
        f"        robopref train iql --data {shown.root} --reward {run} --out {run}-iql"
    )
    command = cli.parse(offline.split()[1:])
    assert (command.data, command.reward) == (shown.root, str(run))


def test_a_refused_command_leaves_the_config_of_the_finished_run(answered, tmp_path):
    run_command(answered, tmp_path / "run", "zero")
    config = (tmp_path / "run" / "config.yaml").read_text()
    with pytest.raises(ConfigError) as error:
        run_command(answered, tmp_path / "run", "zero", seed=1)
    assert str(error.value) == (
        f"'{tmp_path / 'run'}' holds a run with other settings: `seed` was 0, now 1. Choose "
        "another folder with --out, or delete this one."
    )
    assert (tmp_path / "run" / "config.yaml").read_text() == config


def test_a_store_without_answers_says_how_to_get_some(answered):
    episodes, database = answered
    with pytest.raises(DataError) as error:
        load_preferences(database, episodes, criterion="style")
    assert str(error.value) == (
        f"'{database}' holds no answers by 'style'. It holds some by ['overall']: choose with "
        "--criterion overall."
    )


def test_an_empty_store_says_how_to_answer_by_the_criterion(answered, tmp_path):
    episodes, _ = answered
    PreferenceStore(tmp_path / "empty.sqlite").close()
    with pytest.raises(DataError) as error:
        load_preferences(tmp_path / "empty.sqlite", episodes, criterion="style")
    assert str(error.value) == (
        f"'{tmp_path}/empty.sqlite' holds no answers by 'style'. Answer some with: robopref answer "
        f"--data {episodes.root} --db {tmp_path}/empty.sqlite --criterion style"
    )


def test_answers_about_another_data_set_are_refused(answered, tmp_path):
    episodes, database = answered
    other = EpisodeStore.create(tmp_path / "other", fps=10.0)
    other.add(make_episode(1000, make_rng(1)))
    with pytest.raises(DataError) as error:
        load_preferences(database, other)
    assert str(error.value) == (
        f"The answers in '{database}' are about another data set: '{other.root}' has none of their "
        f"80 episodes, such as '{min(episodes.ids)}'. Give the data set from which the queries "
        "were chosen, or a store with answers about this one."
    )


def test_an_episode_that_is_gone_is_named(answered, tmp_path):
    episodes, database = answered
    gone = episodes.ids[0]
    episodes.delete([gone])
    with pytest.raises(DataError) as error:
        load_preferences(database, episodes)
    said = str(error.value)
    assert said.startswith(
        f"1 items that were judged in '{database}' are not what they were in '{episodes.root}'; "
        f"the first is steps 0 to 7 of episode '{gone}': it cannot be cut: '{episodes.root}' has "
        f"no episode '{gone}'."
    )
    assert said.endswith(
        " It has 79 episodes. Give the data set from which the queries were chosen, or a store "
        "with answers about this one."
    )
