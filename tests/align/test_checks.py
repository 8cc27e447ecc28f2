"""Tests for align/checks.py and for the commands that check before they record."""

import dataclasses
import json
import shutil
from typing import Any

import pytest

from robopref import cli
from robopref.align.checks import check_demonstrations, check_parts_fit
from robopref.align.collect import Workers
from robopref.align.labels import Labels
from robopref.align.loop import AlignmentLoop
from robopref.config import save_yaml
from robopref.data.store import EpisodeStore
from robopref.errors import DataError, UnknownNameError
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.finetune import FINETUNE
from robopref.policies.finetune.at_run_time import SelectConfig
from robopref.policies.finetune.deformpam import DeformPAMPlusConfig
from robopref.policies.finetune.denoising_mdp import DenoisingConfig
from robopref.policies.finetune.given import NO_CHUNK_SCORES, NO_RANKINGS, NO_SCORER, Given
from robopref.policies.finetune.group_sources import GroupsConfig
from robopref.policies.finetune.online import PPOConfig
from robopref.policies.finetune.ppo import PPOLossConfig
from robopref.policies.finetune.quality import QualityConfig
from robopref.policies.gaussian import GaussianPolicyConfig
from robopref.policies.mlp_denoiser import MLPDenoiserConfig
from robopref.policies.quality import QualityDiffusionConfig
from robopref.preferences.teachers import EqualTeacherConfig
from robopref.rewards.preference_transformer import PreferenceTransformerConfig
from robopref.rewards.trivial import ZeroRewardConfig
from robopref.types import STATE
from tests.align.conftest import make_tiny

