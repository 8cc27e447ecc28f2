"""Tests for align/offline.py, its report and its command: alignment without a simulator."""

import dataclasses
import itertools
import json
from html import unescape

import pytest

from robopref import cli
from robopref.align.collect import Workers
from robopref.align.guard import GuardConfig
from robopref.align.loop import AlignmentLoop
from robopref.align.offline import OfflineAlignment, OfflineConfig, complaints
from robopref.align.offline_report import next_step, seen_by_training, write_offline_report
from robopref.align.run import Run
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.errors import CheckpointError, DataError
from robopref.policies.finetune.at_run_time import SelectConfig
from robopref.policies.finetune.deformpam import DeformPAMPlusConfig
from robopref.policies.finetune.distil import DistilConfig
from robopref.policies.finetune.dpo import DPOConfig
from robopref.policies.finetune.given import NO_RANKINGS, NO_SCORER
from robopref.policies.finetune.group_sources import GroupsConfig
from robopref.policies.finetune.online import PPOConfig
from robopref.preferences.preference import Preference
from robopref.preferences.query import Query
from robopref.preferences.ranking import Ranking
from robopref.rewards.preference_transformer import PreferenceTransformerConfig
from robopref.tracker import read_metrics
from robopref.types import STATE
from tests.align.conftest import make_tiny, training


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return the folder of a run that has a base policy and a pool of its episodes."""
    directory = tmp_path_factory.mktemp("recorded")
    with Workers(0) as workers:
        AlignmentLoop(make_tiny(), directory, workers).prepare_base()
    return directory


def config(recorded, **changes):
    tiny = make_tiny()
    options = {
        "method": DistilConfig(trainer=training(15)), "reward": tiny.reward, "num_labels": 4,
        "labels_per_round": 2, "use_success": False,
    }  # fmt: skip
    return OfflineConfig(recorded / "pool", recorded / "base", **(options | changes))


def weights(directory):
    return (directory / "aligned" / "policy" / "model.safetensors").read_bytes()


def test_a_policy_is_tuned_from_recorded_episodes_alone(recorded, tmp_path, monkeypatch):
    monkeypatch.setattr("robopref.align.collect.record_group", lambda group: 1 / 0)
    keep = GuardConfig(keep_worse=True)
    alignment = OfflineAlignment(config(recorded, guard=keep), tmp_path)
    found = alignment.execute()
    assert set(found) == {
        "held_out_accuracy", "implicit_accuracy", "drift", "held_out", "reasons", "kept_base",
        "seconds",
    }  # fmt: skip
    assert not found["kept_base"]
    watched = [r for r in read_metrics(tmp_path / "tuned/metrics.jsonl") if "validation/drift" in r]
    assert {"validation/implicit_accuracy", "validation/loss"} <= watched[-1].keys()
    assert (recorded / "base" / "policy" / "model.safetensors").read_bytes() != weights(tmp_path)
    text = write_offline_report(alignment).read_text()
    assert seen_by_training(0) in text
    assert "Success and preferred rate were not measured" in text
    command = (
        f"robopref deploy --policy {tmp_path}/aligned --against {recorded / 'base'} "
        f"--env arm/{TASK} --num-episodes 20"
    )
    assert next_step(alignment) == ("", command)
    assert f"<pre>{command}</pre>" in text
    assert f"<code>tensorboard --logdir {tmp_path}</code>" in text


TASK = "button-press-topdown-v3"
ELSEWHERE = (
    "The episodes are of robomimic/Lift: in place of CELL.yaml give the file that describes your "
    "robot's cell."
)
UNKNOWN = (
    "The episodes do not say where they were recorded: in place of CELL.yaml give the file that "
    "describes your robot's cell."
)


@pytest.mark.parametrize(
    ("env", "arm", "note"),
    [
        ("metaworld/reach-v3", "arm/reach-v3", ""),
        ("arm/reach-v3", "arm/reach-v3", ""),
        ("real/my cell.yaml", "'real/my cell.yaml'", ""),
        ("robomimic/Lift", "real/CELL.yaml", ELSEWHERE),
        ("", "real/CELL.yaml", UNKNOWN),
    ],
)
def test_the_tuned_policy_is_measured_where_the_episodes_were_recorded(
    recorded, tmp_path, capsys, monkeypatch, env, arm, note
):
    found = {"held_out_accuracy": 0.9, "implicit_accuracy": 0.9, "drift": 0.1}
    monkeypatch.setattr(OfflineAlignment, "execute", lambda self: self.run.figures("aligned"))
    with_env(recorded / "pool", tmp_path / "data", env)
    out = tmp_path / "out"
    words = ["--data", tmp_path / "data", "--policy", recorded / "base", "--teacher",
             "terminal", "--out", out]  # fmt: skip
    finish(out, words, found | {"reasons": [], "kept_base": False})
    assert cli.main(["align", *map(str, words)]) == 0
    told = capsys.readouterr().out.split("Next:   ")[1].splitlines()
    assert told == [
        f"robopref deploy --policy {out}/aligned --against {recorded / 'base'} --env {arm} "
        "--num-episodes 20",
        *([" " * 8 + note] if note else []),
    ]
    text = unescape((out / "report.html").read_text())
    assert told[0] in text
    assert note in text


def test_where_the_base_was_kept_there_is_nothing_to_measure(
    recorded, tmp_path, capsys, monkeypatch
):
    found = {"held_out_accuracy": 0.4, "implicit_accuracy": 0.9, "drift": 0.1}
    monkeypatch.setattr(OfflineAlignment, "execute", lambda self: self.run.figures("aligned"))
    out = tmp_path / "out"
    words = ["--data", recorded / "pool", "--policy", recorded / "base", "--teacher",
             "terminal", "--out", out]  # fmt: skip
    finish(out, words, found | {"reasons": ["It foretells little."], "kept_base": True})
    assert cli.main(["align", *map(str, words)]) == 0
    told, text = capsys.readouterr().out, (out / "report.html").read_text()
    assert "deploy" not in told + text
    note = (
        "The aligned policy is the base, so there is nothing to compare on a robot. Answer more "
        "queries: the same command with a larger --num-labels and another --out."
    )
    assert told.endswith(f"Next:   {note}\n")
    assert note in text


def with_env(recorded, folder, env):
    """Return a copy of the episodes that says they are of `env`."""
    copy = EpisodeStore.create(folder, fps=80)
    for episode in EpisodeStore.open(recorded):
        copy.add(dataclasses.replace(episode, env=env))


def finish(out, words, found):
    """Leave in `out` what a run of this command would, but for what was trained."""
    command = cli.parse(["align", *map(str, words)])
    run = Run(out, command._offline_config(command.data))
    run.stage("labels", lambda: {"labels": 10})
    run.stage("aligned", lambda: found)


def test_an_interrupted_run_ends_the_same(recorded, tmp_path, monkeypatch):
    method = DPOConfig(training(15), GroupsConfig("answers"))
    one, two = (config(recorded, method=method) for _ in range(2))
    OfflineAlignment(one, tmp_path / "whole").execute()
    cut = OfflineAlignment(two, tmp_path / "cut")
    monkeypatch.setattr(cut, "_finetune_data", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cut.execute()
    OfflineAlignment(two, tmp_path / "cut").execute()
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_a_policy_that_drifts_is_not_kept(recorded, tmp_path):
    guard = GuardConfig(least_accuracy=0.0, largest_drift=0.0)
    fast = DistilConfig(trainer=training(15))
    alignment = OfflineAlignment(config(recorded, guard=guard, method=fast), tmp_path)
    monstrous = {"held_out_accuracy": 0.4, "implicit_accuracy": 0.3, "drift": 0.5}
    assert complaints(monstrous, GuardConfig()) == [
        "The reward foretells only 0.40 of the answers that it was not given (more than 0.5 are "
        "asked for). Answer more queries.",
        "The tuned policy orders only 0.30 of the judged pairs rightly (more than 0.5 are asked "
        "for). Tune for longer, or by another method.",
        "The policy drifted from the data: its denoising error rose by 0.50 (at most 0.2 is "
        "allowed). Tune for fewer steps, or with a larger anchor.",
    ]
    alignment.run.stage("labels", lambda: {"labels": 4})
    alignment.run.stage("reward", lambda: {"held_out_accuracy": 0.9})
    alignment.run.stage("tuned", lambda: {"implicit_accuracy": 0.9, "drift": 0.1})
    assert alignment.execute()["kept_base"]
    assert weights(tmp_path) == (recorded / "base/policy/model.safetensors").read_bytes()


def test_answers_that_contradict_each_other_are_not_trusted(recorded, tmp_path):
    """Every pair is judged once either way, so whatever a reward foretells is half wrong."""
    alignment = OfflineAlignment(config(recorded, num_labels=12), tmp_path)
    items = [Segment(row.episode_id, 0, row.length) for row in alignment.data.rows]
    pairs = list(itertools.combinations(items, 2))[:6]
    store = alignment.labels.preference_store
    for number, (pair, winner) in enumerate(itertools.product(pairs, (0, 1))):
        query = Query(f"q{number}", pair)
        store.add_queries([query], cut_hash=alignment.data.content_hash)
        store.answer(Preference(f"p{number}", query, Ranking.prefer(winner), "scripted"))
    found = alignment.execute()
    assert found["kept_base"]
    assert found["held_out_accuracy"] <= 0.5
    assert any("foretells only" in reason or "orders only" in reason for reason in found["reasons"])
    base = recorded / "base" / "policy" / "model.safetensors"
    assert base.read_bytes() == weights(tmp_path)


def answer(alignment, num):
    """Answer `num` queries in the run's store, the first three of them by two people."""
    items = [Segment(row.episode_id, 0, row.length) for row in alignment.data.rows]
    pairs = list(itertools.permutations(items, 2))[:num]
    store = alignment.labels.preference_store
    for number, pair in enumerate(pairs):
        query = Query(f"q{number:02}", pair)
        store.add_queries([query], cut_hash=alignment.data.content_hash)
        for who in ("anna", "ben")[: 2 if number < 3 else 1]:
            store.answer(Preference(f"{who}{number}", query, Ranking.prefer(0), who))


