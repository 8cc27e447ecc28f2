"""Tests for finetune/dpo.py and what it is made of: links, pairs of windows, the safeguard."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.policies.finetune.data import FinetuneData, JudgedPair, judged_pairs
from robopref.policies.finetune.dpo import DPOConfig, DPOObjective, loser_scale
from robopref.policies.finetune.links import LINKS
from robopref.policies.finetune.pairs import PREFERS_SECOND, PairWindowSource
from robopref.preferences.preference import Preference
from robopref.preferences.query import Query
from robopref.preferences.ranking import Ranking
from robopref.trainer import TrainerConfig
from robopref.types import ACTION, STATE

TRAINER = TrainerConfig(num_steps=150, batch_size=128, learning_rate=1e-3, ema_decay=0.98)
AS_PUBLISHED = DPOConfig(TRAINER, safeguard=0.0, anchor=0.0)


def whole(episode):
    return Segment(episode.id, 0, len(episode))


@pytest.fixture(scope="session")
def judged(toy_episodes):
    """Return 30 pairs of demonstrations; the first of each goes right and is preferred."""
    segments = [whole(episode) for episode in toy_episodes]
    pairs = [JudgedPair(segments[i], segments[i + 1], 0.0) for i in range(0, 60, 2)]
    return FinetuneData(judged=toy_episodes, pairs=pairs)


def source(data, keys=(STATE,)):
    return PairWindowSource(data, n_obs_steps=2, chunk_size=4, keys=keys)


def tune(config, policy, data):
    return config.run(policy, data, generator=torch.Generator().manual_seed(3))


def test_as_published_it_drives_what_was_preferred_away_too(toy_policy, judged, toy_obs):
    """The mechanism of the failure: overshooting in the right direction pays as well as imitating.

    The denoising error of preferred chunks rises, actions leave the data, and the part of the task
    that nobody judged (the second action follows the state) is lost.
    """
    broken, found = tune(AS_PUBLISHED, toy_policy, judged)
    assert found.figures["implicit_accuracy"] > 0.95
    assert found.figures["error_change_preferred"] > 0.1
    mended, found = tune(DPOConfig(TRAINER), toy_policy, judged)
    assert found.figures["error_change_preferred"] < 0
    assert found.figures["implicit_accuracy"] > 0.9
    base_lost, broken_lost, mended_lost = (
        task_error(policy, toy_obs) for policy in (toy_policy, broken, mended)
    )
    assert broken_lost > 2 * base_lost
    assert mended_lost < 1.3 * base_lost


def task_error(policy, obs):
    """Return how far the second action is from following the state."""
    chunks = policy.sample(obs, 40, torch.Generator().manual_seed(5))
    return float((chunks[:, :, 0, 1] - 0.5 * obs[STATE][:, -1, :1]).abs().mean())


def test_the_mended_one_does_what_was_preferred(toy_policy, judged, share_right):
    tuned, _ = tune(DPOConfig(TRAINER), toy_policy, judged)
    assert share_right(tuned) > 0.9


def test_a_tie_pulls_to_neither_side(toy_policy, toy_episodes):
    objective = DPOObjective(toy_policy, toy_policy, AS_PUBLISHED)
    pair = JudgedPair(whole(toy_episodes[0]), whole(toy_episodes[1]), 0.5)
    other = JudgedPair(whole(toy_episodes[2]), whole(toy_episodes[3]), 0.0)
    windows = source(FinetuneData(judged=toy_episodes, pairs=[pair, other]))
    loss, _ = objective(windows.gather(torch.arange(25)), torch.Generator().manual_seed(0))
    gradients = torch.autograd.grad(loss, list(objective.parameters()), allow_unused=True)
    assert loss.item() == pytest.approx(np.log(2), rel=1e-5)
    assert all(g is None or g.abs().max() < 1e-5 for g in gradients)


def test_which_side_stands_first_does_not_matter(toy_policy, toy_episodes):
    moved = copy.deepcopy(toy_policy)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.mul_(1.05)
    objective = DPOObjective(moved, toy_policy, DPOConfig())
    one, other = whole(toy_episodes[0]), whole(toy_episodes[1])
    losses = []
    for pair in (JudgedPair(one, other, 0.2), JudgedPair(other, one, 0.8)):
        batch = source(FinetuneData(judged=toy_episodes, pairs=[pair])).gather(torch.arange(25))
        losses.append(objective(batch, torch.Generator().manual_seed(0))[0].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("name", LINKS)
@given(st.floats(-5, 5), st.floats(0.01, 3))
def test_more_margin_is_better_up_to_where_the_link_says(name, margin, more):
    low, high = (float(LINKS[name](torch.tensor([m]))) for m in (margin, margin + more))
    if name != "ipo" or margin + more <= 0.5:
        assert high <= low + 1e-6


@given(st.integers(0, 10_000), st.floats(0, 0.99))
def test_the_safeguard_keeps_its_share_of_the_winners_progress(seed, safeguard):
    rng = torch.Generator().manual_seed(seed)
    difference = torch.randn(12, 2, 3, generator=rng)
    preferred = torch.rand(6, generator=rng) < 0.5
    scale = loser_scale(difference, torch.cat([preferred, ~preferred]), safeguard)
    assert ((scale >= 0) & (scale <= 1)).all()
    for i in range(6):
        winner, loser = (i, i + 6) if preferred[i] else (i + 6, i)
        assert scale[winner] == 1
        gained = difference[winner].square().sum()
        lost = scale[loser] * (difference[winner] * difference[loser]).sum()
        assert gained - lost >= safeguard * gained - 1e-4


def test_windows_of_a_pair_are_as_far_into_their_segments(toy_episodes):
    first, second = toy_episodes[:2]
    pair = JudgedPair(Segment(first.id, 5, 10), Segment(second.id, 2, 20), 0.25)
    batch = source(FinetuneData(judged=[first, second], pairs=[pair])).gather(torch.arange(20))
    assert batch[ACTION].shape == (40, 4, 2)
    assert batch[STATE].shape == (40, 2, 3)
    assert torch.equal(batch[PREFERS_SECOND], torch.full((20,), 0.25))
    for row, step in ((0, 5), (1, 5), (2, 6), (19, 14)):
        assert torch.equal(batch[ACTION][row, 0], torch.from_numpy(first.action[step]))
    for row, step in ((20, 2), (39, 21)):
        assert torch.equal(batch[ACTION][row, 0], torch.from_numpy(second.action[step]))


def test_answers_become_pairs_of_the_episodes_they_are_about(toy_episodes):
    items = tuple(whole(episode) for episode in toy_episodes[:3])
    ranked = Preference("p", Query("q", items), Ranking(3, ((2,), (0, 1))), "anna")
    skipped = Preference("s", Query("r", items[:2]), Ranking.skipped(), "anna")
    known = {episode.id: episode for episode in toy_episodes}
    episodes, pairs = judged_pairs([ranked, skipped], known.__getitem__)
    assert {episode.id for episode in episodes} == {item.episode_id for item in items}
    orders = {(pair.first, pair.second): pair.prefers_second for pair in pairs}
    assert len(orders) == 3
    for (one, other), prefers_second in orders.items():
        if items[2] in (one, other):
            assert prefers_second == float(other == items[2])
        else:
            assert prefers_second == 0.5


def test_nothing_to_learn_from_is_refused(toy_policy, toy_episodes):
    one, other = whole(toy_episodes[0]), whole(toy_episodes[1])
    with pytest.raises(ValueError) as error:
        tune(DPOConfig(TRAINER), toy_policy, FinetuneData(judged=toy_episodes))
    assert str(error.value) == "There are no judged pairs to learn from. Answer some queries first."
    ties = FinetuneData(judged=toy_episodes, pairs=[JudgedPair(one, other, 0.5)])
    with pytest.raises(ValueError) as error:
        tune(DPOConfig(TRAINER), toy_policy, ties)
    assert str(error.value) == (
        "All 1 pairs were judged equal, which orders nothing. "
        "Answer queries about episodes that differ more."
    )
    with pytest.raises(DataError) as missing:
        FinetuneData(judged=toy_episodes[:1], pairs=[JudgedPair(one, other, 0.0)])
    assert str(missing.value) == (
        f"A pair is of episode {toy_episodes[1].id}, which is not among the 1 judged episodes."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta_dpo": 0}, "`beta_dpo` must be above 0, got 0."),
        ({"anchor": -1}, "`anchor` must be at least 0, got -1."),
        ({"safeguard": 2}, "`safeguard` must be between 0 and 1, got 2."),
        ({"label_smoothing": 0.6}, "`label_smoothing` must be between 0 and 0.5, got 0.6."),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError) as error:
        DPOConfig(**options)
    assert str(error.value) == message
