"""What an encoder makes of observations."""

from typing import Any

import numpy as np
import pytest
import torch

from robopref.backbones import SmallCNNConfig
from robopref.encoders import ENCODERS, Encoder, StateEncoderConfig
from robopref.types import IMAGES, STATE

STATISTICS = {
    STATE: {
        "min": np.array([0.0, -2.0, 3.0]),
        "max": np.array([10.0, 2.0, 3.0]),
        "mean": np.array([5.0, 0.0, 3.0]),
        "std": np.array([2.0, 1.0, 0.0]),
    }
}


TOP = IMAGES + "top"
OPTIONS: dict[str, Any] = {
    "images": {"backbone": SmallCNNConfig(width=4), "size": 32}, "resnet": {"resize": (64, 64)},
}  # fmt: skip
"""What an encoder needs that is not there without its extra, or that small pictures need."""


@pytest.mark.parametrize("name", ENCODERS.names())
def test_encoders_keep_the_protocol(name):
    config: Any = ENCODERS.config_class(name)
    encoder = config(**OPTIONS.get(name, {})).build({STATE: (3,), TOP: (32, 32, 3)}, 2)
    assert isinstance(encoder, Encoder)
    encoder.fit_normalizer(STATISTICS)
    pictures = torch.zeros(4, 2, 32, 32, 3, dtype=torch.uint8)
    features = encoder({STATE: torch.zeros(4, 2, 3), TOP: pictures})
    assert features.shape == (4, encoder.feature_dim)
    assert torch.isfinite(features).all()


def test_state_history_is_normalised_oldest_first():
    encoder = StateEncoderConfig().build({STATE: (3,)}, 2)
    encoder.fit_normalizer(STATISTICS)
    states = torch.tensor([[[0.0, 2.0, 3.0], [10.0, 0.0, 4.0]]])
    # A feature that never varied is shifted and not scaled.
    assert encoder({STATE: states}).tolist() == [[-1, 1, 0, 1, 0, 1]]


def test_gaussian_normalisation_divides_by_the_deviation():
    encoder = StateEncoderConfig(normalization="gaussian").build({STATE: (3,)}, 1)
    encoder.fit_normalizer(STATISTICS)
    assert encoder({STATE: torch.tensor([[[9.0, -1.0, 3.0]]])}).tolist() == [[2, -1, 0]]


def test_far_features_are_clipped():
    encoder = StateEncoderConfig(clip=3).build({STATE: (3,)}, 1)
    encoder.fit_normalizer(STATISTICS)
    assert encoder({STATE: torch.tensor([[[1e6, -1e6, 3.0]]])}).tolist() == [[3, -3, 0]]


def test_a_policy_without_state_is_refused():
    with pytest.raises(ValueError) as error:
        StateEncoderConfig().build({"observation.images.top": (3, 8, 8)}, 2)
    assert str(error.value) == (
        "The state encoder needs 'observation.state' of shape (Do,), "
        "got {'observation.images.top': (3, 8, 8)}."
    )