def test_the_guard_watches_answers_that_nothing_learned_from(recorded, tmp_path):
    alignment = OfflineAlignment(config(recorded, find_mistakes=True), tmp_path)
    answer(alignment, 20)
    labels = alignment.labels
    held = {preference.query.id for preference in labels.held_out()}
    assert held == {"q00", "q05", "q10", "q15"}
    assert len(labels.held_out()) == 5
    assert {p.query.id for p in labels.learned_from()} == {f"q{n:02}" for n in range(20)} - held
    watched = [tuple(i.episode_id for i in p.query.items) for p in labels.held_out()]
    assert [(a, b) for a, b, _ in labels.watched_pairs()] == watched
    alignment.run.stage("labels", lambda: {"labels": 23})
    alignment.run.stage("reward", alignment._train_reward)
    believed = json.loads((tmp_path / "reward" / "believed.json").read_text())
    assert len(believed) == len(labels.learned_from()) == 18
    data = alignment._finetune_data()
    learned = {tuple(s.episode_id for s in judgement.segments) for judgement in data.judgements}
    assert len(data.judgements) == 18
    assert not learned & set(watched)


def test_of_few_answers_none_is_held_out_and_the_report_says_so(recorded, tmp_path):
    alignment = OfflineAlignment(config(recorded), tmp_path)
    answer(alignment, 19)
    assert alignment.labels.held_out() == []
    assert len(alignment.labels.watched_pairs()) == len(alignment.labels.learned_from()) == 22
    assert seen_by_training(0) == (
        "They were learned from: below 20 decided queries none is held out, so that this figure "
        "flatters a method that learns from the answers."
    )
    assert seen_by_training(5) == "They are of 5 answers that nothing learned from."


