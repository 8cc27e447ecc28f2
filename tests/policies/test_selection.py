"""Best-of-N against scorers whose best candidate is known."""

import pytest
import torch

from robopref.config import from_dict, to_dict
from robopref.policies.selection import BestOfN, BestOfNConfig
from robopref.protocols import Policy
from robopref.types import STATE


class NoisePolicy:
    """Proposes plain noise, whatever the observation."""

    n_obs_steps = 1
    chunk_size = 4
    n_action_steps = 2
    obs_shapes = {STATE: (3,)}  # noqa: RUF012 - a constant of the test

    def reset(self):
        pass

    def sample(self, obs, num_candidates, generator):
        return torch.randn(len(obs[STATE]), num_candidates, 4, 2, generator=generator)

    def predict_action_chunk(self, obs, generator):
        return self.sample(obs, 1, generator)[:, 0]

    def select_action(self, obs, generator):
        return self.predict_action_chunk(obs, generator)[:, 0]


class FirstAction:
    """Likes a large first action, and is unsure where the second action is large."""

    def score(self, obs, candidates):
        return candidates[:, :, 0, 0]

    def uncertainty(self, obs, candidates):
        return candidates[:, :, 1, 0].abs()


class Constant(FirstAction):
    def __init__(self, value):
        self.value = value

    def score(self, obs, candidates):
        return torch.full(candidates.shape[:2], self.value)

    def uncertainty(self, obs, candidates):
        return torch.zeros(candidates.shape[:2])


OBS = {STATE: torch.zeros(5, 1, 3)}


def test_config_round_trips():
    config = BestOfNConfig(num_candidates=3, pessimism=0.0)
    assert from_dict(BestOfNConfig, to_dict(config)) == config


def test_the_best_by_mean_less_uncertainty_is_chosen(generator):
    selected = (
        BestOfNConfig(8, 0.5, indifference=0.0)
        .build(NoisePolicy(), FirstAction())
        .select(OBS, generator)
    )
    first, second = selected.candidates[:, :, 0, 0], selected.candidates[:, :, 1, 0]
    torch.testing.assert_close(selected.scores, first - 0.5 * second.abs())
    for row in range(5):
        assert selected.scores[row, selected.chosen[row]] == selected.scores[row].max()
        assert torch.equal(selected.chunk[row], selected.candidates[row, selected.chosen[row]])


def test_pessimism_changes_the_choice(generator):
    state = generator.get_state()
    bold = (
        BestOfNConfig(16, 0.0, indifference=0.0)
        .build(NoisePolicy(), FirstAction())
        .select(OBS, generator)
    )
    generator.set_state(state)
    wary = (
        BestOfNConfig(16, 5.0, indifference=0.0)
        .build(NoisePolicy(), FirstAction())
        .select(OBS, generator)
    )
    assert torch.equal(bold.candidates, wary.candidates)
    uncertainty = FirstAction().uncertainty(OBS, bold.candidates)
    rows = torch.arange(5)
    assert (uncertainty[rows, wary.chosen] <= uncertainty[rows, bold.chosen]).all()
    assert not torch.equal(bold.chosen, wary.chosen)


def test_the_first_of_equals_wins(generator):
    selected = BestOfN(NoisePolicy(), Constant(1.0)).select(OBS, generator)
    assert selected.chosen.tolist() == [0] * 5


def test_what_hardly_differs_from_the_best_counts_as_equal(generator):
    policy = BestOfNConfig(16, 0.0, indifference=0.5).build(NoisePolicy(), FirstAction())
    selected = policy.select({STATE: torch.zeros(200, 1, 3)}, generator)
    near = selected.scores >= selected.scores.amax(dim=1, keepdim=True) - 0.5
    assert torch.equal(selected.chosen, near.float().argmax(dim=1))
    assert (near.sum(dim=1) > 1).any()


