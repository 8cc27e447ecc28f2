"""Tests for finetune/episodes.py: what is certain, what is clear, and that methods go by it."""

import numpy as np
import pytest
import torch

from robopref.policies.finetune.data import FinetuneData
from robopref.policies.finetune.distil import DistilConfig, RewardWeightedConfig
from robopref.policies.finetune.dro import DROConfig
from robopref.policies.finetune.episodes import EasyFirst, EpisodesConfig, admitted
from robopref.policies.finetune.quality import QualityConfig
from robopref.trainer import TrainerConfig

TRAINER = TrainerConfig(num_steps=150, batch_size=128, learning_rate=3e-3, ema_decay=0.98)


@pytest.fixture(scope="module")
def misled(toy_episodes):
    """Return data whose reward likes half of what goes left, while its members disagree on it."""
    right = np.array([episode.action[:, 0].mean() > 0 for episode in toy_episodes])
    likes = np.where(right, 1.0, -1.0)
    wrong = np.flatnonzero(~right)[::2]
    returns = np.stack([likes, 1.2 * likes])
    returns[:, wrong] = [[12.0], [-4.0]]
    best = np.flatnonzero(returns.mean(axis=0) > 0)
    return FinetuneData(
        [toy_episodes[i] for i in best], chosen_returns=returns[:, best], pool=toy_episodes,
        returns=returns,
    )  # fmt: skip


@pytest.mark.parametrize(
    "method",
    [
        DistilConfig,
        *(
            pytest.param(config, marks=pytest.mark.slow)
            for config in (DROConfig, RewardWeightedConfig, QualityConfig)
        ),
    ],
)
def test_what_the_members_disagree_about_can_be_left_out(method, misled, toy_policy, share_right):
    shares = []
    for keep_certain in (1.0, 0.65):
        config = method(trainer=TRAINER, episodes=EpisodesConfig(keep_certain))
        tuned, _ = config.run(toy_policy, misled, generator=torch.Generator().manual_seed(3))
        shares.append(share_right(tuned))
    assert shares[1] > shares[0] + 0.05
    assert shares[1] > 0.8


@pytest.mark.parametrize(
    "method",
    [
        DistilConfig,
        *(
            pytest.param(config, marks=pytest.mark.slow)
            for config in (DROConfig, RewardWeightedConfig, QualityConfig)
        ),
    ],
)
def test_episodes_can_come_in_one_after_another(method, misled, toy_policy):
    tuned = [
        method(trainer=TRAINER, episodes=EpisodesConfig(easy_first=share)).run(
            toy_policy, misled, generator=torch.Generator().manual_seed(3)
        )[0]
        for share in (0.0, 0.5)
    ]
    first, second = (policy.state_dict() for policy in tuned)
    assert any(not torch.equal(first[key], second[key]) for key in first)


def test_weights_stay_with_their_episodes(misled, toy_policy):
    data = FinetuneData(
        misled.chosen, weights=list(range(len(misled.chosen))), chosen_returns=misled.chosen_returns
    )
    kept = EpisodesConfig(0.5).of_chosen(data)
    place = {episode.id: i for i, episode in enumerate(data.chosen)}
    assert [place[episode.id] for episode in kept.chosen] == kept.weights
    assert kept.chosen_returns is not None
    assert kept.chosen_returns.shape == (2, len(kept.chosen))


def test_the_clearest_come_first_and_all_in_the_end():
    clarity = torch.arange(10.0)

    class Source:
        def __len__(self):
            return 10

        def gather(self, indices):
            return {"item": indices}

    source = EasyFirst(Source(), clarity, 0.5)
    everything = torch.arange(10)
    for progress, items in ((0.0, {9, 8}), (0.25, set(range(4, 10))), (0.5, set(range(10)))):
        source.at_progress(progress)
        assert set(source.gather(everything)["item"].tolist()) == items
    assert torch.equal(admitted(everything, 10, 0.9, 0.5), everything)


def test_without_returns_nothing_is_certain(toy_episodes):
    data = FinetuneData(toy_episodes[:3], pool=toy_episodes[:3])
    message = (
        "Learned returns of the episodes are needed to tell certain from uncertain and clear from "
        "unclear ones, and there are none. Leave `episodes` as it is by default."
    )
    for config in (EpisodesConfig(keep_certain=0.5), EpisodesConfig(easy_first=0.5)):
        with pytest.raises(ValueError) as error:
            config.chosen_first(None, config.of_chosen(data))
        assert str(error.value) == message
        with pytest.raises(ValueError) as error:
            config.pool_first(None, config.of_pool(data))
        assert str(error.value) == message
    with pytest.raises(ValueError) as error:
        EpisodesConfig(0.0)
    assert str(error.value) == "`keep_certain` must be above 0, got 0."
