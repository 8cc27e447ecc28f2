"""Tests of the way of a blind comparison: record two policies, bring them together, ask."""

import dataclasses
import json
from pathlib import Path

import pytest

from robopref import cli
from robopref.commands.collect import CollectCommand, name_policy
from robopref.commands.merge_data import MergeCommand
from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from robopref.labeling.client import ClientError
from robopref.labeling.comparison import policy_of
from robopref.options import parse_options
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.mlp_denoiser import MLPDenoiserConfig
from robopref.rewards.trivial import ZeroRewardConfig
from robopref.types import STATE
from tests.labeling.running import Running

ENV = "metaworld/reach-v3"
FEW = ("--num-episodes", 3, "--max-episode-steps", 12, "--num-workers", 0, "--env", ENV)


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


def merge(out, *folders):
    options = [word for folder in folders for word in ("--data", str(folder))]
    parse_options(MergeCommand, [*options, "--out", str(out)], program="robopref data merge").run()


def policies(folder):
    return {policy_of(row) for row in EpisodeStore.open(folder).rows}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return a folder with the episodes of two experts."""
    folder = tmp_path_factory.mktemp("recorded")
    for behaviour in ("fast", "detour-right"):
        assert run("collect", "--behaviour", behaviour, *FEW, "--out", folder / behaviour) == 0
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return a folder with two policies and a reward, untrained."""
    folder = tmp_path_factory.mktemp("models")
    policy = DiffusionPolicyConfig(denoiser=MLPDenoiserConfig(width=16, num_blocks=1))
    for name in ("first", "second"):
        policy.build({STATE: (39,)}, 4).save_pretrained(folder / name / "policy")
    ZeroRewardConfig().build(39, 4).save_pretrained(folder / "gentle" / "reward")
    return folder


def test_two_experts_are_recorded_merged_and_compared_blind(recorded, tmp_path, capsys, caplog):
    both = tmp_path / "both"
    merge(both, recorded / "fast", recorded / "detour-right")
    merge(both, recorded / "fast")
    assert capsys.readouterr().out.splitlines()[-5:] == [
        f"0 of the 3 episodes of {recorded / 'fast'} are new.",
        f"{both} has 6 episodes.",
        "  expert:detour-right: 3 episodes",
        "  expert:fast: 3 episodes",
        f"Next:   robopref label --data {both} --first-queries 0 --learner none",
    ]
    running = Running(tmp_path, both)
    running.config = dataclasses.replace(running.config, first_queries=0)
    with running, running.client() as client:
        assert len(client.add_comparisons(2)) == 2
        assert len(client.add_comparisons(policies=["expert:fast", "expert:detour-right"])) == 1
        while (query := client.next()["query"]) is not None:
            assert "expert" not in json.dumps(query)
            assert query["compares_policies"]
            rows = [
                running.service.episodes.row(item.episode_id)
                for item in running.service.query(query["id"]).items
            ]
            assert rows[0].seed == rows[1].seed
            fast = [policy_of(row) for row in rows].index("expert:fast")
            client.answer(query, [[fast], [1 - fast]])
        found = client.comparison(reveal=True)["criteria"][0]["policies"]
        assert {each["name"]: (each["wins"], each["losses"]) for each in found} == {
            "expert:fast": (3, 0), "expert:detour-right": (0, 3),
        }  # fmt: skip
        with pytest.raises(ClientError) as error:
            client.add_comparisons()
    assert str(error.value) == (
        "There is nothing more to compare: no two episodes of different policies that start alike "
        "were not compared yet. Whoever runs this server can add some."
    )
    (told,) = [r.getMessage() for r in caplog.records if r.name == "robopref.labeling.management"]
    assert told == (
        f"'{both}' has no two episodes of different policies that start alike and were not "
        "compared yet. Policies: ['expert:detour-right', 'expert:fast']. Record more with equal "
        "--seed, each policy under a --name of its own, and bring them together with: robopref "
        "data merge."
    )


