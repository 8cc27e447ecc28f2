"""From a recorded data set over queries to a person's stored answers, with real clips."""

import builtins
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robopref.commands.answer import AnswerCommand
from robopref.commands.query import QueryCommand
from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.data.video import Clip, count_frames, decode_video
from robopref.envs.make import make_env
from robopref.errors import DataError
from robopref.labeling.clips import ClipMaker
from robopref.preferences import ActionCandidate, Query, Ranking
from robopref.preferences.store import PreferenceStore
from robopref.rewards.mlp import MLPRewardConfig
from robopref.types import STATE

ENV = "metaworld/reach-v3"
NUM_STEPS = 24


def record(env, number):
    """Record a few steps of random actions with their simulator states."""
    rng = np.random.default_rng(number)
    obs, _ = env.reset(seed=number)
    states, observations, actions, rewards, successes = [env.get_state()], [obs[STATE]], [], [], []
    for _ in range(NUM_STEPS):
        action = rng.uniform(-1, 1, 4).astype(np.float32)
        obs, reward, _, _, info = env.step(action)
        states.append(env.get_state())
        observations.append(obs[STATE])
        actions.append(action)
        rewards.append(reward)
        successes.append(bool(info["success"]))
    return Episode(
        id=f"00000000-0000-4000-8000-{number:012d}",
        obs={STATE: np.array(observations, np.float32)},
        action=np.array(actions), reward=np.array(rewards, np.float32),
        success=np.array(successes), terminated=False, truncated=True, env=ENV, task="reach",
        seed=number, fps=env.fps,
        sim_states=np.stack([state.step for state in states]), sim_episode=states[0].episode,
    )  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "reach"
    env = make_env(ENV)
    store = EpisodeStore.create(folder, fps=env.fps)
    for number in range(4):
        store.add(record(env, number))
    env.close()
    return folder


@pytest.fixture
def db(tmp_path):
    return str(tmp_path / "preferences.sqlite")


@pytest.fixture
def type_lines(monkeypatch):
    """Answer `input()` with prepared lines, then with the end of input."""

    def type_lines(*lines):
        rest = iter(lines)

        def read(prompt):
            try:
                return next(rest)
            except StopIteration:
                raise EOFError from None

        monkeypatch.setattr(builtins, "input", read)

    return type_lines


def propose(data, db, num=3, **options):
    QueryCommand(data=data, db=db, num=num, segment_length=8, num_segments=20, **options).run()


def test_queries_are_stored_with_their_reason_and_never_twice(data, db, capsys):
    propose(data, db, num=2, strategy="coverage")
    propose(data, db, num=3, strategy="matched-start")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        f"Stored 3 queries in {db}.",
        f"Next:   robopref answer --data {data} --db {db}",
    ]
    with PreferenceStore(db) as store:
        queries = store.queries()
        assert store.verify(EpisodeStore.open(data).content_hash, [q.id for q in queries]) == []
    assert [q.strategy for q in queries] == ["coverage"] * 2 + ["matched-start"] * 3
    assert len({frozenset(q.items) for q in queries}) == 5
    segments = [item for query in queries for item in query.items if isinstance(item, Segment)]
    assert [segment.length for segment in segments] == [8] * 10


def test_the_same_seed_chooses_the_same_queries(data, tmp_path):
    for name in "ab":
        propose(data, str(tmp_path / name), seed=3)
    propose(data, str(tmp_path / "c"), seed=4)
    queries = []
    for name in "abc":
        with PreferenceStore(tmp_path / name) as store:
            queries.append(store.queries())
    assert queries[0] == queries[1] != queries[2]


def test_a_reward_is_found_in_its_run_and_by_itself(data, tmp_path):
    MLPRewardConfig(num_members=2).build(39, 4).save_pretrained(tmp_path / "run" / "reward")
    for name, folder in (("a", tmp_path / "run"), ("b", tmp_path / "run" / "reward")):
        propose(data, str(tmp_path / name), strategy="disagreement", reward=folder)
        with PreferenceStore(tmp_path / name) as store:
            assert not any("no reward yet" in query.reason for query in store.queries())
    with pytest.raises(FileNotFoundError) as error:
        propose(data, str(tmp_path / "c"), strategy="disagreement", reward=data)
    assert str(error.value) == (
        f"No reward in '{data}': neither it nor '{data}/reward' holds a config.json."
    )


def test_whole_episodes_can_be_compared(data, db):
    QueryCommand(data=data, db=db, num=2, segment_length=None).run()
    with PreferenceStore(db) as store:
        items = [item for query in store.queries() for item in query.items]
    assert [item.length for item in items if isinstance(item, Segment)] == [NUM_STEPS] * 4


