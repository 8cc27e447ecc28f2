"""Tests for finetune/groups.py, credit.py and data.py: from judged episodes to groups of chunks."""

from typing import Any

import numpy as np
import pytest
import torch

from robopref.data.segment import Segment
from robopref.data.windows import ACTION_IS_PAD
from robopref.errors import DataError
from robopref.policies.finetune.data import SURE, FinetuneData, Judgement, judgements_of
from robopref.policies.finetune.dpo import DPOConfig
from robopref.policies.finetune.given import Given
from robopref.policies.finetune.group_sources import GroupsConfig
from robopref.policies.finetune.groups import GAINS, ChunkGroups, best_of
from robopref.preferences.preference import Preference
from robopref.preferences.query import Query
from robopref.preferences.ranking import Ranking
from robopref.types import ACTION, STATE


def whole(episode):
    return Segment(episode.id, 0, len(episode))


def build(policy: Any, data: FinetuneData, size: int | None = 2, **options: Any) -> ChunkGroups:
    given: dict[str, Any] = {"source": "answers", **options}
    config = GroupsConfig(**given)
    return config.build(policy, data, size, torch.Generator().manual_seed(0))


def goes_right(windows):
    return windows[ACTION][..., 0].mean(-1) > 0


@pytest.fixture(scope="session")
def pool(toy_episodes, toy_scorer):
    """Return unlabelled episodes whose learned return says how far they go right."""
    returns = np.array([e.action[:, 0].sum() for e in toy_episodes])
    members = np.stack([0.9 * returns, 1.1 * returns])
    return FinetuneData(pool=toy_episodes, returns=members, scorer=toy_scorer)


def test_windows_of_a_judgement_are_as_far_into_their_segments(toy_policy, toy_episodes):
    first, second = toy_episodes[:2]
    pair = Judgement.of_pair(Segment(first.id, 5, 10), Segment(second.id, 2, 20), 0.25)
    data = FinetuneData(judged=[first, second], judgements=[pair])
    batch = build(toy_policy, data).gather(torch.arange(20))
    assert batch[ACTION].shape == (40, 4, 2)
    assert batch[STATE].shape == (40, 2, 3)
    assert batch[ACTION_IS_PAD].shape == (40, 4)
    half = np.log(0.25 / 0.75) / 2
    np.testing.assert_allclose(batch[GAINS], np.tile([-half, half], (20, 1)), rtol=1e-5)
    for row, step in ((0, 5), (1, 5), (2, 6), (19, 14)):
        assert torch.equal(batch[ACTION][2 * row, 0], torch.from_numpy(first.action[step]))
    for row, step in ((0, 2), (19, 21)):
        assert torch.equal(batch[ACTION][2 * row + 1, 0], torch.from_numpy(second.action[step]))


def test_rankings_of_different_size_share_a_batch(toy_policy, toy_episodes):
    segments = [whole(e) for e in toy_episodes[:5]]
    three = Judgement(tuple(segments[:3]), (2.0, 1.0, 0.0))
    two = Judgement(tuple(segments[3:]), (0.0, 1.0))
    data = FinetuneData(judged=toy_episodes, judgements=[three, two])
    batch = build(toy_policy, data, None).gather(torch.arange(50))
    assert batch[ACTION].shape == (150, 4, 2)
    assert batch[GAINS][:25].isnan().sum() == 0
    assert batch[GAINS][25:].isnan().all(0).tolist() == [False, False, True]
    pairs = build(toy_policy, data, 2)
    assert len(pairs) == 25 * (3 + 1)


def test_candidates_share_an_observation_and_stand_in_the_order_of_the_score(toy_policy, pool):
    groups = build(toy_policy, pool, 4, source="candidates", num_groups=200)
    state = groups.windows[STATE]
    assert torch.equal(state, state[:, :1].expand_as(state))
    assert (groups.gains.diff(dim=1) <= 0).all()
    assert goes_right(groups.windows)[:, 0].float().mean() > 0.99
    assert goes_right(groups.windows)[:, -1].float().mean() < 0.01


def test_the_reward_orders_unlabelled_episodes(toy_policy, pool):
    groups = build(toy_policy, pool, source="reward", num_groups=300)
    assert len(groups) == 300
    differ = goes_right(groups.windows)[:, 0] != goes_right(groups.windows)[:, 1]
    best = goes_right(groups.windows)[torch.arange(300), groups.gains.argmax(1)]
    assert differ.float().mean() == pytest.approx(0.5, abs=0.15)
    assert best[differ].float().mean() > 0.9


def test_certain_groups_are_kept(toy_policy, toy_episodes, pool):
    # The members agree on episodes of different sides, and hardly on those of one side.
    rng = np.random.default_rng(0)
    members = pool.returns + rng.normal(scale=2.0, size=pool.returns.shape)
    data = FinetuneData(pool=toy_episodes, returns=members)
    every = build(toy_policy, data, source="reward", num_groups=400)
    kept = build(toy_policy, data, source="reward", num_groups=400, keep_certain=0.25)
    assert len(kept) == 100
    shares = [
        (goes_right(g.windows)[:, 0] != goes_right(g.windows)[:, 1]).float().mean()
        for g in (every, kept)
    ]
    assert shares[1] > shares[0] + 0.3


