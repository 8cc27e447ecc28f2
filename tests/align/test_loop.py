"""Tests for align/loop.py, labels.py and report.py: real runs, as small as they can be."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robopref.align.actors import PolicySpec
from robopref.align.collect import Workers
from robopref.align.evaluate import measure_episode
from robopref.align.labels import Labels
from robopref.align.loop import AlignmentLoop
from robopref.align.report import write_report
from robopref.config import load_yaml, to_dict
from robopref.envs import BEHAVIOURS
from robopref.envs.both import BothConfig
from robopref.errors import ConfigError, DataError
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.finetune.dpo import DPOConfig
from robopref.policies.finetune.group_sources import GroupsConfig
from robopref.policies.finetune.online import PPOConfig
from robopref.policies.serialization import load_policy
from robopref.preferences.preference import Preference
from robopref.preferences.query import Query
from robopref.preferences.ranking import Ranking
from robopref.preferences.teachers import SkipTeacherConfig
from robopref.preferences.terminal import Person, TerminalTeacherConfig
from robopref.preferences.web import WebTeacherConfig
from robopref.tracker import read_metrics
from robopref.types import STATE
from tests.align.conftest import make_tiny

WEIGHTS = ("base/policy", "reward", "aligned/policy")


def weights(directory):
    return {name: (directory / name / "model.safetensors").read_bytes() for name in WEIGHTS}


def test_every_stage_leaves_what_the_next_one_needs(finished):
    assert list(finished.run.stages) == [
        "demonstrations", "base", "pool", "labels", "reward", "round-1", "round-2",
        "aligned", "selection", "evaluation-base", "evaluation-selected", "evaluation-aligned",
    ]  # fmt: skip
    assert finished.run.figures("labels")["labels"] == 4
    assert len(finished.labels().preferences()) == 4
    for name in ("base", "selected", "aligned"):
        assert len(finished.store(f"evaluation/{name}")) == 4
    assert set(weights(finished.directory)) == set(WEIGHTS)


def test_policies_are_tested_on_the_same_starts_that_nothing_else_used(finished):
    seeds = {
        name: [row.seed for row in finished.store(name).rows]
        for name in ("demonstrations", "pool", "rounds/1/selection", "rounds/2/selection",
                     "evaluation/base", "evaluation/selected", "evaluation/aligned")
    }  # fmt: skip
    assert seeds["evaluation/base"] == seeds["evaluation/aligned"] == seeds["evaluation/selected"]
    used = {seed for name in seeds if not name.startswith("evaluation") for seed in seeds[name]}
    assert not set(seeds["rounds/1/selection"]) & set(seeds["rounds/2/selection"])
    assert not used & set(seeds["evaluation/base"])


def test_the_guard_logs_what_it_saw_while_a_policy_was_tuned(finished):
    for number in (1, 2):
        rows = read_metrics(finished.directory / f"rounds/{number}/metrics.jsonl")
        looks = [row for row in rows if "validation/loss" in row]
        assert looks
        kept = finished.run.figures(f"round-{number}")["guard"]
        for look in [*looks, {f"validation/{name}": value for name, value in kept.items()}]:
            for name in ("joint", "success", "preferred_to_base", "score", "implicit_accuracy"):
                assert 0 <= look[f"validation/{name}"] <= 1
            assert look["validation/joint"] <= look["validation/success"]
            assert look["validation/loss"] == -look["validation/score"]
            # A policy that was tuned is not where the base was.
            assert 0 < abs(look["validation/drift"]) < 1


def test_the_config_is_kept_and_says_all(finished):
    loaded = load_yaml(type(finished.config), finished.directory / "config.yaml")
    assert to_dict(loaded) == to_dict(finished.config)
    assert loaded.behaviour == finished.behaviour


@pytest.mark.slow
def test_the_report_stands_alone(finished):
    text = write_report(finished).read_text()
    assert text.count("<video") == 4
    assert text.count("<svg") >= 4
    assert 'src="http' not in text
    assert f"<code>tensorboard --logdir {finished.directory}</code>" in text
    for name in ("success", "preferred", "joint"):
        assert name in text


def test_nothing_that_learns_sees_the_measure(finished, tmp_path, monkeypatch):
    """Clone, fit and fine-tune again with a measure that raises: the weights are the same."""
    folder = tmp_path / "again"
    shutil.copytree(finished.directory, folder)
    stages = json.loads((folder / "stages.json").read_text())
    learned = {
        "base": "base", "reward": "reward", "round-1": "rounds/1/policy",
        "round-2": "rounds/2/policy", "aligned": "aligned",
    }  # fmt: skip
    for stage, place in learned.items():
        shutil.rmtree(folder / place)
        stages.pop(stage)
    (folder / "stages.json").write_text(json.dumps(stages))
    rates = finished.evaluations()["base"]
    monkeypatch.setattr(type(finished.behaviour), "measure", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        finished.evaluate(finished.store("pool"))
    # What is reported may see it, and is left out.
    monkeypatch.setattr(AlignmentLoop, "evaluate", lambda *_: rates)
    monkeypatch.setattr(Labels, "true_accuracy", lambda *_: 0.0)
    with Workers(0) as workers:
        AlignmentLoop(make_tiny(), folder, workers).execute()
    assert weights(folder) == weights(finished.directory)


def test_a_teacher_who_only_skips_is_reported(finished, tmp_path):
    config = make_tiny(teacher=SkipTeacherConfig(skip_below=100.0), num_labels=2)
    for name in ("pool", "base"):
        (tmp_path / name).symlink_to(finished.directory / name)
    with Workers(0) as workers:
        loop = AlignmentLoop(config, tmp_path, workers)
        with pytest.raises(DataError) as error:
            loop.labels().ask()
    assert str(error.value).startswith("The teacher answered ")
    assert "with only 0 labels" in str(error.value)


def test_a_person_may_be_the_teacher(finished, tmp_path):
    (tmp_path / "pool").symlink_to(finished.directory / "pool")
    shown: list[Query] = []
    typed = iter(["1", "nonsense", "=", "q", "2", "2", "1"])

    def ask_in(labels):
        return labels.ask(Person(shown.append, lambda prompt: next(typed)))

    config = make_tiny(teacher=TerminalTeacherConfig(), num_labels=3)
    with Workers(0) as workers:
        labels = AlignmentLoop(config, tmp_path, workers).labels()
        with pytest.raises(KeyboardInterrupt):  # The person quits after two answers.
            ask_in(labels)
        assert [len(p.ranking.order) for p in labels.preferences()] == [2, 1]
        assert ask_in(labels)["labels"] == 3
    assert shown[0] == labels.preferences()[0].query


def test_people_elsewhere_may_be_the_teacher(finished, tmp_path):
    (tmp_path / "pool").symlink_to(finished.directory / "pool")
    config = make_tiny(teacher=WebTeacherConfig(), num_labels=3)

    def wait(query):
        """Answer in the store as a server does, under whichever name."""
        known = [p for p in labels.preferences() if p.query == query]
        given = Preference(f"of {query.id}", query, Ranking.prefer(0), annotator=f"p{len(known)}")
        labels.preference_store.answer(given)
        return given

    with Workers(0) as workers:
        labels = AlignmentLoop(config, tmp_path, workers).labels()
        person = Person(lambda query: None, lambda prompt: None, wait)
        assert labels.ask(person)["labels"] == 3
        assert labels.ask(person)["labels"] == 3, "a resumed run asks nothing again"
    assert {p.annotator for p in labels.preferences()} == {"p0"}


def test_each_criterion_has_an_annotator_of_its_own(finished, tmp_path):
    (tmp_path / "pool").symlink_to(finished.directory / "pool")
    config = make_tiny(behaviour=BothConfig("detour-left", "fast"), num_labels=5)
    with Workers(0) as workers:
        labels = AlignmentLoop(config, tmp_path, workers).labels()
        labels.ask()
    answers = labels.preferences()
    assert [(p.annotator, p.criterion) for p in answers[:5]] == [
        ("scripted-1", "detour-left"), ("scripted-2", "fast"), ("scripted-1", "detour-left"),
        ("scripted-2", "fast"), ("scripted-1", "detour-left"),
    ]  # fmt: skip
    pool = finished.store("pool")
    for preference in answers:
        if len(preference.ranking.order) < 2:
            continue
        config_class = BEHAVIOURS.config_class(preference.criterion)
        worse, better = (
            measure_episode(config_class(), pool.episode(preference.query.items[i].episode_id))
            for i in (preference.ranking.order[1][0], preference.ranking.order[0][0])
        )
        assert worse < better


def test_a_method_that_acts_gets_environments(finished, tmp_path):
    config = make_tiny(
        num_rounds=1, num_selected_episodes=1, max_episode_steps=30,
        method=PPOConfig(num_iterations=2, max_decisions=3, num_epochs=1, num_envs=4),
    )  # fmt: skip
    for name in ("demonstrations", "base", "pool", "reward", "preferences.sqlite"):
        (tmp_path / name).symlink_to(finished.directory / name)
    with Workers(0) as workers:
        loop = AlignmentLoop(config, tmp_path, workers)
        loop.align()
    assert loop.run.figures("round-1")["steps"] == 2
    assert (tmp_path / "aligned" / "policy" / "model.safetensors").is_file()


@pytest.mark.parametrize(("success", "pays"), [(1.0, True), (0.5, False)])
def test_selection_on_top_pays_where_it_is_no_worse(finished, monkeypatch, success, pays):
    """By validation starts: a score that rises does not pay for success that falls."""
    assert set(finished.run.figures("selection")) == {"pays", "alone", "on_top", "seconds"}
    alone = finished.run.figures("aligned")["guard"] | {"success": 1.0, "score": 0.5}
    monkeypatch.setattr(finished.run, "figures", lambda name: {"guard": alone, "kept_base": False})
    monkeypatch.setattr(
        finished.rounds, "guard", lambda policy: {"success": success, "score": 0.9}, raising=False
    )
    assert finished.rounds.try_selection()["pays"] is pays


def test_episodes_of_matched_starts_are_recorded_for_a_method_that_compares_them(
    finished, tmp_path
):
    groups = GroupsConfig("reward", num_episodes=3, starts="alike")
    with Workers(0) as workers:
        loop = AlignmentLoop(
            make_tiny(method=DPOConfig(groups=groups), num_selected_episodes=7, num_rounds=1),
            tmp_path / "run", workers,
        )  # fmt: skip
        spec = PolicySpec(finished.directory / "base" / "policy")
        loop.rounds._record_round(1, spec, "pool")
        own = [e.seed for e in loop.store("rounds/1/pool")]
        loop.rounds._record_round(1, spec, "selection")
        chosen = {e.seed for e in loop.store("rounds/1/selection")}
    assert own == [own[0]] * 3 + [own[3]] * 3 + own[6:]
    assert len(set(own)) == 3
    assert len(chosen) == 7


def test_the_best_round_is_kept(finished, tmp_path):
    """Also where a later round made it worse again."""
    shutil.copytree(finished.directory, tmp_path / "run", symlinks=True)
    stages_file = tmp_path / "run" / "stages.json"
    stages = json.loads(stages_file.read_text())
    for name in [n for n in stages if n.startswith(("aligned", "selection", "evaluation"))]:
        del stages[name]
    shutil.rmtree(tmp_path / "run" / "aligned")
    for name, score in (("round-1", 0.9), ("round-2", 0.6)):
        stages[name]["guard"] |= {"score": score, "success": 1.0}
    stages_file.write_text(json.dumps(stages))
    with Workers(0) as workers:
        loop = AlignmentLoop(make_tiny(), tmp_path / "run", workers)
        loop.align()
    assert loop.run.figures("aligned")["round"] == 1
    kept, first = (
        (tmp_path / "run" / name / "policy" / "model.safetensors").read_bytes()
        for name in ("aligned", "rounds/1")
    )
    assert kept == first


@pytest.mark.parametrize(("score", "start"), [(0.9, "rounds/1/policy"), (-1.0, "base/policy")])
def test_a_round_begins_with_the_best_policy_so_far(finished, monkeypatch, score, start):
    """Of a round that the guard found worse than the base, nothing is kept."""
    figures = finished.run.figures("round-1")["guard"] | {"score": score, "success": 1.0}
    monkeypatch.setattr(finished.run, "figures", lambda name: {"guard": figures})
    assert finished.rounds._start_of(1) == finished.directory / "base/policy"
    assert finished.rounds._start_of(2) == finished.directory / start


def test_the_best_of_many_looks_is_looked_at_again(finished, monkeypatch):
    """On starts that it was not chosen by; what was lucky gives way to the next best."""
    made = finished.rounds._made()
    guard = finished.rounds.guard
    policy = load_policy(finished.directory / "base/policy")
    assert guard.confirms(policy, guard.base)
    assert not guard.confirms(policy, guard.base | {"score": guard.base["score"] - 0.1})
    assert not guard.confirms(policy, guard.base | {"success": guard.base["success"] - 0.9})
    num = guard.config.guard.num_episodes
    looks = [guard.record(policy, first=first) for first in (0, num)]
    starts = [{tuple(episode.obs[STATE][0]) for episode in look} for look in looks]
    assert not starts[0] & starts[1]

    class Doubts:
        def is_worse(self, figures):
            return False

        def confirms(self, policy, figures):
            return figures["score"] < 0.9

    lucky, good = (
        one._replace(figures=one.figures | {"score": score})
        for one, score in zip(made, (0.95, 0.8), strict=True)
    )
    monkeypatch.setattr(finished.rounds, "guard", Doubts(), raising=False)
    assert finished.rounds._confirmed([lucky, good]) == good
    assert finished.rounds._confirmed([lucky]) is None


def test_other_settings_in_the_same_folder_are_refused(finished):
    with Workers(0) as workers, pytest.raises(ConfigError) as error:
        AlignmentLoop(make_tiny(num_labels=5), finished.directory, workers)
    assert str(error.value) == (
        f"'{finished.directory}' holds a run with other settings: `num_labels` was 4, now 5. "
        "Choose another folder with --out, or delete this one."
    )


RUN = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from robopref.align.collect import Workers
from robopref.align.labels import Labels
from robopref.align.loop import AlignmentLoop
from tests.align.conftest import make_tiny
with Workers(0) as workers:
    AlignmentLoop(make_tiny(), Path(sys.argv[1]), workers).execute()
"""


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_twenty_kills_change_nothing(finished, tmp_path):
    """Kill -9 at random moments of recording, labelling and training; the end is the same."""
    rng = random.Random(0)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    kills = runs = 0
    while kills < 20 or runs == 0:
        folder = tmp_path / f"run-{runs}"
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", RUN, str(folder)], env=environment
        )
        # The run must have begun: importing takes most of its time at first.
        while not folder.is_dir() and process.poll() is None:
            time.sleep(0.01)
        try:
            assert process.wait(rng.uniform(0.0, 12.0) if kills < 20 else 600.0) == 0
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        else:
            assert_same_end(folder, finished)
            runs += 1
    assert kills == 20


def assert_same_end(folder, finished):
    assert weights(folder) == weights(finished.directory)
    with Workers(0) as workers:
        loop = AlignmentLoop(make_tiny(), folder, workers)
        for name in ("demonstrations", "pool", "rounds/2/selection", "evaluation/aligned"):
            rows, expected = (
                [(row.episode_id, row.content_hash) for row in one.store(name).rows]
                for one in (loop, finished)
            )
            assert rows == expected
        assert loop.labels().preferences() == finished.labels().preferences()
        curves = [[row["pool_accuracy"] for row in one.label_curve()] for one in (loop, finished)]
        assert curves[0] == curves[1]


def test_a_reward_that_judges_other_actions_is_refused(tmp_path):
    config = make_tiny(policy=DiffusionPolicyConfig(chunk_size=8, n_action_steps=4))
    with Workers(0) as workers, pytest.raises(ValueError) as error:
        AlignmentLoop(config, tmp_path / "run", workers)
    assert str(error.value) == (
        "`reward.n_action_steps` (=8) must equal `policy.n_action_steps` (=4): "
        "the reward has to judge what the policy executes."
    )