def test_a_named_collection_is_another_one_and_one_without_is_as_before(recorded, tmp_path):
    unnamed = CollectCommand(tmp_path, behaviour="fast")
    assert '"name"' not in unnamed._namespace()
    named = dataclasses.replace(unnamed, name="swift")
    assert named._namespace() != unnamed._namespace()
    assert run("collect", "--behaviour", "fast", "--name", "swift", *FEW, "--out", tmp_path) == 0
    assert policies(tmp_path) == {"swift"}
    rows = [EpisodeStore.open(folder).rows for folder in (tmp_path, recorded / "fast")]
    assert [row.seed for row in rows[0]] == [row.seed for row in rows[1]]
    assert {row.episode_id for row in rows[0]}.isdisjoint(row.episode_id for row in rows[1])


def test_a_data_set_from_before_there_were_names_goes_on(recorded, tmp_path):
    old = tmp_path / "old"
    command = ("collect", "--behaviour", "fast", *FEW, "--out", old)
    assert run(*command) == 0
    config = old / "config.yaml"
    lines = config.read_text().splitlines()
    config.write_text("\n".join(line for line in lines if not line.startswith("name:")))
    assert run(*command, "--num-episodes", 4) == 0
    assert EpisodeStore.open(old).ids[:3] == EpisodeStore.open(recorded / "fast").ids


def test_evaluated_policies_are_named_and_merged(models, tmp_path, capsys):
    def evaluate(policy, out, *options):
        command = ("evaluate", "--policy", models / policy, "--behaviour", "fast", *FEW)
        assert run(*command, "--out", tmp_path / out, *options) == 0

    evaluate("first", "unnamed")
    evaluate("second/policy", "steered", "--reward", models / "gentle")
    assert policies(tmp_path / "unnamed") == {"first"}
    assert policies(tmp_path / "steered") == {"second + gentle"}
    evaluate("second", "named", "--name", "the second")
    merge(tmp_path / "both", tmp_path / "unnamed", tmp_path / "named")
    rows = EpisodeStore.open(tmp_path / "both").rows
    assert {(row.seed, policy_of(row)) for row in rows} == {
        (seed, name) for seed in {row.seed for row in rows} for name in ("first", "the second")
    }
    assert len(rows) == 6
    capsys.readouterr()
    with pytest.raises(DataError) as error:
        merge(tmp_path / "none", tmp_path / "unnamed", tmp_path / "steered")
    first = EpisodeStore.open(tmp_path / "unnamed").ids[0]
    assert str(error.value) == (
        f"'{tmp_path}/unnamed' and '{tmp_path}/steered' have different episodes with the id "
        f"'{first}', and one data set cannot hold both. Evaluations with equal --seed share ids "
        "unless they are named: record one again with --name NAME and another --out."
    )
    assert not (tmp_path / "none").exists()


def test_policies_are_named_after_their_runs():
    assert name_policy(Path("runs/a"), None) == "a"
    assert name_policy(Path("runs/a/policy"), Path("runs/b/reward")) == "a + b"


def test_who_acts_is_not_told_by_the_command_that_recorded(recorded):
    row = EpisodeStore.open(recorded / "fast").rows[0]
    for metadata, policy in [
        ({"name": "collect"}, ""), ({"name": "evaluate"}, ""), ({}, ""),
        ({"name": "evaluation/base"}, "evaluation/base"),
        ({"name": "collect", "policy": "a"}, "a"),
    ]:  # fmt: skip
        assert policy_of(dataclasses.replace(row, metadata=metadata)) == policy


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--name", ""), "--name must be 1 to 64 printable characters, got ''."),
        (
            ("--name", "a", "--recipe", "ipl"),
            "Give one of --recipe and --name: a recipe names who acts by itself.",
        ),
    ],
)
def test_names_that_cannot_be_are_refused(tmp_path, capsys, options, message):
    assert run("collect", *options, "--out", tmp_path / "out") == 2
    assert capsys.readouterr().err == f"Error: {message}\n"


def test_merging_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError) as error:
        merge(tmp_path / "out")
    assert str(error.value) == "--data must name at least one data set."