def test_a_curriculum_begins_with_the_clearest(toy_policy, pool):
    groups = build(toy_policy, pool, source="reward", num_groups=400, easy_first=0.5)
    indices = torch.arange(400)

    def mean_gap(progress):
        groups.at_progress(progress)
        return float(groups.gather(indices)[GAINS].diff(dim=1).abs().mean())

    assert mean_gap(0.0) > mean_gap(0.25) > mean_gap(0.5) == mean_gap(1.0)


def test_advantage_gives_credit_to_chunks_that_differ(toy_policy, toy_episodes, toy_scorer):
    # Two episodes that go left and right in the first half, and both left in the second.
    import dataclasses

    left, right = toy_episodes[1], toy_episodes[0]
    action = right.action.copy()
    action[12:, 0] = left.action[12:, 0]
    mixed = dataclasses.replace(right, action=action)
    pair = Judgement.of_pair(whole(mixed), whole(left), 0.0)
    data = FinetuneData(judged=[mixed, left], judgements=[pair], scorer=toy_scorer)
    groups = build(toy_policy, data, credit="advantage")
    assert groups.weights[:8].mean() > 5 * groups.weights[13:].mean()
    assert groups.weights.mean() == pytest.approx(1)


def test_matching_gives_credit_where_the_situation_is_the_same(toy_policy, toy_episodes):
    import dataclasses

    one, other = toy_episodes[:2]
    state = one.obs[STATE].copy()
    state[:10] = other.obs[STATE][:10]
    met = dataclasses.replace(one, obs={STATE: state})
    pair = Judgement.of_pair(whole(met), whole(other), 0.0)
    data = FinetuneData(judged=[met, other], judgements=[pair])
    groups = build(toy_policy, data, credit="matched")
    assert groups.weights[:10].min() > 1.5
    assert groups.weights[12:].max() < 0.5
    apart = FinetuneData(
        judged=[one, other], judgements=[Judgement.of_pair(whole(one), whole(other), 0.0)]
    )
    with pytest.raises(ValueError) as error:
        build(toy_policy, apart, credit="matched")
    assert str(error.value) == (
        "No two judged segments pass through alike observations, which credit by matching "
        "needs. Ask about pairs with `strategy` matched-start, or take another credit."
    )


def test_answers_become_judgements_of_the_episodes_they_are_about(toy_episodes):
    items = tuple(whole(episode) for episode in toy_episodes[:3])
    ranked = Preference("p", Query("q", items), Ranking(3, ((2,), (0, 1))), "anna")
    top = Preference("t", Query("u", items), Ranking(3, ((1,),)), "anna")
    skipped = Preference("s", Query("r", items[:2]), Ranking.skipped(), "anna")
    known = {episode.id: episode for episode in toy_episodes}
    episodes, judgements = judgements_of([ranked, skipped, top], known.__getitem__)
    assert {episode.id for episode in episodes} == {item.episode_id for item in items}
    assert [j.utilities for j in judgements] == [(0.0, 0.0, SURE), (0.0, SURE, 0.0)]
    assert len(judgements[0].pairs()) == 3
    # The tail of a ranking was not compared with itself.
    assert [pair.segments for pair in judgements[1].pairs()] == [items[:2], items[1:]]


def test_doubted_answers_count_for_less_and_rankings_stay_whole(toy_policy, toy_episodes):
    items = tuple(whole(episode) for episode in toy_episodes[:4])
    known = {episode.id: episode for episode in toy_episodes}
    preferences = [
        Preference("a", Query("q", items[:2]), Ranking.prefer(0), "anna"),
        Preference("b", Query("r", items[2:]), Ranking.prefer(0), "ben"),
        Preference("c", Query("s", items[:3]), Ranking(3, ((0,), (1,), (2,))), "anna"),
        Preference("d", Query("t", items[1:3]), Ranking(2, ((0, 1),)), "anna"),
    ]
    # Three pairs of the ranking, of which one is believed no more than a coin; and a tie.
    believed = [0.05, 0.45, 0.1, 0.1, 0.5, 0.5]
    judged, judgements = judgements_of(preferences, known.__getitem__, believed=believed)
    assert [j.weight for j in judgements] == pytest.approx([0.9, 0.1, (0.8 + 0.8 + 0) / 3, 1.0])
    assert judgements[2].utilities == (2 * SURE, SURE, 0.0)
    assert judgements[0].utilities == pytest.approx((0.0, np.log(0.05 / 0.95)))
    data = FinetuneData(judged=judged, judgements=judgements[:2])
    groups = build(toy_policy, data, source="answers")
    assert groups.weights.max() == pytest.approx(9 * float(groups.weights.min()))
    certain = build(toy_policy, data, source="answers", keep_certain=0.5)
    assert certain.windows["action"].shape[0] == len(toy_episodes[0])
    assert torch.equal(certain.certainty, torch.full((len(certain),), 0.9))


