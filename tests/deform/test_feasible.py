from typing import ClassVar

import numpy as np
import pytest
import torch

from robopref.deform.feasible import Grasping, feasible_for
from robopref.types import POINTS

AT_ROPE = [0.1, 0.0, 0.0]


@pytest.fixture
def obs():
    """Return a cloud along the x axis from -0.1 to 0.1."""
    line = np.stack([np.linspace(-0.1, 0.1, 32), np.zeros(32), np.zeros(32)], axis=1)
    return {POINTS: torch.from_numpy(line.astype(np.float32))[None, None]}


def allowed(primitive, obs, *actions):
    candidates = torch.tensor(actions, dtype=torch.float32)[None, :, None]
    return feasible_for(primitive)(obs, candidates)[0].tolist()


def test_a_pick_has_to_be_at_the_material(obs):
    missed = [0.1, 0.05, 0.0]
    place = [0.2, 0.2, 0.0]
    assert allowed("pick-and-place", obs, AT_ROPE + place, missed + place) == [True, False]
    assert allowed("sweep", obs, AT_ROPE + place, missed + place) == [True, True]
    assert allowed("fling", obs, [*AT_ROPE, -0.1, 0, 0], AT_ROPE + place) == [True, False]


def test_what_is_out_of_reach_or_stays_where_it_is_is_left_out(obs):
    good, far = [*AT_ROPE, 0.2, 0.2, 0.0], [*AT_ROPE, 0.5, 0.0, 0.0]
    assert allowed("sweep", obs, good, far, AT_ROPE + AT_ROPE) == [True, False, False]


def test_heights_are_clipped_and_not_refused(obs):
    assert allowed("sweep", obs, [0.1, 0.0, -0.02, 0.2, 0.0, 0.3]) == [True]


class Fixed:
    """Proposes what it was given."""

    n_obs_steps = chunk_size = n_action_steps = 1
    action_dim = 6
    obs_shapes: ClassVar = {POINTS: (32, 3)}

    def __init__(self, *actions):
        self.actions = torch.tensor(actions, dtype=torch.float32)[None, :, None]

    def sample(self, obs, num_candidates, generator):
        return self.actions[:, :num_candidates]


def test_grasps_are_moved_to_the_material_and_nothing_else_is(obs):
    beside, place = [0.03, 0.08, 0.02], [0.2, 0.2, 0.01]
    policy = Fixed(beside + place, [0.5, 0.0, 0.0, *place])
    picked, far = Grasping(policy, "pick-and-place").sample(obs, 2, torch.Generator())[0, :, 0]
    assert picked[:3].tolist() == pytest.approx([0.03, 0.0, 0.0], abs=0.004)
    assert far[:3].tolist() == pytest.approx([0.1, 0.0, 0.0])
    assert picked[3:].tolist() == pytest.approx(place)
    flung = Grasping(policy, "fling").sample(obs, 1, torch.Generator())[0, 0, 0]
    assert flung[3:].tolist() == pytest.approx([0.1, 0.0, 0.0])
    swept = Grasping(policy, "sweep").sample(obs, 1, torch.Generator())[0, 0, 0]
    assert torch.equal(swept, policy.actions[0, 0, 0])


def test_where_nothing_can_be_performed_all_is_let_through(obs):
    far = [*AT_ROPE, 0.5, 0.0, 0.0]
    assert allowed("sweep", obs, far, far) == [True, True]
