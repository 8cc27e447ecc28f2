import json
import shutil

import numpy as np
import pytest
import torch

from robopref.deform.actors import DECISIONS, SHOWN, ChooserSpec
from robopref.deform.config import best_of
from robopref.deform.progress import StopConfig
from robopref.deform.report import write_report
from robopref.errors import ConfigError
from robopref.policies.serialization import load_policy
from robopref.preferences.preference import Preference
from robopref.preferences.query import ActionCandidate
from robopref.preferences.terminal import Person
from tests.deform.conftest import make_loop, make_tiny

pytestmark = pytest.mark.slow


def qualities(trials_episode, env, step, actions):
    from robopref.envs.deformable.trials import Trials

    return Trials(env.config).outcomes(trials_episode.sim_state(step), actions).qualities


def test_the_rule_shows_what_makes_things_better(finished):
    for episode in finished.store("demonstrations"):
        finished.env.put(episode.sim_state(0))
        before = finished.env.quality()
        shown = np.array(episode.metadata[SHOWN][0], np.float32)
        assert (qualities(episode, finished.env, 0, shown) > before).all()
        assert np.abs(shown - episode.action[0]).max(axis=1).min() < 1e-4


def test_a_perfect_teacher_ranks_by_what_comes_of_candidates(finished):
    rankings = finished.rankings()
    assert len(rankings.preferences()) == finished.config.num_states
    for preference in rankings.preferences():
        items = [item for item in preference.query.items if isinstance(item, ActionCandidate)]
        episode = rankings.pool.episode(items[0].episode_id)
        actions = np.array([item.action[0] for item in items], np.float32)
        found = qualities(episode, finished.env, items[0].step, actions)
        order = [found[list(group)].mean() for group in preference.ranking.order]
        assert order == sorted(order, reverse=True)


def test_the_same_round_asks_nothing_twice(finished):
    rankings = finished.rankings()
    episodes = [e for e in rankings.pool if e.metadata["name"] == "pool-1"]
    proposer = finished.spec("supervised").proposer(finished.env.task.primitive)
    num = len(rankings.store.queries())
    assert rankings.propose(1, proposer, episodes, 2) == num


def test_the_best_scored_candidate_is_performed(finished):
    for episode in finished.store("evaluation/aligned"):
        for decision, action in zip(episode.metadata[DECISIONS], episode.action, strict=True):
            scores = [-np.inf if s is None else s for s in decision["scores"]]
            assert decision["chosen"] == int(np.argmax(scores))
            chosen = np.clip(decision["candidates"][decision["chosen"]], *_bounds(finished.env))
            np.testing.assert_allclose(action, chosen, atol=1e-4)


def test_the_cloned_policy_is_left_as_it_was(finished, tmp_path):
    again = make_loop(tmp_path)
    again.prepare_base()
    for one, other in zip(
        load_policy(tmp_path / "base" / "policy").parameters(),
        load_policy(finished.directory / "base" / "policy").parameters(),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_an_oracle_takes_what_comes_out_best(finished, tmp_path):
    base = finished.directory / "base" / "policy"
    spec = ChooserSpec((base,), best_of(3), tries=True, outcomes=tmp_path / "outcomes.sqlite")
    loop = make_loop(tmp_path / "run", use_outcomes=True)
    (episode,) = loop.record("oracle", "oracle", spec, "test", 1)
    decision = episode.metadata[DECISIONS][0]
    actions = np.array(decision["candidates"], np.float32)
    found = qualities(episode, finished.env, 0, actions.clip(*_bounds(finished.env)))
    assert found[decision["chosen"]] == pytest.approx(found.max(), abs=1e-2)


def _bounds(env):
    return env.action_space.low, env.action_space.high


def test_an_episode_ends_for_want_of_progress(finished, tmp_path):
    base = finished.directory / "base" / "policy"
    spec = ChooserSpec((base,), best_of(3), stop=StopConfig(patience=1, least_gain=1.0))
    (episode,) = make_loop(tmp_path).record("short", "short", spec, "test", 1)
    assert len(episode) == 1
    assert episode.truncated
    assert episode.metadata["stopped"] == "no progress"


def test_a_killed_run_ends_as_one_that_was_not(finished, tmp_path):
    loop = make_loop(tmp_path, use_outcomes=True)
    loop.prepare_base()
    loop.do_round(1)
    # Killed before the figures of one stage were written, and before another one was begun.
    kept = {k: v for k, v in loop.run.stages.items() if k not in ("explicit-1", "outcomes-1")}
    (tmp_path / "stages.json").write_text(json.dumps(kept))
    shutil.rmtree(tmp_path / "outcomes-1")
    loop = make_loop(tmp_path, use_outcomes=True)
    assert list(loop.run.stages) == list(kept)
    loop.execute()
    ended, unbroken = (_figures(directory) for directory in (tmp_path, finished.directory))
    assert ended == unbroken


def _figures(directory):
    stages = json.loads((directory / "stages.json").read_text())
    for figures in stages.values():
        del figures["seconds"]
    return stages


def test_a_run_with_other_settings_is_refused(finished):
    with pytest.raises(ConfigError) as error:
        make_loop(finished.directory, use_outcomes=True, num_states=6)
    assert str(error.value) == (
        f"'{finished.directory}' holds a run with other settings: `num_states` was 4, now 6. "
        "Choose another folder with --out, or delete this one."
    )


def test_people_rank_in_the_same_store(tmp_path):
    asked = []

    def show(query):
        asked.append(query.id)

    person = Person(show, lambda prompt: "2>1")
    loop = make_loop(tmp_path, teacher="terminal", num_rounds=1, num_states=2)
    loop.person = lambda episodes: person
    loop.prepare_base()
    loop.do_round(1)
    answers = loop.rankings().preferences()
    assert [answer.query.id for answer in answers] == asked
    assert all(isinstance(a, Preference) and a.ranking.order == ((1,), (0,)) for a in answers)


def test_the_report_shows_every_step(finished):
    page = write_report(finished).read_text()
    steps = [
        len(episode) + 1
        for name in ("supervised", "aligned")
        for episode in finished.store(f"evaluation/{name}")
    ]
    asked = finished.config.num_states
    assert page.count('<figure><img src="data:image/png') == sum(steps) + asked
    assert make_tiny().env in page
    assert f"<code>tensorboard --logdir {finished.directory}</code>" in page
