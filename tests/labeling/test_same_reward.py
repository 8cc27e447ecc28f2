"""A reward does not tell whether its answers came by the page or from the scripted teacher."""

import numpy as np
import pytest

from robopref.preferences import Preference, Ranking
from robopref.preferences.preference import PairwiseView
from robopref.preferences.store import PreferenceStore
from robopref.train_reward import load_preferences, train_reward
from tests.labeling.clip_data import record_real
from tests.labeling.running import Running
from tests.labeling.training_data import LEARNER


def judge(query, annotator):
    """Return which item wins: the later one, but ben mistakes every third."""
    winner = int(query.items[1].start > query.items[0].start)
    is_mistaken = annotator == "ben" and int(query.id[0], 16) % 3 == 0
    return 1 - winner if is_mistaken else winner


def train(location, episodes):
    """Return what `robopref train reward` believes, and the returns that it learns."""
    preferences = load_preferences(location, episodes)
    reward, _ = train_reward(LEARNER, preferences, episodes, held_out_share=0)
    segments = PairwiseView.from_preferences(preferences, episodes.cut).segments
    return [p.confidence for p in preferences], reward.segment_return(segments)


@pytest.mark.slow
def test_the_export_of_the_page_teaches_what_the_scripted_teacher_teaches(tmp_path):
    episodes = record_real(tmp_path / "data")
    with (
        Running(tmp_path, tmp_path / "data", overlap=2) as running,
        PreferenceStore(tmp_path / "scripted.sqlite") as scripted,
        running.client("anna") as anna,
        running.client("ben") as ben,
    ):
        queries = {query.id: query for query in running.service.store.queries()}
        scripted.add_queries(list(queries.values()), cut_hash=episodes.content_hash)
        for client in (anna, ben):
            while (asked := client.next()["query"]) is not None:
                query = queries[asked["id"]]
                winner = judge(query, client.annotator)
                client.answer(asked, [[winner], [1 - winner]])
                scripted.answer(
                    Preference(
                        f"s {query.id} {client.annotator}", query, Ranking.prefer(winner),
                        annotator=client.annotator,
                    )
                )  # fmt: skip
        anna.export("jsonl", tmp_path / "page.jsonl")
    with PreferenceStore(tmp_path / "page.sqlite") as page:
        assert page.import_jsonl(tmp_path / "page.jsonl") == 2 * len(queries)
    (beliefs, scripted_returns), (as_well, page_returns) = (
        train(tmp_path / f"{name}.sqlite", episodes) for name in ("scripted", "page")
    )
    assert min(beliefs) < 0.6 < 0.9 < max(beliefs), "who contradicts the other is believed less"
    assert as_well == beliefs
    assert np.ptp(scripted_returns) > 0, "it has learned something"
    np.testing.assert_array_equal(scripted_returns, page_returns)
