import pytest
import torch

from robopref.policies.finetune.experience import Experience, gae, win_rates
from robopref.policies.finetune.ppo import PPOLossConfig, bounded, certain


def test_the_clip_grows_exponentially_over_the_tuned_steps():
    clip = PPOLossConfig(clip_first=0.001, clip_last=0.1).clip(torch.tensor([5, 7, 9]), 5, 10)
    torch.testing.assert_close(clip, torch.tensor([0.001, 0.01, 0.1]))


def make_experience(reward, acted, terminated):
    reward = torch.tensor(reward)
    shape = (*reward.shape, 1, 1, 1)
    return Experience(
        {}, torch.zeros(shape), torch.zeros(shape), reward, torch.zeros_like(reward),
        torch.tensor(acted), {}, torch.tensor(terminated), torch.zeros(reward.shape[1]),
    )  # fmt: skip


def test_advantages_see_no_further_than_an_end_and_past_a_cut_off():
    # Three episodes of 2, 2 and 1 decisions; the first is cut off, the others end.
    experience = make_experience(
        [[1.0, 1.0, 1.0], [2.0, 2.0, 99.0]],
        [[True, True, True], [True, True, False]], [False, True, True],
    )  # fmt: skip
    values = torch.tensor([[0.5, 0.5, 0.5], [0.25, 0.25, 77.0]])
    advantages = gae(experience, values, torch.tensor([10.0] * 3), discount=0.5, decay=0.5)
    last = [2 + 0.5 * 10 - 0.25, 2 - 0.25, 0.0]
    first = [1 + 0.125 - 0.5 + 0.25 * last[0], 1 + 0.125 - 0.5 + 0.25 * last[1], 1 - 0.5]
    torch.testing.assert_close(advantages, torch.tensor([first, last]))


def test_win_rates_compare_episodes_of_one_start_only():
    rates = win_rates(torch.tensor([1.0, 3.0, 3.0, -9.0, 5.0, -8.0]), 3)
    torch.testing.assert_close(rates, torch.tensor([0.0, 0.75, 0.75, 0.0, 1.0, 0.5]))


def test_the_least_certain_decisions_teach_nothing():
    doubt = torch.tensor([0.1, 0.9, 0.2, 0.8, 0.3])
    assert certain(doubt, 0.4).tolist() == [1, 0, 1, 0, 1]
    assert certain(doubt, 0.0).tolist() == [1] * 5
    assert certain(torch.zeros(5), 0.4).tolist() == [1] * 5


def test_advantages_are_standard_and_bounded():
    wild = torch.cat([torch.linspace(-1, 1, 99), torch.tensor([1000.0])])
    calm = bounded(wild, 0.05)
    assert calm.max() < 1 < bounded(wild, 0.0).max()
    assert bounded(torch.full((4,), 3.0), 0.05).tolist() == [0] * 4


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PPOLossConfig(drop_uncertain=1.0), "`drop_uncertain` must be below 1, got 1."),
        (lambda: PPOLossConfig(clip_first=0.2),
         "`clip_first` (=0.2) must be above 0 and not exceed `clip_last` (=0.1)."),
    ],
)  # fmt: skip
def test_config_checks_its_ranges(build, message):
    with pytest.raises(ValueError) as error:
        build()
    assert str(error.value) == message
