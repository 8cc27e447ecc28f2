"""Tests for episode_pictures.py, and of a policy that sees: trained on videos, and acting."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from robopref.align.actors import PolicySpec, ScriptedSpec
from robopref.align.collect import Plan, Workers, collect, open_or_create
from robopref.backbones import SmallCNNConfig
from robopref.commands.collect import CollectCommand
from robopref.commands.evaluate import EvaluateCommand
from robopref.commands.train_policy import TrainPolicyCommand
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.envs.planar.behaviours import KeepOutConfig
from robopref.episode_pictures import EpisodePictures, see
from robopref.frame_features import FeatureCache
from robopref.image_encoder import ImageEncoderConfig
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.mlp_denoiser import MLPDenoiserConfig
from robopref.policies.serialization import load_policy
from robopref.policies.windows import WindowSource
from robopref.trainer import TrainerConfig
from robopref.types import IMAGES, STATE

ENV, TOP = "planar/avoid-short-v0", IMAGES + "top"
SEEING = ImageEncoderConfig(backbone=SmallCNNConfig(width=4), size=32, num_points=8, width=16)
POLICY = DiffusionPolicyConfig(encoder=SEEING, denoiser=MLPDenoiserConfig(width=32, num_blocks=1))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    plan = Plan(ENV, ScriptedSpec(KeepOutConfig()), 0, "pool", 3, max_episode_steps=12,
                cameras=("top",), image_px=32)  # fmt: skip
    store = open_or_create(tmp_path_factory.mktemp("seen") / "data", ENV)
    with Workers(0) as workers:
        collect(plan, store, workers)
    return store


def build(store, encoder: Any = SEEING):
    shapes = {STATE: (18,)} | EpisodePictures(store).shapes
    return dataclasses.replace(POLICY, encoder=encoder).build(shapes, 3)


def test_maps_are_those_of_the_recorded_pictures(store, tmp_path):
    policy, episodes = build(store), list(store)
    pictures = EpisodePictures(store, tmp_path)
    assert pictures.shapes == {TOP: (32, 32, 3)}
    shown = pictures.add_to(policy, episodes)
    for before, episode in zip(episodes, shown, strict=True):
        maps = episode.obs[TOP]
        assert maps.shape == (len(episode) + 1, 3, 16, 4, 4)
        frames = store.frames(Segment(episode.id, 0, len(episode)), TOP)
        expected = policy.encoder.frames.encode(frames)
        np.testing.assert_allclose(maps[:-1, 0], expected, rtol=1e-2, atol=1e-3)
        assert np.abs(maps[:, 1] - maps[:, 0]).max() > 0.01  # A view is another.
        assert before.obs.keys() == {STATE}


def test_maps_are_computed_once(store, tmp_path, monkeypatch):
    policy, episodes = build(store), list(store)
    first = EpisodePictures(store, tmp_path).add_to(policy, episodes)
    monkeypatch.setattr(FeatureCache, "_encode", lambda *_: 1 / 0)
    again = EpisodePictures(store, tmp_path).add_to(policy, episodes)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.obs[TOP], other.obs[TOP])


def test_who_trains_a_backbone_gets_the_pictures_and_who_is_blind_none(store):
    episodes = list(store)
    end_to_end = build(store, dataclasses.replace(SEEING, train_backbone=True))
    (first, *_) = EpisodePictures(store).add_to(end_to_end, episodes)
    assert first.obs[TOP].dtype == np.uint8
    assert first.obs[TOP].shape == (13, 32, 32, 3)
    blind = build(store, "state")
    assert EpisodePictures(store).add_to(blind, episodes) == episodes


def test_recorded_pictures_and_their_maps_teach_the_same(store):
    """What was just recorded holds pictures; `see` turns them into maps, once."""
    policy = build(store)
    episodes = [
        dataclasses.replace(e, obs={TOP: np.concatenate([frames, frames[-1:]]), STATE: e.state})
        for e in store
        for frames in [store.frames(Segment(e.id, 0, len(e)), TOP)]
    ]
    losses = []
    for some in (episodes, see(policy, episodes)):
        batch = WindowSource(some, 2, 8, keys=policy.obs_shapes).gather(torch.arange(8))
        steps, noise = policy.draw_noising(8, torch.Generator().manual_seed(0))
        losses.append(policy.noise_error(batch, steps, noise))
        assert policy.sample({TOP: batch[TOP]}, 2, torch.Generator()).shape == (8, 2, 8, 3)
    torch.testing.assert_close(*losses, atol=2e-3, rtol=0)
    assert see(build(store, "state"), episodes) == episodes


def test_an_actor_that_sees_has_its_cameras_recorded(store, tmp_path):
    build(store).save_pretrained(tmp_path / "policy")
    plan = Plan(ENV, PolicySpec(tmp_path / "policy"), 0, "pool", 1, max_episode_steps=9)
    assert plan.recorded_cameras() == {"top": 32}
    other = dataclasses.replace(plan, cameras=("top",), image_px=64)
    with pytest.raises(ValueError) as error:
        other.recorded_cameras()
    assert str(error.value) == (
        "`image_px` must be one size for all cameras, got [32, 64]: the policy sees 'top' at 32 "
        "pixels."
    )


def test_a_policy_is_trained_on_what_collect_recorded_and_acts(tmp_path):
    data, out = tmp_path / "data", tmp_path / "policy"
    CollectCommand(
        data, env=ENV, behaviour=KeepOutConfig(), num_episodes=3, max_episode_steps=12,
        num_workers=0, cameras=("top",), image_px=32,
    ).run()  # fmt: skip
    trainer = TrainerConfig(num_steps=4, batch_size=8)
    TrainPolicyCommand(data, out, POLICY, trainer, only_successes=False).run()
    assert set(load_policy(out / "policy").obs_shapes) == {TOP}
    found = tmp_path / "evaluation"
    EvaluateCommand(
        out, env=ENV, behaviour=KeepOutConfig(), num_episodes=2, max_episode_steps=9,
        num_workers=0, out=found,
    ).run()  # fmt: skip
    acted = EpisodeStore.open(found)
    assert acted.features[TOP].shape == (32, 32, 3)
    assert len(acted) == 2
