"""Test that the whole loop runs on a planar task with a planar behaviour."""

import pytest

from robopref.align.collect import Workers
from robopref.align.loop import AlignmentLoop
from robopref.align.report import write_report
from robopref.envs.planar.behaviours import TogetherConfig
from robopref.preferences.teachers import MyopicTeacherConfig
from tests.align.conftest import make_tiny


@pytest.mark.slow
def test_the_loop_runs_on_a_planar_task(tmp_path):
    """With a teacher who weighs steps, which a behaviour that scores steps allows."""
    config = make_tiny(
        env="planar/group-gripper-v0", behaviour=TogetherConfig(), max_episode_steps=120,
        teacher=MyopicTeacherConfig(), segment_length=40,
    )  # fmt: skip
    with Workers(0) as workers:
        loop = AlignmentLoop(config, tmp_path / "run", workers)
        evaluations = loop.execute()
    demonstrations = list(loop.store("demonstrations"))
    assert all(episode.succeeded for episode in demonstrations)
    behaviour = TogetherConfig()
    shown = [
        behaviour.shows(behaviour.measure(e.state[:-1], e.action, e.reward)) for e in demonstrations
    ]
    assert 0 < sum(shown) < len(shown)
    assert len(loop.labels().preferences()) == 4
    assert set(evaluations) == {"base", "selected", "aligned"}
    assert "planar/group-gripper-v0" in write_report(loop).read_text()
