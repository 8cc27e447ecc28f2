"""Clone a diffusion policy from mixed demonstrations, and choose among its proposals."""

import sys
from collections.abc import Mapping

import torch

from robopref.align.actors import PolicyActor, ScriptedSpec
from robopref.align.collect import Plan, record_group
from robopref.envs.behaviours import DetourRightConfig
from robopref.envs.make import make_env
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.selection import BestOfNConfig
from robopref.train_policy import train_policy
from robopref.trainer import TrainerConfig
from robopref.types import STATE

ENV = "metaworld/reach-v3"


class GoesRight:
    """A hand-written action scorer: prefers chunks that move towards the viewer's right (-x)."""

    def score(self, obs: Mapping[str, torch.Tensor], candidates: torch.Tensor) -> torch.Tensor:
        """Return scores (B, N) of candidates (B, N, Tp, Da)."""
        return -candidates[..., 0].sum(-1)

    def uncertainty(
        self, obs: Mapping[str, torch.Tensor], candidates: torch.Tensor
    ) -> torch.Tensor:
        """Return zeros (B, N): a rule is never unsure."""
        return torch.zeros(candidates.shape[:2])


def main(num_episodes: int = 40, num_steps: int = 600) -> tuple[float, float]:
    """Return the mean x of the hand's path [m], of the policy and of its best-of-16."""
    demonstrations = [
        episode
        for group in Plan(
            ENV, ScriptedSpec(DetourRightConfig(), 0.5, 0.1), 0, "demonstrations", num_episodes
        ).groups()
        for episode in record_group(group)
    ]
    policy, result = train_policy(
        DiffusionPolicyConfig(), demonstrations, TrainerConfig(num_steps=num_steps)
    )
    print(f"Cloned {num_episodes} demonstrations in {result.seconds:.0f} s.")

    choosing = BestOfNConfig(num_candidates=16).build(policy, GoesRight())
    means = []
    for name, actor in (("policy", PolicyActor(policy)), ("best of 16", PolicyActor(choosing))):
        env = make_env(ENV, max_episode_steps=100)
        actor.begin([1])
        obs, _ = env.reset(seed=1)
        path, done = [obs[STATE][0]], False
        while not done:
            obs, _, terminated, truncated, _ = env.step(actor.act([obs])[0].clip(-1, 1))
            path.append(obs[STATE][0])
            done = terminated or truncated
        env.close()
        means.append(sum(map(float, path)) / len(path))
        print(f"{name}: {len(path) - 1} steps, mean x {means[-1]:+.3f} m")
    return means[0], means[1]


if __name__ == "__main__":
    main()
    sys.exit(0)
