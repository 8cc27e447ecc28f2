"""Learn a reward from ten answers: record episodes, ask a teacher, fit an ensemble, check it."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from robopref.align.actors import ScriptedSpec
from robopref.align.collect import Plan, Workers, collect, open_or_create
from robopref.align.evaluate import score_segment
from robopref.data.episode import batch_segments
from robopref.data.segment import Segment
from robopref.envs.behaviours import DetourRightConfig
from robopref.preferences.pool import CandidatePool
from robopref.preferences.preference import PairwiseView
from robopref.preferences.strategies import UniformConfig
from robopref.preferences.teachers import ScriptedTeacherConfig
from robopref.rewards.mlp import MLPRewardConfig
from robopref.seeding import make_generator, make_rng
from robopref.types import STATE

ENV = "metaworld/reach-v3"


def main(num_episodes: int = 40, num_labels: int = 10, num_workers: int = 2) -> float:
    """Return the share of pairs that the learned reward orders as the teacher would."""
    behaviour = DetourRightConfig()

    # Episodes in which the arm swings out to the left or to the right.
    with tempfile.TemporaryDirectory() as folder, Workers(num_workers) as workers:
        store = open_or_create(Path(folder) / "episodes", ENV)
        actor = ScriptedSpec(behaviour, preferred_share=0.5, noise=0.1)
        collect(Plan(ENV, actor, 0, "pool", num_episodes), store, workers)
        segments = [Segment(row.episode_id, 0, row.length) for row in store.rows]
        batch = batch_segments([store.cut(segment) for segment in segments])

        # A teacher who prefers the right, and calls equal what hardly differs.
        def score(segment: Segment) -> np.ndarray:
            return score_segment(behaviour, store.episode(segment.episode_id), segment)

        config = ScriptedTeacherConfig(equal_within=0.5)
        spread, centre = config.measure_returns(score, segments)
        teacher = config.build(score, spread=spread, centre=centre, rng=make_rng(0, "teacher"))

        # Ask, and learn from the answers.
        pool = CandidatePool.build(segments, batch, rng=make_rng(0, "pairs"))
        queries = UniformConfig().build().propose(pool, None, num_labels, make_rng(0, "queries"))
        answers = [teacher.answer(query) for query in queries]
        reward = MLPRewardConfig().build(batch.obs[STATE].shape[-1], batch.action.shape[-1])
        reward.fit(PairwiseView.from_preferences(answers, store.cut), generator=make_generator(0))

        # Does it order all pairs of a left and a right episode?
        learned = reward.segment_return(batch)
        shown = np.array([behaviour.shows(float(score(segment)[0])) for segment in segments])
        right, left = learned[shown], learned[~shown]
        accuracy = float((right[:, None] > left[None]).mean())
    print(f"{num_labels} answers: {accuracy:.2f} of the pairs of a right and a left episode.")
    return accuracy


if __name__ == "__main__":
    sys.exit(0 if main() > 0.5 else 1)