def test_credit_that_a_source_has_no_use_for_is_refused():
    with pytest.raises(ValueError) as error:
        GroupsConfig(credit="matched")
    assert str(error.value) == (
        "`credit` 'matched' is for whole segments; candidates of one observation need none. Take "
        "`source` answers or reward, or `credit` uniform."
    )


ALIKE = (
    "`groups.{}` has nothing to tell groups apart by: all are equally clear and certain, as "
    "answers are that nobody doubts. Leave it as it is by default, or take `groups.source` reward "
    "or candidates."
)


@pytest.mark.parametrize("setting", ["keep_certain", "easy_first"])
def test_answers_that_nobody_doubts_are_not_told_apart(toy_policy, toy_episodes, setting):
    """Those that were given first are neither clearer nor more certain than the others."""
    pairs = [
        Judgement.of_pair(whole(toy_episodes[i]), whole(toy_episodes[i + 1]), 0.0)
        for i in (0, 2, 4)
    ]
    data = FinetuneData(judged=toy_episodes, judgements=pairs)
    half: dict[str, Any] = {setting: 0.5}
    with pytest.raises(ValueError) as error:
        build(toy_policy, data, 2, **half)
    assert str(error.value) == ALIKE.format(setting)
    method = DPOConfig(groups=GroupsConfig("answers", **half))
    with pytest.raises(ValueError) as error:
        Given(toy_policy.config).check(method)
    assert str(error.value) == ALIKE.format(setting)
    Given(toy_policy.config, doubts_answers=True).check(method)


def test_rankings_of_candidates_are_all_held_for_certain():
    with pytest.raises(ValueError) as error:
        GroupsConfig("rankings", keep_certain=0.5)
    assert str(error.value) == (
        "`keep_certain` (=0.5) has nothing to choose by: nobody says how certain a ranking of "
        "candidates is. Leave it at 1."
    )


def test_best_of_a_tie_is_all_of_it():
    gains = torch.tensor([[1.0, 0.0, torch.nan], [0.0, 0.0, 0.0]])
    assert best_of(gains).tolist() == [[True, False, False], [True, True, True]]


def test_nothing_to_learn_from_is_refused(toy_policy, toy_episodes, toy_scorer):
    one, other = whole(toy_episodes[0]), whole(toy_episodes[1])
    ties = FinetuneData(judged=toy_episodes, judgements=[Judgement.of_pair(one, other, 0.5)])
    cases: list[tuple[FinetuneData, dict[str, Any], str]] = [
        (FinetuneData(judged=toy_episodes), {"source": "answers"},
         "There are no judgements to learn from. Answer some queries first."),
        (ties, {"source": "answers"}, "All 1 judgements are ties, which orders nothing. "
         "Answer queries about episodes that differ more."),
        (FinetuneData(pool=toy_episodes), {"source": "reward"},
         "Ordering unlabelled episodes by the reward needs 2 of them and their learned returns, "
         "got 60 episodes and no returns."),
        (FinetuneData(pool=toy_episodes, returns=np.full((2, 60), np.nan)), {"source": "reward"},
         "The learned returns of the pool hold values that are not finite."),
        (FinetuneData(pool=toy_episodes, returns=np.zeros((2, 60))), {"source": "reward"},
         "All 4000 groups of chunks are of one quality, which orders nothing. "
         "Answer queries about episodes that differ more, or take a reward that was fitted."),
        (FinetuneData(pool=toy_episodes), {"source": "candidates"},
         "This needs a learned reward that scores action chunks, and there is none. Train one, "
         "or take `groups.source` answers with `groups.credit` uniform."),
        (FinetuneData(scorer=toy_scorer), {"source": "candidates"},
         "Candidates are proposed at observations of unlabelled episodes, of which there are "
         "none. Record some, or take `groups.source` answers."),
    ]  # fmt: skip
    for data, options, message in cases:
        with pytest.raises(ValueError) as error:
            build(toy_policy, data, **options)
        assert str(error.value) == message


def test_data_that_do_not_belong_together_are_refused(toy_episodes):
    one, other = whole(toy_episodes[0]), whole(toy_episodes[1])
    with pytest.raises(DataError) as missing:
        FinetuneData(judged=toy_episodes[:1], judgements=[Judgement.of_pair(one, other, 0.0)])
    assert str(missing.value) == (
        f"A judgement is of episode {toy_episodes[1].id}, which is not among the 1 judged episodes."
    )
    with pytest.raises(DataError) as missing:
        FinetuneData(pool=toy_episodes, returns=np.zeros((2, 3)))
    assert str(missing.value) == (
        "`returns` must have shape (M, 60), one column for each episode of the pool, got (2, 3)."
    )
    with pytest.raises(ValueError) as error:
        Judgement((one, other), (0.0,))
    assert str(error.value) == (
        "A judgement is of two or more segments, with a utility for each, got 2 segments and "
        "1 utilities."
    )
    with pytest.raises(ValueError) as error:
        ChunkGroups({}, torch.zeros(0, 2), torch.zeros(0), torch.zeros(0))
    assert str(error.value).startswith("All 0 groups of chunks are of one quality")
