import uuid

import numpy as np
import pytest

from robopref.data.episode import Episode
from robopref.envs.deformable.env import DeformableConfig
from robopref.envs.deformable.ranker import TrialScore, state_at
from robopref.envs.deformable.trials import Trials
from robopref.errors import DataError
from robopref.preferences.query import ActionCandidate, Query
from robopref.preferences.teachers import ScriptedTeacherConfig
from robopref.types import POINTS

TASK = "rope-circle-v0"


@pytest.fixture(scope="module")
def recorded():
    """Return an episode of two steps, and candidates for its second observation."""
    env = DeformableConfig(TASK).build()
    env.reset(seed=5)
    rng = np.random.default_rng(0)
    states, actions = [env.get_state()], []
    for _ in range(2):
        actions.append(env.propose(rng, 1)[0])
        env.step(actions[-1])
        states.append(env.get_state())
    env.put(states[1])
    good = env.propose(rng, 2)
    env.close()
    missed = np.array([0.39, 0.39, 0.0, 0.3, 0.3, 0.0], np.float32)
    zeros = np.zeros(2, np.float32)
    episode = Episode(
        str(uuid.UUID(int=1)), {POINTS: np.zeros((3, 8, 3), np.float32)}, np.stack(actions), zeros,
        zeros > 0, False, True, f"deformable/{TASK}", "Lay the rope as a circle.", 5, 0.5,
        sim_states=np.stack([state.step for state in states]), sim_episode=states[0].episode,
    )  # fmt: skip
    return episode, [candidate(episode, 1, action) for action in (*good, missed)]


def candidate(episode, step, action):
    return ActionCandidate(episode.id, step, (tuple(float(x) for x in action),))


@pytest.fixture
def trials():
    return Trials(DeformableConfig(TASK))


def test_a_candidate_scores_the_quality_it_leads_to(recorded, trials):
    episode, candidates = recorded
    score = TrialScore(trials, lambda _: episode)
    before = trials.outcomes(state_at(episode, 1, TASK), np.array([candidates[2].action[0]]))
    assert score(candidates[2])[0] == before.qualities[0]
    assert score(candidates[0])[0] > score(candidates[2])[0]


def test_looking_ahead_counts_what_becomes_possible(recorded, trials):
    episode, candidates = recorded
    near, far = TrialScore(trials, lambda _: episode), TrialScore(trials, lambda _: episode, 2)
    assert far(candidates[2])[0] > near(candidates[2])[0]
    assert far(candidates[0])[0] >= near(candidates[0])[0]
    again = TrialScore(trials, lambda _: episode, 2)
    assert again(candidates[2])[0] == far(candidates[2])[0]
    far.close()
    again.close()


def test_a_scripted_teacher_ranks_by_it(recorded, trials):
    episode, candidates = recorded
    score = TrialScore(trials, lambda _: episode)
    teacher = ScriptedTeacherConfig(equal_within=0.01).build(
        score, spread=1.0, rng=np.random.default_rng(0)
    )
    ranking = teacher.answer(Query(str(uuid.uuid4()), tuple(candidates))).ranking
    best = int(np.argmax([score(item)[0] for item in candidates]))
    assert best in ranking.order[0]
    assert 2 not in ranking.order[0]


def test_what_cannot_be_tried_is_refused(recorded, trials):
    episode, _ = recorded
    with pytest.raises(DataError) as error:
        state_at(episode, 1, "rope-S-v0")
    assert str(error.value) == (
        f"Episode {episode.id} is of 'deformable/rope-circle-v0', and candidates are tried in "
        "'deformable/rope-S-v0': a ranking for another state says nothing here."
    )
    with pytest.raises(DataError) as error:
        state_at(episode, 3, TASK)
    assert str(error.value) == f"Episode {episode.id} has 2 steps, got step 3."
    with pytest.raises(DataError) as error:
        TrialScore(trials, lambda _: episode)("a clip")
    assert str(error.value) == "Trials score action candidates, got str."