def test_a_person_answers_undoes_skips_and_goes_on_later(data, db, tmp_path, type_lines, capsys):
    propose(data, db)
    command = AnswerCommand(
        data=data, db=db, annotator="anna", out=tmp_path / "clips", width=96, height=64
    )
    type_lines("u", "1", "s", "u", "x", "?")
    command.run()
    shown = capsys.readouterr().out
    assert "There is nothing to undo." in shown
    assert "Your last answer is taken back." in shown
    assert f"Labels by 'overall' in {db}: 1. Queries left: 1." in shown
    again = f"Next:   robopref answer --data {data} --db {db} --annotator anna"
    assert shown.splitlines()[-1] == again
    with PreferenceStore(db) as store:
        queries = store.queries()
        answers = store.preferences()
    assert [a.ranking for a in answers] == [Ranking.prefer(0), Ranking.incomparable()]
    assert [a.query for a in answers] == queries[:2]
    assert {a.annotator for a in answers} == {"anna"}
    type_lines("=")
    command.run()
    shown = capsys.readouterr().out
    assert f"Labels by 'overall' in {db}: 2. Queries left: 0." in shown
    assert shown.splitlines()[-1] == f"Next:   robopref train reward --data {data} --db {db}"


def test_the_clips_show_the_segments(data, tmp_path):
    episodes = EpisodeStore.open(data)
    a, b = (Segment(episodes.ids[i], 3, 8) for i in (0, 1))
    clips = ClipMaker(episodes, tmp_path, width=96, height=64)
    first, second = clips.write(Query("q", (a, b)))
    clips.close()
    assert (first.name, second.name) == ("q_a.mp4", "q_b.mp4")
    assert count_frames(first) == 9
    pictures = decode_video(Clip(first, 0, 9), 3.0)
    env, episode = make_env(ENV), episodes.episode(a.episode_id)
    assert episode.sim_states is not None
    assert episode.sim_episode is not None
    expected = env.render_states(
        episode.sim_states[3:12], episode.sim_episode, width=96, height=64, camera="front"
    )
    env.close()
    difference = np.abs(pictures.astype(int) - expected).mean(axis=(1, 2, 3))
    assert difference.max() < 6, "but for the codec's loss"
    other = decode_video(Clip(second, 0, 9), 3.0)
    assert np.abs(other.astype(int) - expected).mean() > 1.2 * difference.mean()


def test_candidates_are_played_from_the_step_they_were_proposed_for(data, tmp_path):
    episodes = EpisodeStore.open(data)
    episode = episodes.episode(episodes.ids[0])
    executed = tuple(tuple(float(x) for x in action) for action in episode.action[5:9])
    other = tuple(tuple(-x for x in action) for action in executed)
    query = Query("c", tuple(ActionCandidate(episode.id, 5, chunk) for chunk in (executed, other)))
    clips = ClipMaker(episodes, tmp_path, width=96, height=64)
    candidate, reverse = clips.write(query)
    (segment, _) = clips.write(Query("s", (Segment(episode.id, 5, 4), Segment(episode.id, 9, 4))))
    clips.close()
    # The executed chunk, simulated again, is what was recorded, to the last bit.
    assert candidate.read_bytes() == segment.read_bytes()
    assert reverse.read_bytes() != segment.read_bytes()


def test_odd_sizes_are_refused(data, tmp_path):
    with pytest.raises(ValueError) as error:
        ClipMaker(EpisodeStore.open(data), tmp_path, width=97, height=64)
    assert str(error.value) == "`width` must be even and at least 2, got 97."


def test_answers_need_a_store_and_the_data_set_of_its_queries(data, db, tmp_path, type_lines):
    with pytest.raises(FileNotFoundError) as missing:
        AnswerCommand(data=data, db=db).run()
    assert str(missing.value) == (
        f"No preference store at '{db}'. Make one with: robopref query --data DIR --db {db}."
    )
    propose(data, db, num=1)
    other = EpisodeStore.create(tmp_path / "other", fps=80)
    for episode in EpisodeStore.open(data):
        fields = {**vars(episode), "action": episode.action * np.float32(0.5)}
        other.add(Episode(**fields))
    type_lines("1")
    with pytest.raises(DataError) as error:
        AnswerCommand(data=other.root, db=db, out=tmp_path).run()
    with PreferenceStore(db) as store:
        query = store.queries()[0]
        assert store.preferences() == []
    assert str(error.value) == (
        f"Query '{query.id}' cannot be shown from '{other.root}': its content differs from what it "
        "was when the query was made. Give the data set from which it was chosen."
    )


@pytest.fixture
def blind(tmp_path, data):
    """Return a data set of which nothing can be shown, as imported sets are."""
    store = EpisodeStore.create(tmp_path / "blind", fps=80)
    for whole in EpisodeStore.open(data):
        store.add(Episode(**{**vars(whole), "sim_states": None, "sim_episode": None}))
    return store


