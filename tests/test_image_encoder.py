"""Tests for image_encoder.py: where things are, frozen or not, and views in training."""

import dataclasses
from typing import Any

import pytest
import torch

from robopref.backbones import SmallCNNConfig
from robopref.frame_features import AugmentationConfig
from robopref.image_encoder import ImageEncoderConfig, camera_names
from robopref.seeding import seeded_weights
from robopref.types import IMAGES, STATE

TOP, SIDE = IMAGES + "top", IMAGES + "side"
SHAPES = {STATE: (4,), TOP: (24, 20, 3), SIDE: (16, 16, 3)}
CONFIG = ImageEncoderConfig(backbone=SmallCNNConfig(width=4), size=32, num_points=8, width=16)


def build(shapes=SHAPES, steps=2, **changes):
    with seeded_weights(torch.Generator().manual_seed(0)):
        return dataclasses.replace(CONFIG, **changes).build(shapes, steps)


@pytest.fixture
def obs(generator):
    def draw(*shape):
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)

    return {
        TOP: draw(3, 2, 24, 20, 3), SIDE: draw(3, 2, 16, 16, 3),
        STATE: torch.rand(3, 2, 4, generator=generator),
    }  # fmt: skip


def maps_of(encoder, pictures):
    """Return the maps of pictures by the way of the cache, with one view: as they are."""
    flat = pictures.flatten(0, 1).numpy()
    found = encoder.cache(None, views=False).features(flat).features
    return torch.from_numpy(found).view(*pictures.shape[:2], 1, *found.shape[1:])


def test_maps_stand_for_pictures(obs):
    encoder = build().eval()
    maps = {key: maps_of(encoder, obs[key]) for key in (TOP, SIDE)}
    assert maps[TOP].shape[3:] == encoder.seen_shapes[TOP] == (16, 4, 4)
    torch.testing.assert_close(encoder(maps), encoder(obs), atol=2e-3, rtol=0)  # Kept as halves.


def test_a_head_reads_off_where_something_is():
    head: Any = build().heads[0]
    with torch.no_grad():
        head.mixtures.weight.fill_(1.0)
        head.mixtures.weight[0] = 50.0  # Of one location far above the rest: its place.
        head.out = torch.nn.Identity()
    for row, column in ((0, 0), (1, 3), (2, 0)):
        maps = torch.zeros(1, 1, 16, 4, 4)
        maps[..., row, column] = 1.0
        right, down = -1 + 2 * column / 3, -1 + 2 * row / 3
        expected = torch.relu(torch.tensor([right, down]))
        torch.testing.assert_close(head(maps)[0, 0, :2], expected, atol=1e-4, rtol=0)


def test_a_step_and_a_camera_are_seen_by_themselves(obs):
    encoder = build(state=(2,)).eval()
    before = encoder(obs).view(3, -1)
    assert before.shape[1] == encoder.feature_dim == 2 * (16 + 16 + 1)
    changed = dict(obs) | {SIDE: obs[SIDE].clone()}
    changed[SIDE][:, 1] //= 2
    same = (encoder(changed) == before).all(0)
    assert same[:48].all()  # The first camera at both steps, the second at the first.
    assert not same[48:64].all()
    assert same[64:].all()


def test_a_frozen_backbone_stays_and_another_learns(obs):
    for train_backbone in (False, True):
        encoder = build(train_backbone=train_backbone)
        before = [p.clone() for p in encoder.backbone.parameters()]
        trained = [p for p in encoder.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(trained, 0.1)
        encoder(obs).square().sum().backward()
        optimizer.step()
        same = [
            torch.equal(a, b) for a, b in zip(before, encoder.backbone.parameters(), strict=True)
        ]
        assert all(same) != train_backbone
        assert bool(encoder.seen_shapes) != train_backbone


def test_training_draws_one_view_for_all_steps_of_a_window(generator):
    encoder = build(shapes={TOP: (24, 20, 3)})
    views = torch.arange(3.0).view(1, 1, 3, 1, 1, 1).expand(200, 2, 3, 16, 4, 4)
    drawn = encoder.augmented({TOP: views}, generator)[TOP]
    assert drawn.shape == (200, 2, 1, 16, 4, 4)
    assert (drawn == drawn[:, :1, :, :1, :1, :1]).all()
    counts = torch.bincount(drawn[:, 0, 0, 0, 0, 0].long())
    assert len(counts) == 3
    assert counts.min() > 30


def test_pictures_are_augmented_each_by_its_own_draw(generator):
    encoder = build(shapes={TOP: (24, 20, 3)}, train_backbone=True)
    picture = torch.randint(0, 256, (1, 1, 24, 20, 3), generator=generator, dtype=torch.uint8)
    batch = {TOP: picture.expand(4, 2, -1, -1, -1)}
    changed = encoder.augmented(batch, generator)[TOP]
    assert changed.dtype == torch.uint8
    assert torch.equal(changed[:, 0], changed[:, 1])
    assert not torch.equal(changed[0], changed[1])
    still = build({TOP: (24, 20, 3)}, train_backbone=True, augmentation=AugmentationConfig())
    assert torch.equal(still.augmented(batch, generator)[TOP], batch[TOP])


@pytest.mark.parametrize(
    ("shapes", "changes", "message"),
    [
        (
            {STATE: (4,)},
            {},
            "An encoder of pictures needs a camera among the observations, got "
            "['observation.state']. Record them with: robopref collect --cameras.",
        ),
        (
            {TOP: (24, 20, 3)},
            {"cameras": ("wrist",)},
            "An encoder of pictures needs camera 'wrist' among the observations, got "
            "['observation.images.top']. Record them with: robopref collect --cameras.",
        ),
        (
            SHAPES,
            {"state": (0, 4)},
            "`state` must name places of 'observation.state' below 4, got 4.",
        ),
    ],
)
def test_what_is_not_there_is_said(shapes, changes, message):
    with pytest.raises(ValueError) as error:
        build(shapes, **changes)
    assert str(error.value) == message


def test_what_is_no_picture_is_refused(obs):
    with pytest.raises(ValueError) as error:
        build()({**obs, TOP: obs[TOP].float() / 255})
    assert str(error.value) == (
        "Pictures must be 8-bit (B, To, H, W, 3), or their maps (B, To, V, C, h, w), got "
        "torch.float32 (3, 2, 24, 20, 3)."
    )


def test_cameras_are_told_from_other_observations():
    assert camera_names(SHAPES) == ("top", "side")
