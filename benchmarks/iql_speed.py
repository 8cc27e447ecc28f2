"""How fast IQL trains, beside plain torch: a module a network, autograd, an optimiser for each.

Batches of 256 with 39 observations and 4 actions, two hidden layers of 256, as published. Ours with
one member and with eight, and the plain loop, are timed in turns in the same run, so that what else
runs slows all alike. Rewards are scaled as `robopref train iql` scales them, and the temperature is
one that served on Meta-World: weights of actions spread as they do in training. An update counts
once for every member that it moves; the ratios are of such updates. What is left out of all:
reading data and writing checkpoints.
"""

import copy
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from benchmarks.reward_speed import has_bf16
from benchmarks.timing import figure, matmul_seconds
from robopref.policies.iql import IQLConfig, IQLRun
from robopref.policies.iql_data import Transitions
from robopref.seeding import make_generator
from robopref.train_iql import RewardScaling

OBS_DIM, ACTION_DIM, NUM_TRANSITIONS, EPISODE = 39, 4, 50_000, 500
CONFIG = IQLConfig(num_steps=1_000_000, inverse_temperature=20.0)
MEMBERS = (1, 8)
PRECISIONS = ("no", "bf16")
AIM = 330.0
"""Updates a second of one member on two idle cores; plain torch made 181 there."""
MFLOP = 566.0
"""Multiplications and additions of an update of one member: seven passes forward, four back."""


def run(quick: bool) -> dict[str, Any]:
    """Time in turns; return updates a second of each, and ours over the plain loop's."""
    rounds, updates = (5, 16) if quick else (15, 64)
    transitions = make_transitions()
    ours = [(m, p) for m in MEMBERS for p in PRECISIONS if p == "no" or has_bf16()]
    works: dict[str, Callable[[], Any]] = {"plain": PlainIQL(transitions).update}
    works |= {name_of(*one): make_ours(transitions, *one) for one in ours}
    load, before = os.getloadavg(), matmul_seconds()
    rates = time_in_turns(works, updates, rounds)
    after = matmul_seconds()
    figures = {"plain_updates_per_s": figure(rates["plain"])}
    for members, precision in ours:
        name = name_of(members, precision)
        found = [members * rate for rate in rates[name]]
        ratios = [mine / plain for mine, plain in zip(found, rates["plain"], strict=True)]
        figures[f"{name}_updates_per_s"] = figure(found, floor=AIM if members == 1 else None)
        figures[f"{name}_over_plain"] = figure(ratios)
    return {
        "figures": figures,
        "threads": torch.get_num_threads(),
        # What else wanted the processor: divided among so many, all rates fall alike.
        "load_before_after": [load[0], os.getloadavg()[0]],
        "cores": os.cpu_count(),
        "notes": [] if has_bf16() else ["bf16: this processor does not multiply it."],
        "matmul_ms_before_after": [1e3 * before, 1e3 * after],
        # What the best float32 product of this machine allows, at its speed in this run.
        "float32_limit_updates_per_s": 2 * 1024**3 / min(before, after) / (1e6 * MFLOP),
    }


def name_of(members: int, precision: str) -> str:
    """Return the name of our figures."""
    return f"iql_{members}_members_{'float32' if precision == 'no' else precision}"


def time_in_turns(
    works: dict[str, Callable[[], Any]], updates: int, rounds: int
) -> dict[str, list[float]]:
    """Return updates a second of each work in each round, a first round left out."""
    rates: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, update in works.items():
            start = time.perf_counter()
            for _ in range(updates):
                update()
            if turn > 0:
                rates[name].append(updates / (time.perf_counter() - start))
    print({name: round(statistics.median(found)) for name, found in rates.items()}, flush=True)
    return rates


def make_transitions() -> Transitions:
    """Return random transitions of one long episode."""
    generator = make_generator(0, "iql-speed")
    return Transitions(
        torch.randn(NUM_TRANSITIONS + 1, OBS_DIM, generator=generator),
        torch.arange(NUM_TRANSITIONS),
        2 * torch.rand(NUM_TRANSITIONS, ACTION_DIM, generator=generator) - 1,
        torch.ones(NUM_TRANSITIONS),
    )


