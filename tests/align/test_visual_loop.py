"""Tests of alignment by what cameras see: shown.py, and the whole loop with a visual reward."""

import numpy as np
import pytest

from robopref.align.actors import STEERING, ScriptedSpec, policy_spec
from robopref.align.collect import Plan, Workers, record
from robopref.align.loop import AlignmentLoop
from robopref.align.report import write_report
from robopref.align.shown import Shown
from robopref.backbones import SmallCNNConfig
from robopref.data.segment import Segment
from robopref.envs.planar.behaviours import KeepOutConfig
from robopref.image_encoder import ImageEncoderConfig
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.finetune.at_run_time import SelectConfig
from robopref.policies.finetune.distil import DistilConfig
from robopref.policies.finetune.dpo import DPOConfig
from robopref.policies.finetune.group_sources import GroupsConfig
from robopref.policies.mlp_denoiser import MLPDenoiserConfig
from robopref.rewards.critic import Critic
from robopref.rewards.fit import FitConfig
from robopref.rewards.rapl import RAPLPlusConfig
from robopref.types import STATE
from robopref.visual_encoders import FrameEncoderConfig
from tests.align.conftest import make_tiny, training

CNN = SmallCNNConfig(width=4)
SEEING = DiffusionPolicyConfig(
    encoder=ImageEncoderConfig(backbone=CNN, size=32, num_points=8, width=16),
    denoiser=MLPDenoiserConfig(width=32, num_blocks=1),
)
PUBLISHED = DPOConfig(
    groups=GroupsConfig(source="reward"), safeguard=0.0, anchor=0.0, trainer=training(5)
)


def make_visual(**changes):
    reward = RAPLPlusConfig(num_members=2, max_frames=8, fit=FitConfig(trainer=training(5)))
    options = {
        "env": "planar/avoid-short-v0", "behaviour": KeepOutConfig(), "reward": reward,
        "cameras": ("top",), "image_px": 32, "frames": FrameEncoderConfig(CNN, 32, "float32"),
        "max_episode_steps": 24, "num_rounds": 1, "knows_success": False,
    }  # fmt: skip
    return make_tiny(**(options | changes))


@pytest.fixture
def episodes():
    plan = Plan("planar/avoid-short-v0", ScriptedSpec(KeepOutConfig()), 0, "pool", 2,
                max_episode_steps=9)  # fmt: skip
    with Workers(0) as workers:
        return [episode for group in record(plan.groups(), workers) for episode in group]


def test_a_reward_is_shown_features_of_the_pictures_of_each_state(episodes, tmp_path):
    shown = Shown(make_visual(), tmp_path)
    obs, action = shown.cut(episodes[0], Segment(episodes[0].id, 2, 5))
    frames = shown._env.render_states(
        episodes[0].sim_states[2:7], episodes[0].sim_episode, width=32, height=32, camera="top"
    )
    expected = shown.config.frames.build().encode(frames)
    np.testing.assert_allclose(obs[STATE], expected, rtol=1e-2, atol=1e-3)
    np.testing.assert_array_equal(action, episodes[0].action[2:7])
    batch = shown.whole(episodes)
    assert batch.obs.keys() == {STATE}
    np.testing.assert_array_equal(batch.obs[STATE][0, 2:7], obs[STATE])


def test_steps_without_a_picture_are_shown_the_last_one(episodes, tmp_path):
    every, third = (Shown(make_visual(picture_every=n), tmp_path) for n in (1, 3))
    whole, thinned = (one.whole(episodes).obs[STATE] for one in (every, third))
    length = len(episodes[0])
    last = np.arange(length) // 3 * 3
    np.testing.assert_allclose(thinned[0, :length], whole[0, last], rtol=1e-2, atol=1e-3)
    assert not np.allclose(thinned[0, 2], whole[0, 2])


def test_what_is_only_looked_at_is_seen_alike_and_not_kept(episodes, tmp_path):
    shown = Shown(make_visual(), tmp_path)
    looked = shown.look(episodes[0].sim_states[:-1], episodes[0].sim_episode)
    assert not any(tmp_path.iterdir())
    kept = shown.whole(episodes[:1]).obs[STATE][0]
    np.testing.assert_allclose(looked, kept, rtol=1e-2, atol=1e-3)


def test_without_cameras_states_are_shown(episodes, tmp_path):
    batch = Shown(make_tiny(), tmp_path).whole(episodes)
    np.testing.assert_array_equal(batch.obs[STATE][1], episodes[1].state[:-1])
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "policy"),
    [
        (DistilConfig(trainer=training(15)), SEEING),
        (PUBLISHED, None),
        (SelectConfig(num_candidates=2), None),
    ],
    ids=["distil-seeing", "dpo-as-published", "best-of-n"],
)
def test_a_policy_is_aligned_by_a_reward_that_sees(method, policy, tmp_path):
    changes = {"method": method}
    if policy is not None:  # It has more to learn before its episodes differ.
        changes |= {"policy": policy, "base_training": training(150), "max_episode_steps": 40}
    with Workers(0) as workers:
        loop = AlignmentLoop(make_visual(**changes), tmp_path / "run", workers)
        evaluations = loop.execute()
    assert set(evaluations) == {"base", "selected", "aligned"}
    assert np.isfinite(loop.run.figures("critic")["figures"]["explained"])
    assert len(list((tmp_path / "run" / "features").rglob("*.safetensors"))) > 0
    aligned = policy_spec(tmp_path / "run" / "aligned")
    if (tmp_path / "run" / "aligned" / STEERING).is_file():
        assert isinstance(aligned.load().scorer, Critic)
    assert len(loop.store("evaluation/aligned")) == 4
    report = write_report(loop).read_text()
    assert "What the reward sees" in report
    assert "nearest preferred clip" in report
