"""IQL as one writes it, for the comparison with ours."""

import torch
from torch import nn
from torch.distributions import Independent, Normal

from tests.plain_networks import plain


class PlainIQL:
    """One member, straight from the paper: a module for each network, autograd, torch's Adam."""

    def __init__(self, run, member):
        learner, num = run.learner, len(run.generators)
        self.config, self.scale = run.config, float(learner.inverse_temperature[member])
        self.q1, self.q2 = plain(learner.critic, member), plain(learner.critic, num + member)
        self.t1, self.t2 = plain(learner.target, member), plain(learner.target, num + member)
        self.value, self.actor = plain(learner.value, member), plain(learner.actor, member)
        self.log_std = nn.Parameter(learner.log_std[member, 0].detach().clone())
        rate = run.config.learning_rate
        learned = [*self.q1.parameters(), *self.q2.parameters(), *self.value.parameters()]
        self.optimizer = torch.optim.Adam(learned, lr=rate)
        actor = [*self.actor.parameters(), self.log_std]
        self.actor_optimizer = torch.optim.Adam(actor, lr=rate)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.actor_optimizer, run.config.num_steps
        )

    def update(self, obs, action, reward, following, continues):
        config, acted = self.config, torch.cat([obs, action], -1)
        with torch.no_grad():
            low = torch.min(self.t1(acted), self.t2(acted))
            aim = reward + config.discount * continues * self.value(following)
        advantage = low - self.value(obs)
        asymmetry = torch.where(advantage > 0, config.expectile, 1 - config.expectile)
        value_loss = (asymmetry * advantage**2).mean()
        critic_loss = ((self.q1(acted) - aim) ** 2 + (self.q2(acted) - aim) ** 2).mean()
        weight = torch.exp(self.scale * advantage.detach()).clamp(max=config.max_weight)
        log_std = self.log_std.clamp(config.policy.min_log_std, 2.0)
        density = Independent(Normal(torch.tanh(self.actor(obs)), log_std.exp()), 1)
        actor_loss = -(weight[:, 0] * density.log_prob(action)).mean()
        for optimizer in (self.optimizer, self.actor_optimizer):
            optimizer.zero_grad()
        (value_loss + critic_loss + actor_loss).backward()
        for stepped in (self.optimizer, self.actor_optimizer, self.schedule):
            stepped.step()
        with torch.no_grad():
            for q, target in ((self.q1, self.t1), (self.q2, self.t2)):
                for p, followed in zip(target.parameters(), q.parameters(), strict=True):
                    p.lerp_(followed, config.target_rate)
        losses = (value_loss, critic_loss, actor_loss)
        return [float(loss.detach()) for loss in losses]