class Members(FirstAction):
    """Three members of which one thinks the opposite, by as much as `doubt`."""

    def __init__(self, doubt):
        self.doubt = doubt

    def candidate_scores(self, obs, candidates):
        first = candidates[:, :, 0, 0]
        return torch.stack([first, first, -self.doubt * first])


@pytest.mark.parametrize(("doubt", "sure"), [(0.0, True), (1.0, False)])
def test_what_the_members_do_not_agree_on_decides_nothing(generator, doubt, sure):
    # The mean difference is 2/3 or 1/3 of what the members' deviation is about 1/2 or 1 of.
    policy = BestOfNConfig(16, 0.0, indifference=0.0).build(NoisePolicy(), Members(doubt))
    selected = policy.select({STATE: torch.zeros(100, 1, 3)}, generator)
    best = selected.scores.argmax(dim=1)
    assert torch.equal(selected.chosen, best if sure else torch.zeros_like(best))


def test_equals_must_be_feasible(generator):
    policy = BestOfN(
        NoisePolicy(), Constant(1.0), feasible=lambda obs, c: torch.arange(16).expand(5, 16) > 2
    )
    assert policy.select(OBS, generator).chosen.tolist() == [3] * 5


def test_more_candidates_never_score_worse(generator):
    means = []
    for num in (1, 4, 64):
        policy = BestOfNConfig(num, 0.0, indifference=0.0).build(NoisePolicy(), FirstAction())
        obs = {STATE: torch.zeros(200, 1, 3)}
        means.append(float(policy.predict_action_chunk(obs, generator)[:, 0, 0].mean()))
    # Expected largest of 1, 4 and 64 standard normal numbers: 0, 1.03 and 2.37.
    assert means == pytest.approx([0, 1.03, 2.37], abs=0.25)


def test_infeasible_candidates_are_dropped_before_ranking(generator):
    def left_only(obs, candidates):
        return candidates[:, :, 0, 0] < 0

    config = BestOfNConfig(32, 0.0, indifference=0.0)
    policy = BestOfN(NoisePolicy(), FirstAction(), config, feasible=left_only)
    selected = policy.select(OBS, generator)
    assert (selected.chunk[:, 0, 0] < 0).all()
    assert torch.isneginf(selected.scores[~selected.feasible]).all()
    best_allowed = torch.where(selected.feasible, selected.candidates[:, :, 0, 0], -torch.inf).amax(
        dim=1
    )
    assert torch.equal(selected.chunk[:, 0, 0], best_allowed)


def test_no_feasible_candidate_is_an_error(generator):
    policy = BestOfN(
        NoisePolicy(), FirstAction(),
        feasible=lambda obs, c: torch.zeros(c.shape[:2], dtype=torch.bool),
    )  # fmt: skip
    with pytest.raises(ValueError) as error:
        policy.select(OBS, generator)
    assert str(error.value) == (
        "None of the 16 candidates of observation 0 is feasible. "
        "Sample more candidates, or stop the arm."
    )


def test_scores_that_are_not_numbers_are_an_error(generator):
    with pytest.raises(ValueError) as error:
        BestOfN(NoisePolicy(), Constant(torch.nan)).select(OBS, generator)
    assert str(error.value) == "The action scorer returned scores that are not a number."


def test_it_is_a_policy(generator):
    policy = BestOfN(NoisePolicy(), FirstAction())
    assert isinstance(policy, Policy)
    assert policy.sample(OBS, 3, generator).shape == (5, 3, 4, 2)
    state = generator.get_state()
    chunk = policy.predict_action_chunk(OBS, generator)
    generator.set_state(state)
    newest = {STATE: OBS[STATE][:, 0]}
    for step in range(policy.n_action_steps):
        assert torch.equal(policy.select_action(newest, generator), chunk[:, step])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_candidates": 0}, "`num_candidates` must be at least 1, got 0."),
        ({"pessimism": -1.0}, "`pessimism` must be at least 0, got -1.0."),
        ({"indifference": -1.0}, "`indifference` must be at least 0, got -1.0."),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ValueError) as error:
        BestOfNConfig(**options)
    assert str(error.value) == message