def test_what_does_not_fit_is_refused(recorded, tmp_path):
    empty = EpisodeStore.create(tmp_path / "empty", fps=80.0)
    with pytest.raises(DataError) as error:
        OfflineAlignment(OfflineConfig(empty.root, recorded / "base"), tmp_path / "out")
    assert str(error.value) == (
        f"'{empty.root}' holds no episodes, so there is nothing to compare."
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "DATA"],
         "With --data, --policy must name the run of a policy, such as runs/demo/base."),
        (["--data", "DATA", "--policy", "BASE", "--num-rounds", "2"],
         "--num-rounds means nothing with --data, which rolls nothing out."),
        (["--data", "DATA", "--policy", "BASE", "--guard.num-episodes", "5"],
         "--guard.num-episodes means nothing with --data, which rolls nothing out."),
        (["--data", "DATA", "--policy", "no/such/run"],
         "No policy in 'no/such/run': neither it nor 'no/such/run/policy' holds a config.json."),
        (["--policy", "BASE"],
         "--policy BASE is a saved policy; without --data one is cloned anew. Add --data with "
         "recorded episodes, or leave --policy out."),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together(recorded, tmp_path, capsys, options, message):
    base, data = str(recorded / "base"), str(recorded / "pool")
    words = [word.replace("BASE", base).replace("DATA", data) for word in options]
    assert cli.main(["align", *words, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"Error: {message.replace('BASE', base)}\n"
    assert not (tmp_path / "out").exists()


def test_a_policy_of_other_observations_is_refused(recorded, tmp_path):
    episode = next(iter(EpisodeStore.open(recorded / "pool")))
    narrow = {STATE: episode.state[:, :5]}
    other = EpisodeStore.create(tmp_path / "other", fps=episode.fps)
    other.add(dataclasses.replace(episode, obs=narrow, sim_states=None, sim_episode=None))
    with pytest.raises(CheckpointError) as error:
        OfflineAlignment(OfflineConfig(other.root, recorded / "base"), tmp_path / "out")
    assert str(error.value) == (
        f"The policy in '{recorded / 'base' / 'policy'}' needs 'observation.state' of shape (39,), "
        "got (5,). It was trained for another task."
    )


def test_a_method_that_has_to_act_is_refused(recorded, tmp_path):
    with pytest.raises(ValueError) as error:
        OfflineAlignment(config(recorded, method=PPOConfig()), tmp_path / "out")
    assert str(error.value) == (
        "PPOConfig acts in an environment while it learns, and there is none here. Take another "
        "--method, such as distil."
    )
    assert not (tmp_path / "out").exists()


def test_a_method_that_changes_no_weights_is_refused(recorded, tmp_path):
    with pytest.raises(ValueError, match="SelectConfig changes no weights"):
        OfflineAlignment(config(recorded, method=SelectConfig()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": DeformPAMPlusConfig()}, NO_RANKINGS),
        ({"method": DPOConfig(), "reward": PreferenceTransformerConfig()}, NO_SCORER),
    ],
)
def test_a_method_that_cannot_learn_from_the_run_is_refused(recorded, tmp_path, options, message):
    with pytest.raises(ValueError) as error:
        OfflineAlignment(config(recorded, **options), tmp_path / "out")
    assert str(error.value) == message
    assert not (tmp_path / "out").exists()