def test_the_next_command_keeps_the_annotator_and_the_criterion(
    data, db, tmp_path, type_lines, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    propose(data, db, num=2)
    who = {"annotator": "anna", "criterion": "speed"}
    answer = AnswerCommand(data=data, db=db, out=tmp_path, width=96, height=64, **who)
    type_lines("1")
    answer.run()
    line = f"Next:   robopref answer --data {data} --db {db} --annotator anna --criterion speed"
    assert capsys.readouterr().out.splitlines()[-1] == line
    type_lines("2")
    answer.run()
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"Next:   robopref train reward --data {data} --db {db} --criterion speed "
        "--out runs/reach-speed-reward"
    )


def test_nobody_is_asked_about_what_cannot_be_shown(blind, db):
    with pytest.raises(DataError) as error:
        propose(blind.root, db)
    assert str(error.value) == (
        f"Nothing of '{blind.root}' can be shown, so nobody can be asked about it: it has neither "
        "simulator states nor pictures of a camera. Train on the answers that it came with "
        "(robopref train reward), or record episodes of your own (robopref collect)."
    )
    assert not Path(db).exists()


def test_what_cannot_be_shown_is_passed_over(blind, db, tmp_path, type_lines, capsys):
    queries = [
        Query(f"q-{n}", (Segment(blind.ids[0], n, 4), Segment(blind.ids[1], n, 4)))
        for n in range(2)
    ]
    with PreferenceStore(db) as store:
        store.add_queries(queries, cut_hash=blind.content_hash)
    type_lines("1")
    AnswerCommand(data=blind.root, db=db, out=tmp_path, width=96, height=64).run()
    assert capsys.readouterr().out.splitlines() == [
        "2 queries were passed over, for which there is nothing to show. Nothing of episode "
        f"{blind.ids[0]} of '{blind.root}' can be shown: it has no simulator states, and no "
        "recorded camera that would show this query.",
        f"Labels by 'overall' in {db}: 0. Queries left: 0.",
        f"Next:   robopref data info --data {blind.root}",
    ]


def test_few_episodes_to_compare_are_told(data, db, capsys):
    propose(data, db, num=6)
    assert "Note" not in capsys.readouterr().out
    propose(data, db, num=7)
    assert capsys.readouterr().out.splitlines()[-2] == (
        "Note: there are only 4 episodes, so that the same ones are compared again. Record more, "
        "or ask for shorter segments (--segment-length)."
    )


def test_segments_that_no_episode_has_leave_no_store(data, db):
    with pytest.raises(DataError) as error:
        QueryCommand(data=data, db=db, segment_length=500).run()
    assert str(error.value) == (
        f"No episode has 500 steps: the longest of 4 has {NUM_STEPS}. "
        "Ask for shorter segments (--segment-length)."
    )
    assert not Path(db).exists()


def test_episodes_without_anything_to_show_are_named(tmp_path, blind):
    store, whole = blind, blind.episode(blind.ids[0])
    clips = ClipMaker(store, tmp_path, width=96, height=64)
    with pytest.raises(DataError) as error:
        clips.write(Query("q", (Segment(whole.id, 0, 4), Segment(whole.id, 4, 4))))
    assert str(error.value) == (
        f"Nothing of episode {whole.id} of '{store.root}' can be shown: it has no simulator "
        "states, and no recorded camera that would show this query."
    )


def test_the_whole_way_on_a_real_terminal(data, db, tmp_path):
    """Through the command line and a pseudo terminal, ending with the end of input."""
    propose(data, db, num=2)
    master, slave = pty.openpty()
    command = [
        sys.executable, "-m", "robopref.cli", "answer", "--data", str(data), "--db", db,
        "--annotator", "ben", "--criterion", "speed", "--out", str(tmp_path / "clips"),
        "--width", "96", "--height", "64",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    output = b""
    for reply in (b"2\n", b"\x04"):  # the end of input is Ctrl-D
        while b"quit: " not in output.rpartition(reply.strip())[2]:
            output += os.read(master, 1024)
        os.write(master, reply)
    try:
        while chunk := os.read(master, 1024):
            output += chunk
    except OSError:  # Linux says so when the other side has closed
        pass
    assert process.wait(60) == 0
    os.close(master)
    text = output.decode()
    assert "2 to answer. By 'speed', which is better?" in text
    assert f"Labels by 'speed' in {db}: 1. Queries left: 1." in text
    with PreferenceStore(db) as store:
        (answer,) = store.preferences("speed")
    assert (answer.annotator, answer.ranking) == ("ben", Ranking.prefer(1))
    for side in "ab":
        assert count_frames(tmp_path / "clips" / f"{answer.query.id}_{side}.mp4") == 9
