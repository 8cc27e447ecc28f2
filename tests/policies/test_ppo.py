import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from robopref.policies.finetune.denoising_mdp import DenoisingSteps
from robopref.policies.finetune.experience import Experience, gae, win_rates
from robopref.policies.finetune.ppo import PPOLossConfig, PPOObjective, Steps, bounded, certain


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


def encoder(obs):
    return obs["state"]


encoder.feature_dim = 1  # type: ignore[attr-defined]


class Shifted(nn.Module):
    """Stands for a policy: the mean of each of its steps is so far from where the step began."""

    device = "cpu"

    def __init__(self, shift):
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift, dtype=torch.float64))
        self.encoder = encoder


class ThreeTunedOfFive(DenoisingSteps):
    """Stands for the denoising steps, of which the last three are tuned."""

    def __init__(self):
        self.std = torch.tensor([0.5, 0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
        self.num_tuned = 3

    def __len__(self):
        return 5

    def means(self, policy, condition, before, place):
        return before + policy.shift * condition[:, :, None]


def test_the_clipped_surrogate_is_that_of_its_paper():
    """Each row by itself, with the densities and divergences of torch.distributions."""
    torch.manual_seed(0)
    config = PPOLossConfig("group", denoise_discount=0.9, kl_weight=0.3, clip_last=0.2)
    policy, steps = Shifted(0.05), ThreeTunedOfFive()
    objective = PPOObjective(policy, Shifted(0.0), steps, config, torch.Generator())
    place = torch.tensor([2, 3, 4]).repeat(4)
    advantage = torch.tensor([1.5, -0.5, 0.7, -2.0], dtype=torch.float64)
    keeps = torch.tensor([1.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    obs = {"state": torch.rand(4, 1, dtype=torch.float64)}
    before = torch.randn(12, 2, 3, dtype=torch.float64)
    after = before + 0.1 * torch.randn(12, 2, 3, dtype=torch.float64)
    now = Normal(steps.means(policy, obs["state"][torch.arange(12) // 3], before, place).detach(),
                 steps.std[place][:, None, None])  # fmt: skip
    # Ratios within and beyond the bounds, on both sides.
    old = now.log_prob(after).mean((1, 2)) - 0.1 * torch.linspace(-1.5, 1.5, 12)
    base = before + 0.02
    made = Steps(obs, before, after, place, old, base, advantage, keeps, torch.zeros(4))
    rows = torch.tensor([11, 0, 5, 7, 2, 8, 3, 10])
    loss, figures = objective(made, rows)
    gains, kls, clipped = [], [], []
    for row in rows.tolist():
        step, decision = int(place[row]), row // 3
        bound = 0.01 * (0.2 / 0.01) ** ((step - 2) / 2)
        ratio = float((now.log_prob(after)[row].mean() - old[row]).exp())
        worth = float(advantage[decision]) * 0.9 ** (4 - step)
        within = min(max(ratio, 1 - bound), 1 + bound)
        gains.append(float(keeps[decision]) * min(ratio * worth, within * worth))
        own = Normal(now.mean[row], steps.std[step])
        kls.append(float(kl_divergence(own, Normal(base[row], steps.std[step])).mean()))
        clipped.append(abs(ratio - 1) > bound)
    assert 0 < sum(clipped) < len(clipped)
    kl = sum(kls) / len(kls)
    assert float(loss.detach()) == pytest.approx(0.3 * kl - sum(gains) / len(gains))
    assert float(figures["kl"]) == pytest.approx(kl)
    assert float(figures["clipped"]) == pytest.approx(sum(clipped) / len(clipped))


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
