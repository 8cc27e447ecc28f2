"""A reward does not tell whether its answers came by the page or from the scripted teacher."""

import numpy as np

from robopref.labeling.training_config import FitSettings
from robopref.preferences import Preference, Ranking
from robopref.preferences.store import PreferenceStore
from tests.labeling.running import Running
from tests.labeling.training_data import LEARNER, record


def fit(location, episodes):
    from robopref.align.reward_fitting import RewardFitting

    with PreferenceStore(location) as store:
        fitting = RewardFitting(FitSettings(LEARNER), store.preferences(), episodes.cut)
    reward, _ = fitting.fit("same")
    return reward.segment_return(fitting.view.segments)


def test_the_export_of_the_page_teaches_what_the_scripted_teacher_teaches(tmp_path):
    episodes = record(tmp_path / "data")
    with Running(tmp_path, tmp_path / "data") as running, running.client() as client:
        # What can be shown is not the question here: these episodes have neither states nor videos.
        queries = running.service.store.queries()
        with PreferenceStore(tmp_path / "scripted.sqlite") as scripted:
            scripted.add_queries(queries, cut_hash=episodes.content_hash)
            for query in queries:
                winner = int(query.items[1].episode_id > query.items[0].episode_id)
                scripted.answer(Preference(f"s {query.id}", query, Ranking.prefer(winner)))
                shown = {"id": query.id, "criterion": "overall", "order": [1, 0],
                         "lease": {"id": "none"}}  # fmt: skip
                client.answer(shown, [[winner], [1 - winner]])
        client.export("jsonl", tmp_path / "page.jsonl")
    with PreferenceStore(tmp_path / "page.sqlite") as page:
        assert page.import_jsonl(tmp_path / "page.jsonl") == len(queries)
    by_script, by_page = (fit(tmp_path / f"{n}.sqlite", episodes) for n in ("scripted", "page"))
    assert np.ptp(by_script) > 0, "it has learned something"
    np.testing.assert_array_equal(by_script, by_page)
