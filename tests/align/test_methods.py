"""Every fine-tuning method of the registry in a real run of the loop."""

import dataclasses
from typing import Any

import pytest

from robopref.align.collect import Workers
from robopref.align.loop import AlignmentLoop
from robopref.policies.finetune import FINETUNE
from tests.align.conftest import make_tiny, training

SMALL = {"num_iterations": 1, "max_decisions": 2, "num_epochs": 1, "num_envs": 2}
"""What makes `ppo` as small as the others are with few steps of training."""


def small(name):
    """Return a method that can learn from a run of the loop, as small as can be."""
    method = FINETUNE.config_class(name)()
    fields = {field.name for field in dataclasses.fields(method)}
    changes: dict[str, Any] = {key: value for key, value in SMALL.items() if key in fields}
    if "trainer" in fields:
        changes["trainer"] = training(5)
    if "groups" in fields:
        # Also for those that learn from ranked candidates by default, of which a run has none.
        changes["groups"] = dataclasses.replace(method.groups, source="candidates", num_groups=50)
    return dataclasses.replace(method, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("name", FINETUNE.names())
def test_every_method_aligns_a_policy(name, finished, tmp_path):
    for part in ("demonstrations", "base", "pool", "reward", "preferences.sqlite"):
        (tmp_path / part).symlink_to(finished.directory / part)
    config = make_tiny(
        method=small(name), num_rounds=1, num_selected_episodes=2, max_episode_steps=20
    )
    with Workers(0) as workers:
        loop = AlignmentLoop(config, tmp_path, workers)
        loop.align()
    assert loop.run.figures("aligned")["round"] == loop.rounds.num_rounds
    assert (tmp_path / "aligned" / "policy" / "model.safetensors").is_file()