def make_rewards(members: int) -> Tensor:
    """Return random rewards of each member, on the scale that IQL is trained with."""
    drawn = torch.randn(members, NUM_TRANSITIONS, generator=make_generator(0, "rewards")).numpy()
    lengths = [EPISODE] * (NUM_TRANSITIONS // EPISODE)
    return torch.from_numpy(np.stack([RewardScaling().apply(one, lengths) for one in drawn]))


def make_ours(transitions: Transitions, members: int, precision: Any) -> Callable[[], Any]:
    """Return an update of our own loop, with its draws and its learning rate."""
    config = replace(CONFIG, mixed_precision=precision)
    training = IQLRun(
        config, transitions, make_rewards(members), list(range(members)),
        clones=[False] * members, device="cpu",
    )  # fmt: skip
    return training.update


class PlainIQL:
    """IQL as one writes it: what tests compare ours with takes the same steps."""

    def __init__(self, transitions: Transitions) -> None:
        self.config = CONFIG
        self.data = transitions
        self.rewards = make_rewards(1)[0]
        self.generator = make_generator(0, "batches")
        self.q1, self.q2 = (self._network(OBS_DIM + ACTION_DIM, 1) for _ in range(2))
        self.target1, self.target2 = copy.deepcopy(self.q1), copy.deepcopy(self.q2)
        self.value, self.actor = self._network(OBS_DIM, 1), self._network(OBS_DIM, ACTION_DIM)
        self.log_std = nn.Parameter(torch.zeros(ACTION_DIM))
        rate = self.config.learning_rate
        critics = [*self.q1.parameters(), *self.q2.parameters()]
        self.critic_optimizer = torch.optim.Adam(critics, lr=rate)
        self.value_optimizer = torch.optim.Adam(self.value.parameters(), lr=rate)
        actor = [*self.actor.parameters(), self.log_std]
        self.actor_optimizer = torch.optim.Adam(actor, lr=rate)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.actor_optimizer, CONFIG.num_steps
        )

    def _network(self, num_in: int, num_out: int) -> nn.Sequential:
        sizes = [num_in, *self.config.policy.hidden_sizes]
        layers: list[nn.Module] = []
        for i, o in pairwise(sizes):
            layers += [nn.Linear(i, o), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(sizes[-1], num_out))

    def update(self) -> None:
        """Draw a batch and move all networks once."""
        data, config = self.data, self.config
        chosen = torch.randint(len(data), (config.batch_size,), generator=self.generator)
        obs, following = data.features[data.row[chosen]], data.features[data.row[chosen] + 1]
        action, acted = data.action[chosen], torch.cat([obs, data.action[chosen]], -1)
        with torch.no_grad():
            low = torch.min(self.target1(acted), self.target2(acted))
            ahead = config.discount * data.continues[chosen, None] * self.value(following)
        aim = self.rewards[chosen, None] + ahead
        advantage = low - self.value(obs)
        asymmetry = torch.where(advantage > 0, config.expectile, 1 - config.expectile)
        self._step(self.value_optimizer, (asymmetry * advantage**2).mean())
        errors = (self.q1(acted) - aim) ** 2 + (self.q2(acted) - aim) ** 2
        self._step(self.critic_optimizer, errors.mean())
        weight = torch.exp(config.inverse_temperature * advantage.detach())
        log_std = self.log_std.clamp(config.policy.min_log_std, 2.0)
        density = Independent(Normal(torch.tanh(self.actor(obs)), log_std.exp()), 1)
        weight = weight.clamp(max=config.max_weight)[:, 0]
        self._step(self.actor_optimizer, -(weight * density.log_prob(action)).mean())
        self.schedule.step()
        with torch.no_grad():
            for network, target in ((self.q1, self.target1), (self.q2, self.target2)):
                for followed, p in zip(network.parameters(), target.parameters(), strict=True):
                    p.lerp_(followed, config.target_rate)

    def _step(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