ENV = "metaworld/reach-v3"
NO_CHUNK = (
    "The reward 'preference-transformer' cannot choose among a policy's proposals: that takes the "
    "way 'chunk' of scoring actions, and its ways are []. Take a reward that has it, such as 'mlp'."
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return the folder of four scripted episodes."""
    folder = tmp_path_factory.mktemp("recorded") / "data"
    command = ["collect", "--env", ENV, "--num-episodes", "4", "--max-episode-steps", "12",
               "--num-workers", "0", "--out", str(folder)]  # fmt: skip
    assert cli.main(command) == 0
    return folder


@pytest.mark.parametrize("name", ["num_labels", "labels_per_round"])
def test_fewer_labels_than_a_query_gives_are_refused(name):
    with pytest.raises(ValueError) as error:
        check_parts_fit(make_tiny(strategy="triplets", **{name: 1}))
    assert str(error.value) == (
        f"`{name}` must be at least 2, what one query of 3 items counts, got 1."
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return a folder with a policy and two rewards, untrained."""
    folder = tmp_path_factory.mktemp("models")
    denoiser = MLPDenoiserConfig(width=16, num_blocks=1)
    policy = DiffusionPolicyConfig(denoiser=denoiser).build({STATE: (39,)}, 4)
    policy.save_pretrained(folder / "run" / "policy")
    ZeroRewardConfig().build(39, 4).save_pretrained(folder / "run" / "reward")
    PreferenceTransformerConfig().build(39, 4).save_pretrained(folder / "transformer" / "reward")
    ZeroRewardConfig().build(11, 3).save_pretrained(folder / "other-task" / "reward")
    return folder


@pytest.fixture
def error_of(capsys):
    """Return a function that runs a command which is refused, and gives the message."""

    def run(*arguments):
        assert cli.main([str(argument) for argument in arguments]) == 2
        return capsys.readouterr().err

    return run


# What does not fit together


def test_a_reward_that_cannot_choose_is_refused(tmp_path):
    with Workers(0) as workers, pytest.raises(ValueError) as error:
        AlignmentLoop(make_tiny(reward=PreferenceTransformerConfig()), tmp_path / "run", workers)
    assert str(error.value) == NO_CHUNK
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("verb", ["collect", "evaluate"])
def test_a_saved_reward_that_cannot_choose_is_refused(verb, models, tmp_path, error_of):
    message = error_of(
        verb, "--policy", models / "run", "--reward", models / "transformer", "--env", ENV,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert message == f"Error: {NO_CHUNK}\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["collect", "evaluate"])
def test_a_reward_of_other_observations_is_refused(verb, models, tmp_path, error_of):
    message = error_of(
        verb, "--policy", models / "run", "--reward", models / "other-task", "--env", ENV,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert message == (
        "Error: The reward judges observations of size 11 and actions of size 3, the policy sees "
        "39 and acts with 4: they are of different tasks. Give a reward that was learned from this "
        "task.\n"
    )
    assert not (tmp_path / "out").exists()


MISSPELT = {
    "metaworld/drawer-clos-v3": (
        "No Meta-World task named 'drawer-clos-v3'. Did you mean 'drawer-close-v3'? Tasks, the "
        "nearest of 50: ['drawer-close-v3', "
    ),
    "metaworl/drawer-close-v3": (
        "No environment named 'metaworl'. Did you mean 'metaworld'? "
        "Registered: ['arm', 'arm-deformable', 'deformable', 'gymnasium', 'metaworld', 'planar', "
        "'real', 'robomimic']."
    ),
    "Pendulum-v1": (
        "--env must read '<name>/<task>', got 'Pendulum-v1'. "
        "Names: ['arm', 'arm-deformable', 'deformable', 'gymnasium', 'metaworld', 'planar', "
        "'real', 'robomimic'], for example 'metaworld/reach-v3'."
    ),
}


@pytest.mark.parametrize("env", MISSPELT)
def test_a_misspelt_environment_is_named_and_leaves_nothing_behind(env, models, tmp_path, error_of):
    out = tmp_path / "out"
    for command in (["align"], ["collect"], ["evaluate", "--policy", models / "run"]):
        message = error_of(*command, "--env", env, "--out", out)
        assert message.startswith(f"Error: {MISSPELT[env]}")
        assert not out.exists()


def test_a_time_limit_below_one_is_refused_before_anything_is_recorded(tmp_path, error_of):
    message = "--max-episode-steps must be at least 1, got 0.\n"
    options = ("--max-episode-steps", "0", "--out", tmp_path / "out")
    assert error_of("align", *options) == f"Error: {message}"
    assert error_of("collect", *options) == f"Error: MetaWorldConfig cannot be built: {message}"
    assert not (tmp_path / "out").exists()


def test_a_renderer_that_mujoco_does_not_know_is_refused(monkeypatch, tmp_path, error_of):
    monkeypatch.setenv("MUJOCO_GL", "elg")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert error_of("collect", "--out", tmp_path / "out") == (
        "Error: MUJOCO_GL must be one of ['egl', 'glfw', 'glx', 'osmesa'] or not set, got 'elg'. "
        "Did you mean 'egl'? Without it robopref chooses: unset MUJOCO_GL.\n"
    )


def test_names_of_the_registries_have_their_own_errors():
    with pytest.raises(UnknownNameError):
        check_parts_fit(make_tiny(env="metaworl/reach-v3"))


# Methods: tests/align/test_methods.py runs those that are not refused.

NEED_RANKINGS = ("deformpam", "deformpam-plus")


@pytest.mark.parametrize("name", FINETUNE.names())
def test_a_method_that_cannot_learn_from_a_run_is_refused_at_once(name, tmp_path, error_of):
    if name not in NEED_RANKINGS:
        check_parts_fit(make_tiny(method=name))
        return
    message = error_of("align", "--method", name, "--out", tmp_path / "out")
    assert message == f"Error: {NO_RANKINGS}\n"
    assert not (tmp_path / "out").exists()
    groups = GroupsConfig("candidates")
    check_parts_fit(make_tiny(method=FINETUNE.config_class(name)(groups=groups)))


UNFIT: dict[str, dict[str, Any]] = {
    "`tuned_steps` (=40) must not exceed the policy's `num_denoise_steps` (=10).": {
        "method": PPOConfig(DenoisingConfig(tuned_steps=40))
    },
    "The number of environments (=6) must be a multiple of `group_size` (=4).": {
        "method": PPOConfig(loss=PPOLossConfig("group"), num_envs=6)
    },
    "PPO tunes steps of denoising as the network predicts them, and a policy of "
    "QualityDiffusionConfig is pushed on from there by guidance. Take the policy 'diffusion', or "
    "another method.": {"method": PPOConfig(), "policy": QualityDiffusionConfig()},
    "What is tuned is a policy that denoises, and one of GaussianPolicyConfig does not. Take a "
    "diffusion policy, such as 'diffusion'.": {"policy": GaussianPolicyConfig()},
    NO_RANKINGS: {"method": SelectConfig(score="implicit", tuning=DeformPAMPlusConfig())},
}


@pytest.mark.parametrize("message", UNFIT)
def test_a_method_that_does_not_fit_the_policy_is_refused(message, tmp_path):
    with Workers(0) as workers, pytest.raises(ValueError) as error:
        AlignmentLoop(make_tiny(**UNFIT[message]), tmp_path / "run", workers)
    assert str(error.value) == message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dpo", NO_SCORER), ("kto", NO_SCORER), ("distil", None), ("reward-weighted", None),
        ("ppo", "PPO needs a learned reward that scores action chunks, and there is none. Train "
         "one, such as mlp."),
    ],
)  # fmt: skip
def test_a_method_that_needs_scores_of_chunks_is_refused_without(name, message):
    given, method = Given(DiffusionPolicyConfig(), has_scorer=False), FINETUNE.config_class(name)()
    if message is None:
        given.check(method)
        return
    with pytest.raises(ValueError) as error:
        given.check(method)
    assert str(error.value) == message


def test_weighing_chunks_is_refused_without_scores_of_them():
    given = Given(DiffusionPolicyConfig(), has_scorer=False)
    Given(DiffusionPolicyConfig()).check(QualityConfig(credit="advantage"))
    with pytest.raises(ValueError) as error:
        given.check(QualityConfig(credit="advantage"))
    assert str(error.value) == NO_CHUNK_SCORES
    with pytest.raises(ValueError) as error:
        given.check(FINETUNE.config_class("dpo")(groups=GroupsConfig("answers", "advantage")))
    assert str(error.value) == NO_SCORER


# Demonstrations


def with_env(recorded, folder, env):
    """Return a copy of the episodes that says they are of `env`."""
    copy = EpisodeStore.create(folder, fps=80)
    for episode in EpisodeStore.open(recorded):
        copy.add(dataclasses.replace(episode, env=env))
    return copy


def test_demonstrations_of_another_task_are_refused(recorded, tmp_path):
    store = with_env(recorded, tmp_path / "data", "metaworld/drawer-close-v3")
    with pytest.raises(DataError) as error:
        check_demonstrations(store, make_tiny(env=ENV))
    assert str(error.value) == (
        f"The demonstrations in '{tmp_path}/data' are of 'metaworld/drawer-close-v3', not of "
        f"'{ENV}'. Give demonstrations of that environment, or choose --env "
        "metaworld/drawer-close-v3."
    )


@pytest.mark.parametrize("env", ["", "robomimic/Lift", "gymnasium/D4RL/door/human-v2", ENV])
def test_demonstrations_of_an_unknown_environment_are_taken(env, recorded, tmp_path):
    store = with_env(recorded, tmp_path / "data", env)
    check_demonstrations(store, make_tiny(env=ENV, knows_success=False))


def test_wrong_demonstrations_do_not_burn_the_folder(tmp_path):
    folder, wrong = tmp_path / "run", tmp_path / "wrong"
    with Workers(0) as workers:
        with pytest.raises(FileNotFoundError):
            AlignmentLoop(make_tiny(demonstrations=wrong), folder, workers).execute()
        AlignmentLoop(make_tiny(), folder, workers)


# Folders that hold something else


@pytest.mark.parametrize("verb", ["collect", "evaluate"])
def test_a_data_set_of_another_command_is_not_added_to(verb, recorded, models, tmp_path, error_of):
    with_env(recorded, tmp_path / "pool", ENV)
    message = error_of(
        verb, "--policy", models / "run", "--env", ENV, "--out", tmp_path / "pool",
    )  # fmt: skip
    assert message == (
        f"Error: '{tmp_path}/pool' holds a data set that another command made, and nothing is "
        "added to it. Choose another folder with --out.\n"
    )
    assert len(EpisodeStore.open(tmp_path / "pool")) == 4


def test_an_evaluation_counts_its_own_episodes(models, tmp_path, capsys):
    def evaluate(out, num, *more):
        command = ["evaluate", "--policy", models / "run", "--reward", models / "run", "--env", ENV,
                   "--num-episodes", num, "--max-episode-steps", 5, "--num-workers", 0,
                   "--out", tmp_path / out, *more]  # fmt: skip
        assert cli.main([str(word) for word in command]) == 0
        return json.loads((tmp_path / out / "evaluation.json").read_text())

    assert evaluate("out", 3, "--behaviour", "fast")["joint"]["num"] == 3
    found = evaluate("out", 2, "--behaviour", "fast")
    assert found["joint"]["num"] == 2
    assert found["preferred"]["value"] is None
    assert "joint" in capsys.readouterr().out
    assert len(EpisodeStore.open(tmp_path / "out")) == 3
    # Nobody said what is preferred: no behaviour is named.
    found = evaluate("other", 2)
    assert (found["success"]["num"], found["joint"]["num"]) == (2, 0)
    assert found["return_mean"] > 0
    shown = capsys.readouterr().out
    assert "mean return" in shown
    assert "joint" not in shown


def test_what_a_run_was_about_is_left_out_where_it_cannot_be_judged(models, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(models / "run", run)
    save_yaml(make_tiny(behaviour="keep-out"), run / "config.yaml")
    words = ["evaluate", "--policy", run, "--env", ENV, "--num-episodes", 1,
             "--max-episode-steps", 5, "--num-workers", 0]  # fmt: skip
    assert cli.main([str(word) for word in words]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(
        "What the policy's run was about is not judged here. The behaviour 'keep-out' is measured"
    )
    assert "mean return" in shown


def test_collect_refuses_what_it_would_ignore(tmp_path, error_of):
    out = tmp_path / "out"
    assert error_of("collect", "--out", out, "--preferred-share", "7") == (
        "Error: --preferred-share must be between 0 and 1, got 7.0.\n"
    )
    assert error_of("collect", "--out", out, "--reward", "runs/reward") == (
        "Error: --reward (=runs/reward) chooses among the proposals of a policy, and there is "
        "none: scripted experts propose nothing. Give one with --policy.\n"
    )


# Answers without a winner


class OfOrder:
    """Measures each episode by its place in the data set."""

    def __init__(self, store, measures):
        self.measures = {e.action.tobytes(): m for e, m in zip(store, measures, strict=True)}

    def measure(self, state, action, reward):
        return self.measures[action.tobytes()]


def labels_of(recorded, folder, measures=(0.0, 1.0, 2.0, 3.0), **changes):
    store = EpisodeStore.open(recorded)
    config = make_tiny(env=ENV, labels_per_round=1, num_labels=3, **changes)
    return Labels(config, folder, store, OfOrder(store, measures))


def test_ties_alone_end_with_advice(recorded, tmp_path):
    labels = labels_of(recorded, tmp_path, teacher=EqualTeacherConfig(equal_within=1000.0))
    assert labels.ask() == {"curve": [], "labels": 3}
    with pytest.raises(DataError) as error:
        labels.fit_reward()
    assert str(error.value) == (
        "All 3 answers are ties, which tell a reward nothing. Begin again in a new folder (--out) "
        "with more answers (--num-labels), or with another teacher or behaviour."
    )


def test_a_reward_is_fitted_once_an_answer_has_a_winner(recorded, tmp_path):
    """The first answer is a tie, from which nothing can be fitted."""
    labels = labels_of(recorded, tmp_path, (1.0, 0.0, 0.0, 0.0))
    found = labels.ask()
    orders = [len(preference.ranking.order) for preference in labels.preferences()]
    assert orders[:2] == [1, 2]
    assert [row["labels"] for row in found["curve"]] == [2]


def test_a_damaged_curve_is_told(recorded, tmp_path):
    (tmp_path / "label-curve.json").write_text("[{")
    with pytest.raises(DataError) as error:
        labels_of(recorded, tmp_path).ask()
    assert str(error.value) == (
        f"'{tmp_path}/label-curve.json' is damaged: Expecting property name enclosed in double "
        "quotes: line 1 column 3 (char 2). Delete it and run the same command again, which goes on "
        "from what else is in the folder."
    )
